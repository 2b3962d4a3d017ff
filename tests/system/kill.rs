//! `kill -9` of `fepd` and of a consumer at random moments, over and over: each as often as `FEP_KILL_ROUNDS` says.

use std::ops::Range;

use fep_sim::{FrameOracle, Station, Unconnected};
use fep_tests::journal;
use fep_tests::{
    Daemon, Follower, Moments, Reception, RunDirectory, cso_2, downlink, kill_rounds, tcp_link, wait_until,
};

/// About 5900 frames a second: enough to be in the middle of something at any moment, little enough for a busy machine.
const RATE_BPS: u64 = 60_000_000;

/// Lives between two kills: shorter than a start takes, and long enough to receive, by turns.
const LIFE_MS: Range<u64> = 0..200;

// REQ: FEP-SYS-005
// REQ: FEP-SYS-006
#[test]
fn killed_at_any_moment_nothing_is_lost_but_what_the_link_lost_meanwhile_and_that_is_counted() {
    let rounds = kill_rounds();
    let mut moments = Moments::from_environment();
    // It goes on whether anybody hears it or not.
    let mut spec = cso_2(Some(RATE_BPS), Unconnected::Lose);
    let downlink = downlink(&mut spec).clone();
    let directory = RunDirectory::new();
    let station = Station::start(&spec).expect("it starts");
    let link = tcp_link("cso-2", "cso/cso-2", station.address().expect("it listens"));
    let config = directory.configure(&link);
    let mut follower = Follower::start(&directory.rings(), "cso-2.frames", "killed", directory.path());
    let mut daemon = Daemon::start(&directory, &config);
    let (mut daemon_kills, mut consumer_kills) = (0, 0);
    while daemon_kills < rounds || consumer_kills < rounds {
        moments.sleep_ms(LIFE_MS);
        let victim = moments.below(3);
        if victim != 1 {
            follower.kill();
            consumer_kills += 1;
        }
        if victim != 0 {
            daemon.kill();
            daemon_kills += 1;
            moments.sleep_ms(LIFE_MS);
            daemon = Daemon::launch(&directory, &config);
        }
        if victim != 1 {
            follower.restart();
        }
    }
    // The last life: long enough to receive from every virtual channel, then the station closes in good order.
    let link = wait_until("the last life receives", || {
        let link = daemon.link("cso-2")?;
        if link.ledger.counts.received > 500 { Ok(link) } else { Err(format!("{:?}", link.ledger)) }
    });
    assert_eq!(link.ledger.counts.uncorrectable, 0, "{}", link.ledger);
    station.stop();
    let (report, _) = station.join();
    let link = wait_until("fepd has read to the end of the connection", || {
        let link = daemon.link("cso-2")?;
        if link.state == "connected" { Err(link.state) } else { Ok(link) }
    });
    let lines = follower.finish();

    let (records, gaps) = journal::settle(&lines);
    assert!(gaps.is_empty(), "the consumer was away for less than a ring: {gaps:?}");
    let sent = report.cadus_sent + report.cadus_cut + report.cadus_unheard;
    let oracle = FrameOracle::new(downlink.spacecraft, spec.seed, sent).expect("valid");
    let told = Reception::of(&records, 0, &oracle);
    println!("{report:?}\n{told:?}");
    assert_eq!((told.bad, told.repeated), (0, 0), "the channel is clear");
    // All that is missing between the first frame and the last is missing by the counters: it is counted. Of idle frames
    // there is nothing to lose.
    let idle_missing = oracle.idle_frames(told.first..=told.last) - told.idle;
    assert_eq!(told.last - told.first + 1, told.frames + told.lost + idle_missing);
    // And it is missing because fepd was down: one stretch for each time it was killed, at most.
    assert!(told.stretches <= daemon_kills, "{} stretches, killed {daemon_kills} times", told.stretches);
    assert!(told.stretches > 0 || daemon_kills == 0, "not one kill cost a frame: this proves nothing");
    // After the last frame only those of the batch that the end of the station cut can be missing.
    assert!(
        sent - told.last - 1 <= report.cadus_cut,
        "{} frames after the last, {report:?}",
        sent - told.last - 1
    );
    // The last life of fepd says the same of its own part, and all it published was read.
    let counts = link.ledger.counts;
    let last_life = records.len() as u64 - counts.published + 1;
    assert_eq!(Reception::of(&records, last_life, &oracle).frames, counts.published);
    assert!(link.ledger.is_balanced(), "{}", link.ledger);
    assert!(daemon.stop().success());
}
