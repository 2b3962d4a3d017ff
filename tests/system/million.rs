//! A million frames through station, `fepd`, rings and a consumer process, over a channel with every kind of fault: every
//! octet of every good frame and packet is checked, and the ledgers of link, reception and bus balance to the unit.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fep_bus::{Consumer, Poll, Resume};
use fep_record::{BadReason, FrameFlags, FrameRecord};
use fep_sim::{
    DownlinkSpec, FrameOracle, Ledger, Memory, Outcome, Passage, Station, StationSpec, Unconnected,
    verify_packet,
};
use fep_tests::journal::{self, Line};
use fep_tests::{Daemon, Follower, RunDirectory, cso_2, downlink, every_fault, tcp_link, wait_until};

/// Symbols that RS(255,223) corrects in a codeword.
const CORRECTABLE: u16 = 16;

fn frame_count() -> u64 {
    let text = std::env::var("FEP_FRAMES").unwrap_or_else(|_| "1000000".to_owned());
    text.parse().unwrap_or_else(|_| panic!("FEP_FRAMES={text:?}: a number of frames"))
}

/// cso-2 through a bad channel.
fn station(frames: u64) -> (StationSpec, DownlinkSpec) {
    let mut spec = cso_2(None, Unconnected::Hold);
    spec.channel = every_fault();
    let downlink = downlink(&mut spec);
    downlink.frames = Some(frames);
    let downlink = downlink.clone();
    (spec, downlink)
}

/// What the ledger of the channel foretells of ledgers further down.
#[derive(Debug, Default)]
struct Foretold {
    good: u64,
    corrected: u64,
    uncorrectable: u64,
    symbols_corrected: u64,
    idle: u64,
    duplicates: u64,
    gaps: u64,
    lost: u64,
    /// Good frames, each once.
    distinct: u64,
    /// Of these, idle ones.
    idle_distinct: u64,
    /// Idle frames that never arrived good: no counter tells, and nobody misses them.
    idle_missing: u64,
    /// Frames of each virtual channel that the spacecraft sent after the last good one.
    tail: u64,
}

/// Follows one virtual channel as its frame counter does.
#[derive(Debug, Default, Clone, Copy)]
struct Vc {
    last: Option<u64>,
}

/// Holds the records of the frames ring against the ledger of the channel, arrival by arrival.
fn check_frames(ledger: &Ledger, oracle: &FrameOracle, frames: u64, records: &[Line]) -> Foretold {
    let mut foretold = Foretold::default();
    let mut vcs: BTreeMap<u8, Vc> = BTreeMap::new();
    let mut records = records.iter();
    let mut inverted = false;
    for (position, (cadu, outcome)) in (0_u64..).zip(ledger.outcomes(CORRECTABLE)) {
        inverted ^= ledger.inversions().binary_search(&position).is_ok();
        if outcome == Outcome::Lost {
            continue;
        }
        let passage = ledger.passage(position);
        let Some(Line::Record { seq, flags, words, hash, .. }) = records.next() else {
            panic!("arrival {position} (frame {cadu}, {outcome:?}) is not in the ring");
        };
        let place = format!("arrival {position}, frame {cadu}, record {seq}, {outcome:?}");
        let record = FrameRecord::from_words(*flags, *words).expect("a record of this version");
        let has = |flag| record.flags.contains(flag);
        assert_eq!(has(FrameFlags::INVERTED), inverted, "{place}");
        let marker_bit_errors = passage.map_or(0, |passage| passage.marker_bit_errors);
        assert_eq!(u32::from(record.marker_bit_errors), marker_bit_errors, "{place}");
        let symbols = match outcome {
            Outcome::Intact => 0,
            Outcome::Corrected { symbols } => symbols,
            Outcome::Uncorrectable { .. } | Outcome::Lost => {
                check_bad(&record, passage, &place);
                foretold.uncorrectable += 1;
                continue;
            }
        };
        assert_eq!(record.reason, BadReason::None, "{place}");
        assert_eq!(u32::from(record.symbols_corrected), symbols, "{place}");
        assert_eq!(has(FrameFlags::CORRECTED), symbols > 0, "{place}");
        foretold.good += u64::from(symbols == 0);
        foretold.corrected += u64::from(symbols > 0);
        foretold.symbols_corrected += u64::from(symbols);
        // Every octet: the hash of what was published is that of the frame that was sent, and of no other.
        let identity = oracle.identify_hash(*hash).unwrap_or_else(|| panic!("{place}: never sent"));
        assert_eq!(identity.number, cadu, "{place}");
        assert_eq!(record.gvcid, identity.gvcid, "{place}");
        assert_eq!(has(FrameFlags::IDLE), identity.idle, "{place}");
        foretold.idle += u64::from(identity.idle);
        let vc = vcs.entry(identity.gvcid.vcid).or_default();
        let repeated = vc.last == Some(identity.vc_number);
        // Counts of the idle channel say nothing, and nothing is lost with its frames.
        let missing = match vc.last {
            Some(last) if !identity.idle => identity.vc_number.saturating_sub(last + 1),
            _ => 0,
        };
        let twice = repeated && !identity.idle;
        assert_eq!(has(FrameFlags::GAP), missing > 0, "{place}: {missing} missing");
        assert_eq!(has(FrameFlags::DUPLICATE), twice, "{place}");
        vc.last = Some(identity.vc_number);
        foretold.gaps += u64::from(missing > 0);
        foretold.lost += missing;
        foretold.duplicates += u64::from(twice);
        foretold.distinct += u64::from(!repeated);
        foretold.idle_distinct += u64::from(identity.idle && !repeated);
    }
    assert_eq!(records.next(), None, "a record of a frame that never arrived");
    foretold.idle_missing = oracle.idle_frames(..) - foretold.idle_distinct;
    // What no counter can tell: frames before the first and after the last good one of a channel.
    foretold.tail = frames - foretold.distinct - foretold.lost - foretold.idle_missing;
    foretold
}

fn check_bad(record: &FrameRecord, passage: Option<&Passage>, place: &str) {
    // A slip by whole octets can make another codeword, which only the FECF tells: see the ledger's documentation.
    let deceiving = passage.and_then(|passage| passage.slip).is_some_and(|slip| slip.bits % 8 == 0);
    let told = match record.reason {
        BadReason::Uncorrectable => record.flags.contains(FrameFlags::UNCORRECTABLE),
        BadReason::FecfFailed => deceiving && record.flags.contains(FrameFlags::FECF_FAILED),
        _ => false,
    };
    assert!(told, "{place}: {record:?}");
}

/// Reads the packets ring until `stop`; every packet must prove itself. Returns packets read and lost on the bus.
fn check_packets(directory: &RunDirectory, seed: u64, stop: &AtomicBool) -> (u64, u64) {
    let mut consumer = wait_until("the packets ring exists", || {
        Consumer::attach(&directory.rings(), "cso-2.packets", "million", Resume::Oldest)
            .map_err(|error| error.to_string())
    });
    let mut packet = Vec::new();
    loop {
        match consumer.poll(&mut packet) {
            Poll::Record(record) => {
                if let Err(mismatch) = verify_packet(seed, &packet) {
                    panic!("packet record {}: {mismatch}", record.seq);
                }
            }
            Poll::Empty | Poll::Closed if stop.load(Ordering::Relaxed) => break,
            Poll::Empty | Poll::Closed => std::thread::sleep(Duration::from_micros(200)),
            Poll::Gap(_) | Poll::Restarted { .. } | Poll::Recreated => {}
        }
    }
    let ledger = consumer.ledger();
    (ledger.consumed_records, ledger.lost_records)
}

// REQ: FEP-SYS-003
// REQ: FEP-SYS-004
#[test]
fn a_million_frames_through_a_bad_channel_balance_to_the_unit_and_every_good_octet_is_right() {
    let frames = frame_count();
    let (spec, downlink) = station(frames);
    let directory = RunDirectory::new();
    let station = Station::start_remembering(&spec, Memory::EveryArrival).expect("it starts");
    // Rings large enough that a consumer held up by a busy machine loses nothing; the ledgers would tell.
    let rings = "[rings]\nframes_desc_log2 = 20\nframes_data_mib = 1024\npackets_desc_log2 = 20\npackets_data_mib = 512\n\n";
    let link = tcp_link("cso-2", "cso/cso-2", station.address().expect("it listens"));
    let config = directory.configure(&format!("{rings}{link}"));
    let stop_packets = AtomicBool::new(false);
    let (status, report, ledger, lines, (packets_read, packets_lost)) = std::thread::scope(|scope| {
        let daemon = Daemon::start(&directory, &config);
        let follower = Follower::start(&directory.rings(), "cso-2.frames", "million", directory.path());
        let packets = scope.spawn(|| check_packets(&directory, spec.seed, &stop_packets));
        let (report, ledger) = station.join();
        let arrived =
            ledger.outcomes(CORRECTABLE).filter(|(_, outcome)| *outcome != Outcome::Lost).count() as u64;
        let status = wait_until("fepd has received everything", || {
            let status = daemon.status()?;
            let received = status.links[0].ledger.counts.received;
            if received >= arrived { Ok(status) } else { Err(format!("{received} of {arrived} frames")) }
        });
        let lines = follower.finish();
        stop_packets.store(true, Ordering::Relaxed);
        let packets = packets.join().expect("every packet proves itself");
        assert!(daemon.stop().success());
        (status, report, ledger, lines, packets)
    });

    let (records, gaps) = journal::settle(&lines);
    let lost_on_bus = journal::lost(&gaps);
    let link = &status.links[0];
    let counts = link.ledger.counts;
    // The bus: published = consumed + lost, for both consumers; nobody was lapped.
    assert_eq!(counts.published, records.len() as u64 + lost_on_bus);
    assert_eq!(counts.packets, packets_read + packets_lost);
    assert_eq!((lost_on_bus, packets_lost), (0, 0), "the rings hold half a run");
    let ring = status.rings.iter().find(|ring| ring.name == "cso-2.frames").expect("the frames ring");
    assert_eq!(ring.head_seq - 1, counts.published);

    let oracle = FrameOracle::new(downlink.spacecraft, spec.seed, frames).expect("valid");
    let foretold = check_frames(&ledger, &oracle, frames, &records);
    // Reception: what the station sent is what fepd received, and what became of it is what the ledger foretold.
    assert_eq!((report.cadus_cut, report.cadus_unheard), (0, 0), "{report:?}");
    assert!(link.ledger.is_balanced(), "{}", link.ledger);
    assert_eq!(counts.received, foretold.good + foretold.corrected + foretold.uncorrectable);
    assert_eq!(counts.good, foretold.good);
    assert_eq!(counts.corrected, foretold.corrected);
    assert_eq!(counts.uncorrectable, foretold.uncorrectable);
    assert_eq!(counts.symbols_corrected, foretold.symbols_corrected);
    assert_eq!(counts.idle, foretold.idle);
    assert_eq!(counts.duplicates, foretold.duplicates);
    let octets = link.transport_counters.iter().find(|count| count.name == "bytes").expect("octets received");
    assert_eq!(octets.value, report.octets_sent);
    // The link: every frame that the spacecraft sent is here, or counted as missing, or after the last good one.
    assert_eq!((counts.gaps, counts.lost), (foretold.gaps, foretold.lost));
    assert_eq!(frames, foretold.distinct + foretold.lost + foretold.idle_missing + foretold.tail);
    assert!(foretold.tail < 20, "only the very last frames can be missing uncounted: {foretold:?}");
    // The run was as bad as it was meant to be.
    let worst = ledger.counts();
    assert!(worst.slips > 0 && worst.inversions > 0 && worst.lost > 0 && worst.duplicated > 0, "{worst:?}");
    assert!(foretold.corrected > frames / 20 && foretold.uncorrectable > 0, "{foretold:?}");
    println!("{foretold:?}");
}
