//! What the user words of a ring descriptor mean: frames, packets and events as records.
//!
//! Pure packing. The bus carries `kind`, `flags` and two 64-bit words without looking at them; producer and
//! consumers agree on their meaning here and nowhere else. The octet order inside a word is little-endian: the
//! first field named is the least significant.

use fep_ccsds::{FrameInvalid, Gvcid};

/// Descriptor kind of a transfer frame ([`FrameRecord`]).
pub const KIND_FRAME: u16 = 1;
/// Descriptor kind of a packet ([`PacketRecord`]).
pub const KIND_PACKET: u16 = 2;
/// Descriptor kind of an event ([`EventRecord`]).
pub const KIND_EVENT: u16 = 3;

/// What is known of a frame or packet, as a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FrameFlags(pub u16);

impl FrameFlags {
    /// The decoder corrected symbols and the result is a codeword.
    pub const CORRECTED: FrameFlags = FrameFlags(1 << 0);
    /// At least one codeword could not be corrected: the octets are as received.
    pub const UNCORRECTABLE: FrameFlags = FrameFlags(1 << 1);
    /// The frame error control field did not match.
    pub const FECF_FAILED: FrameFlags = FrameFlags(1 << 2);
    /// The header cannot be right; see the reason.
    pub const HEADER_INVALID: FrameFlags = FrameFlags(1 << 3);
    /// Only idle data.
    pub const IDLE: FrameFlags = FrameFlags(1 << 4);
    /// Received with inverted polarity (already put right).
    pub const INVERTED: FrameFlags = FrameFlags(1 << 5);
    /// The marker was not seen; the position was assumed.
    pub const FLYWHEEL: FrameFlags = FrameFlags(1 << 6);
    /// A bit slip preceded the frame.
    pub const SLIP: FrameFlags = FrameFlags(1 << 7);
    /// The data field is enciphered.
    pub const ENCRYPTED: FrameFlags = FrameFlags(1 << 8);
    /// The data field was deciphered (red data).
    pub const CLEAR: FrameFlags = FrameFlags(1 << 9);
    /// Frames of this virtual channel are missing before this one.
    pub const GAP: FrameFlags = FrameFlags(1 << 10);
    /// Same count as the frame before.
    pub const DUPLICATE: FrameFlags = FrameFlags(1 << 11);
    /// The frame counter jumped backwards.
    pub const RESET: FrameFlags = FrameFlags(1 << 12);
    /// A code or a FECF vouches for the octets.
    pub const CODED: FrameFlags = FrameFlags(1 << 13);
    /// Made by a simulator.
    pub const SIMULATED: FrameFlags = FrameFlags(1 << 14);
    /// More frames may be missing before this one than the counter says: only the least number is known.
    pub const LOSS_AT_LEAST: FrameFlags = FrameFlags(1 << 15);

    const NAMES: [(&'static str, FrameFlags); 16] = [
        ("corrected", Self::CORRECTED),
        ("uncorrectable", Self::UNCORRECTABLE),
        ("fecf_failed", Self::FECF_FAILED),
        ("header_invalid", Self::HEADER_INVALID),
        ("idle", Self::IDLE),
        ("inverted", Self::INVERTED),
        ("flywheel", Self::FLYWHEEL),
        ("slip", Self::SLIP),
        ("encrypted", Self::ENCRYPTED),
        ("clear", Self::CLEAR),
        ("gap", Self::GAP),
        ("duplicate", Self::DUPLICATE),
        ("reset", Self::RESET),
        ("coded", Self::CODED),
        ("simulated", Self::SIMULATED),
        ("loss_at_least", Self::LOSS_AT_LEAST),
    ];

    /// No bit set.
    #[must_use]
    pub const fn empty() -> FrameFlags {
        FrameFlags(0)
    }

    /// Whether every bit of `other` is set.
    #[must_use]
    pub const fn contains(self, other: FrameFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    #[must_use]
    pub const fn intersects(self, other: FrameFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// Sets the bits of `other`.
    pub const fn insert(&mut self, other: FrameFlags) {
        self.0 |= other.0;
    }

    /// Sets or clears the bits of `other`.
    pub const fn set(&mut self, other: FrameFlags, on: bool) {
        if on {
            self.0 |= other.0;
        } else {
            self.0 &= !other.0;
        }
    }

    /// Names of the set bits, lowest bit first.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(_, bit)| self.contains(*bit)).map(|(name, _)| *name)
    }
}

impl std::ops::BitOr for FrameFlags {
    type Output = FrameFlags;
    fn bitor(self, other: FrameFlags) -> FrameFlags {
        FrameFlags(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for FrameFlags {
    fn bitor_assign(&mut self, other: FrameFlags) {
        self.0 |= other.0;
    }
}

/// What the data are for. Replayed or simulated data can never look live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Session {
    /// Live operations.
    #[default]
    Ops = 0,
    /// A rehearsal or a simulator.
    Test = 1,
    /// Played again from the archive.
    Replay = 2,
}

impl Session {
    /// The session with this number, if there is one.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Session> {
        match number {
            0 => Some(Session::Ops),
            1 => Some(Session::Test),
            2 => Some(Session::Replay),
            _ => None,
        }
    }
}

impl Session {
    /// Name in messages: `OPS`, `TEST`, `REPLAY`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Session::Ops => "OPS",
            Session::Test => "TEST",
            Session::Replay => "REPLAY",
        }
    }

    /// The session that a record of this kind carries in its words. `None` for a kind or a number of another version:
    /// such a record belongs to no session and must not be taken for one of any.
    #[must_use]
    pub const fn of_record(kind: u16, words: [u64; 2]) -> Option<Session> {
        match session_place(kind) {
            Some((word, shift)) => Session::from_u8((words[word] >> shift) as u8),
            None => None,
        }
    }

    /// The words of a record of this kind, marked as of this session instead of its own; all else stays. `None` for a kind
    /// of another version.
    #[must_use]
    pub const fn mark_record(self, kind: u16, words: [u64; 2]) -> Option<[u64; 2]> {
        let Some((word, shift)) = session_place(kind) else { return None };
        let mut marked = words;
        marked[word] = (words[word] & !(0xFF << shift)) | (self as u64) << shift;
        Some(marked)
    }
}

/// Which word of a record holds the session, and at which bit.
const fn session_place(kind: u16) -> Option<(usize, u32)> {
    match kind {
        KIND_FRAME | KIND_PACKET => Some((1, 16)),
        KIND_EVENT => Some((0, 24)),
        _ => None,
    }
}

/// Names of rings with replayed data begin so, and no others do. A consumer of live data refuses such a ring by its name
/// as it refuses each of its records by its session.
pub const REPLAY_RING_PREFIX: &str = "replay.";

macro_rules! bad_reasons {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// Why a frame is bad. `None` for a good one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(u8)]
        pub enum BadReason { $($(#[$doc])* $name = $number,)* }

        impl BadReason {
            /// Every reason, in order of number.
            pub const ALL: &'static [BadReason] = &[$(BadReason::$name,)*];

            /// The reason with this number, if there is one.
            #[must_use]
            pub const fn from_u8(number: u8) -> Option<BadReason> {
                match number { $($number => Some(BadReason::$name),)* _ => None }
            }

            /// Name for metrics and reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(BadReason::$name => $text,)* }
            }
        }
    };
}

bad_reasons! {
    /// The frame is good.
    #[default]
    None = 0, "none";
    /// The channel code could not correct it.
    Uncorrectable = 1, "uncorrectable";
    /// The frame error control field did not match.
    FecfFailed = 2, "fecf_failed";
    /// Not the transfer frame version of this link.
    UnknownVersion = 3, "unknown_version";
    /// A spacecraft that this link does not carry.
    UnknownSpacecraft = 4, "unknown_spacecraft";
    /// A virtual channel that this spacecraft does not have.
    UnknownVc = 5, "unknown_vc";
    /// A header field that cannot be right.
    HeaderInvalid = 6, "header_invalid";
    /// The AOS frame header error control could not correct the header.
    FhecFailed = 7, "fhec_failed";
    /// The length is not what the managed parameters or the header say.
    LengthInvalid = 8, "length_invalid";
    /// The first header pointer points outside the packet zone.
    PointerInvalid = 9, "pointer_invalid";
    /// Deciphering or authentication failed.
    SecurityFailed = 10, "security_failed";
    /// It came after its place in the sequence was given up: it counts as lost.
    Late = 11, "late";
}

impl From<FrameInvalid> for BadReason {
    /// The reason under which octets that are no valid frame are published.
    fn from(invalid: FrameInvalid) -> BadReason {
        match invalid {
            FrameInvalid::Length { .. }
            | FrameInvalid::UslpLength { .. }
            | FrameInvalid::Truncated { .. } => BadReason::LengthInvalid,
            FrameInvalid::Fecf { .. } => BadReason::FecfFailed,
            FrameInvalid::Fhec => BadReason::FhecFailed,
            FrameInvalid::Version { .. } => BadReason::UnknownVersion,
            FrameInvalid::PacketOrder
            | FrameInvalid::SecondaryHeader { .. }
            | FrameInvalid::NoRoom { .. } => BadReason::HeaderInvalid,
            FrameInvalid::FirstHeaderPointer { .. } | FrameInvalid::BitstreamPointer { .. } => {
                BadReason::PointerInvalid
            }
        }
    }
}

/// A transfer frame in the frames ring. The payload is the frame: no marker, no check symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameRecord {
    /// Channel; all zero when the header was not to be believed.
    pub gvcid: Gvcid,
    /// Low 32 bits of the virtual channel frame count.
    pub frame_count: u32,
    /// What is known of the frame.
    pub flags: FrameFlags,
    /// Station link it came by.
    pub link_id: u16,
    /// Session of the link.
    pub session: Session,
    /// Wrong bits in the marker before it.
    pub marker_bit_errors: u8,
    /// Symbols that the channel code corrected.
    pub symbols_corrected: u16,
    /// Codewords that could not be corrected.
    pub codewords_failed: u8,
    /// Why it is bad.
    pub reason: BadReason,
}

impl FrameRecord {
    /// Packs into descriptor flags and user words.
    #[must_use]
    pub const fn to_words(&self) -> (u16, [u64; 2]) {
        let word0 = self.gvcid.scid as u64
            | (self.gvcid.vcid as u64) << 16
            | (self.gvcid.tfvn as u64) << 24
            | (self.frame_count as u64) << 32;
        let word1 = self.link_id as u64
            | (self.session as u64) << 16
            | (self.marker_bit_errors as u64) << 24
            | (self.symbols_corrected as u64) << 32
            | (self.codewords_failed as u64) << 48
            | (self.reason as u64) << 56;
        (self.flags.0, [word0, word1])
    }

    /// Unpacks; `None` when a session or reason number is not of this version.
    #[must_use]
    pub fn from_words(flags: u16, words: [u64; 2]) -> Option<FrameRecord> {
        Some(FrameRecord {
            gvcid: Gvcid {
                scid: words[0] as u16,
                vcid: (words[0] >> 16) as u8,
                tfvn: (words[0] >> 24) as u8,
            },
            frame_count: (words[0] >> 32) as u32,
            flags: FrameFlags(flags),
            link_id: words[1] as u16,
            session: Session::from_u8((words[1] >> 16) as u8)?,
            marker_bit_errors: (words[1] >> 24) as u8,
            symbols_corrected: (words[1] >> 32) as u16,
            codewords_failed: (words[1] >> 48) as u8,
            reason: BadReason::from_u8((words[1] >> 56) as u8)?,
        })
    }
}

/// A packet in the packets ring. The payload is the whole packet, header included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PacketRecord {
    /// Channel it came by.
    pub gvcid: Gvcid,
    /// Application process identifier; for an encapsulation packet its protocol identifier.
    pub apid: u16,
    /// Sequence flags (top 2 bits) and count (14 bits); 0 for an encapsulation packet.
    pub sequence: u16,
    /// Station link it came by.
    pub link_id: u16,
    /// Session of the link.
    pub session: Session,
    /// Packet version number: 0 space packet, 7 encapsulation packet.
    pub pvn: u8,
    /// Low 32 bits of the frames-ring sequence number of the frame in which the packet ended.
    pub frame_seq: u32,
    /// What is known of the packet (the flags of the frame in which it ended).
    pub flags: FrameFlags,
}

impl PacketRecord {
    /// Packs into descriptor flags and user words: word 0 = scid u16 | vcid u8 | tfvn u8 | apid u16 | sequence u16;
    /// word 1 = link u16 | session u8 | pvn u8 | frame_seq u32.
    #[must_use]
    pub const fn to_words(&self) -> (u16, [u64; 2]) {
        let word0 = self.gvcid.scid as u64
            | (self.gvcid.vcid as u64) << 16
            | (self.gvcid.tfvn as u64) << 24
            | (self.apid as u64) << 32
            | (self.sequence as u64) << 48;
        let word1 = self.link_id as u64
            | (self.session as u64) << 16
            | (self.pvn as u64) << 24
            | (self.frame_seq as u64) << 32;
        (self.flags.0, [word0, word1])
    }

    /// Unpacks; `None` when the session number is not of this version.
    #[must_use]
    pub fn from_words(flags: u16, words: [u64; 2]) -> Option<PacketRecord> {
        Some(PacketRecord {
            gvcid: Gvcid {
                scid: words[0] as u16,
                vcid: (words[0] >> 16) as u8,
                tfvn: (words[0] >> 24) as u8,
            },
            apid: (words[0] >> 32) as u16,
            sequence: (words[0] >> 48) as u16,
            link_id: words[1] as u16,
            session: Session::from_u8((words[1] >> 16) as u8)?,
            pvn: (words[1] >> 24) as u8,
            frame_seq: (words[1] >> 32) as u32,
            flags: FrameFlags(flags),
        })
    }
}

/// An event in the events ring. The payload is UTF-8 JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventRecord {
    /// Which event; the numbers belong to the producer.
    pub code: u16,
    /// 0 debug, 1 information, 2 warning, 3 error, 4 alarm.
    pub severity: u8,
    /// Station link concerned; `u16::MAX` when none.
    pub link_id: u16,
    /// Session of the link.
    pub session: Session,
}

impl EventRecord {
    /// Packs into descriptor flags (always 0) and user words:
    /// word 0 = code u16 | severity u8 | session u8 | link u16; word 1 = 0.
    #[must_use]
    pub const fn to_words(&self) -> (u16, [u64; 2]) {
        let word0 = self.code as u64
            | (self.severity as u64) << 16
            | (self.session as u64) << 24
            | (self.link_id as u64) << 32;
        (0, [word0, 0])
    }

    /// Unpacks; `None` when the session number is not of this version.
    #[must_use]
    pub fn from_words(words: [u64; 2]) -> Option<EventRecord> {
        Some(EventRecord {
            code: words[0] as u16,
            severity: (words[0] >> 16) as u8,
            session: Session::from_u8((words[0] >> 24) as u8)?,
            link_id: (words[0] >> 32) as u16,
        })
    }
}
