//! `kill -9` of `fepd` and of a consumer at random moments, over and over.
//!
//! `FEP_KILL_ROUNDS` says how many rounds (20 if not set), `FEP_KILL_SEED` at which moments.

use std::collections::BTreeMap;
use std::time::Duration;

use fep_ccsds::record::{BadReason, FrameFlags, FrameRecord};
use fep_sim::{
    DEFAULT_SIMULATION, DownlinkSpec, FrameOracle, Simulation, SourceSpec, Station, StationSpec,
    TransportSpec, Unconnected,
};
use fep_tests::journal::{self, Line};
use fep_tests::{Daemon, Follower, RunDirectory, tcp_link, wait_until};

/// About 5900 frames a second: enough to be in the middle of something at any moment, little enough for a busy machine.
const RATE_BPS: u64 = 60_000_000;

/// Longest life between two kills: shorter than a start takes, and long enough to receive, by turns.
const LIFE_MAX_MS: u64 = 250;

fn variable(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text:?}: a number")),
        Err(_) => default,
    }
}

/// Numbers that look random, the same again from the same seed.
struct Moments(u64);

impl Moments {
    fn below(&mut self, limit: u64) -> u64 {
        // Xorshift of Marsaglia, 64 bits.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn sleep(&mut self) {
        std::thread::sleep(Duration::from_millis(self.below(LIFE_MAX_MS)));
    }
}

/// cso-2, which goes on whether anybody hears it or not.
fn station() -> (StationSpec, DownlinkSpec) {
    let simulation = Simulation::parse(DEFAULT_SIMULATION, "built-in").expect("the built-in set is valid");
    let mut spec =
        simulation.station.into_iter().find(|spec| spec.name == "cso-2").expect("a built-in station");
    spec.transport = TransportSpec::TcpServer { bind: "127.0.0.1:0".parse().expect("an address") };
    spec.rate_bps = Some(RATE_BPS);
    spec.unconnected = Unconnected::Lose;
    let SourceSpec::Spacecraft(downlink) = &spec.source else { panic!("cso-2 is a spacecraft") };
    let downlink = (**downlink).clone();
    (spec, downlink)
}

/// What the frames ring says of the downlink, from the first record to the last.
#[derive(Debug, Default)]
struct Told {
    frames: u64,
    /// Of these, frames of the idle channel, whose counts say nothing.
    idle: u64,
    /// Frames missing by the counters of the virtual channels.
    lost: u64,
    /// Stretches of frames that are missing.
    stretches: u64,
    first: u64,
    last: u64,
}

/// Every record is a frame that was sent, right to the last octet, none twice and none out of order; and wherever the
/// counter of a virtual channel jumps, the record says so.
fn check(records: &[Line], oracle: &FrameOracle) -> Told {
    let mut told = Told::default();
    let mut last_count: BTreeMap<u8, u32> = BTreeMap::new();
    for line in records {
        let Line::Record { seq, flags, words, hash, .. } = line else { panic!("{line:?} is no record") };
        let record = FrameRecord::from_words(*flags, *words).expect("a record of this version");
        assert_eq!(record.reason, BadReason::None, "record {seq}: the channel is clear");
        let identity = oracle
            .identify_hash(*hash)
            .unwrap_or_else(|| panic!("record {seq}: a frame that was never sent"));
        assert_eq!(record.gvcid, identity.gvcid, "record {seq}");
        if told.frames == 0 {
            told.first = identity.number;
        } else {
            assert!(
                identity.number > told.last,
                "record {seq}: frame {} after {}",
                identity.number,
                told.last
            );
            told.stretches += u64::from(identity.number != told.last + 1);
        }
        told.last = identity.number;
        told.frames += 1;
        if identity.idle {
            told.idle += 1;
            assert!(!record.flags.contains(FrameFlags::GAP), "record {seq}: idle frames are not counted");
            continue;
        }
        // 24 bits: no downtime of this test comes near a wrap.
        let Some(last) = last_count.insert(identity.gvcid.vcid, record.frame_count) else { continue };
        let missing = record.frame_count - last - 1;
        assert_eq!(
            record.flags.contains(FrameFlags::GAP),
            missing > 0,
            "record {seq}: {missing} missing before it"
        );
        told.lost += u64::from(missing);
    }
    told
}

// REQ: FEP-SYS-005
// REQ: FEP-SYS-006
#[test]
fn killed_at_any_moment_nothing_is_lost_but_what_the_link_lost_meanwhile_and_that_is_counted() {
    let rounds = variable("FEP_KILL_ROUNDS", 20);
    let seed = variable("FEP_KILL_SEED", 0x5EED).max(1);
    println!("FEP_KILL_ROUNDS={rounds} FEP_KILL_SEED={seed}");
    let mut moments = Moments(seed);
    let (spec, downlink) = station();
    let directory = RunDirectory::new();
    let station = Station::start(&spec).expect("it starts");
    let link = tcp_link("cso-2", "cso/cso-2", station.address().expect("it listens"));
    let config = directory.configure(&link);
    let mut follower = Follower::start(&directory.rings(), "cso-2.frames", "killed", directory.path());
    let mut daemon = Daemon::start(&directory, &config);
    let mut daemon_kills = 0;
    for _ in 0..rounds {
        moments.sleep();
        let victim = moments.below(3);
        if victim != 1 {
            follower.kill();
        }
        if victim != 0 {
            daemon.kill();
            daemon_kills += 1;
            moments.sleep();
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
    let told = check(&records, &oracle);
    println!("{report:?}\n{told:?}");
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
    let last_life = records.len() - counts.published as usize;
    let of_last_life = check(&records[last_life..], &oracle).frames;
    assert_eq!(of_last_life, counts.published);
    assert!(link.ledger.is_balanced(), "{}", link.ledger);
    assert!(daemon.stop().success());
}
