//! Answers are whole: what is on disk when a question comes is in its answer once, wherever taking in stands; or the answer says
//! what is missing.

#[path = "../../catalogue/tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use fep_archive::answer;
use fep_archive::retrieval::{Archive, Plan};
use fep_archive_query::{Format, Retrieval, Unit};
use fep_catalogue::{Catalogue, Ingest, IngestConfig, Keeper, Store, StoreConfig, TailLimits};
use proptest::prelude::*;
use support::{MS, Recorder, START, TestFrame, catalogue_at, ingest_config, layouts, tm_frame};
use tokio::runtime::Handle;

/// Rings, whose records are received in turn.
const RINGS: [&str; 2] = ["one.frames", "two.frames"];

/// An archive with its recorder, and everything that was recorded.
struct Life {
    directory: tempfile::TempDir,
    recorders: [Recorder; 2],
    recorded: Vec<TestFrame>,
    catalogue: Catalogue,
    store: Store,
    ingest: Ingest,
}

impl Life {
    async fn begin(limits: TailLimits) -> Life {
        let directory = tempfile::tempdir().unwrap();
        let segments = directory.path().join("segments");
        std::fs::create_dir_all(&segments).unwrap();
        let catalogue = catalogue_at(directory.path()).await;
        let store = directory.path().join("store");
        std::fs::create_dir_all(&store).unwrap();
        let store = Store::open(&StoreConfig::directory(&store)).unwrap();
        let config = IngestConfig { tail_limits: limits, ..config(&segments) };
        let ingest = Ingest::open(config, catalogue.clone(), store.clone()).await.unwrap();
        ingest.tail().attend();
        let recorders = RINGS.map(|ring| Recorder::new(&segments, ring));
        Life { directory, recorders, recorded: Vec::new(), catalogue, store, ingest }
    }

    fn segments(&self) -> PathBuf {
        self.directory.path().join("segments")
    }

    /// As after a kill: what was taken in is in the catalogue, everything else is forgotten.
    async fn restart(&mut self) {
        let (catalogue, store) = (self.catalogue.clone(), self.store.clone());
        self.ingest = Ingest::open(config(&self.segments()), catalogue, store).await.unwrap();
        self.ingest.tail().attend();
    }

    fn frames(&mut self, ring: usize, count: usize) -> Vec<TestFrame> {
        let from = self.recorded.len() as u64;
        let frames: Vec<TestFrame> = (from..from + count as u64)
            .map(|number| tm_frame(ring as u16, ring as u8, number, START + number as i64 * MS))
            .collect();
        self.recorded.extend(frames.iter().cloned());
        frames
    }

    fn seal(&mut self, ring: usize, count: usize) -> PathBuf {
        let frames = self.frames(ring, count);
        self.recorders[ring].frames(&frames)
    }

    /// The octets of all frames from `from_tai_ns` on, and what the answer says is missing. Somebody looks meanwhile, if `looked`.
    async fn ask(&mut self, from_tai_ns: i64, looked: bool) -> (Vec<u8>, Vec<String>) {
        let indexes =
            Keeper::new(&self.segments(), self.catalogue.clone(), self.store.clone(), layouts()).indexes();
        let archive = Archive {
            indexes,
            segments: self.segments(),
            catalogue: self.catalogue.clone(),
            store: self.store.clone(),
            tail: self.ingest.tail(),
            fleet: Default::default(),
        };
        let mut retrieval = Retrieval::all(Unit::Frames);
        retrieval.format = Format::Frames;
        retrieval.selection.from_tai_ns = Some(from_tai_ns);
        retrieval.selection.merged = false;
        let look = async {
            if looked {
                self.ingest.look().await.unwrap();
            }
        };
        let (plan, ()) = tokio::join!(Plan::make(&archive, retrieval), look);
        let plan = plan.unwrap();
        let missing = plan.incomplete.clone();
        let runtime = Handle::current();
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

    fn expected(&self, from_tai_ns: i64) -> Vec<u8> {
        let within = self.recorded.iter().filter(|frame| frame.rx_tai_ns >= from_tai_ns);
        within.flat_map(|frame| frame.octets.iter().copied()).collect()
    }
}

fn config(segments: &Path) -> IngestConfig {
    IngestConfig { tail: true, ..ingest_config(segments) }
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Seal(usize, usize),
    Look,
    TakeIn,
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..RINGS.len(), 1_usize..40).prop_map(|(ring, count)| Act::Seal(ring, count)),
        2 => Just(Act::Look),
        1 => Just(Act::TakeIn),
        2 => Just(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    // REQ: FEP-ARC-241
    #[test]
    fn wherever_taking_in_stands_an_answer_holds_what_is_on_disk_once(
        acts in prop::collection::vec(act(), 1..14),
        growing in 0_usize..40,
        from in 0_i64..60,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let from_tai_ns = START + from * MS;
            let mut life = Life::begin(TailLimits::default()).await;
            for act in acts {
                match act {
                    Act::Seal(ring, count) => drop(life.seal(ring, count)),
                    Act::Look => drop(life.ingest.look().await.unwrap()),
                    Act::TakeIn => drop(life.ingest.step().await.unwrap()),
                    Act::Restart => life.restart().await,
                }
                let (octets, missing) = life.ask(from_tai_ns, true).await;
                assert_eq!(missing, Vec::<String>::new(), "after {act:?}");
                assert!(octets == life.expected(from_tai_ns), "after {act:?}");
            }
            let frames = life.frames(0, growing + 1);
            let _open = life.recorders[0].growing(&frames);
            for _ in 0..2 {
                let (octets, missing) = life.ask(from_tai_ns, true).await;
                assert_eq!(missing, Vec::<String>::new());
                assert!(octets == life.expected(from_tai_ns), "with a segment that grows");
                life.restart().await;
            }
        });
    }
}

// REQ: FEP-ARC-241
#[tokio::test]
async fn an_answer_says_that_it_is_not_whole_where_nobody_has_looked_at_what_was_recorded() {
    let mut life = Life::begin(TailLimits::default()).await;
    life.seal(0, 10);
    let (octets, missing) = life.ask(START, false).await;
    assert!(octets.is_empty() && !missing.is_empty(), "before the first look");
    life.ingest.step().await.unwrap();
    life.seal(0, 10);
    let (octets, missing) = life.ask(START, false).await;
    assert!(octets.len() < life.expected(START).len() && !missing.is_empty(), "{missing:?}");
}

// REQ: FEP-ARC-241
#[tokio::test]
async fn an_answer_names_a_segment_that_cannot_be_indexed_and_an_open_end_without_room() {
    let mut life = Life::begin(TailLimits::default()).await;
    life.seal(0, 10);
    let damaged = life.seal(0, 10);
    let octets = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, vec![0xEE; octets.len()]).unwrap();
    life.ingest.step().await.unwrap();
    let name = damaged.file_stem().unwrap().to_str().unwrap();
    let (_, missing) = life.ask(START, true).await;
    assert!(missing.iter().any(|text| text.contains(name)), "{missing:?}");

    let mut life = Life::begin(TailLimits { memory_octets: 1, ..TailLimits::default() }).await;
    let frames = life.frames(0, 10);
    let _open = life.recorders[0].growing(&frames);
    let (octets, missing) = life.ask(START, true).await;
    assert!(octets.is_empty() && missing.iter().any(|text| text.contains("10 rows")), "{missing:?}");
}

// REQ: FEP-ARC-242
#[tokio::test]
async fn what_is_not_indexed_is_counted_until_it_is() {
    let mut life = Life::begin(TailLimits::default()).await;
    let octets: u64 = (0..20).map(|at| life.seal(at % 2, 5)).map(|path| path.metadata().unwrap().len()).sum();
    life.ingest.look().await.unwrap();
    let backlog = life.ingest.tail().backlog();
    assert_eq!((backlog.segments.len(), backlog.octets()), (20, octets));
    life.ingest.step().await.unwrap();
    let backlog = life.ingest.tail().backlog();
    assert_eq!((backlog.segments.len(), backlog.octets()), (0, 0));
}
