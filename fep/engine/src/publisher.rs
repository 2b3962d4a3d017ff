//! The sink of a link's chain: rings, counters that survive a restart, latencies, events.

use fep_bus::Tag;
use fep_record::{KIND_FRAME, KIND_PACKET, PacketRecord};
use fep_time::{Monotonic, Tai};

use crate::event::LinkEvents;
use crate::metrics::{RoleMetrics, Stage};
use crate::ocf::OcfOutlet;
use crate::resume::ResumePage;
use crate::rings::Rings;
use fep_downlink::{ChainEvent, FrameOut, OcfOut, PacketOut, Sink};

/// Publishes what the chain of one link gives.
pub(crate) struct Publisher {
    rings: Rings,
    pub(crate) resume: ResumePage,
    pub(crate) metrics: RoleMetrics,
    pub(crate) events: LinkEvents,
    pub(crate) ocf: OcfOutlet,
    /// Packets longer than the packets ring takes: counted, reported, dropped.
    pub(crate) packets_too_long: u64,
    received: Tai,
    decoded: Tai,
    frame_seq: u64,
}

impl Publisher {
    pub(crate) fn new(
        rings: Rings,
        resume: ResumePage,
        metrics: RoleMetrics,
        events: LinkEvents,
        ocf: OcfOutlet,
    ) -> Publisher {
        let (packets_too_long, received, decoded, frame_seq) = (0, Tai::EPOCH, Tai::EPOCH, 0);
        Publisher { rings, resume, metrics, events, ocf, packets_too_long, received, decoded, frame_seq }
    }

    /// The bytes that follow were received at this time.
    pub(crate) fn received(&mut self, received: Tai) {
        self.received = received;
    }

    /// Heartbeats and head hints of all rings, events that are due.
    pub(crate) fn housekeep(&mut self, now: Monotonic) {
        self.rings.all().for_each(|ring| ring.housekeep(now));
        self.ocf.housekeep(now);
        self.events.housekeep(now);
    }

    /// Whether rings and pages still lie under their names.
    ///
    /// # Errors
    /// What is wrong, in words, when somebody has deleted them.
    pub(crate) fn check_linked(&mut self) -> Result<(), String> {
        if self.rings.all().all(|ring| ring.is_still_linked()) && self.ocf.is_still_linked() {
            return Ok(());
        }
        Err("its rings or pages have been deleted or replaced; they are made anew".to_owned())
    }
}

impl Sink for Publisher {
    #[inline]
    fn frame(&mut self, frame: &FrameOut<'_>) {
        let (flags, words) = frame.record.to_words();
        let tag = Tag { kind: KIND_FRAME, flags, received: frame.received, published: self.decoded, words };
        let ring = &mut self.rings.pair(frame.colour).frames;
        // The ring was made for the frames of this channel; only a datagram of a wrong length can be longer. It goes out
        // cut: its reason says that its length is wrong.
        let seq = match ring.publish(tag, frame.octets) {
            Ok(seq) => seq,
            Err(fep_bus::ClaimError::TooLong { payload_max, .. }) => {
                let cut = &frame.octets[..frame.octets.len().min(payload_max as usize)];
                match ring.publish(tag, cut) {
                    Ok(seq) => seq,
                    Err(error) => unreachable!("a record as long as the ring takes: {error}"),
                }
            }
            Err(error) => unreachable!("downlink rings never wait: {error}"),
        };
        self.frame_seq = seq;
        self.resume.note(frame, Some(seq));
    }

    #[inline]
    fn packet(&mut self, packet: &PacketOut<'_>) {
        let record = PacketRecord { frame_seq: self.frame_seq as u32, ..packet.record };
        let (flags, words) = record.to_words();
        let tag = Tag { kind: KIND_PACKET, flags, received: packet.received, published: self.decoded, words };
        // A link of a group takes no packets out of its frames: its spacecraft does.
        let Some(ring) = &mut self.rings.pair(packet.colour).packets else { return };
        if ring.publish(tag, packet.octets).is_err() {
            self.packets_too_long += 1;
            self.events.packet_too_long();
        }
    }

    fn ocf(&mut self, ocf: &OcfOut) {
        self.ocf.take(ocf);
    }

    fn event(&mut self, event: ChainEvent) {
        self.events.chain_event(event);
    }

    fn idle_dropped(&mut self, frame: &FrameOut<'_>) {
        self.resume.note(frame, None);
    }

    #[inline]
    fn batch_decoded(&mut self, _frames: usize) {
        self.decoded = fep_time::tai_now();
        self.metrics.latency(Stage::Decoded, self.decoded.ns_since(self.received));
    }

    #[inline]
    fn batch_done(&mut self) {
        self.metrics.latency(Stage::Published, fep_time::tai_now().ns_since(self.received));
    }
}
