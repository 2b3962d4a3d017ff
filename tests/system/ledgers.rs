//! The four ledgers over one run in which everything goes wrong at once: a bad channel, fepd, recorder and archive killed over
//! and over, a consumer that stands still. Link, reception, bus and disk balance to the unit, and the archive knows exactly
//! what is missing.

use std::ops::Range;

use fep_bus::Colour;
use fep_segments::{LossCause, SegmentState, Stream, list};
use fep_sim::{ChannelSpec, Encoder, FrameOracle, Station, Unconnected};
use fep_tests::journal::{self, Line};
use fep_tests::{
    Archive, Daemon, Follower, Moments, Reception, Recorded, Recorder, RunDirectory, cso_2, disk_directory,
    downlink, every_fault, kill_rounds, tcp_link, wait_until,
};

const RING: &str = "cso-2.frames";
/// About 3900 frames a second.
const RATE_BPS: u64 = 40_000_000;
/// Records that the ring holds.
const HOLDS: u64 = 1 << 14;
/// Lives between two kills.
const LIFE_MS: Range<u64> = 20..300;

// REQ: FEP-SYS-023
// REQ: FEP-SYS-004
#[test]
fn through_channel_faults_and_kills_of_everything_the_four_ledgers_balance_to_the_unit() {
    // A fifth each of the rounds that the tests of one victim have.
    let rounds = kill_rounds().div_ceil(5);
    let mut moments = Moments::from_environment();
    let directory = RunDirectory::new();
    let disk = disk_directory();
    let (segments, rings) = (disk.path().join("segments"), directory.rings());
    let stream = Stream::new(Colour::Black, RING);
    let mut spec = cso_2(Some(RATE_BPS), Unconnected::Lose);
    // Duplicates more often than elsewhere: this run is shorter.
    spec.channel = ChannelSpec { duplicate_probability: 2e-3, ..every_fault() };
    let downlink = downlink(&mut spec).clone();
    let station = Station::start(&spec).expect("it starts");
    let link = tcp_link("cso-2", "cso/cso-2", station.address().expect("it listens"));
    let config =
        directory.configure(&format!("{link}[rings]\nframes_data_mib = 32\nframes_desc_log2 = 14\n"));
    let settings =
        Recorder::configure(directory.path(), &rings, &segments, "segment_mib = 2\nblock_kib = 64\n");
    let mut recorder = Recorder::start(&settings, &rings);
    let mut daemon = Daemon::start(&directory, &config);
    let mut archive = Archive::start(disk.path().join("archive"), &segments, &rings, "");
    let witness = Follower::start(&rings, RING, "witness", directory.path());
    let sleeper = Follower::start(&rings, RING, "sleeper", directory.path());
    let lag = |recorder: &Recorder| recorder.figure(&format!("black/{RING}.lag"));
    wait_until("it records", || lag(&recorder));

    let mut balanced = 0;
    for round in 0..rounds {
        // Twice the recorder stands still, and from a third of the way on the sleeper, until they are lapped.
        if round == rounds / 3 {
            sleeper.freeze();
        }
        if round == rounds / 3 || round == 2 * rounds / 3 {
            wait_until("it has caught up", || match lag(&recorder)? {
                lag if lag < 2000 => Ok(()),
                lag => Err(lag.to_string()),
            });
            recorder.freeze();
            let from = witness.written();
            wait_until("the ring goes round", || match witness.written() {
                written if written > from + HOLDS + 4000 => Ok(()),
                written => Err(format!("{written} of {}", from + HOLDS + 4000)),
            });
            recorder.thaw();
        }
        moments.sleep_ms(LIFE_MS);
        // Of a life that is about to be ended: whatever it has counted, it balances.
        if let Ok(link) = daemon.link("cso-2") {
            assert!(link.ledger.is_balanced(), "{}", link.ledger);
            balanced += u64::from(link.ledger.counts.received > 0);
        }
        recorder.kill();
        moments.sleep_ms(0..50);
        recorder = Recorder::start(&settings, &rings);
        moments.sleep_ms(LIFE_MS);
        daemon.kill();
        daemon = Daemon::launch(&directory, &config);
        moments.sleep_ms(LIFE_MS);
        archive.kill();
        archive.restart();
    }
    println!("{rounds} kills each; {balanced} lives of fepd were asked while they received, and balanced");
    wait_until("the last life receives", || {
        let received = daemon.link("cso-2")?.ledger.counts.received;
        if received > 5000 { Ok(()) } else { Err(received.to_string()) }
    });
    sleeper.thaw();
    station.stop();
    let (report, _) = station.join();
    let link = wait_until("fepd has read to the end of the connection", || {
        let link = daemon.link("cso-2")?;
        if link.state == "connected" { Err(link.state) } else { Ok(link) }
    });
    wait_until("the recorder has everything", || match lag(&recorder)? {
        0 => Ok(()),
        lag => Err(lag.to_string()),
    });
    let ring = daemon.status().expect("it answers").rings.into_iter().find(|ring| ring.name == RING);
    let published = ring.expect("the ring").head_seq - 1;
    assert!(recorder.stop().success());
    assert!(daemon.stop().success());

    // Bus: published = consumed + lost, of a consumer that kept up and of one that did not.
    let (records, gaps) = journal::settle(&witness.finish());
    assert_eq!((records.len() as u64, journal::lost(&gaps)), (published, 0), "the witness");
    let (consumed, gaps) = journal::settle(&sleeper.finish());
    let slept = journal::lost(&gaps);
    assert!(slept > 0, "else this proves nothing");
    assert_eq!(consumed.len() as u64 + slept, published, "the sleeper");

    // Link: on every virtual channel sent = here + missing by the counter, over all lives of fepd and all that the channel
    // and its absence cost ([`Reception`] holds every record against the spacecraft).
    let sent = report.cadus_sent + report.cadus_cut + report.cadus_unheard;
    let oracle = FrameOracle::new(downlink.spacecraft.clone(), spec.seed, sent).expect("valid");
    let told = Reception::of(&records, 0, &oracle);
    println!("{report:?}\n{told:?}");
    assert_eq!(told.frames + told.bad, published, "received = good + corrected + uncorrectable");
    assert!(told.bad > 0 && told.corrected > 0 && told.duplicates > 0 && told.lost > 0, "{told:?}");

    // Reception and chain of the last life, to the bit and to the frame.
    let counts = link.ledger.counts;
    let last_life = Reception::of(&records, published - counts.published + 1, &oracle);
    assert!(link.ledger.is_balanced(), "{}", link.ledger);
    assert_eq!(counts.received, counts.published, "nothing is dropped by configuration");
    assert_eq!(counts.good + counts.corrected, last_life.frames);
    assert_eq!(counts.uncorrectable, last_life.bad);
    assert_eq!(
        [counts.corrected, counts.symbols_corrected, counts.idle, counts.duplicates],
        [last_life.corrected, last_life.symbols_corrected, last_life.idle, last_life.duplicates]
    );
    assert_eq!((counts.gaps, counts.lost), (last_life.gaps, last_life.lost));
    let named = |counters: &[fep_control::api::NamedCount], name: &str| {
        counters.iter().find(|count| count.name == name).unwrap_or_else(|| panic!("no counter {name}")).value
    };
    let sync = |name: &str| named(&link.sync_counters, name);
    let encoder = Encoder::new(downlink.marker(), &downlink.code, downlink.randomizer).expect("valid");
    let period = 8 * encoder.layout().cadu_len() as u64;
    assert_eq!(sync("bits_in"), 8 * named(&link.transport_counters, "bytes"), "every octet was searched");
    assert_eq!(
        sync("bits_in") + sync("bits_shared"),
        sync("blocks") * period + sync("bits_discarded") + sync("bits_held"),
        "bits in = blocks + discarded + held: {:?}",
        link.sync_counters
    );
    assert_eq!(sync("blocks"), counts.received, "every block is a frame");

    // Disk: recorded + lost = published, each record once, octet for octet.
    let recorded = Recorded::read(&segments, &stream);
    recorded.assert_accounts_for_all_of(&records);
    assert_eq!(recorded.twice, Vec::<u64>::new(), "each is in one segment");
    println!("{published} published, {} on disk, {:?}", recorded.records.len(), recorded.losses);
    assert!(recorded.lost() > 0, "else this proves nothing");
    let causes = [LossCause::Lapped, LossCause::Evicted];
    assert!(recorded.losses.iter().all(|loss| causes.contains(&loss.cause)), "{:?}", recorded.losses);

    // The archive: everything that is on disk once; and what it says is missing is what the channel, the kills and the
    // recorder's losses have cost together.
    let entries = list(&segments, &stream).expect("it can be listed");
    assert!(entries.iter().all(|entry| entry.state == SegmentState::Sealed), "{entries:?}");
    archive.has_taken_in(entries.len());
    let every = ["--session", "test", "--quality", "any", "--every-copy"];
    let rows = archive.retrieve("frames", "jsonl", &every);
    assert_eq!(rows.iter().filter(|octet| **octet == b'\n').count(), recorded.records.len());
    let totals = archive.ask("/v1/status").expect("it answers")["totals"].clone();
    assert_eq!(totals["frames"], recorded.records.len());
    assert_eq!(totals["lost_records"], recorded.lost());
    let on_disk: Vec<Line> = recorded.records.values().copied().collect();
    let missing = Reception::missing_by_counter(&on_disk);
    let gaps = archive.ask("/v1/gaps?session=test&limit=100000").expect("it answers");
    let gaps = gaps.as_array().expect("a list");
    let lost: u64 = gaps.iter().map(|gap| gap["lost"].as_u64().unwrap_or_default()).sum();
    assert_eq!(lost, missing, "{} gaps", gaps.len());
    assert!(missing > told.lost, "the recorder's own losses are gaps, too");
    assert!(archive.stop().success());
}
