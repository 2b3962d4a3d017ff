//! What the catalogue knows: segments, channels, gaps, contacts, and the things people decide about them.
//!
//! All times are TAI in nanoseconds since 1958-01-01, as in the ring's descriptors.

pub use fep_colour::Colour;
use fep_record::{FrameFlags, Session};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

use crate::continuity::Unit;
use crate::{Error, hex};

/// Names of an enumeration: to SQL and JSON and back, with one spelling.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vmeta])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// Its name in SQL, JSON and paths.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }

        // The derived schema does not see names that a macro gives.
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let names = utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::Type::String);
                names.enum_values(Some([$($text,)+])).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<$name, Error> {
                Self::ALL.iter().copied().find(|value| value.name() == text).ok_or_else(|| Error::Name {
                    what: stringify!($name),
                    given: text.to_owned(),
                    allowed: Self::ALL.iter().map(|value| value.name()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

impl From<fep_colour::NoColour> for Error {
    fn from(error: fep_colour::NoColour) -> Error {
        let allowed =
            fep_colour::Colour::ALL.iter().map(|colour| colour.name()).collect::<Vec<_>>().join(", ");
        Error::Name { what: "Colour", given: error.0, allowed }
    }
}

named! {
    /// Where a segment's octets are.
    Tier {
        /// In the recorder's directory only.
        Hot = "hot",
        /// In the recorder's directory and in the object store, verified.
        Both = "both",
        /// In the object store only.
        Warm = "warm",
    }
}

named! {
    /// Whether a segment can be used.
    SegmentState {
        /// Its octets are what was recorded.
        Ok = "ok",
        /// Some of its octets are not what was recorded, and no good copy is left: what does not hold its checksum is not
        /// served.
        Quarantined = "quarantined",
        /// Deleted by the decision of two persons; the row stays.
        Deleted = "deleted",
    }
}

named! {
    /// What the jump of a counter is taken for.
    Cause {
        /// Units were lost: as many as the counter says.
        Loss = "loss",
        /// So many were lost that the counter went round: the number is an estimate by time and rate.
        Wrap = "wrap",
        /// The counter started again on board: how many were lost is not known.
        Reset = "reset",
    }
}

named! {
    /// What is done about a gap.
    GapState {
        /// Nobody has done anything yet.
        Open = "open",
        /// Its data were asked for, at a station or on board.
        Requested = "requested",
        /// Its data are here, by another antenna or later.
        Filled = "filled",
        /// Nobody has its data any more.
        Unrecoverable = "unrecoverable",
        /// The mission does not want it.
        Accepted = "accepted",
    }
}

impl GapState {
    /// Whether a person may move a gap from here to `to`. The catalogue itself fills open and requested gaps.
    #[must_use]
    pub fn may_become(self, to: GapState) -> bool {
        use GapState::{Accepted, Filled, Open, Requested, Unrecoverable};
        matches!(
            (self, to),
            (Open, Requested | Unrecoverable | Accepted | Filled)
                | (Requested, Open | Unrecoverable | Accepted | Filled)
                | (Unrecoverable | Accepted, Open | Requested | Filled)
        )
    }
}

named! {
    /// Where a deletion stands.
    DeletionState {
        /// One person asked for it.
        Requested = "requested",
        /// A second person agreed; the octets may go.
        Approved = "approved",
        /// The octets are gone.
        Done = "done",
        /// Somebody who could have approved did not want it.
        Refused = "refused",
        /// Taken back before its execution began.
        Withdrawn = "withdrawn",
        /// Its time was over before its execution began.
        Expired = "expired",
        /// Its segments are marked as deleted, their octets go.
        Executing = "executing",
        /// It could not be executed.
        Failed = "failed",
    }
}

/// Name of a segment, which is also its path below the archive directory, without the end:
/// `<colour>/<ring>/<series>-<base position>`, the numbers as sixteen hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct SegmentId(pub String);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A sealed segment, as the recorder left it. Series and sequence number together name a record of a ring for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SegmentFacts {
    /// Ring it was copied from.
    pub ring: String,
    /// Red or black.
    #[schema(value_type = String, pattern = "^(black|red)$")]
    pub colour: Colour,
    /// Numbering of the ring that it belongs to (it changes when a ring loses its memory).
    pub series: u64,
    /// Log position in the ring at which it begins.
    pub base_pos: u64,
    /// Ring sequence number at which it begins.
    pub first_seq: u64,
    /// Ring sequence number at which the next segment begins.
    pub end_seq: u64,
    /// Records in it.
    pub records: u64,
    /// Records of its span that it does not hold; each loss has its cause in the segment.
    pub lost_records: u64,
    /// Octets of the file.
    pub file_octets: u64,
    /// SHA-256 over its contents, from the footer.
    #[serde(with = "hex")]
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub content_sha256: [u8; 32],
    /// Chain hash, from the footer: over the contents and the chain hash before it.
    #[serde(with = "hex")]
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub chain: [u8; 32],
    /// Chain hash of the segment before it; zeros for the first.
    #[serde(with = "hex")]
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub previous_chain: [u8; 32],
}

impl SegmentFacts {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        SegmentId(format!("{}/{}/{:016x}-{:016x}", self.colour, self.ring, self.series, self.base_pos))
    }
}

/// A segment in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Segment {
    /// As recorded.
    #[serde(flatten)]
    pub facts: SegmentFacts,
    /// Earliest reception in it; `None` when it holds no frame, packet or event.
    pub first_rx_tai_ns: Option<i64>,
    /// Latest reception in it.
    pub last_rx_tai_ns: Option<i64>,
    /// Rows in its frames index.
    pub frames: u64,
    /// Rows in its packets index.
    pub packets: u64,
    /// Payload octets of its frames, packets and events.
    pub payload_octets: u64,
    /// Whether it can be used.
    pub state: SegmentState,
    /// Why not, when not.
    pub state_reason: String,
    /// Where its octets are.
    pub tier: Tier,
    /// Its copy in the object store, once it is there and was verified.
    pub object: Option<StoredObject>,
    /// Its index of frames, when it holds any.
    pub frames_index: Option<IndexFile>,
    /// Its index of packets, when it holds any.
    pub packets_index: Option<IndexFile>,
}

/// A copy in the object store that was read back and compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredObject {
    /// Key.
    pub key: String,
    /// Octets.
    pub octets: u64,
    /// SHA-256 of all octets.
    #[serde(with = "hex")]
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub sha256: [u8; 32],
}

/// A Parquet file of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IndexFile {
    /// Key in the object store.
    pub key: String,
    /// Rows.
    pub rows: u64,
    /// Octets.
    pub octets: u64,
    /// SHA-256 of the file.
    #[serde(with = "hex")]
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub sha256: [u8; 32],
}

impl IndexFile {
    /// It as an object of the store.
    #[must_use]
    pub fn object(&self) -> StoredObject {
        StoredObject { key: self.key.clone(), octets: self.octets, sha256: self.sha256 }
    }
}

/// A counter's channel as one link received it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub struct Channel {
    /// Station link.
    pub link: u16,
    /// What the data are for.
    #[serde(with = "session_number")]
    #[schema(value_type = String, pattern = "^(ops|test|replay)$")]
    pub session: u8,
    /// Transfer frame version number.
    pub tfvn: u8,
    /// Spacecraft.
    pub scid: u16,
    /// Virtual channel.
    pub vcid: u8,
    /// USLP: the expedited service has a counter of its own.
    pub expedited: bool,
    /// Application process; `None` for the virtual channel's own counter.
    pub apid: Option<u16>,
}

mod session_number {
    use super::Session;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &u8, serializer: S) -> Result<S::Ok, S::Error> {
        Session::from_u8(*number).unwrap_or_default().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
        Session::deserialize(deserializer).map(|session| session as u8).map_err(D::Error::custom)
    }
}

/// Frames or packets of one channel whose counts follow on without a break.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Channel.
    pub channel: Channel,
    /// Ring sequence number of the first unit.
    pub first_seq: u64,
    /// Ring sequence number of the last unit.
    pub last_seq: u64,
    /// Reception of the first.
    pub first_rx_tai_ns: i64,
    /// Reception of the last.
    pub last_rx_tai_ns: i64,
    /// Count of the first.
    pub first_count: u64,
    /// Count of the last, modulo the modulus.
    pub last_count: u64,
    /// Units, duplicates not counted.
    pub units: u64,
    /// Units that repeated the count before them.
    pub duplicates: u64,
    /// One more than the greatest count.
    pub modulus: u64,
    /// Record flags of the first unit: what the engine said of the counter there.
    pub first_flags: u16,
}

impl Run {
    /// The last unit. Its flags do not matter any more.
    pub(crate) fn last_unit(&self) -> Unit {
        Unit {
            seq: self.last_seq,
            count: self.last_count,
            rx_tai_ns: self.last_rx_tai_ns,
            flags: FrameFlags::empty(),
        }
    }

    /// The first unit.
    pub(crate) fn first_unit(&self) -> Unit {
        Unit {
            seq: self.first_seq,
            count: self.first_count,
            rx_tai_ns: self.first_rx_tai_ns,
            flags: FrameFlags(self.first_flags),
        }
    }
}

/// Where a counter did not run on within a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// Channel.
    pub channel: Channel,
    /// One more than the greatest count.
    pub modulus: u64,
    /// The unit before.
    pub last: Unit,
    /// The unit after.
    pub next: Unit,
    /// Units missing; 0 when the cause is a reset.
    pub lost: u64,
    /// What it is taken for.
    pub cause: Cause,
}

/// What one link received of one spacecraft without a silence longer than [`crate::CONTACT_SILENCE_NS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Presence {
    /// Station link.
    pub link: u16,
    /// What the data are for.
    #[serde(with = "session_number")]
    #[schema(value_type = String, pattern = "^(ops|test|replay)$")]
    pub session: u8,
    /// Spacecraft; `None` for frames whose header was not to be believed.
    pub scid: Option<u16>,
    /// Whether it is told by packets (of a packets ring) instead of frames.
    pub by_packets: bool,
    /// Reception of the first.
    pub first_rx_tai_ns: i64,
    /// Reception of the last.
    pub last_rx_tai_ns: i64,
    /// Counters.
    pub counts: PresenceCounts,
}

/// Counters of a [`Presence`] or [`Contact`], of frames, or of packets where it is told by packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct PresenceCounts {
    /// All, good and bad.
    pub units: u64,
    /// Those that are bad.
    pub bad: u64,
    /// Those in which symbols were corrected.
    pub corrected: u64,
    /// Those of idle data.
    pub idle: u64,
    /// Octets.
    pub octets: u64,
}

impl std::ops::AddAssign for PresenceCounts {
    fn add_assign(&mut self, other: PresenceCounts) {
        self.units += other.units;
        self.bad += other.bad;
        self.corrected += other.corrected;
        self.idle += other.idle;
        self.octets += other.octets;
    }
}

/// One reception of one spacecraft by one link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Contact {
    /// Ring that the frames came by.
    pub ring: String,
    /// Red or black.
    #[schema(value_type = String, pattern = "^(black|red)$")]
    pub colour: Colour,
    /// What was received.
    #[serde(flatten)]
    pub presence: Presence,
}

/// Units that did not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gap {
    /// Its name, the same however often the catalogue is built again.
    pub id: String,
    /// Ring.
    pub ring: String,
    /// Red or black.
    #[schema(value_type = String, pattern = "^(black|red)$")]
    pub colour: Colour,
    /// Numbering of the ring that `after_seq` and `before_seq` are of (of `before_seq`, where they differ).
    pub series: u64,
    /// Channel; with an application process it is a gap of packets, else of frames.
    pub channel: Channel,
    /// First count that is missing.
    pub from_count: u64,
    /// Last count that is missing.
    pub to_count: u64,
    /// Units missing; 0 when the cause is a reset.
    pub lost: u64,
    /// One more than the greatest count.
    pub modulus: u64,
    /// What the jump is taken for.
    pub cause: Cause,
    /// Ring sequence number of the unit before it.
    pub after_seq: u64,
    /// Ring sequence number of the unit after it.
    pub before_seq: u64,
    /// Reception of the unit before it.
    pub start_tai_ns: i64,
    /// Reception of the unit after it.
    pub stop_tai_ns: i64,
    /// What is done about it.
    pub state: GapState,
}

/// A change of a gap's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GapStep {
    /// When.
    pub at_tai_ns: i64,
    /// Who; `catalogue` when the data came by themselves.
    pub person: String,
    /// From.
    pub from: GapState,
    /// To.
    pub to: GapState,
    /// Why, or under which order.
    pub note: String,
}

/// How much of one channel came in a span of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Completeness {
    /// Channel; for the merged figure `link` is `None`.
    pub link: Option<u16>,
    /// What the data are for.
    #[serde(with = "session_number")]
    #[schema(value_type = String, pattern = "^(ops|test|replay)$")]
    pub session: u8,
    /// Spacecraft.
    pub scid: u16,
    /// Virtual channel.
    pub vcid: u8,
    /// Application process; `None` for frames.
    pub apid: Option<u16>,
    /// Units here.
    pub received: u64,
    /// Units that the counters say are missing.
    pub lost: u64,
    /// Times the counter started again: what was lost there nobody knows.
    pub resets: u64,
}

impl Completeness {
    /// Share of the units that are here, 0 to 1; 1 when there were none.
    #[must_use]
    pub fn share(&self) -> f64 {
        let all = self.received + self.lost;
        if all == 0 { 1.0 } else { self.received as f64 / all as f64 }
    }
}

/// A time in which nothing was received of a spacecraft: whether anything was sent, no counter tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Silence {
    /// Station link; `None`: no link received anything.
    pub link: Option<u16>,
    /// Last reception before it, or where the span begins that was asked for.
    pub from_tai_ns: i64,
    /// First reception after it, or where the span ends.
    pub to_tai_ns: i64,
}

/// Data that must not be deleted, whoever says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hold {
    /// Its name.
    pub id: String,
    /// What is held.
    pub scope: Scope,
    /// Why.
    pub reason: String,
    /// Who ordered it.
    pub person: String,
    /// When.
    pub at_tai_ns: i64,
    /// When and by whom it was lifted.
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    pub released: Option<(i64, String)>,
}

/// Segments, by what is in them. A field that is `None` takes all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Scope {
    /// Segments with data received at or after this time.
    pub from_tai_ns: Option<i64>,
    /// Segments with data received before this time.
    pub to_tai_ns: Option<i64>,
    /// Of this ring.
    pub ring: Option<String>,
    /// Of this colour.
    #[schema(value_type = Option<String>, pattern = "^(black|red)$")]
    pub colour: Option<Colour>,
    /// With frames or packets of this spacecraft.
    pub scid: Option<u16>,
    /// With frames or packets by this link.
    pub link: Option<u16>,
}

/// A deletion that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deletion {
    /// Its name.
    pub id: String,
    /// Segments to delete, fixed when it was asked for, in the order of their names.
    pub segments: Vec<SegmentId>,
    /// SHA-256 of that list, 64 hexadecimal digits: what is approved. `None` for a deletion of an earlier release.
    pub content_sha256: Option<String>,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub requester: String,
    /// When.
    pub requested_tai_ns: i64,
    /// From then on it can neither be approved nor begun. `None` for a deletion of an earlier release.
    pub expires_tai_ns: Option<i64>,
    /// Who was the last to approve; when nobody did, who ended it; and when.
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    pub decided: Option<(i64, String)>,
    /// Where it stands.
    pub state: DeletionState,
    /// What was said at its end.
    pub note: String,
}

/// An order to lift a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HoldRelease {
    /// The hold.
    pub hold: String,
    /// The order.
    #[schema(value_type = Object)]
    pub order: fep_orders::Order,
}

/// One entry of the audit trail that an earlier release wrote. Each holds the hash of the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Number, from 1, without a hole.
    pub number: u64,
    /// When.
    pub at_tai_ns: i64,
    /// Who.
    pub person: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// Details.
    pub detail: String,
    /// SHA-256 of this entry and the hash before it.
    #[serde(with = "hex")]
    pub hash: [u8; 32],
}
