//! Packets out of frames that were judged and recorded before.
//!
//! [`Extraction`] does for recorded frames what [`Spacecraft`](crate::Spacecraft) does for frames as they come, by the same code
//! ([`VirtualChannel`]): from the frames of one ring, in its order, it gives the packets that the packets ring beside it has,
//! octet by octet.
//!
//! # What is believed
//!
//! The verdict of whoever received the frames is in their records: bad frames are passed over, and where a record says that
//! frames are missing before it, the packet in progress is given up. The frame counters are compared as well, for frames
//! that were received and are not in the recording: no packet is put together across one. Frames that were dropped before
//! recording because they are idle look the same, so that a packet which goes on behind such a frame is given up.
//!
//! A packet in progress is at most one for each virtual channel, and at most as long as the longest space packet.

use std::collections::HashMap;
use std::sync::Arc;

use fep_ccsds::{Continuity, Fhp, Frame, FrameSpec, Gvcid, Payload};
use fep_mission::Fleet;
use fep_record::{BadReason, FrameFlags, FrameRecord, PacketRecord, Session};
use fep_time::Tai;

use crate::ledger::Counts;
use crate::virtual_channel::{FrameContext, VirtualChannel};
use crate::{ChainEvent, FrameOut, IdlePolicy, PacketOut, Sink};

/// A frame as it was recorded. `P` is where: whatever the caller needs to find it again.
#[derive(Debug, Clone, Copy)]
pub struct RecordedFrame<'a, P> {
    /// The transfer frame.
    pub octets: &'a [u8],
    /// What was known of it when it was received.
    pub record: FrameRecord,
    /// When it was received.
    pub received: Tai,
    /// Where it is.
    pub place: P,
}

/// A packet, complete.
#[derive(Debug, Clone, Copy)]
pub struct Extracted<'a, P> {
    /// The packet, header included.
    pub octets: &'a [u8],
    /// What is known of it, as in the packets ring. `frame_seq` is left 0.
    pub record: PacketRecord,
    /// When the frame in which it ended was received.
    pub received: Tai,
    /// The frame in which it began.
    pub began: P,
}

/// What became of recorded frames and of the octets in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtractionLedger {
    /// Frames given.
    pub frames: u64,
    /// Of these, bad ones and duplicates: nothing was taken out of them.
    pub passed_over: u64,
    /// Of these, frames of channels that no mission describes, or several missions describe so that the frame fits more than
    /// one.
    pub undescribed: u64,
    /// Of these, frames of described channels that do not have the parts that the mission says.
    pub unreadable: u64,
    /// Packets, idle ones included.
    pub packets: u64,
    /// Octets of them.
    pub packet_octets: u64,
    /// Octets of packets that cannot be completed.
    pub octets_discarded: u64,
}

/// Takes packets out of the recorded frames of one ring.
///
/// ```
/// use std::sync::Arc;
/// # use fep_downlink::{Extraction, RecordedFrame};
/// let fleet = Arc::new(fep_mission::Fleet::load(&Default::default()).unwrap());
/// let mut extraction = Extraction::<u64>::new(fleet);
/// # let frames: Vec<RecordedFrame<'_, u64>> = Vec::new();
/// for frame in &frames {
///     extraction.frame(frame, &mut |packet| println!("{} octets from {}", packet.octets.len(), packet.began));
/// }
/// ```
pub struct Extraction<P> {
    fleet: Arc<Fleet>,
    channels: HashMap<Gvcid, Followed<P>>,
    ledger: ExtractionLedger,
}

/// One virtual channel.
struct Followed<P> {
    channel: VirtualChannel,
    spec: FrameSpec,
    /// The frame in which the packet in progress began.
    began: P,
    /// The last counts, of the sequence-controlled and of the expedited service.
    counts: [Option<u64>; 2],
    session: Session,
    /// Frames are missing before the next one.
    interrupted: bool,
}

impl<P: Copy> Extraction<P> {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(fleet: Arc<Fleet>) -> Extraction<P> {
        Extraction { fleet, channels: HashMap::new(), ledger: ExtractionLedger::default() }
    }

    /// Records are missing here: no packet goes on across this place.
    pub fn interrupted(&mut self) {
        self.channels.values_mut().for_each(|followed| followed.interrupted = true);
    }

    /// What became of the frames.
    #[must_use]
    pub fn ledger(&self) -> &ExtractionLedger {
        &self.ledger
    }

    /// The packets in progress: the channel, and the frame in which each began.
    pub fn in_progress(&self) -> impl Iterator<Item = (Gvcid, P)> {
        let held = self.channels.iter().filter(|(_, followed)| followed.channel.held() > 0);
        held.map(|(gvcid, followed)| (*gvcid, followed.began))
    }

    /// The next frame of the ring; the packets that end in it go to `sink`, in order.
    pub fn frame(&mut self, frame: &RecordedFrame<'_, P>, sink: &mut impl FnMut(Extracted<'_, P>)) {
        let record = &frame.record;
        self.ledger.frames += 1;
        match record.reason {
            BadReason::None if record.flags.contains(FrameFlags::DUPLICATE) => {
                self.ledger.passed_over += 1;
                return;
            }
            BadReason::None => {}
            // The header of such a frame was believed, its data field could not be read.
            BadReason::PointerInvalid | BadReason::HeaderInvalid => {
                self.ledger.passed_over += 1;
                if let Some(followed) = self.channels.get_mut(&record.gvcid) {
                    followed.interrupted = true;
                }
                return;
            }
            _ => {
                self.ledger.passed_over += 1;
                return;
            }
        }
        let Some(followed) = follow(&mut self.channels, &self.fleet, frame) else {
            self.ledger.undescribed += 1;
            return;
        };
        if !followed.channel.takes_packets {
            return;
        }
        let parsed = Frame::parse_unchecked(&followed.spec, frame.octets);
        let read = parsed.and_then(|parsed| Ok((parsed, followed.channel.payload_of(&parsed)?)));
        let (parsed, payload) = match read {
            Ok((parsed, payload)) if parsed.gvcid == record.gvcid => (parsed, payload),
            Ok(_) | Err(_) => {
                self.ledger.unreadable += 1;
                followed.interrupted = true;
                return;
            }
        };
        let continuity = followed.continuity(&parsed, record);
        let context = FrameContext {
            record: *record,
            received: frame.received,
            idle: IdlePolicy::Publish,
            colour: followed.channel.colour,
        };
        let begins =
            matches!(payload, Payload::Packets(zone) if matches!(zone.first_header_pointer, Fhp::At(_)));
        let mut counts = Counts::default();
        let mut out = Out { sink, began: followed.began, here: frame.place };
        followed.channel.take_payload(payload, continuity, &context, &mut counts, &mut out);
        if begins {
            // What is in progress behind a first header pointer began in this zone.
            followed.began = frame.place;
        }
        self.ledger.packets += counts.packets;
        self.ledger.packet_octets += counts.packet_bytes;
        self.ledger.octets_discarded += counts.packet_bytes_discarded;
    }
}

/// The channel of a frame. A channel is made at its first frame that a mission describes, so that there are never more than
/// the missions have.
fn follow<'c, P: Copy>(
    channels: &'c mut HashMap<Gvcid, Followed<P>>,
    fleet: &Fleet,
    frame: &RecordedFrame<'_, P>,
) -> Option<&'c mut Followed<P>> {
    let (gvcid, number) = (frame.record.gvcid, channels.len());
    match channels.entry(gvcid) {
        std::collections::hash_map::Entry::Occupied(known) => Some(known.into_mut()),
        std::collections::hash_map::Entry::Vacant(place) => {
            let described = fleet.channel_of(gvcid, frame.octets)?;
            let (vc, craft) = (&described.vc, &described.spacecraft);
            Some(place.insert(Followed {
                channel: VirtualChannel::new(number, gvcid, vc, Some(craft)),
                spec: described.frame.clone(),
                began: frame.place,
                counts: [None; 2],
                session: frame.record.session,
                interrupted: false,
            }))
        }
    }
}

impl<P> Followed<P> {
    /// What record and counter say of the frames before this one.
    fn continuity(&mut self, frame: &Frame<'_>, record: &FrameRecord) -> Continuity {
        let (count, modulus) = (frame.frame_count, frame.frame_count_modulus);
        let last = self.counts[usize::from(frame.is_expedited())].replace(count);
        let interrupted = std::mem::take(&mut self.interrupted)
            | (std::mem::replace(&mut self.session, record.session) != record.session)
            | record.flags.contains(FrameFlags::GAP);
        if interrupted {
            return Continuity::Gap { lost: 0, at_least: true };
        }
        if record.flags.contains(FrameFlags::RESET) {
            return Continuity::Reset;
        }
        match last {
            None => Continuity::First,
            Some(_) if modulus <= 1 => Continuity::Uncounted,
            Some(last) if (last + 1) % modulus == count => Continuity::Next,
            Some(_) => Continuity::Gap { lost: 0, at_least: true },
        }
    }
}

/// Hands packets on with the frame in which they began.
struct Out<'s, F, P> {
    sink: &'s mut F,
    began: P,
    here: P,
}

impl<P: Copy, F: FnMut(Extracted<'_, P>)> Sink for Out<'_, F, P> {
    fn frame(&mut self, _: &FrameOut<'_>) {}

    fn packet(&mut self, packet: &PacketOut<'_>) {
        let began = if packet.spanned { self.began } else { self.here };
        let PacketOut { octets, record, received, .. } = *packet;
        (self.sink)(Extracted { octets, record, received, began });
    }

    fn event(&mut self, _: ChainEvent) {}
}
