//! The merged view: whatever the order in which two antennas' segments come in, however often, the same units in the same
//! order come out.

#[path = "../../catalogue/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fep_archive::retrieval::{Archive, Plan};
use fep_archive_query::{Retrieval, Unit};
use fep_catalogue::{Ingest, Keeper, Store, StoreConfig};
use fep_record::FrameFlags;
use proptest::prelude::*;
use support::{MS, Recorder, START, TestFrame, catalogue_at, ingest_config, tm_frame};

/// What one antenna received of frames `0..`: which it got, which it had to correct, and how late it is.
fn antenna(link: u16, got: &[bool], corrected: &[bool], late_ns: i64) -> Vec<TestFrame> {
    let mut frames = Vec::new();
    for (count, (got, corrected)) in got.iter().zip(corrected).enumerate() {
        if *got {
            let mut frame = tm_frame(link, 0, count as u64, START + count as i64 * 10 * MS + late_ns);
            if *corrected {
                frame.record.flags = FrameFlags::CODED | FrameFlags::CORRECTED;
            }
            frames.push(frame);
        }
    }
    frames
}

/// Writes the frames of both antennas as sealed segments, and gives their files.
fn record(root: &Path, antennas: &[(&str, Vec<TestFrame>)], segment: usize) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (ring, frames) in antennas {
        let mut recorder = Recorder::new(root, ring);
        files.extend(frames.chunks(segment).map(|frames| recorder.frames(frames)));
    }
    files
}

/// The merged view of an archive that got these files in this order, one in each step, some of them twice.
async fn merged(files: &[PathBuf], root: &Path, order: &[usize]) -> Vec<(i64, u16)> {
    let directory = tempfile::tempdir().unwrap();
    let segments = directory.path().join("segments");
    let catalogue = catalogue_at(directory.path()).await;
    let store = directory.path().join("store");
    std::fs::create_dir_all(&store).unwrap();
    let store = Store::open(&StoreConfig::directory(&store)).unwrap();
    for step in order {
        let file = &files[step % files.len()];
        let place = segments.join(file.strip_prefix(root).unwrap());
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(file, &place).unwrap();
        // A service that was just started: what it has taken in before it only knows from the catalogue.
        let mut ingest =
            Ingest::open(ingest_config(&segments), catalogue.clone(), store.clone()).await.unwrap();
        ingest.step().await.unwrap();
    }
    let ingest = Ingest::open(ingest_config(&segments), catalogue.clone(), store.clone()).await.unwrap();
    let indexes = Keeper::new(&segments, catalogue.clone(), store.clone(), support::layouts()).indexes();
    let archive =
        Archive { segments, catalogue, store, tail: ingest.tail(), indexes, fleet: Default::default() };
    let plan = Plan::make(&archive, Retrieval::all(Unit::Frames)).await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    let read = move || {
        let (mut rows, mut found) = (plan.rows(&runtime), Vec::new());
        while let Some(next) = rows.next().unwrap() {
            let link = next.row.number(plan.columns.link) as u16;
            found.push((next.row.number(plan.columns.rx), link));
        }
        found
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    // REQ: FEP-ARCS-008
    #[test]
    fn any_order_of_segments_from_two_antennas_gives_the_merged_view_that_the_rule_says(
        one in prop::collection::vec(any::<(bool, bool)>(), 40),
        two in prop::collection::vec(any::<(bool, bool)>(), 40),
        late_ms in 1_i64..9,
        segment in 5_usize..25,
        shuffle in any::<u64>(),
    ) {
        let split = |frames: &[(bool, bool)]| -> (Vec<bool>, Vec<bool>) { frames.iter().copied().unzip() };
        let ((got_one, corrected_one), (got_two, corrected_two)) = (split(&one), split(&two));
        let antennas = [
            ("one.frames", antenna(1, &got_one, &corrected_one, 0)),
            ("two.frames", antenna(2, &got_two, &corrected_two, late_ms * MS)),
        ];
        let root = tempfile::tempdir().unwrap();
        let files = record(root.path(), &antennas, segment);
        prop_assume!(!files.is_empty());
        // The rule: of both copies the one that needed no correction, else the earlier one, which is the first antenna's.
        let mut expected: Vec<(i64, u16)> = Vec::new();
        for count in 0..40 {
            let take = match (got_one[count], got_two[count]) {
                (false, false) => continue,
                (true, false) => 1,
                (false, true) => 2,
                (true, true) => if corrected_one[count] && !corrected_two[count] { 2 } else { 1 },
            };
            let late = if take == 2 { late_ms * MS } else { 0 };
            expected.push((START + count as i64 * 10 * MS + late, take));
        }
        expected.sort_unstable();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let in_order: Vec<usize> = (0..files.len()).collect();
        let mut keyed: BTreeMap<u64, usize> = BTreeMap::new();
        for index in in_order.iter().chain(&in_order[..files.len() / 2]) {
            let number = keyed.len() as u64;
            keyed.insert((number + 1).wrapping_mul(shuffle | 1).rotate_left(17) ^ number, *index);
        }
        let shuffled: Vec<usize> = keyed.into_values().chain(in_order.iter().copied()).collect();
        for order in [in_order, shuffled] {
            prop_assert_eq!(runtime.block_on(merged(&files, root.path(), &order)), expected.clone());
        }
    }
}
