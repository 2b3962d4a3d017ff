//! One virtual channel: its packets and its counts.

use fep_ccsds::{
    Continuity, Fhp, Frame, FrameInvalid, FrameKind, Gvcid, PacketAssembler, PacketEvent, PacketZone,
    Payload, SpacePacketHeader,
};
use fep_mission::{ChannelSpacecraft, Colour, UndeclaredApids, VcConfig, VcService};
use fep_record::{FrameFlags, FrameRecord, PacketRecord};
use fep_time::Tai;

use crate::ledger::Counts;
use crate::{ChainEvent, IdlePolicy, PacketOut, Sink, UndeclaredPackets, VcLedger};

/// State of one virtual channel.
pub(crate) struct VirtualChannel {
    pub(crate) gvcid: Gvcid,
    pub(crate) colour: Colour,
    pub(crate) service: VcService,
    pub(crate) takes_packets: bool,
    /// The mission does not describe it.
    pub(crate) is_explored: bool,
    /// A TM frame had a data field status of an older standard: it was reported.
    pub(crate) has_legacy_status: bool,
    pub(crate) ledger: VcLedger,
    index: usize,
    assembler: PacketAssembler,
    /// Colour of the octets of the packet in progress.
    in_progress: Colour,
    apids: Option<Box<DeclaredApids>>,
    undeclared: UndeclaredPackets,
}

/// Which APIDs a mission names, and what becomes of others.
struct DeclaredApids {
    named: [u64; 32],
    rejects: bool,
}

impl DeclaredApids {
    fn of(craft: &ChannelSpacecraft) -> Option<Box<DeclaredApids>> {
        let rejects = match craft.undeclared_apids {
            UndeclaredApids::Accept => return None,
            UndeclaredApids::Report => false,
            UndeclaredApids::Reject => true,
        };
        let mut named = [0; 32];
        for apid in &craft.apids {
            named[usize::from(apid >> 6 & 31)] |= 1 << (apid & 63);
        }
        Some(Box::new(DeclaredApids { named, rejects }))
    }

    fn names(&self, apid: u16) -> bool {
        self.named[usize::from(apid >> 6 & 31)] >> (apid & 63) & 1 != 0
    }
}

impl VirtualChannel {
    pub(crate) fn new(
        index: usize,
        gvcid: Gvcid,
        config: &VcConfig,
        craft: Option<&ChannelSpacecraft>,
    ) -> VirtualChannel {
        VirtualChannel {
            gvcid,
            colour: config.colour,
            service: config.service,
            takes_packets: config.packets,
            is_explored: false,
            has_legacy_status: false,
            ledger: VcLedger::default(),
            index,
            assembler: PacketAssembler::default(),
            in_progress: config.colour,
            apids: craft.and_then(DeclaredApids::of),
            undeclared: UndeclaredPackets::default(),
        }
    }

    /// A virtual channel of which nothing is known but a frame: packets, as the kind of frame carries them.
    pub(crate) fn explored(index: usize, frame: &Frame<'_>, colour: Colour) -> VirtualChannel {
        let service = match frame.kind {
            FrameKind::Aos | FrameKind::Uslp if frame.idle => VcService::Idle,
            FrameKind::Aos => VcService::MPdu,
            FrameKind::Tm | FrameKind::Uslp => VcService::Packets,
        };
        let config = VcConfig {
            spacecraft: String::new(),
            scid: frame.gvcid.scid,
            id: frame.gvcid.vcid,
            name: String::new(),
            service,
            packets: service.carries_packets(),
            colour,
        };
        VirtualChannel { is_explored: true, ..VirtualChannel::new(index, frame.gvcid, &config, None) }
    }

    /// Packets with APIDs that the mission does not name, where they are reported or rejected.
    pub(crate) fn undeclared(&self) -> &UndeclaredPackets {
        &self.undeclared
    }

    /// The data field of a frame, read by the service of this channel.
    #[inline]
    pub(crate) fn payload_of<'f>(&self, frame: &Frame<'f>) -> Result<Payload<'f>, FrameInvalid> {
        match self.service {
            VcService::BPdu => frame.payload(fep_ccsds::VcService::Bitstream),
            VcService::Vca | VcService::Idle => frame.payload(fep_ccsds::VcService::Vca),
            VcService::Packets | VcService::MPdu => frame.payload(fep_ccsds::VcService::Packets),
        }
    }

    /// Takes the packets out of a data field that could be read, of a channel that takes packets.
    #[inline]
    pub(crate) fn take_payload(
        &mut self,
        payload: Payload<'_>,
        continuity: Continuity,
        frame: &FrameContext,
        counts: &mut Counts,
        sink: &mut impl Sink,
    ) {
        match payload {
            Payload::Packets(zone) => self.take_packets(zone, continuity, frame, counts, sink),
            // What is in progress goes on behind an idle frame, but a gap before it must not go unnoticed.
            Payload::Idle(data) => {
                let zone = PacketZone { first_header_pointer: Fhp::IdleOnly, data };
                self.take_packets(zone, continuity, frame, counts, sink);
            }
            Payload::Bitstream(_) | Payload::Sdu(_) => self.give_up_packet(counts),
        }
    }

    /// Octets of the packet in progress.
    pub(crate) fn held(&self) -> usize {
        self.assembler.held()
    }

    /// Takes the packets out of a packet zone.
    fn take_packets(
        &mut self,
        zone: PacketZone<'_>,
        continuity: Continuity,
        frame: &FrameContext,
        counts: &mut Counts,
        sink: &mut impl Sink,
    ) {
        // A packet is as red as the reddest of the frames that it came in.
        let colour = frame.colour.max(self.in_progress);
        self.in_progress = match zone.first_header_pointer {
            Fhp::At(_) => frame.colour,
            Fhp::None | Fhp::IdleOnly => colour,
        };
        let VirtualChannel { gvcid, index, ledger, assembler, apids, undeclared, .. } = self;
        let mut publish = |bytes: &[u8], pvn, spanned, flags, ledger: &mut VcLedger, counts: &mut Counts| {
            let record = packet_record(*gvcid, bytes, pvn, frame, flags);
            if let Some(apids) = apids
                && pvn == 0
                && flags == FrameFlags::empty()
                && !apids.names(record.apid)
            {
                ledger.packets_undeclared += 1;
                counts.packets_undeclared += 1;
                if undeclared.count(record.apid) {
                    sink.event(ChainEvent::UndeclaredApid { gvcid: *gvcid, apid: record.apid });
                }
                if apids.rejects {
                    return;
                }
            }
            ledger.packets += 1;
            ledger.packet_bytes += bytes.len() as u64;
            counts.packets += 1;
            counts.packet_bytes += bytes.len() as u64;
            let received = frame.received;
            sink.packet(&PacketOut { octets: bytes, record, received, vc: *index, colour, spanned });
        };
        assembler.push(zone.first_header_pointer, zone.data, continuity, &mut |event| match event {
            PacketEvent::Packet { bytes, pvn, spanned } => {
                publish(bytes, pvn, spanned, FrameFlags::empty(), ledger, counts);
            }
            PacketEvent::Idle { packet: Some(bytes), spanned, .. } => {
                counts.packets_idle += 1;
                if frame.idle == IdlePolicy::Publish {
                    let pvn = bytes.first().map_or(0, |octet| octet >> 5);
                    publish(bytes, pvn, spanned, FrameFlags::IDLE, ledger, counts);
                }
            }
            PacketEvent::Idle { packet: None, .. } => {}
            PacketEvent::Discarded { bytes, .. } => {
                ledger.packet_bytes_discarded += bytes as u64;
                counts.packet_bytes_discarded += bytes as u64;
            }
        });
    }

    /// A frame of this channel brought no packet zone although it should: the packet in progress cannot be completed.
    pub(crate) fn give_up_packet(&mut self, counts: &mut Counts) {
        let VirtualChannel { ledger, assembler, .. } = self;
        assembler.finish(&mut |event| {
            if let PacketEvent::Discarded { bytes, .. } = event {
                ledger.packet_bytes_discarded += bytes as u64;
                counts.packet_bytes_discarded += bytes as u64;
            }
        });
        self.in_progress = self.colour;
    }
}

/// What the packets of a frame inherit from it.
pub(crate) struct FrameContext {
    pub(crate) record: FrameRecord,
    pub(crate) received: Tai,
    pub(crate) idle: IdlePolicy,
    pub(crate) colour: Colour,
}

fn packet_record(
    gvcid: Gvcid,
    octets: &[u8],
    pvn: u8,
    frame: &FrameContext,
    extra: FrameFlags,
) -> PacketRecord {
    let FrameRecord { flags, link_id, session, .. } = frame.record;
    let (apid, sequence) = match SpacePacketHeader::parse(octets) {
        Ok(header) if pvn == 0 => (header.apid, (header.sequence_flags as u16) << 14 | header.sequence_count),
        // An encapsulation packet has a protocol identifier instead (133.1-B-3 4.1.2.3).
        _ => (octets.first().map_or(0, |octet| u16::from(octet >> 2 & 7)), 0),
    };
    PacketRecord { gvcid, apid, sequence, link_id, session, pvn, frame_seq: 0, flags: flags | extra }
}
