//! One suite for both databases: SQLite in a file, and a PostgreSQL server that the test starts.

use std::path::Path;

use crate::dump::dump;
use crate::orders::{actor, lift};
use crate::support::{self, MS, Recorder, SCID, START, ingest_config, tm_frame};
use fep_catalogue::{
    AuditWatch, Catalogue, CompletenessQuery, ContactFilter, DeletionState, Error, GapFilter, GapState,
    Ingest, Inserted, Keeper, Scope, SegmentFilter, SegmentId, SegmentState, Store, StoreConfig, Summary,
    Tier,
};
use fep_ccsds::Gvcid;
use fep_database::Engine;
use fep_database::testing::Place;
use fep_record::{FrameFlags, PacketRecord, Session};

/// Everything that a database must do, on an empty one, and the dump of what it then holds.
async fn suite(catalogue: &Catalogue, root: &Path) -> Vec<String> {
    let store = Store::open(&StoreConfig::directory(root)).unwrap();
    let mut ingest = Ingest::open(ingest_config(root), catalogue.clone(), store.clone()).await.unwrap();
    segments_gaps_and_contacts(catalogue, root, &mut ingest).await;
    completeness_counts_what_came_once(catalogue).await;
    one_segment_is_inserted_once(catalogue).await;
    two_persons_and_no_hold(catalogue, root, &store).await;
    the_audit_trail_is_whole(catalogue).await;
    roots_are_kept(catalogue).await;
    dump(catalogue).await
}

// REQ: FEP-ARC-042
async fn segments_gaps_and_contacts(catalogue: &Catalogue, root: &Path, ingest: &mut Ingest) {
    let pass = |link: u16, counts: &mut dyn Iterator<Item = u64>| -> Vec<support::TestFrame> {
        counts.map(|count| tm_frame(link, 3, count, START + count as i64 * 10 * MS)).collect()
    };
    let mut one = Recorder::new(root, "one.frames");
    one.frames(&pass(1, &mut (0..200).chain(230..600)));
    one.frames(&pass(1, &mut (600..900)));
    Recorder::new(root, "two.frames").frames(&pass(2, &mut (100..210)));
    Recorder::new(root, "one.packets").packets(&packets());
    let step = ingest.step().await.unwrap();
    assert_eq!((step.segments.len(), step.refused.len()), (4, 0), "{step:?}");

    let all = catalogue.segments(&SegmentFilter::default()).await.unwrap();
    let names: Vec<&str> = all.iter().map(|segment| segment.facts.ring.as_str()).collect();
    assert_eq!(names, ["one.frames", "one.frames", "one.packets", "two.frames"]);
    assert_eq!(catalogue.segment(&all[0].facts.id()).await.unwrap().as_ref(), Some(&all[0]));
    assert_eq!(catalogue.segment(&SegmentId("black/none/0-0".to_owned())).await.unwrap(), None);
    let of = async |filter: SegmentFilter| catalogue.segments(&filter).await.unwrap().len();
    assert_eq!(of(SegmentFilter { link: Some(2), ..SegmentFilter::default() }).await, 1);
    assert_eq!(of(SegmentFilter { scid: Some(1), ..SegmentFilter::default() }).await, 0);
    assert_eq!(of(SegmentFilter { vcid: Some(3), scid: Some(SCID), ..SegmentFilter::default() }).await, 4);
    assert_eq!(of(SegmentFilter { apid: Some(11), ..SegmentFilter::default() }).await, 1);
    assert_eq!(
        of(SegmentFilter { from_tai_ns: Some(START + 6000 * MS), ..SegmentFilter::default() }).await,
        1
    );
    assert_eq!(of(SegmentFilter { limit: Some(2), ..SegmentFilter::default() }).await, 2);

    let gaps = catalogue.gaps(&GapFilter { scid: Some(SCID), ..GapFilter::default() }).await.unwrap();
    let found: Vec<_> =
        gaps.iter().map(|gap| (gap.channel.apid, gap.from_count, gap.lost, gap.state)).collect();
    assert_eq!(found, [(Some(11), 20, 5, GapState::Open), (None, 200, 30, GapState::Open)]);
    let frames_only = GapFilter { apid: Some(None), ..GapFilter::default() };
    assert_eq!(catalogue.gaps(&frames_only).await.unwrap().len(), 1);
    let gap = &gaps[1];
    assert_eq!(gap.stop_tai_ns, START + 2300 * MS);
    catalogue.set_gap_state(&gap.id, GapState::Requested, "ada", "order 1", START).await.unwrap();
    let again = catalogue.set_gap_state(&gap.id, GapState::Requested, "ada", "", START).await;
    assert!(matches!(again, Err(Error::Refused { .. })), "{again:?}");
    catalogue.set_gap_state(&gap.id, GapState::Unrecoverable, "bo", "not on board", START).await.unwrap();
    assert_eq!(catalogue.gap_steps(&gap.id).await.unwrap().len(), 2);
    assert!(matches!(catalogue.gap("none").await, Err(Error::NotFound { .. })));

    let contacts =
        catalogue.contacts(&ContactFilter { link: Some(1), ..ContactFilter::default() }).await.unwrap();
    assert_eq!(contacts.len(), 1, "two segments of one pass are one contact");
    assert_eq!(contacts[0].presence.counts.units, 870);
    let totals = catalogue.totals().await.unwrap();
    assert_eq!((totals.segments, totals.frames, totals.packets, totals.open_gaps), (4, 980, 55, 1));
}

/// Sixty packets of one application process, five of them missing.
fn packets() -> Vec<(PacketRecord, i64, Vec<u8>)> {
    (0..60_u16)
        .filter(|count| !(20..25).contains(count))
        .map(|count| {
            let record = PacketRecord {
                gvcid: Gvcid { tfvn: 0, scid: SCID, vcid: 3 },
                apid: 11,
                sequence: 3 << 14 | count,
                link_id: 1,
                session: Session::Ops,
                pvn: 0,
                frame_seq: u32::from(count),
                flags: FrameFlags::CODED,
            };
            let octets = [&[0x08, 0x0B, 0xC0, count as u8, 0, 3][..], &[count as u8; 4]].concat();
            (record, START + i64::from(count) * 10 * MS, octets)
        })
        .collect()
}

async fn completeness_counts_what_came_once(catalogue: &Catalogue) {
    let query = CompletenessQuery {
        from_tai_ns: START,
        to_tai_ns: START + 60_000 * MS,
        session: Session::Ops as u8,
        scid: SCID,
        link: None,
        packets: false,
    };
    let found = catalogue.completeness(&query).await.unwrap();
    let counts: Vec<_> = found.iter().map(|entry| (entry.link, entry.received, entry.lost)).collect();
    // Link 2 holds ten of the thirty that link 1 lost.
    assert_eq!(counts, [(Some(1), 870, 30), (Some(2), 110, 0), (None, 880, 20)]);
    let packets = catalogue.completeness(&CompletenessQuery { packets: true, ..query }).await.unwrap();
    assert_eq!((packets[0].apid, packets[0].received, packets[0].lost), (Some(11), 55, 5));
}

async fn one_segment_is_inserted_once(catalogue: &Catalogue) {
    let mut segment = catalogue.segments(&SegmentFilter::default()).await.unwrap().remove(0);
    let summary = Summary::default();
    assert_eq!(catalogue.insert(&segment, &summary, START).await.unwrap(), Inserted::Known);
    segment.facts.content_sha256[0] ^= 1;
    let other = catalogue.insert(&segment, &summary, START).await;
    assert!(matches!(other, Err(Error::Refused { .. })), "{other:?}");
}

// REQ: FEP-ARC-049
async fn two_persons_and_no_hold(catalogue: &Catalogue, root: &Path, store: &Store) {
    let keeper = Keeper::new(root, catalogue.clone(), store.clone(), support::layouts());
    let segments = catalogue.segments(&SegmentFilter::default()).await.unwrap();
    let victim = segments[3].facts.id();
    let wanted = std::slice::from_ref(&victim);
    let scope = Scope { ring: Some("two.frames".to_owned()), ..Scope::default() };
    let hold = catalogue.hold(&scope, "inquiry", "judge", START).await.unwrap();
    assert_eq!(catalogue.holds_on(&victim).await.unwrap(), std::slice::from_ref(&hold.id));
    let held = catalogue.request_deletion(wanted, "old", &actor("ada"), START).await;
    assert!(matches!(held, Err(Error::Refused { .. })), "{held:?}");
    lift(catalogue, &hold.id).await;
    assert!(catalogue.holds().await.unwrap()[0].released.is_some());

    let deletion = catalogue.request_deletion(wanted, "old", &actor("ada"), START).await.unwrap();
    assert_eq!(deletion.state, DeletionState::Requested);
    for same in ["ada", " Ada "] {
        let alone = catalogue.approve_deletion(&deletion.id, &actor(same), None, START).await;
        assert!(matches!(alone, Err(Error::NotAllowed(_))), "{alone:?}");
    }
    assert!(matches!(keeper.carry_out(&deletion.id, START).await, Err(Error::Refused { .. })));
    // The database itself refuses what one person alone decided, whatever program asks.
    let sql = "INSERT INTO kit_order_approvals (order_id, asker, person, account, roles, at, place) VALUES \
               ($1, 'ada', 'ada', '', '[]', 1, 1)";
    let forged = sqlx::query(sql).bind(&deletion.id).execute(catalogue.database().pool()).await;
    assert!(forged.is_err(), "{forged:?}");
    let approved = catalogue.approve_deletion(&deletion.id, &actor("bo"), None, START).await.unwrap();
    assert_eq!(approved.decided, Some((START, "bo".to_owned())));
    // A hold between approval and deletion still holds.
    let late = catalogue.hold(&scope, "inquiry", "judge", START).await.unwrap();
    assert!(matches!(keeper.carry_out(&deletion.id, START).await, Err(Error::Refused { .. })));
    assert!(keeper.file(&victim).exists());
    lift(catalogue, &late.id).await;

    assert_eq!(keeper.carry_out(&deletion.id, START).await.unwrap(), 1);
    assert!(!keeper.file(&victim).exists());
    assert_eq!(keeper.carry_out(&deletion.id, START).await.unwrap(), 0);
    assert_eq!(catalogue.deletion(&deletion.id).await.unwrap().state, DeletionState::Done);
    let gone = catalogue.segment(&victim).await.unwrap().unwrap();
    assert_eq!((gone.state, gone.tier), (SegmentState::Deleted, Tier::Hot));
    assert!(!root.join(&gone.frames_index.unwrap().key).exists());
}

async fn the_audit_trail_is_whole(catalogue: &Catalogue) {
    assert_eq!(catalogue.audit_problem().await.unwrap(), None);
    let entries = catalogue.audit(0, 100).await.unwrap();
    let actions: Vec<(&str, &str)> =
        entries.iter().map(|entry| (entry.action.as_str(), entry.person.as_str())).collect();
    let lifted = [
        ("hold", "judge"),
        ("order asked", "ada"),
        ("order approved", "bo"),
        ("order begun", "service:archive"),
        ("hold lifted", "service:archive"),
        ("order done", "service:archive"),
    ];
    let expected: Vec<(&str, &str)> = [("gap requested", "ada"), ("gap unrecoverable", "bo")]
        .into_iter()
        .chain(lifted)
        .chain([
            ("order asked", "ada"),
            ("order step not allowed", "ada"),
            ("order step not allowed", "ada"),
            ("order approved", "bo"),
        ])
        .chain(lifted)
        .chain([
            ("order begun", "service:archive"),
            ("segment deleted", "service:archive"),
            ("order done", "service:archive"),
        ])
        .collect();
    assert_eq!(actions, expected);
}

async fn roots_are_kept(catalogue: &Catalogue) {
    catalogue.keep_root("2026-11-26", "{}", START).await.unwrap();
    catalogue.keep_root("2026-11-26", "{\"root\":1}", START).await.unwrap();
    let roots = catalogue.roots().await.unwrap();
    assert_eq!(roots, [("2026-11-26".to_owned(), "{\"root\":1}".to_owned(), START)]);
}

/// A catalogue in a place of the test.
pub(crate) async fn catalogue_in(place: &Place) -> Catalogue {
    Catalogue::open_with(&place.options()).await.unwrap()
}

// REQ: FEP-ARC-050
#[tokio::test]
async fn sqlite_and_postgresql_pass_the_same_suite_and_hold_the_same_rows() {
    let mut dumps = Vec::new();
    for place in Place::both() {
        let files = tempfile::tempdir().unwrap();
        let catalogue = catalogue_in(&place).await;
        assert_eq!(catalogue.database().engine(), place.engine());
        dumps.push(without_seal_time(suite(&catalogue, files.path()).await));
        catalogue.close().await;
    }
    assert_eq!(Place::both().map(|place| place.engine()), [Engine::Sqlite, Engine::Postgres]);
    assert_eq!(dumps[0], dumps[1]);
}

/// Two archives sealed at two times differ in their chains.
fn without_seal_time(dump: Vec<String>) -> Vec<String> {
    let mut rows: Vec<String> = dump
        .into_iter()
        .map(|line| {
            let mut row: serde_json::Value = serde_json::from_str(&line).unwrap();
            for column in ["chain", "previous_chain", "content_sha256"] {
                if row.get(column).is_some() {
                    row[column] = "".into();
                }
            }
            row.to_string()
        })
        .collect();
    rows.sort_unstable();
    rows
}

// REQ: FEP-ARC-050
#[tokio::test]
async fn writers_at_the_same_time_wait_for_each_other_on_both_databases() {
    for place in Place::both() {
        let catalogue = catalogue_in(&place).await;
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let catalogue = catalogue.clone();
                tokio::spawn(async move {
                    for turn in 0..10 {
                        catalogue
                            .note(START, "writer", "note", &writer.to_string(), &turn.to_string())
                            .await
                            .unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(catalogue.audit(0, 1000).await.unwrap().len(), 80);
        assert_eq!(catalogue.audit_problem().await.unwrap(), None);
        catalogue.close().await;
    }
}

// REQ: FEP-ARC-051
#[tokio::test]
async fn a_changed_audit_entry_and_an_end_that_was_cut_off_are_found() {
    let files = tempfile::tempdir().unwrap();
    let catalogue = support::catalogue_at(files.path()).await;
    for subject in ["one", "two", "three"] {
        catalogue.note(START, "ada", "note", subject, "").await.unwrap();
    }
    let mut watch = AuditWatch::default();
    assert!(!watch.step(&catalogue).await.unwrap());
    assert_eq!(watch.problem(), None);
    let change = async |sql| sqlx::query(sql).execute(catalogue.database().pool()).await.unwrap();
    // What was verified is not read again: a new watch finds it.
    change("UPDATE kit_audit SET subject = 'zwei' WHERE number = 2").await;
    let problem = catalogue.audit_problem().await.unwrap().unwrap();
    assert!(problem.contains("entry 2"), "{problem}");
    assert!(!watch.step(&catalogue).await.unwrap());
    assert_eq!(watch.problem(), None);
    change("UPDATE kit_audit SET subject = 'two' WHERE number = 2").await;
    // What is added is verified as it comes, and an end that was cut off is seen at once.
    catalogue.note(START, "ada", "note", "four", "").await.unwrap();
    assert!(!watch.step(&catalogue).await.unwrap());
    assert_eq!(watch.problem(), None);
    change("DELETE FROM kit_audit WHERE number = 4").await;
    assert!(!watch.step(&catalogue).await.unwrap());
    assert!(watch.problem().unwrap().contains("entry 4"), "{watch:?}");
    // A head that was signed before finds the same, and a trail that was written anew.
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let head = catalogue.sign_audit_head(START, &key).await.unwrap();
    assert_eq!((head.head.number, head.signed_at.0), (3, START));
    change("DELETE FROM kit_audit WHERE number = 3").await;
    let public = key.verifying_key().to_bytes();
    let report = fep_audit::verify(catalogue.database(), &[head], Some(&public)).await.unwrap();
    assert!(!report.holds(), "{report:?}");
}

// REQ: FEP-ARC-050
#[tokio::test]
async fn a_url_of_another_kind_is_refused_with_what_is_allowed() {
    let error = Catalogue::open("mysql://localhost/x").await.unwrap_err().to_string();
    assert!(error.contains("sqlite:") && error.contains("postgres:"), "{error}");
    let error = "purple".parse::<GapState>().unwrap_err().to_string();
    assert!(error.contains("unrecoverable"), "{error}");
}
