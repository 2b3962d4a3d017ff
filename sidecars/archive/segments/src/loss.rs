//! What is missing: a range of records, and why.

use fep_bus::{GapCause, Position};

/// Records that are in no segment. Written into the segment where they would have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Where the first lost record would be.
    pub from: Position,
    /// Where the stream goes on.
    pub to: Position,
    /// Why.
    pub cause: LossCause,
}

impl Loss {
    /// Records lost, exact.
    pub fn records(&self) -> u64 {
        self.to.seq.saturating_sub(self.from.seq)
    }

    /// Payload octets lost, exact.
    pub fn octets(&self) -> u64 {
        self.to.payload.saturating_sub(self.from.payload)
    }
}

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why records are in no segment.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum LossCause { $($(#[$doc])* $name = $code,)* }

        impl LossCause {
            /// All causes.
            pub const ALL: &[LossCause] = &[$(LossCause::$name,)*];

            /// Its name in listings, catalogues and events.
            pub const fn name(self) -> &'static str {
                match self { $(LossCause::$name => $text,)* }
            }

            /// The cause with this number in a file; numbers of later versions read as [`LossCause::Unknown`].
            pub const fn of_code(code: u32) -> LossCause {
                match code { $($code => LossCause::$name,)* _ => LossCause::Unknown }
            }
        }
    };
}

causes! {
    /// A number that this version does not know.
    Unknown = 0, "unknown";
    /// The recorder was a whole ring behind.
    Lapped = 1, "lapped";
    /// The ring was overwritten while it was being copied.
    Torn = 2, "torn";
    /// As lapped, and the warden had given the recorder up.
    Evicted = 3, "evicted";
    /// The ring was laid out anew while the recorder was away.
    Recreated = 4, "recreated";
    /// The ring was damaged.
    CorruptRing = 5, "corrupt_ring";
    /// There was no room on disk.
    DiskFull = 6, "disk_full";
    /// The disk refused a write or lost what it had taken.
    DiskError = 7, "disk_error";
    /// The records had been overwritten before the recorder saw the ring for the first time.
    BeforeRecorder = 8, "before_recorder";
    /// A block of a segment is damaged. Never written; readers report it.
    DamagedBlock = 9, "damaged_block";
    /// A segment is missing. Never written; readers report it.
    MissingSegment = 10, "missing_segment";
    /// The segment was removed on purpose. Never written; readers report it.
    Removed = 11, "removed";
}

impl From<GapCause> for LossCause {
    fn from(cause: GapCause) -> LossCause {
        match cause {
            GapCause::Lapped => LossCause::Lapped,
            GapCause::Torn => LossCause::Torn,
            GapCause::Evicted => LossCause::Evicted,
            GapCause::Recreated => LossCause::Recreated,
            GapCause::Corrupt => LossCause::CorruptRing,
        }
    }
}
