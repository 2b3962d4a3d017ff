//! Space packets whose every octet follows from (seed, APID, ordinal): made here, and checked here without a copy.
//!
//! The body of a packet starts with its ordinal (how many packets of its APID came before) and goes on with octets
//! drawn from it, so that a checker that has only the packet can tell whether a single bit of it is wrong. Housekeeping
//! and event packets carry a PUS-C secondary header (ECSS-E-ST-70-41C 7.4.3) with an on-board time and end with the
//! packet error control.

use fep_ccsds::packet::IDLE_APID;
use fep_ccsds::{PacketType, SequenceFlags, SpacePacketHeader};
use fep_coding::crc::crc16_fecf;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Octets of the primary header.
const PRIMARY_LEN: usize = 6;
/// PUS-C telemetry secondary header with a CUC time of 4 + 3 octets.
const SECONDARY_LEN: usize = 14;
/// Structure or event identifier behind the secondary header.
const IDENTIFIER_LEN: usize = 2;
/// Packet error control.
const ERROR_CONTROL_LEN: usize = 2;
/// The ordinal at the front of every body.
const ORDINAL_LEN: usize = 8;

/// What a stream of packets is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// PUS service 3, subtype 25: housekeeping parameter report.
    Housekeeping,
    /// PUS service 5, subtypes 1 to 4: event reports of any severity.
    Event,
    /// Payload data without secondary header.
    Payload,
}

/// One application process of the spacecraft and the packets it makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacketStreamSpec {
    /// Application process identifier, 0 to 2046.
    pub apid: u16,
    /// What its packets are.
    pub content: Content,
    /// Shortest packet data field, octets.
    pub data_len: u32,
    /// Longest packet data field, octets; the same as `data_len` if left out. Lengths are spread evenly between.
    #[serde(default)]
    pub data_len_max: Option<u32>,
    /// Share of the virtual channel's packets, relative to its other streams.
    #[serde(default = "one")]
    pub weight: u32,
}

fn one() -> u32 {
    1
}

/// Why a packet is not what its spacecraft sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PacketMismatch {
    /// Not a space packet, or not of the length it says.
    #[error("not a whole space packet: {len} octets")]
    Shape {
        /// Octets given.
        len: usize,
    },
    /// The packet error control does not match.
    #[error("packet error control of APID {apid}, count {sequence_count} does not match")]
    ErrorControl {
        /// Application process.
        apid: u16,
        /// Sequence count.
        sequence_count: u16,
    },
    /// The sequence count is not that of the ordinal in the body.
    #[error("APID {apid}: sequence count {sequence_count} on packet {ordinal}")]
    Sequence {
        /// Application process.
        apid: u16,
        /// Sequence count.
        sequence_count: u16,
        /// Ordinal in the body.
        ordinal: u64,
    },
    /// An octet of the body is wrong.
    #[error("APID {apid}, packet {ordinal}: octet {offset} of the body is wrong")]
    Body {
        /// Application process.
        apid: u16,
        /// Ordinal in the body.
        ordinal: u64,
        /// Offset into the body.
        offset: usize,
    },
}

/// A packet proven to be what its spacecraft sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedPacket {
    /// Application process.
    pub apid: u16,
    /// Packets of this application process before it.
    pub ordinal: u64,
}

/// Checks every octet of a packet against the seed of the spacecraft that should have sent it. Idle packets pass with
/// ordinal 0 if their fill is right.
///
/// # Errors
/// The first difference.
pub fn verify_packet(seed: u64, octets: &[u8]) -> Result<VerifiedPacket, PacketMismatch> {
    let shape = PacketMismatch::Shape { len: octets.len() };
    let header = SpacePacketHeader::parse(octets).map_err(|_| shape)?;
    let SpacePacketHeader { apid, sequence_count, .. } = header;
    if header.packet_len() != octets.len() {
        return Err(shape);
    }
    if header.is_idle() {
        return match octets[PRIMARY_LEN..].iter().position(|octet| *octet != IDLE_FILL) {
            None => Ok(VerifiedPacket { apid, ordinal: 0 }),
            Some(offset) => Err(PacketMismatch::Body { apid, ordinal: 0, offset }),
        };
    }
    let mut body = &octets[PRIMARY_LEN..];
    if header.secondary_header {
        let (covered, control) = octets.split_last_chunk::<ERROR_CONTROL_LEN>().ok_or(shape)?;
        if crc16_fecf(covered) != u16::from_be_bytes(*control) {
            return Err(PacketMismatch::ErrorControl { apid, sequence_count });
        }
        body = covered.get(PRIMARY_LEN + SECONDARY_LEN + IDENTIFIER_LEN..).ok_or(shape)?;
    }
    let (ordinal, drawn) = body.split_first_chunk::<ORDINAL_LEN>().ok_or(shape)?;
    let ordinal = u64::from_be_bytes(*ordinal);
    if (ordinal & 0x3FFF) as u16 != sequence_count {
        return Err(PacketMismatch::Sequence { apid, sequence_count, ordinal });
    }
    let mut expected = vec![0; drawn.len()];
    Draw::of_packet(seed, apid, ordinal).fill(&mut expected);
    match drawn.iter().zip(&expected).position(|(drawn, expected)| drawn != expected) {
        None => Ok(VerifiedPacket { apid, ordinal }),
        Some(offset) => Err(PacketMismatch::Body { apid, ordinal, offset: offset + ORDINAL_LEN }),
    }
}

/// Octet that fills idle packets.
pub(crate) const IDLE_FILL: u8 = 0x55;

/// Makes the packets of one stream, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct PacketStream {
    spec: PacketStreamSpec,
    seed: u64,
    ordinal: u64,
}

impl PacketStream {
    pub(crate) fn new(spec: PacketStreamSpec, seed: u64) -> PacketStream {
        PacketStream { spec, seed, ordinal: 0 }
    }

    pub(crate) fn weight(&self) -> u32 {
        self.spec.weight
    }

    /// Appends the next packet, made at on-board time `tai_ns`.
    pub(crate) fn append_next(&mut self, tai_ns: i64, out: &mut Vec<u8>) {
        let PacketStreamSpec { apid, content, data_len, .. } = self.spec;
        let ordinal = self.ordinal;
        self.ordinal += 1;
        let mut draw = Draw::of_packet(self.seed, apid, ordinal);
        // The length is drawn behind the body's draws so that a checker need not know the stream's bounds.
        let spread = self.spec.data_len_max.unwrap_or(data_len) - data_len + 1;
        let length_draw = Draw::of_packet(!self.seed, apid, ordinal).next() % u64::from(spread);
        let data_len = data_len + length_draw as u32;
        let start = out.len();
        let header = SpacePacketHeader {
            packet_type: PacketType::Telemetry,
            secondary_header: content != Content::Payload,
            apid,
            sequence_flags: SequenceFlags::Unsegmented,
            sequence_count: (ordinal & 0x3FFF) as u16,
            data_len,
        };
        out.extend_from_slice(&header.emit());
        let end = start + header.packet_len();
        let (service, subtype, identifier) = match content {
            Content::Housekeeping => (3, 25, 1),
            // Most events are of little weight.
            Content::Event => {
                (5, [1, 1, 1, 2, 1, 3, 1, 4][(ordinal % 8) as usize], 100 + (ordinal % 8) as u16)
            }
            Content::Payload => (0, 0, 0),
        };
        if content != Content::Payload {
            out.extend_from_slice(&[0x20, service, subtype]);
            out.extend_from_slice(&((ordinal & 0xFFFF) as u16).to_be_bytes());
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(&cuc_4_3(tai_ns));
            out.extend_from_slice(&u16::to_be_bytes(identifier));
        }
        out.extend_from_slice(&ordinal.to_be_bytes());
        let body_end = if content == Content::Payload { end } else { end - ERROR_CONTROL_LEN };
        let body_start = out.len();
        out.resize(body_end, 0);
        draw.fill(&mut out[body_start..]);
        if content != Content::Payload {
            let control = crc16_fecf(&out[start..]);
            out.extend_from_slice(&control.to_be_bytes());
        }
        debug_assert_eq!(out.len(), end);
    }
}

/// Appends an idle packet whose data field has `data_len` octets (133.0-B-2 4.1.3.3.4).
pub(crate) fn append_idle_packet(sequence_count: u16, data_len: u32, out: &mut Vec<u8>) {
    let header = SpacePacketHeader {
        packet_type: PacketType::Telemetry,
        secondary_header: false,
        apid: IDLE_APID,
        sequence_flags: SequenceFlags::Unsegmented,
        sequence_count,
        data_len,
    };
    out.extend_from_slice(&header.emit());
    out.resize(out.len() + data_len as usize, IDLE_FILL);
}

/// The shortest packet data field that a stream of this content can have, octets.
pub(crate) fn data_len_min(content: Content) -> u32 {
    let len = match content {
        Content::Payload => ORDINAL_LEN,
        Content::Housekeeping | Content::Event => {
            SECONDARY_LEN + IDENTIFIER_LEN + ORDINAL_LEN + ERROR_CONTROL_LEN
        }
    };
    len as u32
}

/// CCSDS unsegmented time code, agency convention without P-field: 4 octets of seconds, 3 of fraction, epoch
/// 1958-01-01 TAI (301.0-B-4 3.2).
fn cuc_4_3(tai_ns: i64) -> [u8; 7] {
    let seconds = (tai_ns.div_euclid(1_000_000_000) as u32).to_be_bytes();
    let fraction_ns = tai_ns.rem_euclid(1_000_000_000) as u64;
    let fraction = ((fraction_ns << 24) / 1_000_000_000).to_be_bytes();
    [seconds[0], seconds[1], seconds[2], seconds[3], fraction[5], fraction[6], fraction[7]]
}

/// Octets that look random and follow from a key: the finaliser of SplitMix64 over a counter.
#[derive(Debug, Clone)]
pub(crate) struct Draw {
    state: u64,
}

impl Draw {
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

    pub(crate) fn new(seed: u64, stream: u64) -> Draw {
        let mut keyed = Draw { state: seed };
        let mixed = keyed.next();
        Draw { state: mixed ^ stream.wrapping_mul(0xD6E8_FEB8_6659_FD93) }
    }

    fn of_packet(seed: u64, apid: u16, ordinal: u64) -> Draw {
        let mut by_apid = Draw::new(seed, u64::from(apid) + 1);
        Draw::new(by_apid.next(), ordinal)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(Self::STEP);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn fill(&mut self, out: &mut [u8]) {
        let (words, rest) = out.as_chunks_mut::<8>();
        for word in words {
            *word = self.next().to_be_bytes();
        }
        let last = self.next().to_be_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(content: Content) -> PacketStreamSpec {
        PacketStreamSpec { apid: 77, content, data_len: 40, data_len_max: Some(90), weight: 1 }
    }

    fn packet(content: Content, seed: u64, ordinal: u64) -> Vec<u8> {
        let mut stream = PacketStream::new(stream(content), seed);
        stream.ordinal = ordinal;
        let mut out = Vec::new();
        stream.append_next(1_700_000_000_123_456_789, &mut out);
        out
    }

    fn content() -> impl Strategy<Value = Content> {
        prop_oneof![Just(Content::Housekeeping), Just(Content::Event), Just(Content::Payload)]
    }

    proptest! {
        // REQ: FEP-SIM-006
        #[test]
        fn every_packet_proves_itself_by_the_seed_and_no_bit_of_it_can_be_wrong_unnoticed(
            content in content(), seed in any::<u64>(), ordinal in 0_u64..1 << 40, bit in any::<prop::sample::Index>(),
        ) {
            let good = packet(content, seed, ordinal);
            prop_assert_eq!(verify_packet(seed, &good), Ok(VerifiedPacket { apid: 77, ordinal }));
            prop_assert!(verify_packet(seed ^ 1, &good).is_err());
            let bit = bit.index(good.len() * 8);
            let mut bad = good.clone();
            bad[bit / 8] ^= 0x80 >> (bit % 8);
            // Type, sequence flags and, without an error control, the secondary header flag are not part of the proof.
            let unproven = [3, 16, 17].contains(&bit) && content == Content::Payload;
            prop_assert!(unproven || verify_packet(seed, &bad).is_err(), "bit {}", bit);
        }

        #[test]
        fn no_octets_at_all_can_make_the_checker_panic(seed in any::<u64>(), octets in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = verify_packet(seed, &octets);
        }
    }

    #[test]
    fn cuc_time_is_seconds_and_binary_fraction_since_1958() {
        assert_eq!(cuc_4_3(1_500_000_000), [0, 0, 0, 1, 0x80, 0, 0]);
        assert_eq!(cuc_4_3(0x1234_5678 * 1_000_000_000 + 250_000_000), [0x12, 0x34, 0x56, 0x78, 0x40, 0, 0]);
    }
}
