//! Three antennas of one spacecraft, each with faults of its own, through kills of `fepd`: the spacecraft's ring holds every
//! frame that the ring of any antenna holds, once, and in the order of its virtual channel.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use fep_control::api::{Ledgers, SpacecraftStatus};
use fep_record::{BadReason, FrameRecord};
use fep_sim::{ChannelSpec, FrameIdentity, FrameOracle, Station, Unconnected};
use fep_tests::journal::{self, Line};
use fep_tests::{
    Daemon, Follower, Moments, RunDirectory, cso_2, downlink, get, kill_rounds, tcp_link, wait_until,
};

/// About 2000 frames a second from each antenna.
const RATE_BPS: u64 = 20_000_000;
const LIFE_MS: Range<u64> = 200..1000;
const ANTENNAS: [&str; 3] = ["north", "south", "west"];

/// What each antenna misses: frames, codeblocks, and the alignment of bits.
fn faults() -> [ChannelSpec; 3] {
    let clear = ChannelSpec::default();
    [
        ChannelSpec { drop_out_probability: 5e-3, drop_out_cadus: 12, ..clear },
        ChannelSpec { burst_probability: 0.05, burst_symbols: 600, bit_error_rate: 1e-5, ..clear },
        ChannelSpec { slip_probability: 2e-3, slip_bits: 8, duplicate_probability: 1e-3, ..clear },
    ]
}

/// The good frames of a ring that are not idle, in order: who they are.
fn good(lines: &[Line], oracle: &FrameOracle) -> Vec<FrameIdentity> {
    let (records, gaps) = journal::settle(lines);
    assert!(gaps.is_empty(), "the reader kept up: {gaps:?}");
    let identify = |line: &Line| {
        let Line::Record { flags, words, hash, .. } = line else { panic!("{line:?}") };
        let record = FrameRecord::from_words(*flags, *words).expect("a record of this version");
        if record.reason != BadReason::None {
            return None;
        }
        let identity = oracle.identify_hash(*hash).expect("a good frame is one that was sent");
        (!identity.idle).then_some(identity)
    };
    records.iter().filter_map(identify).collect()
}

// REQ: FEP-ENG-106
#[test]
fn three_antennas_and_kills_of_fepd_give_every_frame_that_any_antenna_has_once_and_in_order() {
    let rounds = kill_rounds().div_ceil(5);
    let mut moments = Moments::from_environment();
    let directory = RunDirectory::new();
    let mut spec = cso_2(Some(RATE_BPS), Unconnected::Lose);
    let spacecraft = downlink(&mut spec).spacecraft.clone();
    let stations = faults().map(|channel| {
        spec.channel = channel;
        Station::start(&spec).expect("it starts")
    });
    let links = ANTENNAS.iter().zip(&stations);
    let links: String = links
        .map(|(name, station)| tcp_link(name, "cso/cso-2", station.address().expect("it listens")))
        .collect();
    // The wait is long because a test machine may be: where every antenna has passed a gap nobody waits.
    let merged = "[spacecraft.leo]\nlinks = [\"north\", \"south\", \"west\"]\nwait_us = 2000000\nwindow_frames = 65536\n";
    let config = directory.configure(&format!("{links}{merged}"));
    let follow = |ring: &str| Follower::start(&directory.rings(), ring, "witness", directory.path());
    let mut daemon = Daemon::start(&directory, &config);
    let own = ANTENNAS.map(|name| follow(&format!("{name}.frames")));
    let served = follow("leo.frames");
    for _ in 0..rounds {
        moments.sleep_ms(LIFE_MS);
        daemon.kill();
        moments.sleep_ms(0..100);
        daemon = Daemon::launch(&directory, &config);
    }
    let socket = directory.path().join("control.sock");
    let leo = || -> Result<SpacecraftStatus, String> {
        serde_json::from_str(&get(&socket, "/spacecraft/leo")?).map_err(|error| error.to_string())
    };
    wait_until("the last life serves", || match leo()? {
        leo if leo.ledger.counts.received > 3000 => Ok(()),
        leo => Err(format!("{:?}", leo.ledger)),
    });
    stations.iter().for_each(Station::stop);
    let reports = stations.map(|station| station.join().0);
    let last = wait_until("nothing is held any more", || {
        let leo = leo()?;
        let quiet = leo.antennas.iter().all(|antenna| antenna.counts.pending == 0 && !antenna.waited_for);
        if quiet { Ok(leo) } else { Err(format!("{:?}", leo.antennas)) }
    });
    assert!(
        last.antennas.iter().all(|antenna| antenna.is_balanced() && antenna.lost_on_bus == 0),
        "{last:?}"
    );
    let ledgers: Ledgers =
        serde_json::from_str(&get(&socket, "/ledgers").expect("it answers")).expect("ledgers");
    assert!(ledgers.balanced, "{ledgers:?}");
    assert!(daemon.stop().success());

    let sent = reports.iter().map(|r| r.cadus_sent + r.cadus_cut + r.cadus_unheard).max().unwrap_or(0);
    // What a channel dropped out was sent as well, and is not in the report.
    let oracle = FrameOracle::new(spacecraft, spec.seed, 2 * sent).expect("valid");
    let mut any = BTreeSet::new();
    for (name, follower) in ANTENNAS.iter().zip(own) {
        let frames = good(&follower.finish(), &oracle);
        println!("{name}: {} good frames", frames.len());
        assert!(!frames.is_empty());
        any.extend(frames.iter().map(|frame| frame.number));
    }
    let served = good(&served.finish(), &oracle);
    let mut newest: BTreeMap<u8, u64> = BTreeMap::new();
    for frame in &served {
        let before = newest.insert(frame.gvcid.vcid, frame.vc_number);
        assert!(before.is_none_or(|before| frame.vc_number > before), "{frame:?} after {before:?}");
    }
    let numbers: BTreeSet<u64> = served.iter().map(|frame| frame.number).collect();
    assert_eq!(numbers.len(), served.len(), "each once");
    println!("{rounds} kills; {} frames of {sent} served", served.len());
    let missing: Vec<_> = any.difference(&numbers).take(10).collect();
    assert!(missing.is_empty(), "an antenna has them and the spacecraft has not: {missing:?}");
    assert_eq!(numbers.len(), any.len());
}
