//! Deletions and the lifting of holds are orders of several persons, whatever interrupts them.

use std::path::Path;

use super::databases::catalogue_in;
use super::keeping::filled;
use crate::support::{self, MS, Recorder, START, ingest_config, layouts, tm_frame, url_at};
use fep_catalogue::{
    Catalogue, DeletionState, Error, Ingest, Keeper, OrderRules, Scope, SegmentFilter, SegmentId,
    SegmentState, Store, StoreConfig,
};
use fep_database::Options;
use fep_database::testing::{Place, cut};
use fep_orders::{Actor, OrderState, Refusal};

/// A person who may ask and approve, by an account of the same name.
pub(crate) fn actor(person: &str) -> Actor {
    Actor::new(person, &format!("{}@site", person.trim()), &["operator", "approver"]).unwrap()
}

pub(crate) fn options_at(directory: &Path) -> Options {
    Options::new(&url_at(directory))
}

/// Two persons lift a hold.
pub(crate) async fn lift(catalogue: &Catalogue, hold: &str) {
    let asked = catalogue.request_release(hold, "over", &actor("ada"), START).await.unwrap();
    assert!(catalogue.holds().await.unwrap().iter().any(|held| held.id == hold && held.released.is_none()));
    let lifted = catalogue.approve_release(&asked.order.id, &actor("bo"), None, START).await.unwrap();
    assert_eq!((lifted.order.state, lifted.hold.as_str()), (OrderState::Done, hold));
}

// REQ: FEP-ARC-151
#[tokio::test]
async fn a_hold_is_lifted_by_a_second_person_only_and_a_second_account_is_none() {
    let (archive, _keeper, _) = filled().await;
    let catalogue = &archive.catalogue;
    let hold = catalogue.hold(&Scope::default(), "inquiry", "judge", START).await.unwrap();
    let asked = catalogue.request_release(&hold.id, "over", &actor("ada"), START).await.unwrap();
    let id = asked.order.id.as_str();
    let other_account = Actor::new("ADA ", "root@site", &["approver"]).unwrap();
    for alone in [actor("ada"), other_account] {
        let refused = catalogue.approve_release(id, &alone, None, START).await;
        assert!(matches!(refused, Err(Error::NotAllowed(_))), "{refused:?}");
    }
    let without_role = Actor::new("bo", "bo", &["operator"]).unwrap();
    let refused = catalogue.approve_release(id, &without_role, None, START).await;
    assert!(matches!(refused, Err(Error::NotAllowed(_))), "{refused:?}");
    let looked_at_another = catalogue.approve_release(id, &actor("bo"), Some([1; 32]), START).await;
    assert!(matches!(looked_at_another, Err(Error::Refused { .. })), "{looked_at_another:?}");
    assert_eq!(catalogue.holds().await.unwrap()[0].released, None);
    // Every refusal is in the audit trail.
    let entries = catalogue.audit(0, 100).await.unwrap();
    assert_eq!(entries.iter().filter(|entry| entry.action == "order step not allowed").count(), 4);
    // Who asked withdraws; asked again, another one refuses; asked a third time, it is lifted; then there is nothing to lift.
    let withdrawn = catalogue.end_release(id, &actor("ada"), "a mistake", START).await.unwrap();
    assert_eq!(withdrawn.order.state, OrderState::Withdrawn);
    let asked = catalogue.request_release(&hold.id, "over", &actor("ada"), START).await.unwrap();
    let refused = catalogue.end_release(&asked.order.id, &actor("bo"), "not over", START).await.unwrap();
    assert_eq!(refused.order.state, OrderState::Refused);
    lift(catalogue, &hold.id).await;
    assert_eq!(catalogue.holds().await.unwrap()[0].released, Some((START, "bo".to_owned())));
    let gone = catalogue.request_release(&hold.id, "", &actor("ada"), START).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    assert_eq!(catalogue.releases().await.unwrap().len(), 3);
    assert_eq!(catalogue.audit_problem().await.unwrap(), None);
}

// REQ: FEP-ARC-151
#[tokio::test]
async fn a_hold_that_was_lifted_meanwhile_fails_the_second_order_and_is_lifted_once() {
    let (archive, _keeper, _) = filled().await;
    let catalogue = &archive.catalogue;
    let hold = catalogue.hold(&Scope::default(), "inquiry", "judge", START).await.unwrap();
    let second = catalogue.request_release(&hold.id, "over", &actor("cy"), START).await.unwrap();
    lift(catalogue, &hold.id).await;
    let failed = catalogue.approve_release(&second.order.id, &actor("di"), None, START + 1).await.unwrap();
    assert_eq!(failed.order.state, OrderState::Failed);
    assert_eq!(catalogue.holds().await.unwrap()[0].released, Some((START, "bo".to_owned())));
}

// REQ: FEP-ARC-150
#[tokio::test]
async fn a_deletion_is_bound_to_its_list_needs_its_roles_and_expires() {
    let (archive, keeper, ids) = filled().await;
    let rules = OrderRules::new(
        vec!["approver".to_owned(), "security-officer".to_owned()],
        vec!["approver".to_owned()],
        100,
    );
    let catalogue = archive.catalogue.with_rules(rules.unwrap());
    let observer = Actor::new("ada", "ada", &["observer"]).unwrap();
    let refused = catalogue.request_deletion(&ids[..1], "old", &observer, START).await;
    assert!(matches!(refused, Err(Error::NotAllowed(fep_orders::Error::MayNotAsk { .. }))), "{refused:?}");
    // Twice the same name is once; the order is that of the names.
    let listed = [ids[1].clone(), ids[0].clone(), ids[1].clone()];
    let asked = catalogue.request_deletion(&listed, "old", &actor("ada"), START).await.unwrap();
    assert_eq!(asked.segments, ids[..2]);
    // coreutils: printf '%s\n' NAMES | sha256sum
    let names: Vec<String> = ids[..2].iter().map(|id| format!("{id}\n")).collect();
    let expected = <sha2::Sha256 as sha2::Digest>::digest(names.concat());
    assert_eq!(asked.content_sha256, Some(fep_database::hex::text(&expected)));
    let looked_at = fep_database::hex::octets(asked.content_sha256.as_ref().unwrap());
    let first = catalogue.approve_deletion(&asked.id, &actor("bo"), looked_at, START).await.unwrap();
    assert_eq!(first.state, DeletionState::Requested, "the second seat is empty");
    let same = catalogue.approve_deletion(&asked.id, &actor("bo"), looked_at, START).await;
    assert!(same.is_err(), "{same:?}");
    let officer = Actor::new("cy", "cy", &["security-officer"]).unwrap();
    let approved = catalogue.approve_deletion(&asked.id, &officer, looked_at, START).await.unwrap();
    assert_eq!(approved.state, DeletionState::Approved);
    // A list that somebody changed past the service is not what was approved.
    let add = "INSERT INTO order_segments (order_id, segment_id) VALUES ($1, $2)";
    sqlx::query(add).bind(&asked.id).bind(&ids[2].0).execute(catalogue.database().pool()).await.unwrap();
    let changed = keeper.carry_out(&asked.id, START).await;
    assert!(matches!(&changed, Err(Error::Refused { why, .. }) if why.contains("SHA-256")), "{changed:?}");
    assert!(ids.iter().all(|id| keeper.file(id).exists()));
    let remove = "DELETE FROM order_segments WHERE segment_id = $1";
    sqlx::query(remove).bind(&ids[2].0).execute(catalogue.database().pool()).await.unwrap();
    // Nor is anything deleted after its time.
    let round = keeper.round(&[], START + 101_000 * MS).await.unwrap();
    assert!(round.deleted.is_empty() && round.problem_count == 0, "{round:?}");
    assert_eq!(catalogue.deletion(&asked.id).await.unwrap().state, DeletionState::Expired);
    assert!(ids.iter().all(|id| keeper.file(id).exists()));
    assert!(OrderRules::new(Vec::new(), vec!["approver".to_owned()], 1).is_err(), "nobody approves");
}

#[tokio::test]
async fn who_did_not_ask_refuses_where_who_asked_withdraws() {
    let (archive, _keeper, ids) = filled().await;
    let catalogue = &archive.catalogue;
    let asked = catalogue.request_deletion(&ids, "old", &actor("ada"), START).await.unwrap();
    let stranger = Actor::new("eve", "eve", &["operator"]).unwrap();
    let refused = catalogue.end_deletion(&asked.id, &stranger, "", START).await;
    assert!(
        matches!(
            &refused,
            Err(Error::NotAllowed(fep_orders::Error::Refused { refusal: Refusal::Role { .. }, .. }))
        ),
        "{refused:?}"
    );
    let ended = catalogue.end_deletion(&asked.id, &actor("bo"), "needed", START).await.unwrap();
    assert_eq!((ended.state, ended.note.as_str()), (DeletionState::Refused, "needed"));
}

/// One segment and an approved deletion of it.
async fn approved(root: &Path, catalogue: &Catalogue) -> (Keeper, SegmentId, String) {
    let store = Store::open(&StoreConfig::directory(root)).unwrap();
    let mut ingest = Ingest::open(ingest_config(root), catalogue.clone(), store.clone()).await.unwrap();
    let frames: Vec<support::TestFrame> = (0..30).map(|count| tm_frame(1, 0, count, START)).collect();
    Recorder::new(root, "one.frames").frames(&frames);
    ingest.step().await.unwrap();
    let segments = catalogue.segments(&SegmentFilter::default()).await.unwrap();
    let id = segments[0].facts.id();
    let keeper = Keeper::new(root, catalogue.clone(), store, layouts());
    keeper.store_segment(&id).await.unwrap();
    let asked =
        catalogue.request_deletion(std::slice::from_ref(&id), "old", &actor("ada"), START).await.unwrap();
    catalogue.approve_deletion(&asked.id, &actor("bo"), None, START).await.unwrap();
    (keeper, id, asked.id)
}

// REQ: FEP-ARC-152
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_execution_that_is_cut_at_any_step_is_either_not_begun_or_finished_by_the_next_round() {
    for place in Place::both() {
        let (mut not_begun, mut executing) = (0, 0);
        let (mut polls, mut sweeps) = (0, 0);
        while sweeps < 10 {
            let (place, files) = (place.another(), tempfile::tempdir().unwrap());
            let catalogue = catalogue_in(&place).await;
            let (keeper, id, deletion) = approved(files.path(), &catalogue).await;
            let done = cut(polls, keeper.carry_out(&deletion, START)).await;
            // As at a start: nothing is left of the process that died.
            drop(keeper);
            catalogue.close().await;
            let catalogue = catalogue_in(&place).await;
            let store = Store::open(&StoreConfig::directory(files.path())).unwrap();
            let keeper = Keeper::new(files.path(), catalogue.clone(), store, layouts());
            let state = catalogue.deletion(&deletion).await.unwrap().state;
            let segment = catalogue.segment(&id).await.unwrap().unwrap();
            match state {
                DeletionState::Approved => {
                    not_begun += 1;
                    assert_eq!(segment.state, SegmentState::Ok, "{polls}");
                    assert!(keeper.file(&id).exists(), "{polls}: nothing goes before it is marked");
                }
                DeletionState::Executing => {
                    executing += 1;
                    assert_eq!(segment.state, SegmentState::Deleted, "{polls}");
                    let late = catalogue.end_deletion(&deletion, &actor("ada"), "", START).await;
                    assert!(late.is_err(), "{polls}: what was begun cannot be withdrawn");
                }
                DeletionState::Done => {}
                state => panic!("{polls}: {state}"),
            }
            let round = keeper.round(&[], START).await.unwrap();
            assert_eq!(round.problem_count, 0, "{polls}: {round:?}");
            assert_eq!(catalogue.deletion(&deletion).await.unwrap().state, DeletionState::Done, "{polls}");
            assert!(!keeper.file(&id).exists(), "{polls}");
            assert!(!files.path().join(format!("segments/{id}.seg")).exists(), "{polls}: the copy");
            let index = segment.frames_index.unwrap().key;
            assert!(!files.path().join(index).exists(), "{polls}: the index");
            assert_eq!(catalogue.audit_problem().await.unwrap(), None, "{polls}");
            let marked = catalogue.audit(0, 0).await.unwrap();
            let marked = marked.iter().filter(|entry| entry.action == "segment deleted").count();
            assert_eq!(marked, 1, "{polls}: it is said once");
            catalogue.close().await;
            polls += 1;
            if done.is_some() {
                // One that is never made to wait needs fewer steps: it may have passed over the place that others are cut at.
                if not_begun > 0 && executing > 0 {
                    break;
                }
                (polls, sweeps) = (0, sweeps + 1);
            }
        }
        assert!(not_begun > 0 && executing > 0, "{not_begun} {executing}: {}", place.engine());
    }
}
