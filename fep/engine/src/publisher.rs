//! The sink of a link's chain: rings, counters that survive a restart, latencies, events.

use fep_bus::{Producer, Tag};
use fep_record::{KIND_FRAME, KIND_PACKET, PacketRecord};
use fep_time::Tai;

use crate::event::LinkEvents;
use crate::metrics::{LinkMetrics, Stage};
use crate::resume::ResumePage;
use fep_downlink::{ChainEvent, FrameOut, PacketOut, Sink};
use fep_mission::VcColour;

/// The two rings of one colour.
pub(crate) struct RingPair {
    pub(crate) frames: Producer,
    pub(crate) packets: Producer,
}

/// Publishes what the chain of one link gives.
pub(crate) struct Publisher {
    pub(crate) black: RingPair,
    pub(crate) red: Option<RingPair>,
    pub(crate) resume: ResumePage,
    pub(crate) metrics: LinkMetrics,
    pub(crate) events: LinkEvents,
    /// Packets longer than the packets ring takes: counted, told, dropped.
    pub(crate) packets_too_long: u64,
    received: Tai,
    decoded: Tai,
    frame_seq: u64,
}

impl Publisher {
    pub(crate) fn new(
        black: RingPair,
        red: Option<RingPair>,
        resume: ResumePage,
        metrics: LinkMetrics,
        events: LinkEvents,
    ) -> Publisher {
        let (packets_too_long, received, decoded, frame_seq) = (0, Tai::EPOCH, Tai::EPOCH, 0);
        Publisher { black, red, resume, metrics, events, packets_too_long, received, decoded, frame_seq }
    }

    /// The bytes that follow were received at this time.
    pub(crate) fn received(&mut self, received: Tai) {
        self.received = received;
    }

    /// Heartbeats and head hints of all rings.
    pub(crate) fn housekeep(&mut self, now_tai_ns: i64) {
        let now = fep_time::Monotonic::now();
        for pair in std::iter::once(&mut self.black).chain(&mut self.red) {
            pair.frames.housekeep(now);
            pair.packets.housekeep(now);
        }
        self.events.housekeep(now_tai_ns);
    }

    #[inline]
    fn pair(&mut self, colour: VcColour) -> &mut RingPair {
        match (colour, &mut self.red) {
            (VcColour::Red, Some(red)) => red,
            // Red rings are made for every channel that has a red virtual channel: asserted by the constructor's caller.
            (VcColour::Red, None) => unreachable!("red data without red rings"),
            (VcColour::Black, _) => &mut self.black,
        }
    }
}

impl Sink for Publisher {
    #[inline]
    fn frame(&mut self, frame: &FrameOut<'_>) {
        let (flags, words) = frame.record.to_words();
        let tag = Tag { kind: KIND_FRAME, flags, received: frame.received, published: self.decoded, words };
        let ring = &mut self.pair(frame.colour).frames;
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
        if let (Some(vc), Some(view)) = (frame.vc, frame.view) {
            self.resume.note(vc, view, (frame.colour == VcColour::Black).then_some(seq));
        }
    }

    #[inline]
    fn packet(&mut self, packet: &PacketOut<'_>) {
        let record = PacketRecord { frame_seq: self.frame_seq as u32, ..packet.record };
        let (flags, words) = record.to_words();
        let tag = Tag { kind: KIND_PACKET, flags, received: packet.received, published: self.decoded, words };
        if self.pair(packet.colour).packets.publish(tag, packet.octets).is_err() {
            self.packets_too_long += 1;
            self.events.packet_too_long();
        }
    }

    fn event(&mut self, event: ChainEvent) {
        self.events.chain_event(event);
    }

    fn idle_dropped(&mut self, frame: &FrameOut<'_>) {
        if let (Some(vc), Some(view)) = (frame.vc, frame.view) {
            self.resume.note(vc, view, None);
        }
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
