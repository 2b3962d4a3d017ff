//! What the archive says to operators: log lines, and records of the ring `archive.events`.
//!
//! Nothing is found out here. Events come from what the parts say of their health, from the audit trail, where every act of
//! people and of the archive stands anyway, and from replays and jobs that come to their end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fep_catalogue::Catalogue;
use fep_event_ring::EventSender;
use fep_events::event_codes;
use fep_kit::Stop;
use fep_kit::health::{Health, State};
use fep_record::Session;
use serde_json::{Value, json};

use crate::service::Service;

/// How often the audit trail and the replays are looked at for events.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Entries of the audit trail that are read at a time.
const PAGE: u32 = 1000;
/// Longest text of an entry that an event repeats.
const SHOWN_CHARS: usize = 500;

event_codes! {
    /// What an event of the archive says. Their numbers start at 200.
    pub enum ArchiveEvent {
        /// A part of the archive does its work again.
        PartRecovered = 200, "part_recovered", Normal, "nothing";
        /// The database of the catalogue is away, or was replaced.
        CatalogueLost = 201, "catalogue_lost", Critical, "bring the database back; if it is lost, stop the archive and restore a backup (runbook Restore)";
        /// The catalogue is new, and the archive is not.
        HistoryLost = 202, "history_lost", Critical, "stop the archive, move the new database away, and restore a backup: holds and orders are in it alone";
        /// An entry of the audit trail was changed or removed.
        AuditBroken = 203, "audit_broken", Critical, "keep a copy of the database as it is; compare it with the signed heads and the last backup; find out who wrote to it";
        /// The audit trail cannot be verified, or its head not be signed.
        AuditUnsigned = 204, "audit_unsigned", Distress, "mend what the event names: the key `archive.audit_key`, its permissions, or the disk; it is tried again by itself";
        /// The round of keeping does not do all of its work.
        KeepingStopped = 205, "keeping_stopped", Distress, "mend what the event names, as a rule the store; approved deletions and moves wait and are tried again by themselves";
        /// Free space of the segments' disk is below the warning level.
        DiskLow = 206, "disk_low", Warning, "make room: move old segments to the store, or delete what is due (runbook Full disk)";
        /// It is below the critical level.
        DiskCritical = 207, "disk_critical", Critical, "make room now: the recorder stops soon (runbook Full disk)";
        /// What the recorder wrote is not taken into the catalogue.
        IntakeStopped = 208, "intake_stopped", Distress, "mend what the event names: the store that cannot be reached, the database, or the disk; it is tried again by itself";
        /// A segment cannot be taken in.
        SegmentRefused = 209, "segment_refused", Distress, "repair it (`fepctl archive repair`), or restore it from a backup (runbook Damaged newest segment)";
        /// The recorder put a damaged file aside.
        FileAside = 210, "file_aside", Distress, "repair it (`fepctl archive repair`), or restore the segment (runbook Damaged newest segment)";
        /// What is in no sealed segment yet cannot be asked for, or not all of it.
        TailIncomplete = 211, "tail_incomplete", Warning, "see whether the recorder seals; else raise `archive.tail_memory_mib` or `archive.tail_disk_mib`";
        /// A segment is not what it was when it was sealed; its copy may have served.
        SegmentDamaged = 212, "segment_damaged", Distress, "begin a scrub (`fepctl archive scrub`): it repairs what has a copy; then look at the disk";
        /// Scrubs and backups are not done.
        JobsStopped = 213, "jobs_stopped", Warning, "bring the database back; they go on by themselves";
        /// A segment is in quarantine: answers leave it out and say so.
        SegmentQuarantined = 220, "segment_quarantined", Distress, "begin a scrub, or restore the segment from a backup; a scrub lifts the quarantine of one that is whole";
        /// Data is held against deletion.
        HoldPlaced = 221, "hold_placed", Normal, "nothing";
        /// It is no longer.
        HoldLifted = 222, "hold_lifted", Warning, "nothing, if it was meant: what was held can be deleted now";
        /// A segment was deleted by the order of several persons.
        SegmentDeleted = 223, "segment_deleted", Warning, "nothing, if it was meant: the audit trail has who asked and who approved";
        /// A replay runs.
        ReplayStarted = 230, "replay_started", Normal, "nothing";
        /// It does not.
        ReplayFailed = 231, "replay_failed", Warning, "mend what the event names, and start it again";
        /// It is over.
        ReplayEnded = 232, "replay_ended", Normal, "nothing";
        /// A backup was made.
        BackupDone = 240, "backup_done", Normal, "nothing";
        /// A backup was not made.
        BackupFailed = 241, "backup_failed", Distress, "mend what the event names, and begin it again (`fepctl archive backup`): until then the last one is the newest";
    }
}

/// Where events go. Clones share the ring.
#[derive(Debug, Clone)]
pub(crate) struct Events(EventSender);

impl Events {
    /// Of this ring; what `health` says of its parts are events from now on.
    pub(crate) fn new(sender: &EventSender, health: &Health) -> Events {
        let events = Events(sender.clone());
        let of_health = events.clone();
        health.observe(move |part, now| {
            if let Some(code) = of_part(part, now.state) {
                of_health.report(code, json!({"part": part, "reason": now.reason}));
            }
        });
        events
    }

    /// Logs and publishes. It never waits.
    pub(crate) fn report(&self, code: ArchiveEvent, detail: Value) {
        self.0.report(code, u16::MAX, Session::Ops, detail);
    }
}

/// What a change of a part's state is. `None` for parts that are no operator's business beyond the health.
fn of_part(part: &str, state: State) -> Option<ArchiveEvent> {
    let code = match (part, state) {
        (_, State::Well) => ArchiveEvent::PartRecovered,
        ("catalogue", _) => ArchiveEvent::CatalogueLost,
        ("history", _) => ArchiveEvent::HistoryLost,
        ("audit", State::Ill) => ArchiveEvent::AuditBroken,
        ("audit" | "audit head", _) => ArchiveEvent::AuditUnsigned,
        ("keeping", _) => ArchiveEvent::KeepingStopped,
        ("disk", State::Ill) => ArchiveEvent::DiskCritical,
        ("disk", _) => ArchiveEvent::DiskLow,
        ("intake", _) => ArchiveEvent::IntakeStopped,
        ("refused segments", _) => ArchiveEvent::SegmentRefused,
        ("files put aside", _) => ArchiveEvent::FileAside,
        ("open tail", _) => ArchiveEvent::TailIncomplete,
        ("segments", _) => ArchiveEvent::SegmentDamaged,
        ("jobs", _) => ArchiveEvent::JobsStopped,
        _ => return None,
    };
    Some(code)
}

/// What an act of the audit trail is.
fn of_act(action: &str) -> Option<ArchiveEvent> {
    match action {
        "quarantine" => Some(ArchiveEvent::SegmentQuarantined),
        "hold" => Some(ArchiveEvent::HoldPlaced),
        "hold lifted" => Some(ArchiveEvent::HoldLifted),
        "segment deleted" => Some(ArchiveEvent::SegmentDeleted),
        // Not "replay", which is recorded before and may fail.
        "replay started" => Some(ArchiveEvent::ReplayStarted),
        "replay failed" => Some(ArchiveEvent::ReplayFailed),
        "backup" => Some(ArchiveEvent::BackupDone),
        _ => None,
    }
}

/// Reports acts and ends of replays until `stop`.
pub(crate) async fn follow(service: Arc<Service>, events: Events, stop: Stop) {
    let mut after = None;
    let mut running = BTreeSet::new();
    while !stop.is_stopping() {
        // A database that is away is in the health already; acts wait in it.
        if let Ok(acts) = acts(&service.archive.catalogue, &mut after).await {
            acts.into_iter().for_each(|(code, detail)| events.report(code, detail));
        }
        for replay in service.replays.list().into_iter().map(|replay| replay.status) {
            if !replay.phase.is_over() {
                running.insert(replay.name);
            } else if running.remove(&replay.name) {
                events.report(ArchiveEvent::ReplayEnded, json!({"replay": replay.name}));
            }
        }
        tokio::select! {
            () = stop.wait() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Acts after entry `after`, which moves on. What was in the trail before the start was reported then.
async fn acts(
    catalogue: &Catalogue,
    after: &mut Option<u64>,
) -> Result<Vec<(ArchiveEvent, Value)>, fep_catalogue::Error> {
    let mut found = Vec::new();
    if after.is_none() {
        let mut reading = catalogue.database().read("reading the end of the audit trail").await?;
        *after = Some(fep_audit::head(&mut reading).await?.number);
    }
    loop {
        let page = catalogue.audit(after.unwrap_or_default(), PAGE).await?;
        for entry in &page {
            let Some(code) = of_act(&entry.action) else { continue };
            let shown = |text: &str| text.chars().take(SHOWN_CHARS).collect::<String>();
            let detail = json!({
                "subject": shown(&entry.subject), "person": entry.person, "detail": shown(&entry.detail),
            });
            found.push((code, detail));
        }
        *after = page.last().map(|entry| entry.number).or(*after);
        if page.len() < PAGE as usize {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use fep_events::EventCode as _;

    use super::*;

    // REQ: FEP-KIT-258
    #[test]
    fn every_event_stands_in_the_manual_with_its_severity_and_what_to_do() {
        let manual = include_str!("../../../../docs/events.md");
        for code in ArchiveEvent::ALL {
            let first = format!("| {} | `{}` | {} | ", code.number(), code.name(), code.severity().name());
            let rows: Vec<&str> = manual.lines().filter(|row| row.starts_with(&first)).collect();
            assert_eq!(rows.len(), 1, "{first}");
            assert!(rows[0].ends_with(&format!(" | {} |", code.advice())), "{}", rows[0]);
        }
    }

    // REQ: FEP-KIT-258
    #[tokio::test]
    async fn acts_are_reported_once_from_the_start_of_the_process_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite://{}/catalogue.sqlite3", directory.path().display());
        let catalogue = Catalogue::open(&url).await.expect("it opens");
        catalogue.note(1, "ada", "backup", "file:///b", "").await.expect("noted");
        let mut after = None;
        assert_eq!(acts(&catalogue, &mut after).await.expect("read"), []);
        for (action, subject) in [
            ("quarantine", "black/a/1"),
            ("export", "x"),
            ("replay", "r"),
            ("replay started", "r"),
            ("replay", "s"),
            ("replay failed", "s"),
        ] {
            catalogue.note(2, "ada", action, subject, "why").await.expect("noted");
        }
        let found = acts(&catalogue, &mut after).await.expect("read");
        let codes: Vec<ArchiveEvent> = found.iter().map(|(code, _)| *code).collect();
        assert_eq!(
            codes,
            [ArchiveEvent::SegmentQuarantined, ArchiveEvent::ReplayStarted, ArchiveEvent::ReplayFailed]
        );
        assert_eq!(found[0].1, json!({"subject": "black/a/1", "person": "ada", "detail": "why"}));
        assert_eq!(acts(&catalogue, &mut after).await.expect("read"), [], "once");
    }

    // REQ: FEP-KIT-258
    #[test]
    fn a_part_that_is_ill_and_one_that_recovers_are_events_in_the_ring_of_the_archive() {
        let directory = tempfile::tempdir().expect("a directory");
        let ring = fep_event_ring::EventRing::open(directory.path(), "archive").expect("a ring");
        let health = Health::new("x 1");
        let _events = Events::new(ring.sender(), &health);
        health.well("keeping");
        health.warning("disk", "9 % are free");
        health.ill("disk", "1 % is free");
        health.well("disk");
        health.warning("something else", "which is in the health alone");
        drop(ring);
        let mut consumer =
            fep_bus::Consumer::attach(directory.path(), "archive.events", "test", fep_bus::Resume::Oldest)
                .expect("a ring");
        let (mut names, mut payload) = (Vec::new(), Vec::new());
        while let fep_bus::Poll::Record(_) = consumer.poll(&mut payload) {
            let event: Value = serde_json::from_slice(&payload).expect("JSON");
            names.push(event["event"].as_str().unwrap_or_default().to_owned());
        }
        assert_eq!(names, ["disk_low", "disk_critical", "part_recovered"]);
    }
}
