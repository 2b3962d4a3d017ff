//! A sink that keeps everything, for tests.
#![allow(dead_code)]

use std::collections::BTreeMap;

use fep_downlink::{ChainEvent, FrameOut, OcfOut, PacketOut, Sink};
use fep_mission::Colour;
use fep_record::{FrameRecord, PacketRecord};
use fep_time::Tai;
use sha2::{Digest, Sha256};

/// A frame as it came out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frame {
    pub(crate) octets: Vec<u8>,
    pub(crate) record: FrameRecord,
    pub(crate) lost: u64,
    pub(crate) received: Tai,
    pub(crate) colour: Colour,
    pub(crate) vc: Option<usize>,
}

/// Keeps everything.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) frames: Vec<Frame>,
    pub(crate) packets: Vec<(PacketRecord, Vec<u8>)>,
    pub(crate) events: Vec<ChainEvent>,
    pub(crate) packet_colours: Vec<Colour>,
    pub(crate) ocfs: Vec<OcfOut>,
}

impl Recorder {
    /// Packets by virtual channel and APID, in order of arrival.
    pub(crate) fn packets_by_apid(&self) -> BTreeMap<(u8, u16), Vec<Vec<u8>>> {
        let mut map: BTreeMap<(u8, u16), Vec<Vec<u8>>> = BTreeMap::new();
        for (record, octets) in &self.packets {
            map.entry((record.gvcid.vcid, record.apid)).or_default().push(octets.clone());
        }
        map
    }
}

impl Sink for Recorder {
    fn frame(&mut self, frame: &FrameOut<'_>) {
        let FrameOut { record, received, lost, colour, vc, .. } = *frame;
        self.frames.push(Frame { octets: frame.octets.to_vec(), record, lost, received, colour, vc });
    }

    fn packet(&mut self, packet: &PacketOut<'_>) {
        self.packets.push((packet.record, packet.octets.to_vec()));
        self.packet_colours.push(packet.colour);
    }

    fn event(&mut self, event: ChainEvent) {
        self.events.push(event);
    }

    fn ocf(&mut self, ocf: &OcfOut) {
        self.ocfs.push(*ocf);
    }
}

pub(crate) fn sha256<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().to_vec()
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
