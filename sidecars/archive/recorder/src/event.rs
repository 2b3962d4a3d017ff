//! What the recorder tells operators: log lines, and records of the ring `recorder.events` in the form of fepd's own.

use std::path::Path;

use fep_event_ring::{EventRing, EventRingError};
use fep_events::event_codes;
use fep_record::Session;
use fep_segments::{SegmentError, SegmentName, Stream, roots};
use serde_json::{Value, json};

/// Its events ring is `recorder.events`.
const PROCESS: &str = "recorder";

event_codes! {
    /// What an event says. Numbers of the recorder start at 100.
    pub enum EventCode {
        /// A ring is recorded from now on.
        RecordingStarted = 100, "recording_started", Normal, "nothing";
        /// It is not any more.
        RecordingStopped = 101, "recording_stopped", Normal, "nothing";
        /// A segment was sealed.
        SegmentSealed = 102, "segment_sealed", Normal, "nothing";
        /// A segment of a recorder that died was found.
        SegmentRecovered = 103, "segment_recovered", Warning, "nothing; if nobody stopped the recorder, find out why it died";
        /// Records were lost; the loss is recorded.
        RecordsLost = 104, "records_lost", Distress, "`lapped`: use a faster disk, or larger rings; two seconds of the link's rate bridge what a machine under load does to a process";
        /// The numbering of a ring begins anew.
        SeriesStarted = 105, "series_started", Warning, "nothing after a restart of the machine; otherwise find out who removed the ring";
        /// A file is damaged; unless it has to stay, it was put aside. Recording goes on under a new name.
        SegmentDamaged = 106, "segment_damaged", Distress, "repair the file that was put aside: `fep-recorder repair FILE`; then look at the disk";
        /// What the cursor says was on disk is in no segment.
        SegmentsMissing = 107, "segments_missing", Distress, "look for the files, or restore them from a backup";
        /// Free space fell under the warning level.
        DiskWarning = 110, "disk_warning", Warning, "make room: move old segments to the store, or delete what is due";
        /// Free space fell under the critical level, or there is none: nothing more is recorded.
        DiskFull = 111, "disk_full", Critical, "make room now: nothing more is recorded, and what the rings overwrite is lost";
        /// There is room again.
        DiskRecovered = 112, "disk_recovered", Normal, "nothing";
        /// The disk refused something else.
        DiskError = 113, "disk_error", Critical, "look at the disk, and change it if need be; recording goes on by itself when it takes data again";
        /// A ring cannot be recorded.
        RingRefused = 114, "ring_refused", Distress, "remove the reason that the event names; it is tried again by itself";
        /// A day was signed.
        DaySigned = 120, "day_signed", Normal, "copy the head elsewhere, together with the public key";
        /// A segment could not be sealed; it is tried again.
        SealingFailed = 121, "sealing_failed", Distress, "remove the reason that the event names; it is tried again by itself";
        /// Everything that waited to be sealed is sealed.
        SealingRecovered = 122, "sealing_recovered", Normal, "nothing";
        /// The clock stepped forward, or ran far ahead of the newest segment: no day is signed before it has been steady.
        ClockDoubted = 123, "clock_doubted", Warning, "look whether the clock is right";
        /// A root of a day that has not come was put aside.
        RootSetAside = 124, "root_set_aside", Distress, "take a new copy of the head: what the root names is signed again";
        /// Days are signed again.
        SigningRecovered = 125, "signing_recovered", Normal, "nothing";
        /// A day could not be signed; it is tried again every minute.
        SigningFailed = 126, "signing_failed", Distress, "do what `hint` says; it is tried again by itself";
        /// The head was wrong or missing; it is written anew.
        HeadReplaced = 127, "head_replaced", Distress, "compare the file that was put aside with your copy of the head, and verify the archive with that copy; then look who or what changed it";
    }
}

/// One thing to tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What.
    pub code: EventCode,
    /// Figures and names.
    pub detail: Value,
}

impl Event {
    /// An event with this detail, a JSON object.
    pub fn new(code: EventCode, detail: Value) -> Event {
        Event { code, detail }
    }

    /// The file `path` of a segment is damaged, and lies `aside` now if it was put there.
    pub(crate) fn damaged(
        stream: &Stream,
        segment: SegmentName,
        path: &Path,
        aside: Option<&Path>,
        problem: &str,
    ) -> Event {
        let hint = match aside {
            Some(aside) => format!(
                "its records are missing until it is repaired: fep-recorder repair {}",
                aside.display()
            ),
            None => "it stays where it is: restore it from a backup, or put it aside by hand".to_owned(),
        };
        let detail = json!({
            "stream": stream.to_string(),
            "segment": segment.to_string(),
            "file": path.display().to_string(),
            "aside": aside.map(|aside| aside.display().to_string()),
            "problem": problem,
            "hint": hint,
        });
        Event::new(EventCode::SegmentDamaged, detail)
    }

    /// Days cannot be signed with the key in `key_file`.
    pub(crate) fn signing_failed(archive: &Path, key_file: &Path, error: &SegmentError) -> Event {
        let detail = json!({
            "reason": error.to_string(),
            "hint": signing_hint(archive, key_file, error),
        });
        Event::new(EventCode::SigningFailed, detail)
    }
}

/// What to do about it when days cannot be signed, by what stands in the way.
fn signing_hint(archive: &Path, key_file: &Path, error: &SegmentError) -> String {
    use std::io::ErrorKind;
    let roots_directory = archive.join("roots");
    let path = error.path().unwrap_or(archive);
    let shown = path.display();
    let kind = error.io_source().map(std::io::Error::kind);
    match kind {
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            return format!("make room on the file system of {shown}");
        }
        Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            return format!("let the user of the recorder read and write {shown}");
        }
        _ => {}
    }
    if path == key_file {
        use std::os::unix::fs::PermissionsExt;
        return match std::fs::symlink_metadata(key_file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                "restore the key, as the reason says (docs/runbooks/key-custody.md)".to_owned()
            }
            Ok(found) if found.is_file() && found.permissions().mode() & 0o077 != 0 => {
                format!("chmod 600 {shown}, and find out who may have read it")
            }
            Ok(found) if !found.is_file() => format!("remove {shown}, and restore the key from its copy"),
            _ => format!("restore the key from its copy to {shown}, with mode 600"),
        };
    }
    let is_root = path.parent() == Some(&roots_directory) && path != roots::head_file(archive);
    match kind {
        None if is_root => format!("restore {shown} from a backup: days are signed behind it"),
        None => format!("move what lies in the place of {shown} away"),
        Some(ErrorKind::NotADirectory) => {
            format!("a directory is expected: move what lies in the place of {shown} away")
        }
        Some(_) => format!("look at the disk of {shown}"),
    }
}

/// Where events go.
pub(crate) struct EventSink {
    ring: Option<EventRing>,
}

impl EventSink {
    /// Makes the ring, or takes up that of an earlier life. Without one, events are log lines only.
    pub(crate) fn open(rings: &Path) -> Result<EventSink, EventRingError> {
        Ok(EventSink { ring: Some(EventRing::open(rings, PROCESS)?) })
    }

    pub(crate) fn without_ring() -> EventSink {
        EventSink { ring: None }
    }

    pub(crate) fn tell(&mut self, event: Event) {
        let Event { code, detail } = event;
        match &self.ring {
            Some(ring) => ring.sender().report(code, u16::MAX, Session::Ops, detail),
            None => fep_event_ring::log(code, detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use fep_events::EventCode as _;

    use super::*;

    // REQ: FEP-KIT-251
    #[test]
    fn every_event_stands_in_the_operations_manual_with_its_severity_and_what_to_do() {
        let manual = include_str!("../../../../docs/operations.md");
        for code in EventCode::ALL {
            let first = format!("| `{}` | {} | ", code.name(), code.severity().name());
            let rows: Vec<&str> = manual.lines().filter(|row| row.starts_with(&first)).collect();
            assert_eq!(rows.len(), 1, "{first}");
            assert!(rows[0].ends_with(&format!(" | {} |", code.advice())), "{}", rows[0]);
        }
    }
}
