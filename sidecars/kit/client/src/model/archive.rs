//! The archive: what it holds, what must not be deleted, what two persons decide. Times are TAI in nanoseconds since
//! 1958-01-01.

use std::collections::BTreeMap;

pub use fep_colour::Colour;
use fep_time::Tai;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Names that a service has for the states of something; those of a later version are read as [`Other`](Self::Other).
macro_rules! states {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name {
            $($(#[$vmeta])* $variant,)+
            /// A state that this program does not know.
            #[serde(other)]
            Other,
        }

        impl $name {
            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                    $name::Other => "other",
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

states! {
    /// Where an order of several persons stands.
    OrderState {
        /// It waits for approvals.
        Asked = "asked",
        /// Everybody has approved who must.
        Approved = "approved",
        /// Somebody who could have approved did not want it.
        Refused = "refused",
        /// Who asked does not want it any more.
        Withdrawn = "withdrawn",
        /// Its time was over before it was begun.
        Expired = "expired",
        /// It was begun.
        Executing = "executing",
        /// It succeeded.
        Done = "done",
        /// It did not.
        Failed = "failed",
    }
}

states! {
    /// Where a deletion stands.
    DeletionState {
        /// It waits for approvals.
        Requested = "requested",
        /// Everybody has approved who must; the octets go with the next round of keeping.
        Approved = "approved",
        /// The segments are deleted.
        Done = "done",
        /// Somebody who could have approved did not want it.
        Refused = "refused",
        /// Who asked does not want it any more.
        Withdrawn = "withdrawn",
        /// Its time was over before it was begun.
        Expired = "expired",
        /// It was begun.
        Executing = "executing",
        /// It did not succeed.
        Failed = "failed",
    }
}

impl DeletionState {
    /// Whether somebody can still decide.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, DeletionState::Requested | DeletionState::Approved)
    }
}

states! {
    /// Where long work stands.
    JobState {
        /// It waits.
        Queued = "queued",
        /// It runs.
        Running = "running",
        /// It succeeded.
        Done = "done",
        /// It did not.
        Failed = "failed",
        /// Somebody ended it.
        Cancelled = "cancelled",
    }
}

/// The service at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// What it holds.
    pub totals: Totals,
    /// Rows that are not in a sealed segment yet.
    #[serde(default)]
    pub tail_rows: u64,
    /// Sealed segments that are in no index yet.
    #[serde(default)]
    pub unindexed_segments: u64,
    /// Octets of these.
    #[serde(default)]
    pub unindexed_octets: u64,
    /// Whether all that was recorded was looked at since the start.
    pub has_looked_at_all: bool,
}

/// What an archive holds, in all.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Totals {
    /// Segments, deleted ones not counted.
    pub segments: u64,
    /// Segments in quarantine.
    pub quarantined: u64,
    /// Octets of their files.
    pub octets: u64,
    /// Frames.
    pub frames: u64,
    /// Packets.
    pub packets: u64,
    /// Records that the recorder lost, by its own account.
    pub lost_records: u64,
    /// Gaps that are open.
    pub open_gaps: u64,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Segment {
    /// Its name, wherever one is asked for.
    pub id: String,
    /// The ring it was recorded from.
    pub ring: String,
    /// Red or black.
    pub colour: Colour,
    /// Records in it.
    pub records: u64,
    /// Octets of its file.
    pub file_octets: u64,
    /// Reception of its first record; `None` where it holds none.
    pub first_rx_tai_ns: Option<Tai>,
    /// Reception of its last record.
    pub last_rx_tai_ns: Option<Tai>,
    /// `ok`, `quarantined`, `deleted`.
    pub state: String,
}

/// A span of time, of some spacecraft, on some link: what a hold covers. What is `None` is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// Received at or after.
    pub from_tai_ns: Option<Tai>,
    /// Received before.
    pub to_tai_ns: Option<Tai>,
    /// Ring it was recorded from.
    pub ring: Option<String>,
    /// Red or black.
    pub colour: Option<Colour>,
    /// Spacecraft.
    pub scid: Option<u16>,
    /// Station link.
    pub link: Option<u16>,
}

/// What must not be deleted, and why.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Hold {
    /// Its name.
    pub id: String,
    /// What it covers.
    pub scope: Scope,
    /// Why.
    pub reason: String,
    /// Who put it.
    pub person: String,
    /// When.
    pub at_tai_ns: Tai,
    /// When it was lifted, and by whom.
    pub released: Option<(Tai, String)>,
}

/// A hold that is put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewHold {
    /// What it covers.
    pub scope: Scope,
    /// Why.
    pub reason: String,
    /// Says expressly that an empty scope is meant.
    pub everything: bool,
}

/// Words to go with an act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The words.
    pub note: String,
}

/// What somebody approves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Approving {
    /// SHA-256 of what the person has looked at, 64 hexadecimal digits.
    pub content_sha256: String,
}

/// What a kind of order needs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Rule {
    /// Kind of act.
    pub kind: String,
    /// One role for each person who must approve.
    pub seats: Vec<String>,
}

/// One approval.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Approval {
    /// Who.
    pub person: String,
    /// When.
    pub at: Tai,
}

/// How and when an order came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ending {
    /// Who; `None` when its time was over.
    pub person: Option<String>,
    /// Why, or what came of it.
    pub note: String,
    /// When.
    pub at: Tai,
}

/// An order of several persons.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Order {
    /// Its name.
    pub id: String,
    /// What, in words.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// SHA-256 of what is approved, 64 hexadecimal digits.
    pub content_sha256: String,
    /// What it needs.
    pub rule: Rule,
    /// Who asked.
    pub asker: String,
    /// When.
    pub asked_at: Tai,
    /// From then on it can neither be approved nor begun.
    pub expires_at: Tai,
    /// Where it stands.
    pub state: OrderState,
    /// Who approved, in their order.
    pub approvals: Vec<Approval>,
    /// Once it is over.
    pub ending: Option<Ending>,
}

/// An order to lift a hold.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HoldRelease {
    /// Name of the hold.
    pub hold: String,
    /// The order.
    pub order: Order,
}

/// A deletion that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Deletion {
    /// Its name.
    pub id: String,
    /// Names of the segments, in their order.
    pub segments: Vec<String>,
    /// SHA-256 of what is approved: of the names, each with a line feed after it. `None` for deletions of releases before
    /// there were orders; these can be approved no more.
    pub content_sha256: Option<String>,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub requester: String,
    /// When.
    pub requested_tai_ns: Tai,
    /// From then on it can neither be approved nor begun.
    pub expires_tai_ns: Option<Tai>,
    /// When somebody decided, and who.
    pub decided: Option<(Tai, String)>,
    /// Where it stands.
    pub state: DeletionState,
    /// Why it was refused, or what came of it.
    #[serde(default)]
    pub note: String,
}

/// A deletion that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewDeletion {
    /// Names of the segments.
    pub segments: Vec<String>,
    /// Why.
    pub reason: String,
}

/// A segment that its class does not keep any longer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Due {
    /// Name of the segment.
    pub segment: String,
    /// Class by which it is due.
    pub class: String,
    /// Its last reception.
    pub last_rx_tai_ns: Tai,
    /// Holds that keep it nevertheless.
    pub holds: Vec<String>,
}

/// A channel: frames of a virtual channel, or packets of an application process in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Channel {
    /// Station link.
    pub link: u16,
    /// Spacecraft.
    pub scid: u16,
    /// Virtual channel.
    pub vcid: u8,
    /// Application process, of packets.
    pub apid: Option<u16>,
}

/// Something that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Gap {
    /// Its name.
    pub id: String,
    /// The ring that lacks it.
    pub ring: String,
    /// Of which channel.
    pub channel: Channel,
    /// How many units, or the least number of them.
    pub lost: u64,
    /// `loss`, `wrap`, `reset`.
    pub cause: String,
    /// Reception of the unit before it.
    pub start_tai_ns: Tai,
    /// What is done about it.
    pub state: String,
    /// What was done about it; only where one gap is asked for.
    #[serde(default)]
    pub steps: Vec<GapStep>,
}

/// What was done about a gap.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GapStep {
    /// When.
    pub at_tai_ns: Tai,
    /// Who.
    pub person: String,
    /// State before.
    pub from: String,
    /// State after.
    pub to: String,
    /// Why.
    pub note: String,
}

/// A new state of a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewGapState {
    /// The state.
    pub state: String,
    /// Why, or under which order.
    pub note: String,
}

/// How much came of each channel of a spacecraft in a span of time.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct Shares {
    /// The channels.
    pub channels: Vec<Share>,
    /// When nothing came.
    pub silences: Vec<Silence>,
    /// Where counting ends.
    pub counted_to_tai_ns: Option<Tai>,
}

/// How much came of one channel.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct Share {
    /// Station link; `None` over all links.
    pub link: Option<u16>,
    /// `ops`, `test`, `replay`.
    pub session: String,
    /// Spacecraft.
    pub scid: u16,
    /// Virtual channel.
    pub vcid: u8,
    /// Application process, of packets.
    pub apid: Option<u16>,
    /// Units that came.
    pub received: u64,
    /// Units that did not.
    pub lost: u64,
    /// How often the counter began anew.
    pub resets: u64,
    /// Received / (received + lost).
    pub share: f64,
}

/// A stretch in which nothing was received.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Silence {
    /// Station link; `None` by no link.
    pub link: Option<u16>,
    /// From the last reception before it.
    pub from_tai_ns: Tai,
    /// To the first reception after it.
    pub to_tai_ns: Tai,
    /// Spacecraft; put there by who asked for several.
    #[serde(default)]
    pub scid: Option<u16>,
}

/// Long work of the service.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Job {
    /// Its number; a text where a release before had other names.
    pub id: Value,
    /// `scrub`, `backup`.
    pub kind: String,
    /// Where it stands.
    pub state: JobState,
    /// Segments to do, as known at its start.
    pub segments: Option<u64>,
    /// Segments done.
    pub segments_done: u64,
    /// What it has found or done so far: [`ScrubReport`], [`BackupReport`]; null before.
    pub report: Value,
    /// Why it failed.
    pub problem: Option<String>,
}

/// What a scrub found. Lists hold the first findings only; the numbers count all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ScrubReport {
    /// Segments looked at.
    pub segments: u64,
    /// Octets read of files and objects.
    pub octets: u64,
    /// What was wrong.
    pub findings: Vec<ScrubFinding>,
    /// How much was wrong.
    pub findings_in_all: u64,
    /// Segments that went into quarantine.
    pub quarantined: Vec<String>,
    /// How many went into quarantine.
    pub quarantined_in_all: u64,
}

/// Something that a scrub found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ScrubFinding {
    /// Segment concerned.
    pub segment: String,
    /// Its file, its copy in the object store, or an index file.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// Whether it is right again.
    pub repaired: bool,
}

/// What a backup did. `missing` holds the first only; the number counts all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BackupReport {
    /// Objects that belong to the backup.
    pub objects: u64,
    /// Objects copied now.
    pub copied: u64,
    /// Octets copied now.
    pub octets: u64,
    /// Segments that are not in it, and why.
    pub missing: BTreeMap<String, String>,
    /// How many are not in it.
    pub missing_in_all: u64,
}

/// A replay.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Replay {
    /// Its name.
    pub name: String,
    /// Where it is in its life.
    pub phase: String,
    /// A number, or `fastest`.
    pub speed: Value,
    /// Records given to the receiver.
    pub sent: u64,
    /// Their payload octets.
    pub sent_octets: u64,
    /// Records that the archive should have had.
    pub missing: u64,
    /// Reception of the last record sent.
    pub position_tai_ns: Option<Tai>,
    /// Why it failed.
    pub problem: Option<String>,
    /// The address it listens at, until its receiver has come.
    pub address: Option<String>,
}

/// What an answer holds, of the members of its manifest that programs read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    /// SHA-256 of its octets, hexadecimal.
    pub sha256: String,
    /// Units in it.
    pub units: u64,
    /// Octets in it.
    pub octets: u64,
    /// Of an empty answer: other sessions, in which there are units that match.
    #[serde(default)]
    pub other_sessions: Vec<String>,
    /// Segments that match and are in quarantine.
    #[serde(default)]
    pub quarantined_segments: Vec<String>,
    /// What was recorded and is not in the answer.
    #[serde(default)]
    pub incomplete: Vec<String>,
}

/// A query in SQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SqlQuery {
    /// The query.
    pub sql: String,
    /// `json` or `csv`.
    pub format: &'static str,
    /// At most so many rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_max: Option<u64>,
    /// At most so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
}

/// An answer to SQL.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SqlAnswer {
    /// Columns, in their order.
    pub columns: Vec<SqlColumn>,
    /// Rows: values by the names of columns.
    pub rows: Vec<serde_json::Map<String, Value>>,
    /// Whether there were more rows.
    pub truncated: bool,
    /// How long it took.
    pub took_ms: u64,
    /// What was recorded and is not in the answer.
    #[serde(default)]
    pub incomplete: Vec<String>,
}

/// A column of an answer to SQL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SqlColumn {
    /// Its name.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_a_later_version_is_read_as_other() {
        let read = |text: &str| serde_json::from_str::<DeletionState>(text).expect("a state");
        assert_eq!(read("\"requested\""), DeletionState::Requested);
        assert_eq!(read("\"pondered\""), DeletionState::Other);
    }
}
