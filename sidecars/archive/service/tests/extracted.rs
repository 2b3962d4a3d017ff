//! Packets where only frames were recorded: held against an archive of the same stream that has the ring of packets, too.

#[path = "../../catalogue/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use fep_archive::answer;
use fep_archive::retrieval::{Archive, Plan};
use fep_archive_query::{Retrieval, Unit};
use fep_catalogue::{
    Ingest, IngestConfig, Keeper, PacketLayouts, SegmentFilter, SegmentState, Store, StoreConfig,
};
use fep_downlink::{Chain, ChainEvent, ChainOptions, FrameOut, Framing, PacketOut, Reception, Sink};
use fep_mission::{Fleet, Mission};
use fep_record::PacketRecord;
use fep_time::{Monotonic, Tai};
use proptest::prelude::*;
use support::{MS, Recorder, START, TestFrame, catalogue_at, ingest_config};

const SCID: u16 = 42;
const FRAME_LEN: usize = 120;
const ZONE_LEN: usize = FRAME_LEN - 6;

fn mission() -> Mission {
    let text = format!(
        "title = \"t\"\n[spacecraft.s]\nscid = {SCID}\n[channel.c]\nspacecraft = \"s\"\nrandomizer = \"none\"\n\
         frame = {{ kind = \"tm\", frame_len = {FRAME_LEN} }}\nsync = {{ marker = \"1acffc1d\" }}\n\
         code = {{ code = \"none\" }}\nvc = [{{ id = 0, service = \"packets\" }}, {{ id = 1, service = \"packets\" }}]\n"
    );
    fep_mission::load_text("m", "m.toml", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Frames of two channels in turn, of packets with three APIDs each; every 37th frame is lost.
fn sent() -> Vec<Vec<u8>> {
    let mut channels = Vec::new();
    for vcid in 0..2u16 {
        let (mut stream, mut starts) = (Vec::new(), Vec::new());
        for count in 0..120u16 {
            let data_len = usize::from(count * 7 % 61) * if count % 10 == 0 { 40 } else { 3 } + 5;
            starts.push(stream.len());
            stream.extend((100 * (vcid + 1) + count % 3).to_be_bytes());
            stream.extend((0xC000 | count).to_be_bytes());
            stream.extend(((data_len - 1) as u16).to_be_bytes());
            stream.extend((0..data_len).map(|at| (at as u16 ^ count ^ vcid << 5) as u8));
        }
        stream.truncate(stream.len() / ZONE_LEN * ZONE_LEN);
        let frames = stream.chunks(ZONE_LEN).enumerate().map(|(number, zone)| {
            let from = number * ZONE_LEN;
            let start = starts.iter().find(|start| (from..from + ZONE_LEN).contains(*start));
            let pointer = start.map_or(0x7FF, |start| (start - from) as u16);
            let mut octets = (SCID << 4 | vcid << 1).to_be_bytes().to_vec();
            octets.extend([0, number as u8]);
            octets.extend((0x1800 | pointer).to_be_bytes());
            octets.extend_from_slice(zone);
            octets
        });
        channels.push(frames.collect::<Vec<_>>().into_iter());
    }
    let (mut frames, mut number) = (Vec::new(), 0);
    while channels.iter().any(|channel| channel.len() > 0) {
        for frame in channels.iter_mut().filter_map(Iterator::next) {
            number += 1;
            if number % 37 != 0 {
                frames.push(frame);
            }
        }
    }
    frames
}

/// What the daemon publishes of it.
#[derive(Default)]
struct Published {
    frames: Vec<TestFrame>,
    packets: Vec<(PacketRecord, i64, Vec<u8>)>,
    /// How many packets there are after so many frames.
    packets_by: Vec<usize>,
}

impl Sink for Published {
    fn frame(&mut self, frame: &FrameOut<'_>) {
        let (record, rx_tai_ns, octets) = (frame.record, frame.received.0, frame.octets.to_vec());
        self.frames.push(TestFrame { record, rx_tai_ns, octets });
    }

    fn packet(&mut self, packet: &PacketOut<'_>) {
        self.packets.push((packet.record, packet.received.0, packet.octets.to_vec()));
    }

    fn event(&mut self, _: ChainEvent) {}
}

fn published() -> Published {
    let options = ChainOptions { framing: Framing::DatagramFrame, ..ChainOptions::default() };
    let mut chain = Chain::with_options(&mission().channels["c"], options).unwrap();
    let mut published = Published::default();
    for (number, frame) in sent().iter().enumerate() {
        let ns = START + number as i64 * MS;
        published.packets_by.push(published.packets.len());
        chain.receive(&Reception::new(frame, Tai(ns)), Monotonic(ns), &mut published);
        assert_eq!(published.frames.len(), number + 1);
    }
    published.packets_by.push(published.packets.len());
    assert!(chain.ledger().counts.gaps > 5 && published.packets.len() > 100);
    published
}

/// An archive in a directory, and everything taken in that is there.
async fn archive(root: &Path) -> (Archive, Ingest) {
    let fleet = Fleet::of([&mission()]).unwrap();
    let layouts = PacketLayouts::from(fleet);
    let catalogue = catalogue_at(root).await;
    std::fs::create_dir(root.join("store")).unwrap();
    let store = Store::open(&StoreConfig::directory(&root.join("store"))).unwrap();
    let segments = root.join("segments");
    let config = IngestConfig { packets: layouts.clone(), tail: true, ..ingest_config(&segments) };
    let ingest = Ingest::open(config, catalogue.clone(), store.clone()).await.unwrap();
    let tail = ingest.tail();
    let fleet = Arc::clone(layouts.fleet());
    let indexes = Keeper::new(&segments, catalogue.clone(), store.clone(), layouts).indexes();
    (Archive { segments, catalogue, store, tail, indexes, fleet }, ingest)
}

async fn take_in(ingest: &mut Ingest) {
    let mut idle = 0;
    while idle < 3 {
        let step = ingest.step().await.unwrap();
        assert!(step.refused.is_empty(), "{step:?}");
        idle = if step.is_idle() { idle + 1 } else { 0 };
    }
}

/// Answer and account of a query for packets.
async fn ask(archive: &Archive, query: &str) -> (Vec<u8>, answer::Manifest) {
    let retrieval = Retrieval::parse(Unit::Packets, query).unwrap();
    let plan = Plan::make(archive, retrieval).await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut octets = Vec::new();
        answer::deliver(&plan, &runtime, 0, u64::MAX, &mut |piece| {
            octets.extend_from_slice(piece);
            true
        })
        .unwrap();
        let manifest = answer::manifest(&plan, &runtime).unwrap();
        assert_eq!(answer::length(&plan, &runtime).unwrap(), octets.len() as u64);
        (octets, manifest)
    })
    .await
    .unwrap()
}

const QUERIES: [&str; 6] = [
    "quality=any&format=packets",
    "quality=any&format=packets&apid=101",
    "quality=any&format=packets&apid=200-202&vcid=1",
    "quality=any&format=packets&merged=no&apid=100,202",
    "quality=any&format=packets&apid=999",
    "quality=any&format=packets&apid=100&limit=7",
];

// REQ: FEP-ARC-227
#[tokio::test]
async fn the_packets_of_recorded_frames_are_those_of_the_recorded_ring_of_packets_octet_by_octet() {
    let published = published();
    let with_ring = tempfile::tempdir().unwrap();
    let segments = with_ring.path().join("segments");
    Recorder::new(&segments, "one.frames").frames(&published.frames);
    Recorder::new(&segments, "one.packets").packets(&published.packets);
    let (oracle, mut ingest) = archive(with_ring.path()).await;
    take_in(&mut ingest).await;
    let all = oracle.catalogue.segments(&SegmentFilter::default()).await.unwrap();
    assert!(
        all.iter().all(|segment| segment.frames == 0 || segment.packets_index.is_none()),
        "the ring is used"
    );
    // In one segment, in many, and in some that are sealed and one that is not.
    for (part, open) in [(usize::MAX, 0), (17, 0), (3, 0), (90, 40), (200, usize::MAX)] {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("segments");
        let mut recorder = Recorder::new(&root, "one.frames");
        let open = open.min(published.frames.len());
        let (sealed, growing) = published.frames.split_at(published.frames.len() - open);
        sealed.chunks(part.min(sealed.len().max(1))).for_each(|part| drop(recorder.frames(part)));
        let writer = (open > 0).then(|| recorder.growing(growing));
        let (archive, mut ingest) = archive(directory.path()).await;
        take_in(&mut ingest).await;
        for query in QUERIES {
            let (expected, of_ring) = ask(&oracle, query).await;
            let (found, of_frames) = ask(&archive, query).await;
            assert!(found == expected, "{query}, parts of {part}, {open} open: {} octets", found.len());
            assert_eq!(of_frames.sha256, of_ring.sha256, "{query}");
            assert_eq!(of_frames.account.units, of_ring.account.units, "{query}");
            assert_eq!(of_frames.account.channels, of_ring.account.channels, "{query}");
            let rings: BTreeMap<String, u64> = [("one.frames".to_owned(), of_frames.account.units)]
                .into_iter()
                .filter(|(_, units)| *units > 0)
                .collect();
            assert_eq!(of_frames.account.rings, rings, "{query}");
        }
        drop(writer);
    }
}

// REQ: FEP-ARC-227
#[tokio::test]
async fn packets_that_begin_in_a_segment_that_is_gone_are_left_out_and_the_others_are_whole() {
    let published = published();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("segments");
    let mut recorder = Recorder::new(&root, "one.frames");
    published.frames.chunks(50).for_each(|part| drop(recorder.frames(part)));
    let (archive, mut ingest) = archive(directory.path()).await;
    take_in(&mut ingest).await;
    let (all, _) = ask(&archive, QUERIES[0]).await;
    let segments = archive.catalogue.segments(&SegmentFilter::default()).await.unwrap();
    let gone = segments[2].facts.id();
    archive.catalogue.set_segment_state(&gone, SegmentState::Quarantined, "a test").await.unwrap();
    std::fs::remove_file(root.join(format!("{gone}.seg"))).unwrap();
    let (rest, manifest) = ask(&archive, QUERIES[0]).await;
    assert_eq!(manifest.quarantined_segments, [gone]);
    assert!(rest.len() < all.len() && !rest.is_empty());
    // Every packet that is left is one of all, in the same order.
    let packets = |octets: &[u8]| {
        let (mut at, mut found) = (0, Vec::new());
        while at < octets.len() {
            let len = 7 + usize::from(u16::from_be_bytes([octets[at + 4], octets[at + 5]]));
            found.push(octets[at..at + len].to_vec());
            at += len;
        }
        found
    };
    let mut of_all = packets(&all).into_iter();
    for packet in packets(&rest) {
        assert!(of_all.any(|other| other == packet), "each is whole, none is made of two");
    }
}

/// Answer to a query for all packets, and what it says is missing. Somebody looks meanwhile, if `looked`.
async fn ask_meanwhile(archive: &Archive, ingest: &mut Ingest, looked: bool) -> (Vec<u8>, Vec<String>) {
    let look = async {
        if looked {
            ingest.look().await.unwrap();
        }
    };
    let retrieval = Retrieval::parse(Unit::Packets, QUERIES[0]).unwrap();
    let (plan, ()) = tokio::join!(Plan::make(archive, retrieval), look);
    let plan = plan.unwrap();
    let missing = plan.incomplete.clone();
    let runtime = tokio::runtime::Handle::current();
    let read = move || {
        let mut octets = Vec::new();
        answer::deliver(&plan, &runtime, 0, u64::MAX, &mut |piece| {
            octets.extend_from_slice(piece);
            true
        })
        .map(|_| octets)
    };
    (tokio::task::spawn_blocking(read).await.unwrap().unwrap(), missing)
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Seal(usize),
    Look,
    TakeIn,
    /// As after a kill: what is in the catalogue stays, everything else is forgotten.
    Restart,
    /// By a release that takes no packets out of frames, or without the mission.
    RestartWithoutMission,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1_usize..60).prop_map(Act::Seal),
        2 => Just(Act::Look),
        2 => Just(Act::TakeIn),
        2 => Just(Act::Restart),
        1 => Just(Act::RestartWithoutMission),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    // REQ: FEP-ARC-228
    #[test]
    fn wherever_taking_in_stands_the_packets_of_recorded_frames_are_all_there_or_the_answer_says_what_is_missing(
        acts in prop::collection::vec((act(), prop::bool::weighted(0.95)), 1..12),
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let published = published();
            let directory = tempfile::tempdir().unwrap();
            let segments = directory.path().join("segments");
            let (mut archive, mut ingest) = archive(directory.path()).await;
            let mut recorder = Recorder::new(&segments, "one.frames");
            let (mut recorded, mut with_mission) = (0, true);
            for (act, looked) in acts.into_iter().chain([(Act::Restart, true), (Act::TakeIn, true)]) {
                match act {
                    Act::Seal(count) => {
                        let end = published.frames.len().min(recorded + count);
                        if end > recorded {
                            recorder.frames(&published.frames[recorded..end]);
                        }
                        recorded = end;
                    }
                    Act::Look => drop(ingest.look().await.unwrap()),
                    Act::TakeIn => drop(ingest.step().await.unwrap()),
                    Act::Restart | Act::RestartWithoutMission => {
                        with_mission = matches!(act, Act::Restart);
                        let packets = if with_mission {
                            PacketLayouts::from(Fleet::of([&mission()]).unwrap())
                        } else {
                            PacketLayouts::default()
                        };
                        let config = IngestConfig { packets, tail: true, ..ingest_config(&segments) };
                        let (catalogue, store) = (archive.catalogue.clone(), archive.store.clone());
                        ingest = Ingest::open(config, catalogue, store).await.unwrap();
                        archive.tail = ingest.tail();
                    }
                }
                archive.tail.attend();
                // Nobody expects packets of a spacecraft that no mission describes.
                if !with_mission {
                    continue;
                }
                let packets = published.packets.iter().take(published.packets_by[recorded]);
                let expected: Vec<u8> = packets.flat_map(|(.., octets)| octets.iter().copied()).collect();
                let (found, missing) = ask_meanwhile(&archive, &mut ingest, looked).await;
                if missing.is_empty() {
                    assert!(found == expected, "{act:?}: {} octets of {}", found.len(), expected.len());
                } else {
                    assert!(found.len() <= expected.len(), "{act:?}: {} octets", found.len());
                }
            }
            take_in(&mut ingest).await;
            let packets = published.packets.iter().take(published.packets_by[recorded]);
            let expected: Vec<u8> = packets.flat_map(|(.., octets)| octets.iter().copied()).collect();
            let (found, missing) = ask_meanwhile(&archive, &mut ingest, true).await;
            assert_eq!(missing, Vec::<String>::new(), "all is taken in");
            assert!(found == expected, "{} octets of {}", found.len(), expected.len());
        });
    }
}

// REQ: FEP-ARC-229
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_of_frames_or_of_their_packets_is_answered_alike_and_made_again_with_the_packets() {
    let published = published();
    let directory = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::new(&directory.path().join("segments"), "one.frames");
    published.frames.chunks(100).for_each(|part| drop(recorder.frames(part)));
    let (archive, mut ingest) = archive(directory.path()).await;
    take_in(&mut ingest).await;
    let (expected, _) = ask(&archive, QUERIES[0]).await;
    let before = archive.catalogue.segments(&SegmentFilter::default()).await.unwrap();
    let second = &before[1];
    for index in [&second.packets_index, &second.frames_index] {
        let index = index.clone().unwrap();
        let file = directory.path().join("store").join(&index.key);
        let whole = std::fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        std::fs::write(&file, &damaged).unwrap();
        let frames = Retrieval::parse(Unit::Frames, "quality=any").unwrap();
        let plan = Plan::make(&archive, frames).await.unwrap();
        let runtime = tokio::runtime::Handle::current();
        let units = tokio::task::spawn_blocking(move || {
            answer::deliver(&plan, &runtime, 0, u64::MAX, &mut |_| true).unwrap().units
        });
        assert_eq!(units.await.unwrap(), published.frames.len() as u64);
        let (found, _) = ask(&archive, QUERIES[0]).await;
        assert!(found == expected, "{}: {} octets of {}", index.key, found.len(), expected.len());
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while std::fs::read(&file).unwrap() != whole {
            assert!(std::time::Instant::now() < until, "{} is not made again", index.key);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    assert_eq!(archive.indexes.damaged(), []);
    assert_eq!(archive.catalogue.segments(&SegmentFilter::default()).await.unwrap(), before);
}

/// Processor time of this process so far, ms.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // User and system time, in ticks of 10 ms.
    10 * (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
}

/// 256 MiB of frames of 1115 octets, with packets of 300 octets of 100 application processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: cargo test -p fep-archive --test extracted measured -- --ignored --nocapture"]
async fn measured_cost_of_extraction_and_of_finding_an_apid() {
    const LEN: usize = 1115;
    let text = format!(
        "title = \"t\"\n[spacecraft.s]\nscid = {SCID}\n[channel.c]\nspacecraft = \"s\"\nrandomizer = \"none\"\n\
         frame = {{ kind = \"tm\", frame_len = {LEN} }}\nsync = {{ marker = \"1acffc1d\" }}\n\
         code = {{ code = \"none\" }}\nvc = [{{ id = 0, service = \"packets\" }}]\n"
    );
    let mission = fep_mission::load_text("m", "m.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let frames_made = (256 << 20) / LEN;
    let (mut next, mut queue) = (0u32, Vec::<u8>::new());
    let frames: Vec<TestFrame> = (0..frames_made)
        .map(|number| {
            let mut pointer = 0x7FF;
            while queue.len() < LEN - 6 {
                let at = queue.len() as u16;
                if pointer == 0x7FF {
                    pointer = at;
                }
                queue.extend((100 + (next % 100) as u16).to_be_bytes());
                queue.extend((0xC000 | (next / 100 % 0x4000) as u16).to_be_bytes());
                queue.extend(293u16.to_be_bytes());
                queue.extend((0..294u32).map(|at| (at ^ next) as u8));
                next += 1;
            }
            let mut octets = (SCID << 4).to_be_bytes().to_vec();
            octets.extend([0, number as u8]);
            octets.extend((0x1800 | pointer).to_be_bytes());
            octets.extend(queue.drain(..LEN - 6));
            let gvcid = fep_ccsds::Gvcid { tfvn: 0, scid: SCID, vcid: 0 };
            let record = fep_record::FrameRecord {
                gvcid,
                frame_count: number as u32 % 256,
                flags: fep_record::FrameFlags::CODED,
                ..fep_record::FrameRecord::default()
            };
            TestFrame { record, rx_tai_ns: START + number as i64 * MS / 4, octets }
        })
        .collect();
    for with_mission in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("segments");
        let mut recorder = Recorder::new(&root, "one.frames");
        frames.chunks(frames.len() / 2 + 1).for_each(|part| drop(recorder.frames(part)));
        let missions: &[&Mission] = if with_mission { &[&mission] } else { &[] };
        let layouts = PacketLayouts::from(Fleet::of(missions.iter().copied()).unwrap());
        let catalogue = catalogue_at(directory.path()).await;
        std::fs::create_dir(directory.path().join("store")).unwrap();
        let store = Store::open(&StoreConfig::directory(&directory.path().join("store"))).unwrap();
        let config = IngestConfig { packets: layouts.clone(), ..ingest_config(&root) };
        let mut ingest = Ingest::open(config, catalogue.clone(), store.clone()).await.unwrap();
        let before = cpu_ms();
        take_in(&mut ingest).await;
        let took = cpu_ms() - before;
        println!(
            "mission known: {with_mission}; taking in: {took} ms of processor time, {} ns a frame",
            took * 1_000_000 / frames_made as u64
        );
        let archive = Archive {
            indexes: Keeper::new(&root, catalogue.clone(), store.clone(), layouts.clone()).indexes(),
            segments: root,
            catalogue,
            store,
            tail: ingest.tail(),
            fleet: Arc::clone(layouts.fleet()),
        };
        for query in ["apid=150", "apid=150&format=packets", "format=packets"] {
            let (before, started) = (cpu_ms(), std::time::Instant::now());
            let retrieval = Retrieval::parse(Unit::Packets, query).unwrap();
            let plan = Plan::make(&archive, retrieval).await.unwrap();
            let runtime = tokio::runtime::Handle::current();
            let account = tokio::task::spawn_blocking(move || {
                answer::deliver(&plan, &runtime, 0, u64::MAX, &mut |_| true).unwrap()
            });
            let account = account.await.unwrap();
            println!(
                "{query}: {} packets, {} octets, {} ms, {} ms of processor time",
                account.units,
                account.octets,
                started.elapsed().as_millis(),
                cpu_ms() - before
            );
        }
    }
}
