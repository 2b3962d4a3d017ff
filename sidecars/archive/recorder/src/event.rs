//! What the recorder tells operators: log lines, and records of the ring `recorder.events` in the form of fepd's own.

use fep_time::Tai;
use std::path::Path;

use fep_bus::{BusError, Producer, RingSpec, Tag};
use fep_record::{EventRecord, KIND_EVENT, Session};
use fep_segments::{SegmentName, Stream};
use fep_time::{Monotonic, tai_now};
use serde_json::{Value, json};

/// Name of the recorder's own events ring.
pub(crate) const EVENTS_RING: &str = "recorder.events";
const EVENT_MAX: u32 = 16 << 10;

/// Declares event codes once: number, name, severity as in the record (1 information, 2 warning, 4 alarm).
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $severity:literal;)*) => {
        /// What an event says. Numbers of the recorder start at 100.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u16)]
        pub enum EventCode { $($(#[$doc])* $name = $number,)* }

        impl EventCode {
            /// Name in the payload.
            pub const fn name(self) -> &'static str {
                match self { $(EventCode::$name => $text,)* }
            }

            /// 1 information, 2 warning, 4 alarm.
            pub const fn severity(self) -> u8 {
                match self { $(EventCode::$name => $severity,)* }
            }
        }
    };
}

codes! {
    /// A ring is recorded from now on.
    RecordingStarted = 100, "recording_started", 1;
    /// It is not any more.
    RecordingStopped = 101, "recording_stopped", 1;
    /// A segment was sealed.
    SegmentSealed = 102, "segment_sealed", 1;
    /// A segment of a recorder that died was found.
    SegmentRecovered = 103, "segment_recovered", 2;
    /// Records were lost; the loss is recorded.
    RecordsLost = 104, "records_lost", 4;
    /// The numbering of a ring begins anew.
    SeriesStarted = 105, "series_started", 2;
    /// A file is damaged; unless it has to stay, it was put aside. Recording goes on under a new name.
    SegmentDamaged = 106, "segment_damaged", 4;
    /// What the cursor says was on disk is in no segment.
    SegmentsMissing = 107, "segments_missing", 4;
    /// Free space fell under the warning level.
    DiskWarning = 110, "disk_warning", 2;
    /// Free space fell under the critical level, or there is none: nothing more is recorded.
    DiskFull = 111, "disk_full", 4;
    /// There is room again.
    DiskRecovered = 112, "disk_recovered", 1;
    /// The disk refused something else.
    DiskError = 113, "disk_error", 4;
    /// A ring cannot be recorded.
    RingRefused = 114, "ring_refused", 4;
    /// A day was signed.
    DaySigned = 120, "day_signed", 1;
    /// A segment could not be sealed; it is tried again.
    SealingFailed = 121, "sealing_failed", 4;
    /// The clock stepped forward, or ran far ahead of the newest segment: no day is signed before it has been steady.
    ClockDoubted = 123, "clock_doubted", 2;
    /// A root of a day that has not come was put aside.
    RootSetAside = 124, "root_set_aside", 4;
    /// Days are signed again.
    SigningRecovered = 125, "signing_recovered", 1;
    /// A day could not be signed; it is tried again every minute.
    SigningFailed = 126, "signing_failed", 4;
    /// Everything that waited to be sealed is sealed.
    SealingRecovered = 122, "sealing_recovered", 1;
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
}

/// Where events go.
pub(crate) struct EventSink {
    ring: Option<Producer>,
}

impl EventSink {
    /// Makes the ring, or takes up that of an earlier life. Without one, events are log lines only.
    pub(crate) fn open(rings: &Path) -> Result<EventSink, BusError> {
        let spec = RingSpec {
            desc_log2: 10,
            data_len: 2 << 20,
            extent_len: 1 << 20,
            payload_max: EVENT_MAX,
            prefault: false,
            ..RingSpec::new(EVENTS_RING, "fep.event.v1")
        };
        Ok(EventSink { ring: Some(Producer::create_or_attach(rings, &spec)?) })
    }

    pub(crate) fn without_ring() -> EventSink {
        EventSink { ring: None }
    }

    pub(crate) fn tell(&mut self, event: Event) {
        let Event { code, mut detail } = event;
        if let Value::Object(fields) = &mut detail {
            fields.insert("event".to_owned(), code.name().into());
        }
        match code.severity() {
            1 => tracing::info!("{detail}"),
            2 => tracing::warn!("{detail}"),
            _ => tracing::error!("{detail}"),
        }
        let Some(ring) = &mut self.ring else { return };
        let record = EventRecord {
            code: code as u16,
            severity: code.severity(),
            link_id: u16::MAX,
            session: Session::Ops,
        };
        let (flags, words) = record.to_words();
        let now = tai_now().0;
        let tag = Tag { kind: KIND_EVENT, flags, received: Tai(now), published: Tai(now), words };
        let mut payload = detail.to_string();
        if payload.len() > EVENT_MAX as usize {
            payload = json!({"event": code.name(), "detail": "too long"}).to_string();
        }
        if let Err(error) = ring.publish(tag, payload.as_bytes()) {
            tracing::error!(%error, "event not published");
        }
    }

    /// Keeps the ring alive.
    pub(crate) fn housekeep(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.housekeep(Monotonic::now());
        }
    }
}
