//! Keeping while something else goes on: a hold over an approved deletion, segments that move under a scrub, files cut short.

use std::fs::OpenOptions;

use super::keeping::{DAY, filled, flip};
use crate::orders::{actor, lift};
use crate::support::{MS, START};
use fep_catalogue::{DeletionState, Error, RetentionRule, Scope, SegmentFilter, SegmentState, Tier};

fn hot(days: u32) -> [RetentionRule; 1] {
    [RetentionRule {
        class: "all".to_owned(),
        ring: None,
        colour: None,
        keep_days: None,
        hot_days: Some(days),
    }]
}

// REQ: FEP-ARC-402
#[tokio::test]
async fn a_hold_over_an_approved_deletion_and_a_segment_that_cannot_move_hold_up_nothing_else() {
    let (archive, keeper, ids) = filled().await;
    let catalogue = &archive.catalogue;
    let mut deletions = Vec::new();
    for id in &ids[..2] {
        let asked =
            catalogue.request_deletion(std::slice::from_ref(id), "old", &actor("ada"), START).await.unwrap();
        deletions.push(catalogue.approve_deletion(&asked.id, &actor("bo"), None, START).await.unwrap().id);
    }
    let scope = Scope { to_tai_ns: Some(START + MS), ..Scope::default() };
    let hold = catalogue.hold(&scope, "inquiry", "judge", START).await.unwrap();
    // The held one cannot move either: its file is damaged.
    flip(&keeper.file(&ids[0]));
    let round = keeper.round(&hot(7), START + 8 * DAY).await.unwrap();
    assert_eq!(round.deleted, [(deletions[1].clone(), 1)], "{round:?}");
    assert_eq!(round.moved, [ids[2].clone()], "{round:?}");
    let problems: Vec<_> = round.problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!((problems, round.problem_count), (vec![deletions[0].as_str(), ids[0].0.as_str()], 2));
    assert!(round.problems[0].why.contains(&hold.id), "it says what it waits for: {round:?}");
    assert!(keeper.file(&ids[0]).exists());
    // Once the hold is lifted, the deletion goes on by itself.
    lift(catalogue, &hold.id).await;
    let round = keeper.round(&[], START + 8 * DAY).await.unwrap();
    assert_eq!(round.deleted, [(deletions[0].clone(), 1)]);
    assert!(!keeper.file(&ids[0]).exists());
}

// REQ: FEP-ARC-403
#[tokio::test]
async fn an_approved_deletion_can_be_withdrawn_and_then_nothing_more_goes() {
    let (archive, keeper, ids) = filled().await;
    let catalogue = &archive.catalogue;
    let asked = catalogue.request_deletion(&ids, "old", &actor("ada"), START).await.unwrap();
    catalogue.approve_deletion(&asked.id, &actor("bo"), None, START).await.unwrap();
    let withdrawn = catalogue.end_deletion(&asked.id, &actor("ada"), "still needed", START).await.unwrap();
    assert_eq!(withdrawn.state, DeletionState::Withdrawn);
    assert_eq!(withdrawn.decided, Some((START, "bo".to_owned())), "who had approved it is still known");
    assert_eq!(keeper.round(&[], START).await.unwrap(), fep_catalogue::Round::default());
    assert!(matches!(keeper.carry_out(&asked.id, START).await, Err(Error::Refused { .. })));
    assert!(ids.iter().all(|id| keeper.file(id).exists()));
    for too_late in [
        catalogue.end_deletion(&asked.id, &actor("ada"), "", START).await.map(drop),
        catalogue.approve_deletion(&asked.id, &actor("bo"), None, START).await.map(drop),
    ] {
        assert!(matches!(too_late, Err(Error::Refused { .. })), "{too_late:?}");
    }
    let entries = catalogue.audit(0, 100).await.unwrap();
    let last = entries.last().unwrap();
    assert_eq!((last.action.as_str(), last.person.as_str()), ("order step not allowed", "bo"));
    let action = |entry: &&fep_audit::Entry| entry.action == "order withdrawn" && entry.person == "ada";
    assert_eq!(entries.iter().filter(action).count(), 1);
    // One that was carried out cannot be.
    let asked = catalogue.request_deletion(&ids[..1], "old", &actor("ada"), START).await.unwrap();
    catalogue.approve_deletion(&asked.id, &actor("bo"), None, START).await.unwrap();
    keeper.round(&[], START).await.unwrap();
    let gone = catalogue.end_deletion(&asked.id, &actor("ada"), "", START).await;
    assert!(matches!(gone, Err(Error::Refused { .. })), "{gone:?}");
}

// REQ: FEP-ARC-404
#[tokio::test]
async fn a_segment_that_was_cut_short_is_found_stays_in_quarantine_and_comes_back_from_its_copy() {
    let (archive, keeper, ids) = filled().await;
    let path = keeper.file(&ids[1]);
    let good = std::fs::read(&path).unwrap();
    let whole = good.len() as u64;
    for octets in [whole - 4096, whole - 8192, whole / 2 / 4096 * 4096, 4096, 100, 0] {
        std::fs::write(&path, &good).unwrap();
        assert_eq!(keeper.scrub(&SegmentFilter::default(), START, |_| {}).await.unwrap().quarantined, []);
        OpenOptions::new().write(true).open(&path).unwrap().set_len(octets).unwrap();
        for turn in 0..2 {
            let report = keeper.scrub(&SegmentFilter::default(), START, |_| {}).await.unwrap();
            assert_eq!(report.findings.len(), 1, "{octets} octets: {report:?}");
            assert_eq!(report.quarantined.len(), 1 - turn, "{octets} octets");
            assert_eq!(report.released, [], "{octets} octets: what is cut short is not well");
        }
        let segment = archive.catalogue.segment(&ids[1]).await.unwrap().unwrap();
        assert_eq!(segment.state, SegmentState::Quarantined);
        let stored = keeper.store_segment(&ids[1]).await;
        assert!(matches!(stored, Err(Error::Refused { .. })), "a cut file is no good copy: {stored:?}");
    }
    // Octets that follow the footer are a change as well.
    std::fs::write(&path, [good.as_slice(), &[0; 4096]].concat()).unwrap();
    assert_eq!(keeper.scrub(&SegmentFilter::default(), START, |_| {}).await.unwrap().findings.len(), 1);
    std::fs::write(&path, &good).unwrap();
    assert_eq!(
        keeper.scrub(&SegmentFilter::default(), START, |_| {}).await.unwrap().released,
        [ids[1].clone()]
    );
    keeper.store_segment(&ids[1]).await.unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(whole - 4096).unwrap();
    let report = keeper.scrub(&SegmentFilter::default(), START, |_| {}).await.unwrap();
    assert!(report.findings.len() == 1 && report.findings[0].repaired, "{report:?}");
    assert_eq!(std::fs::read(&path).unwrap(), good);
}

// REQ: FEP-ARC-405
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_that_move_or_go_while_a_scrub_runs_are_judged_as_they_are_then() {
    let (archive, keeper, ids) = filled().await;
    keeper.store_segment(&ids[2]).await.unwrap();
    flip(&keeper.file(&ids[2]));
    let catalogue = &archive.catalogue;
    let mut moved = false;
    let report = keeper
        .scrub(&SegmentFilter::default(), START, |_| {
            // After the first: the second moves to the store, of the third the (damaged) file is given up.
            if !std::mem::replace(&mut moved, true) {
                let moves = async {
                    keeper.store_segment(&ids[1]).await.unwrap();
                    keeper.release_file(&ids[1]).await.unwrap();
                    keeper.release_file(&ids[2]).await.unwrap();
                };
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(moves));
            }
        })
        .await
        .unwrap();
    assert_eq!((report.segments, report.findings.len()), (3, 0), "{report:?}");
    for id in &ids[1..] {
        let segment = catalogue.segment(id).await.unwrap().unwrap();
        assert_eq!((segment.state, segment.tier), (SegmentState::Ok, Tier::Warm), "{id}");
        assert!(!keeper.file(id).exists(), "{id}: a file that nobody would ever free");
    }
    // What a move that was killed left behind is freed, once the copy was found whole.
    let stray = keeper.file(&ids[1]);
    std::fs::copy(keeper.file(&ids[0]), &stray).unwrap();
    assert!(keeper.scrub(&SegmentFilter::default(), START, |_| {}).await.unwrap().findings.is_empty());
    assert!(!stray.exists());
    // One that is deleted meanwhile is not looked at.
    let mut deleted = false;
    let report = keeper
        .scrub(&SegmentFilter::default(), START, |_| {
            if !std::mem::replace(&mut deleted, true) {
                let deletes = async {
                    let asked =
                        catalogue.request_deletion(&ids[2..], "old", &actor("ada"), START).await.unwrap();
                    catalogue.approve_deletion(&asked.id, &actor("bo"), None, START).await.unwrap();
                    keeper.carry_out(&asked.id, START).await.unwrap();
                };
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(deletes));
            }
        })
        .await
        .unwrap();
    assert_eq!((report.segments, report.findings.len()), (2, 0), "{report:?}");
}

// REQ: FEP-ARC-405
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_moves_while_a_backup_runs_is_in_it() {
    let (_archive, keeper, ids) = filled().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let target =
        fep_catalogue::Store::open(&fep_catalogue::StoreConfig::directory(elsewhere.path())).unwrap();
    let mut moved = false;
    let report = keeper
        .backup(&target, START, |_| {
            if !std::mem::replace(&mut moved, true) {
                let moves = async { keeper.round(&hot(7), START + 8 * DAY).await.unwrap() };
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(moves));
            }
        })
        .await
        .unwrap();
    assert!(report.missing.is_empty(), "{report:?}");
    for id in &ids {
        let copy = elsewhere.path().join(format!("segments/{id}.seg"));
        assert_eq!(fep_segments::verify(&copy).unwrap().findings, []);
    }
}
