//! One virtual channel: its packets and its counts.

use fep_ccsds::{Continuity, Gvcid, PacketAssembler, PacketEvent, PacketZone, SpacePacketHeader};
use fep_record::{FrameFlags, FrameRecord, PacketRecord};
use fep_time::Tai;

use crate::ledger::Counts;
use crate::{IdlePolicy, PacketOut, Sink, VcLedger};
use fep_mission::{VcColour, VcConfig, VcService};

/// State of one configured virtual channel.
pub(crate) struct VirtualChannel {
    pub(crate) gvcid: Gvcid,
    pub(crate) colour: VcColour,
    pub(crate) service: VcService,
    pub(crate) takes_packets: bool,
    pub(crate) ledger: VcLedger,
    index: usize,
    assembler: PacketAssembler,
}

impl VirtualChannel {
    pub(crate) fn new(index: usize, gvcid: Gvcid, config: &VcConfig) -> VirtualChannel {
        VirtualChannel {
            gvcid,
            colour: config.colour,
            service: config.service,
            takes_packets: config.packets,
            ledger: VcLedger::default(),
            index,
            assembler: PacketAssembler::default(),
        }
    }

    /// Takes the packets out of a packet zone.
    pub(crate) fn take_packets(
        &mut self,
        zone: PacketZone<'_>,
        continuity: Continuity,
        frame: &FrameContext,
        counts: &mut Counts,
        sink: &mut impl Sink,
    ) {
        let VirtualChannel { gvcid, colour, index, ledger, assembler, .. } = self;
        let mut publish = |bytes: &[u8], pvn, flags, ledger: &mut VcLedger, counts: &mut Counts| {
            ledger.packets += 1;
            ledger.packet_bytes += bytes.len() as u64;
            counts.packets += 1;
            counts.packet_bytes += bytes.len() as u64;
            sink.packet(&PacketOut {
                octets: bytes,
                record: packet_record(*gvcid, bytes, pvn, frame, flags),
                received: frame.received,
                vc: *index,
                colour: *colour,
            });
        };
        assembler.push(zone.first_header_pointer, zone.data, continuity, &mut |event| match event {
            PacketEvent::Packet { bytes, pvn, .. } => {
                publish(bytes, pvn, FrameFlags::empty(), ledger, counts);
            }
            PacketEvent::Idle { packet: Some(bytes), .. } => {
                counts.packets_idle += 1;
                if frame.idle == IdlePolicy::Publish {
                    let pvn = bytes.first().map_or(0, |octet| octet >> 5);
                    publish(bytes, pvn, FrameFlags::IDLE, ledger, counts);
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
    }
}

/// What the packets of a frame inherit from it.
pub(crate) struct FrameContext {
    pub(crate) record: FrameRecord,
    pub(crate) received: Tai,
    pub(crate) idle: IdlePolicy,
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
