//! Packets out of a virtual channel's packet zones.
//!
//! The assembler takes the packet zones of one virtual channel in order and gives packets. It neither reads frames nor
//! follows counters: first header pointer and continuity are arguments. A packet that lies whole in one zone is
//! handed out as a slice of that zone; a packet that spans zones is put together in one buffer, which grows to the
//! longest packet seen, at most [`AssemblerSpec::max_packet_len`], and is then never allocated again.
//!
//! # Every octet is accounted for
//!
//! Each octet pushed leaves in exactly one event, as part of a packet, as idle, or discarded with a reason, or it is
//! held as part of a packet not yet whole: `octets_in = packets + idle + discarded + held`.
//!
//! # Loss
//!
//! After a gap, a reset or a first frame the packet in progress is discarded, and the first header pointer tells where to
//! go on. Without a gap the pointer must point where the packet in progress ends. If it does not, the pointer is
//! believed (it is in a frame that was found right, whereas the length that led astray may be older) and the packet in
//! progress is discarded.

use super::encapsulation::EncapsulationHeader;
use super::{IDLE_APID, SPACE_PACKET_HEADER_LEN, SPACE_PACKET_MAX_LEN};
use crate::counter::Continuity;
use crate::frame::Fhp;

/// Parameters of a [`PacketAssembler`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssemblerSpec {
    /// Longest packet accepted, in octets, header included. A longer length in a header is taken for damage.
    pub max_packet_len: usize,
}

impl Default for AssemblerSpec {
    /// The longest space packet, 65542 octets.
    fn default() -> Self {
        AssemblerSpec { max_packet_len: SPACE_PACKET_MAX_LEN }
    }
}

/// Why octets are not part of any packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DiscardReason {
    /// Frames are missing (or the counter was reset) before the packet was whole.
    FrameLost,
    /// The whole zone came a second time.
    DuplicateFrame,
    /// The rest of a packet whose start was not seen.
    NotSynchronised,
    /// The first header pointer does not point to where the packet in progress ends.
    PointerMismatch,
    /// The first header pointer points outside the zone.
    PointerOutside,
    /// Where a packet must start there is neither a space packet nor an encapsulation packet.
    UnknownPacketVersion,
    /// An encapsulation packet header that cannot be.
    HeaderInvalid,
    /// The packet says that it is longer than the limit.
    PacketTooLong,
    /// The stream ended, or the assembler was reset, before the packet was whole.
    EndOfStream,
}

impl DiscardReason {
    /// Every reason, in order.
    pub const ALL: [DiscardReason; 9] = [
        DiscardReason::FrameLost,
        DiscardReason::DuplicateFrame,
        DiscardReason::NotSynchronised,
        DiscardReason::PointerMismatch,
        DiscardReason::PointerOutside,
        DiscardReason::UnknownPacketVersion,
        DiscardReason::HeaderInvalid,
        DiscardReason::PacketTooLong,
        DiscardReason::EndOfStream,
    ];

    /// Name for metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            DiscardReason::FrameLost => "frame_lost",
            DiscardReason::DuplicateFrame => "duplicate_frame",
            DiscardReason::NotSynchronised => "not_synchronised",
            DiscardReason::PointerMismatch => "pointer_mismatch",
            DiscardReason::PointerOutside => "pointer_outside",
            DiscardReason::UnknownPacketVersion => "unknown_packet_version",
            DiscardReason::HeaderInvalid => "header_invalid",
            DiscardReason::PacketTooLong => "packet_too_long",
            DiscardReason::EndOfStream => "end_of_stream",
        }
    }
}

/// What the assembler found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketEvent<'a> {
    /// A whole packet.
    Packet {
        /// The packet, header included.
        bytes: &'a [u8],
        /// Packet version number: 0 space packet, 7 encapsulation packet.
        pvn: u8,
        /// Whether it was put together from several zones.
        spanned: bool,
    },
    /// Fill.
    Idle {
        /// Octets.
        len: usize,
        /// The idle packet, when it is one with a header of its own (space packet 2047, encapsulation idle packet
        /// with a length). `None` for an idle zone and for runs of one-octet idle packets.
        packet: Option<&'a [u8]>,
        /// Whether that packet was put together from several zones.
        spanned: bool,
    },
    /// Octets that belong to no packet.
    Discarded {
        /// How many.
        bytes: usize,
        /// Why.
        reason: DiscardReason,
    },
}

/// What an assembler has done. `octets_in` = `packet_octets` + `idle_octets` + all of `discarded_octets` + held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AssemblerCounters {
    /// Octets of all zones pushed.
    pub octets_in: u64,
    /// Whole packets, without idle ones.
    pub packets: u64,
    /// Octets of them.
    pub packet_octets: u64,
    /// Idle packets with a header of their own.
    pub idle_packets: u64,
    /// Octets of idle packets and idle zones.
    pub idle_octets: u64,
    /// Octets discarded, by reason in the order of [`DiscardReason::ALL`].
    pub discarded_octets: [u64; DiscardReason::ALL.len()],
    /// Packets in progress that were given up, whatever the reason.
    pub packets_given_up: u64,
}

impl AssemblerCounters {
    /// Octets discarded for this reason.
    #[must_use]
    pub const fn discarded(&self, reason: DiscardReason) -> u64 {
        self.discarded_octets[reason as usize]
    }

    /// Octets discarded, all reasons together.
    #[must_use]
    pub fn discarded_total(&self) -> u64 {
        self.discarded_octets.iter().sum()
    }
}

/// Puts the packets of one virtual channel together.
///
/// ```
/// use fep_ccsds::{Continuity, Fhp, PacketAssembler, PacketEvent};
/// let packet = [0x00, 0x64, 0xC0, 0x00, 0x00, 0x03, 1, 2, 3, 4];
/// let mut assembler = PacketAssembler::default();
/// let mut packets = Vec::new();
/// let mut sink = |event: PacketEvent<'_>| {
///     if let PacketEvent::Packet { bytes, .. } = event {
///         packets.push(bytes.to_vec());
///     }
/// };
/// assembler.push(Fhp::At(0), &packet[..7], Continuity::First, &mut sink);
/// assembler.push(Fhp::None, &packet[7..], Continuity::Next, &mut sink);
/// assert_eq!(packets, [packet]);
/// ```
#[derive(Debug, Clone)]
pub struct PacketAssembler {
    max_packet_len: usize,
    /// Packet in progress; empty when there is none.
    partial: Vec<u8>,
    /// Octets that it will have; 0 while its header is not whole.
    partial_len: usize,
    /// The last zone ended with a packet, or inside the one in progress: what comes next is known.
    synchronised: bool,
    counters: AssemblerCounters,
}

impl Default for PacketAssembler {
    fn default() -> Self {
        PacketAssembler::new(AssemblerSpec::default())
    }
}

/// What stands where a packet must start.
enum Start {
    /// A packet of this length; whether it is idle.
    Packet { len: usize, idle: bool },
    /// Too few octets to know its length.
    HeaderIncomplete,
    /// No packet.
    Bad(DiscardReason),
}

impl PacketAssembler {
    /// An assembler with nothing in progress.
    #[must_use]
    pub fn new(spec: AssemblerSpec) -> PacketAssembler {
        PacketAssembler {
            max_packet_len: spec.max_packet_len,
            partial: Vec::new(),
            partial_len: 0,
            synchronised: false,
            counters: AssemblerCounters::default(),
        }
    }

    /// Takes the next packet zone of the virtual channel.
    pub fn push(
        &mut self,
        first_header_pointer: Fhp,
        data: &[u8],
        continuity: Continuity,
        sink: &mut impl FnMut(PacketEvent<'_>),
    ) {
        self.counters.octets_in += data.len() as u64;
        match continuity {
            Continuity::Next | Continuity::Uncounted => {}
            Continuity::Duplicate => return self.discard(data.len(), DiscardReason::DuplicateFrame, sink),
            Continuity::Gap { .. } | Continuity::Reset | Continuity::First => {
                self.give_up(0, DiscardReason::FrameLost, sink);
                self.synchronised = false;
            }
        }
        match first_header_pointer {
            // Idle data come between packets, and between the parts of one only where the sender interrupts it: what
            // is in progress goes on in the next zone, whose pointer is checked against it.
            Fhp::IdleOnly => {
                self.counters.idle_octets += data.len() as u64;
                if !data.is_empty() {
                    sink(PacketEvent::Idle { len: data.len(), packet: None, spanned: false });
                }
            }
            Fhp::None => self.go_on(data, false, sink),
            Fhp::At(offset) => match data.split_at_checked(usize::from(offset)) {
                Some((end_of_last, starts)) if !starts.is_empty() => {
                    self.go_on(end_of_last, true, sink);
                    self.start_packets(starts, sink);
                }
                _ => {
                    self.give_up(data.len(), DiscardReason::PointerOutside, sink);
                    self.synchronised = false;
                }
            },
        }
    }

    /// The stream ends: what is in progress is discarded.
    pub fn finish(&mut self, sink: &mut impl FnMut(PacketEvent<'_>)) {
        self.give_up(0, DiscardReason::EndOfStream, sink);
        self.synchronised = false;
    }

    /// Discards what is in progress without an event (the counters know). Counters go on.
    pub fn reset(&mut self) {
        self.finish(&mut |_| {});
    }

    /// Counters since the assembler was made.
    #[must_use]
    pub const fn counters(&self) -> &AssemblerCounters {
        &self.counters
    }

    /// Octets of the packet in progress.
    #[must_use]
    pub fn held(&self) -> usize {
        self.partial.len()
    }

    /// Octets before the first packet start of a zone, or all of a zone in which none starts: they belong to the packet
    /// in progress, which must end with them if a packet starts right after (`next_starts`).
    fn go_on(&mut self, mut data: &[u8], next_starts: bool, sink: &mut impl FnMut(PacketEvent<'_>)) {
        if self.partial.is_empty() {
            let in_step = self.synchronised;
            // A zone without a start while none is in progress, or octets before the start.
            self.synchronised &= data.is_empty();
            let reason =
                if in_step { DiscardReason::PointerMismatch } else { DiscardReason::NotSynchronised };
            return self.discard(data.len(), reason, sink);
        }
        if self.partial_len == 0 {
            let missing = header_len(self.partial[0]) - self.partial.len();
            let (head, rest) = data.split_at(missing.min(data.len()));
            self.partial.extend_from_slice(head);
            data = rest;
            match start_of(&self.partial, self.max_packet_len) {
                Start::Packet { len, .. } => self.partial_len = len,
                Start::Bad(reason) => {
                    self.synchronised = false;
                    return self.give_up(data.len(), reason, sink);
                }
                Start::HeaderIncomplete if next_starts => {
                    return self.give_up(0, DiscardReason::PointerMismatch, sink);
                }
                Start::HeaderIncomplete => return,
            }
        }
        let missing = self.partial_len - self.partial.len();
        if data.len() == missing {
            self.partial.extend_from_slice(data);
            let packet = std::mem::take(&mut self.partial);
            let idle = is_idle(&packet);
            self.emit(&packet, idle, true, sink);
            self.partial = packet;
            self.partial.clear();
        } else if data.len() < missing && !next_starts {
            self.partial.extend_from_slice(data);
        } else {
            self.synchronised = false;
            self.give_up(data.len(), DiscardReason::PointerMismatch, sink);
        }
    }

    /// Octets from a packet start to the end of the zone.
    fn start_packets(&mut self, mut data: &[u8], sink: &mut impl FnMut(PacketEvent<'_>)) {
        debug_assert!(self.partial.is_empty());
        self.synchronised = true;
        while !data.is_empty() {
            let (len, idle) = match start_of(data, self.max_packet_len) {
                Start::Packet { len, idle } => (len, idle),
                Start::HeaderIncomplete => return self.hold(data, 0),
                Start::Bad(reason) => {
                    self.synchronised = false;
                    return self.discard(data.len(), reason, sink);
                }
            };
            if len == 1 {
                // One-octet idle packets come in runs: one event for the run.
                let run = data.iter().take_while(|&&octet| octet == data[0]).count();
                self.counters.idle_octets += run as u64;
                sink(PacketEvent::Idle { len: run, packet: None, spanned: false });
                data = &data[run..];
                continue;
            }
            let Some((packet, rest)) = data.split_at_checked(len) else { return self.hold(data, len) };
            self.emit(packet, idle, false, sink);
            data = rest;
        }
    }

    fn hold(&mut self, data: &[u8], packet_len: usize) {
        self.partial.reserve(packet_len);
        self.partial.extend_from_slice(data);
        self.partial_len = packet_len;
    }

    #[inline]
    fn emit(&mut self, packet: &[u8], idle: bool, spanned: bool, sink: &mut impl FnMut(PacketEvent<'_>)) {
        if idle {
            self.counters.idle_packets += 1;
            self.counters.idle_octets += packet.len() as u64;
            sink(PacketEvent::Idle { len: packet.len(), packet: Some(packet), spanned });
        } else {
            self.counters.packets += 1;
            self.counters.packet_octets += packet.len() as u64;
            sink(PacketEvent::Packet { bytes: packet, pvn: packet[0] >> 5, spanned });
        }
    }

    /// Discards the packet in progress together with `more` octets of the zone at hand.
    fn give_up(&mut self, more: usize, reason: DiscardReason, sink: &mut impl FnMut(PacketEvent<'_>)) {
        self.counters.packets_given_up += u64::from(!self.partial.is_empty());
        let bytes = self.partial.len() + more;
        self.partial.clear();
        self.partial_len = 0;
        self.discard(bytes, reason, sink);
    }

    fn discard(&mut self, bytes: usize, reason: DiscardReason, sink: &mut impl FnMut(PacketEvent<'_>)) {
        if bytes > 0 {
            self.counters.discarded_octets[reason as usize] += bytes as u64;
            sink(PacketEvent::Discarded { bytes, reason });
        }
    }
}

fn header_len(first_octet: u8) -> usize {
    if first_octet >> 5 == 0 {
        SPACE_PACKET_HEADER_LEN
    } else {
        EncapsulationHeader::header_len_of(first_octet)
    }
}

fn is_idle(packet: &[u8]) -> bool {
    matches!(start_of(packet, usize::MAX), Start::Packet { idle: true, .. })
}

#[inline]
fn start_of(data: &[u8], max_packet_len: usize) -> Start {
    let (len, idle) = match data[0] >> 5 {
        0 => {
            let Some(&[o0, o1, _, _, l0, l1]) = data.first_chunk() else { return Start::HeaderIncomplete };
            let data_len = usize::from(u16::from_be_bytes([l0, l1])) + 1;
            (SPACE_PACKET_HEADER_LEN + data_len, u16::from_be_bytes([o0, o1]) & IDLE_APID == IDLE_APID)
        }
        7 => {
            if data.len() < header_len(data[0]) {
                return Start::HeaderIncomplete;
            }
            match EncapsulationHeader::parse(data) {
                Ok(header) => (header.packet_len as usize, header.is_idle()),
                Err(_) => return Start::Bad(DiscardReason::HeaderInvalid),
            }
        }
        _ => return Start::Bad(DiscardReason::UnknownPacketVersion),
    };
    if len > max_packet_len { Start::Bad(DiscardReason::PacketTooLong) } else { Start::Packet { len, idle } }
}
