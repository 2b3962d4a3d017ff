//! The judgement of the frames of one physical channel: headers, continuity, packets, and what became of each.
//!
//! # Colour
//!
//! A frame whose octets are verified (by the code or the FECF), whose header is readable and whose virtual channel is known
//! has the colour of that virtual channel, whatever else is wrong with it. Where the physical channel has a red virtual
//! channel, everything else is red: nobody can say that it holds no red data. That includes frames that nothing verifies:
//! one wrong bit in their header would change their colour.

use fep_ccsds::{
    Continuity, CounterSpec, Delivery, Fecf, Frame, FrameSpec, Gvcid, Header, MasterChannels, UslpHeader,
};
use fep_coding::soft::SoftVerdict;
use fep_coding::spec::DecodeVerdict;
use fep_mission::{ChannelConfig, Colour};
use fep_record::{BadReason, FrameFlags, FrameRecord, Session};
use fep_time::Monotonic;

use crate::block::BlockNote;
use crate::channels::{Belongs, ChannelIndex};
use crate::counters::ResumePoint;
use crate::reception::Quality;
use crate::virtual_channel::{FrameContext, VirtualChannel};
use crate::{
    ChainEvent, ChainOptions, Fate, FrameOut, Framing, IdlePolicy, Ledger, Merge, MergeInput, MergeSpec,
    MergeSpecError, Merged, OcfOut, Refusals, ReorderSpec, Sink, UndeclaredPackets, VcLedger,
};

/// Most virtual channels that exploration finds by itself.
pub const EXPLORED_MAX: usize = 1024;

/// Judges the frames of one physical channel and follows the virtual channels of its spacecraft. A [`Chain`](crate::Chain)
/// has one of its own; behind a [`Merge`](crate::Merge) it stands alone.
pub struct Spacecraft {
    spec: FrameSpec,
    /// Whether the code detects what it cannot correct.
    code_verifies: bool,
    /// Colour of what cannot be attributed to a virtual channel.
    unattributed: Colour,
    session: Session,
    idle: IdlePolicy,
    explore: bool,
    frames_only: bool,
    ledger: Ledger,
    index: ChannelIndex,
    vcs: Vec<VirtualChannel>,
    masters: MasterChannels,
    refusals: Refusals,
    /// Puts frames of datagrams in order.
    reorder: Option<Box<Merge>>,
    /// When the chain was last called.
    pub(crate) now: Monotonic,
}

/// A frame on its way through the judgement.
struct Judged<'f> {
    octets: &'f [u8],
    frame: &'f Frame<'f>,
    note: &'f BlockNote,
    record: FrameRecord,
    /// Whether a code or a FECF has verified the octets.
    verified: bool,
}

impl Spacecraft {
    /// Nothing seen yet: the judgement of the frames of one link.
    ///
    /// # Errors
    /// [`ChainOptions::reorder`] that cannot be.
    pub fn new(channel: &ChannelConfig, options: &ChainOptions) -> Result<Spacecraft, MergeSpecError> {
        let delivery = match options.framing {
            Framing::Stream => Delivery::Stream,
            Framing::DatagramCadu | Framing::DatagramFrame => Delivery::Units,
        };
        // What is put in order is in the order of each virtual channel.
        let use_master_count = options.reorder.is_none();
        let counters = CounterSpec { delivery, use_master_count, ..CounterSpec::default() };
        let mut spacecraft = Spacecraft::with_counters(channel, options, counters);
        if let Some(ReorderSpec { wait_ns, window_frames }) = options.reorder {
            let merge = Merge::new(MergeSpec {
                antennas: vec![0],
                frame: channel.frame.clone(),
                wait_ns,
                window_frames,
                in_order: false,
                report_unserved: true,
            })?;
            spacecraft.reorder = Some(Box::new(merge));
        }
        Ok(spacecraft)
    }

    /// Nothing seen yet: the judgement of frames that a [`Merge`](crate::Merge) serves. Their order is that of each virtual
    /// channel, so that the master channel counter says nothing.
    #[must_use]
    pub fn behind_merge(channel: &ChannelConfig, options: &ChainOptions) -> Spacecraft {
        let counters =
            CounterSpec { delivery: Delivery::Units, use_master_count: false, ..CounterSpec::default() };
        Spacecraft::with_counters(channel, options, counters)
    }

    fn with_counters(channel: &ChannelConfig, options: &ChainOptions, counters: CounterSpec) -> Spacecraft {
        let mut index = ChannelIndex::default();
        let mut vcs = Vec::with_capacity(channel.vcs.len());
        for (number, config) in channel.vcs.iter().enumerate() {
            index.insert(config.scid, config.id, number);
            let gvcid = Gvcid { tfvn: channel.frame.kind.tfvn(), scid: config.scid, vcid: config.id };
            let craft = channel.spacecraft.iter().find(|craft| craft.scid == config.scid);
            vcs.push(VirtualChannel::new(number, gvcid, config, craft));
        }
        let spacecraft_max = if options.explore { EXPLORED_MAX } else { channel.spacecraft.len() };
        Spacecraft {
            code_verifies: channel.code.detects_errors(),
            spec: channel.frame.clone(),
            unattributed: if channel.has_red() { Colour::Red } else { Colour::Black },
            session: options.session,
            idle: options.idle,
            explore: options.explore,
            frames_only: options.frames_only,
            ledger: Ledger::default(),
            index,
            vcs,
            masters: MasterChannels::new(counters, spacecraft_max),
            refusals: Refusals::default(),
            reorder: None,
            now: Monotonic::PAST,
        }
    }

    /// Forgets everything but what was counted; frames that wait for others too.
    pub fn reset(&mut self) {
        self.masters.reset();
        if let Some(reorder) = &mut self.reorder {
            reorder.forget();
        }
        for vc in &mut self.vcs {
            vc.give_up_packet(&mut self.ledger.counts);
        }
    }

    /// Lock was lost, or the connection, and for a merge that of all antennas: frames may be missing before the next one,
    /// and any number of them.
    pub fn interrupted(&mut self) {
        self.masters.interrupted();
    }

    /// What became of the frames.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Counts of the virtual channels, in the order of the configuration; behind them those that exploration found.
    pub fn vcs(&self) -> impl ExactSizeIterator<Item = (Gvcid, &VcLedger)> {
        self.vcs.iter().map(|vc| (vc.gvcid, &vc.ledger))
    }

    /// Frames of unknown spacecraft and unknown virtual channels, by what their headers name.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Packets with APIDs that the mission does not name, of virtual channels that report or reject them.
    pub fn undeclared_packets(&self) -> impl Iterator<Item = (Gvcid, &UndeclaredPackets)> {
        self.vcs.iter().map(|vc| (vc.gvcid, vc.undeclared())).filter(|(_, packets)| !packets.seen.is_empty())
    }

    /// Where the frame counters stand.
    pub fn resume_point(&self) -> ResumePoint {
        ResumePoint { spacecraft: self.masters.iter().map(|(mcid, master)| (mcid, master.state())).collect() }
    }

    /// Continues frame counters from a resume point. Spacecraft that this channel does not carry are left out.
    pub fn resume(&mut self, point: &ResumePoint) {
        for (mcid, state) in &point.spacecraft {
            let known = self.vcs.iter().any(|vc| vc.gvcid.mcid() == *mcid);
            if known && let Some(master) = self.masters.entry(*mcid) {
                master.resume(state);
            }
        }
    }

    /// Counts what decoding by iteration took.
    pub(crate) fn count_iterations(&mut self, verdicts: &[SoftVerdict]) {
        let counts = &mut self.ledger.counts;
        counts.codewords += verdicts.len() as u64;
        counts.iterations += verdicts.iter().map(|verdict| u64::from(verdict.iterations)).sum::<u64>();
    }

    /// A frame that a merge serves: its octets have been judged, its place in the sequence has not.
    pub fn merged(&mut self, merged: &Merged<'_>, sink: &mut impl Sink) {
        let Merged { octets, mut record, received, .. } = *merged;
        for flag in [FrameFlags::GAP, FrameFlags::DUPLICATE, FrameFlags::RESET, FrameFlags::LOSS_AT_LEAST] {
            record.flags.set(flag, false);
        }
        let note = BlockNote { received, ..BlockNote::default() };
        match Frame::parse_unchecked(&self.spec, octets) {
            Ok(frame) => {
                let verified = record.flags.contains(FrameFlags::CODED);
                let judged = Judged { octets, frame: &frame, note: &note, record, verified };
                match (merged.fate, self.index.find(frame.gvcid.scid, frame.gvcid.vcid)) {
                    (Fate::Served, Belongs::Vc(index)) => self.accept(judged, index, sink),
                    (_, Belongs::Vc(index)) => self.unserved(judged, merged.fate, index, sink),
                    (_, unknown) => self.stranger(judged, unknown, sink),
                }
            }
            Err(invalid) => self.bad(octets, &note, record, BadReason::from(invalid), sink),
        }
    }

    /// Frames that have waited for others as long as they may are judged.
    pub(crate) fn end_of_wait(&mut self, now: Monotonic, sink: &mut impl Sink) {
        self.now = now;
        if self.is_waiting() {
            self.with_reorder(sink, |reorder, mut out| reorder.poll(now, &mut out));
        }
    }

    /// Frames that wait for others are judged.
    pub(crate) fn flush(&mut self, sink: &mut impl Sink) {
        self.with_reorder(sink, |reorder, mut out| reorder.flush(&mut out));
    }

    /// Whether frames wait for others.
    pub(crate) fn is_waiting(&self) -> bool {
        self.reorder.as_ref().is_some_and(|reorder| reorder.is_waiting())
    }

    fn with_reorder<S: Sink>(
        &mut self,
        sink: &mut S,
        act: impl FnOnce(&mut Merge, &mut dyn FnMut(Merged<'_>)),
    ) {
        if let Some(mut reorder) = self.reorder.take() {
            act(&mut reorder, &mut |merged| self.merged(&merged, sink));
            self.reorder = Some(reorder);
        }
    }

    /// One frame with the code's verdict; `None` for a frame that was decoded before it reached us.
    #[inline]
    pub(crate) fn frame(
        &mut self,
        octets: &[u8],
        note: &BlockNote,
        verdict: Option<&DecodeVerdict>,
        sink: &mut impl Sink,
    ) {
        if note.interrupted {
            self.masters.interrupted();
        }
        let mut record = self.record(note);
        if let Some(verdict) = verdict {
            record.symbols_corrected = verdict.symbols_corrected;
            record.codewords_failed = verdict.codewords_failed;
            if verdict.is_uncorrectable() {
                record.flags.insert(FrameFlags::UNCORRECTABLE);
                return self.bad(octets, note, record, BadReason::Uncorrectable, sink);
            }
        }
        let by_code = self.code_verifies && verdict.is_some();
        let by_fecf = self.spec.fecf != Fecf::None;
        record.flags.set(FrameFlags::CORRECTED, record.symbols_corrected > 0);
        record.flags.set(FrameFlags::CODED, by_code || by_fecf);
        if note.quality == Quality::Erred && !by_code && !by_fecf {
            // Nothing verifies the frame, and the station says that it is wrong.
            record.flags.insert(FrameFlags::UNCORRECTABLE);
            return self.bad(octets, note, record, BadReason::Uncorrectable, sink);
        }
        let frame = match Frame::parse(&self.spec, octets) {
            Ok(frame) => frame,
            Err(invalid) => {
                let reason = BadReason::from(invalid);
                if reason == BadReason::FecfFailed {
                    record.flags.insert(FrameFlags::FECF_FAILED);
                    record.flags.set(FrameFlags::CODED, false);
                } else {
                    record.flags.insert(FrameFlags::HEADER_INVALID);
                }
                return self.bad(octets, note, record, reason, sink);
            }
        };
        // A truncated frame has no FECF, whatever the channel has.
        let verified = by_code || by_fecf && !is_truncated(&frame);
        record.flags.set(FrameFlags::CODED, verified);
        record.flags.set(FrameFlags::CORRECTED, record.symbols_corrected > 0 || frame.fhec_corrected > 0);
        record.gvcid = frame.gvcid;
        record.frame_count = frame.frame_count as u32;
        self.attribute(Judged { octets, frame: &frame, note, record, verified }, sink);
    }

    /// A frame whose octets are judged and whose header is readable.
    #[inline]
    fn attribute(&mut self, judged: Judged<'_>, sink: &mut impl Sink) {
        let Gvcid { scid, vcid, .. } = judged.frame.gvcid;
        match self.index.find(scid, vcid) {
            Belongs::Vc(index) if self.reorder.is_none() => self.accept_here(judged, index, sink),
            Belongs::Vc(index) => self.in_turn(judged, index, sink),
            unknown => match self.explored(judged.frame) {
                Some(index) => self.accept(judged, index, sink),
                None => self.stranger(judged, unknown, sink),
            },
        }
    }

    /// A frame of a known virtual channel, which may have to wait for those before it.
    fn in_turn(&mut self, judged: Judged<'_>, index: usize, sink: &mut impl Sink) {
        let now = self.now;
        let Judged { octets, frame, note, record, verified } = judged;
        let reorder = self.reorder.as_mut();
        if reorder.is_some_and(|reorder| reorder.is_next(frame, octets, note.received, verified, now)) {
            return self.accept(judged, index, sink);
        }
        let (received, quality, colour) = (note.received, note.quality, Colour::Black);
        let input = MergeInput { octets, record, received, colour, antenna: 0, seq: 0, quality };
        self.with_reorder(sink, |reorder, mut out| {
            reorder.push_parsed(&input, frame, 0, now, &mut out);
        });
    }

    /// A frame that is out of turn for good: it came twice, or too late. It goes on with the reason, and moves no counter.
    #[cold]
    fn unserved(&mut self, judged: Judged<'_>, fate: Fate, index: usize, sink: &mut impl Sink) {
        let Judged { octets, frame, note, mut record, verified } = judged;
        let (gvcid, count) = (frame.gvcid, frame.frame_count);
        let vc = &mut self.vcs[index];
        count_verdict(&mut self.ledger, &record);
        self.ledger.counts.published += 1;
        if fate == Fate::Duplicate {
            record.flags.insert(FrameFlags::DUPLICATE);
            vc.ledger.frames += 1;
            vc.ledger.duplicates += 1;
            self.ledger.counts.duplicates += 1;
            sink.event(ChainEvent::Duplicate { gvcid, count });
        } else {
            record.reason = BadReason::Late;
            self.ledger.bad.count(BadReason::Late);
            sink.event(ChainEvent::Bad { reason: BadReason::Late });
        }
        sink.frame(&FrameOut {
            octets,
            record,
            received: note.received,
            view: Some(frame),
            vc: Some(index),
            colour: if verified { vc.colour } else { vc.colour.max(self.unattributed) },
            lost: 0,
            counters: None,
        });
    }

    /// A frame of a spacecraft or virtual channel that the mission does not describe.
    #[cold]
    fn stranger(&mut self, judged: Judged<'_>, unknown: Belongs, sink: &mut impl Sink) {
        let Judged { octets, frame, note, record, verified } = judged;
        let reason = match unknown {
            Belongs::UnknownSpacecraft => BadReason::UnknownSpacecraft,
            Belongs::UnknownVc | Belongs::Vc(_) => {
                // It moves the counter of its master channel like any other.
                if verified {
                    self.masters.observe(frame, note.received);
                }
                BadReason::UnknownVc
            }
        };
        self.refusals.count(frame.gvcid, reason);
        self.bad(octets, note, record, reason, sink);
    }

    /// Makes a virtual channel for a frame of which the mission says nothing, where that is asked for.
    #[cold]
    fn explored(&mut self, frame: &Frame<'_>) -> Option<usize> {
        let index = self.vcs.len();
        if !self.explore || self.vcs.iter().filter(|vc| vc.is_explored).count() == EXPLORED_MAX {
            return None;
        }
        self.vcs.push(VirtualChannel::explored(index, frame, self.unattributed));
        self.index.insert(frame.gvcid.scid, frame.gvcid.vcid, index);
        Some(index)
    }

    /// A frame of a known virtual channel.
    #[inline(never)]
    fn accept(&mut self, judged: Judged<'_>, index: usize, sink: &mut impl Sink) {
        self.accept_here(judged, index, sink);
    }

    /// The same, compiled into its caller: what most frames go through does not pass its record through memory.
    #[inline(always)]
    fn accept_here(&mut self, judged: Judged<'_>, index: usize, sink: &mut impl Sink) {
        let Judged { octets, frame, note, mut record, verified } = judged;
        let mcid = frame.gvcid.mcid();
        // There is room for every spacecraft that has a virtual channel.
        let continuity = self
            .masters
            .observe(frame, note.received)
            .map_or(Continuity::Uncounted, |continuity| continuity.virtual_channel);
        let vc = &mut self.vcs[index];
        if continuity != Continuity::Next {
            judge_continuity(continuity, frame, vc, &mut record, &mut self.ledger, sink);
        }
        let colour = if verified { vc.colour } else { vc.colour.max(self.unattributed) };
        let payload = vc.payload_of(frame);
        self.ledger.counts.unchecked += u64::from(!verified);
        count_verdict(&mut self.ledger, &record);
        if frame.idle {
            record.flags.insert(FrameFlags::IDLE);
            self.ledger.counts.idle += 1;
        }
        if let Err(invalid) = &payload {
            record.flags.insert(FrameFlags::HEADER_INVALID);
            record.reason = BadReason::from(*invalid);
            self.ledger.bad.count(record.reason);
            vc.ledger.pointer_invalid += 1;
        } else {
            vc.ledger.frames += 1;
        }
        let out = FrameOut {
            octets,
            record,
            received: note.received,
            view: Some(frame),
            vc: Some(index),
            colour,
            lost: continuity.lost(),
            counters: self.masters.get(mcid),
        };
        if frame.idle && self.idle == IdlePolicy::Drop && payload.is_ok() {
            self.ledger.counts.dropped_idle += 1;
            sink.idle_dropped(&out);
        } else {
            self.ledger.counts.published += 1;
            sink.frame(&out);
        }
        if let Some(octets) = frame.ocf {
            sink.ocf(&OcfOut { gvcid: frame.gvcid, octets, received: note.received, colour, verified });
        }
        if frame.has_legacy_status() && !vc.has_legacy_status {
            vc.has_legacy_status = true;
            sink.event(ChainEvent::LegacyStatus { gvcid: frame.gvcid });
        }
        let payload = match payload {
            Ok(payload) => payload,
            Err(_) => {
                sink.event(ChainEvent::Bad { reason: record.reason });
                return vc.give_up_packet(&mut self.ledger.counts);
            }
        };
        if !vc.takes_packets || self.frames_only {
            return;
        }
        let context = FrameContext { record, received: note.received, idle: self.idle, colour };
        vc.take_payload(payload, continuity, &context, &mut self.ledger.counts, sink);
    }

    /// Octets that are no frame: nothing of them is looked at.
    pub(crate) fn refuse(
        &mut self,
        octets: &[u8],
        note: &BlockNote,
        reason: BadReason,
        sink: &mut impl Sink,
    ) {
        let mut record = self.record(note);
        record.flags.insert(FrameFlags::HEADER_INVALID);
        self.bad(octets, note, record, reason, sink);
    }

    fn record(&self, note: &BlockNote) -> FrameRecord {
        FrameRecord {
            link_id: note.antenna,
            session: self.session,
            marker_bit_errors: note.marker_bit_errors,
            flags: note.flags,
            ..FrameRecord::default()
        }
    }

    /// A frame that belongs to no known virtual channel, or of which nobody can say.
    #[cold]
    fn bad(
        &mut self,
        octets: &[u8],
        note: &BlockNote,
        mut record: FrameRecord,
        reason: BadReason,
        sink: &mut impl Sink,
    ) {
        record.reason = reason;
        self.ledger.bad.count(reason);
        self.ledger.counts.published += 1;
        match reason {
            BadReason::Uncorrectable | BadReason::FecfFailed | BadReason::LengthInvalid => {
                self.ledger.counts.received += 1;
                self.ledger.counts.uncorrectable += 1;
            }
            _ => count_verdict(&mut self.ledger, &record),
        }
        if !matches!(reason, BadReason::UnknownSpacecraft | BadReason::UnknownVc) {
            self.masters.unreadable(1);
        }
        sink.frame(&FrameOut {
            octets,
            record,
            received: note.received,
            view: None,
            vc: None,
            colour: self.unattributed,
            lost: 0,
            counters: None,
        });
        sink.event(ChainEvent::Bad { reason });
    }
}

/// A frame that no code and no FECF says anything against.
fn count_verdict(ledger: &mut Ledger, record: &FrameRecord) {
    let counts = &mut ledger.counts;
    counts.received += 1;
    if record.flags.contains(FrameFlags::CORRECTED) {
        counts.corrected += 1;
        counts.symbols_corrected += u64::from(record.symbols_corrected);
    } else {
        counts.good += 1;
    }
}

fn is_truncated(frame: &Frame<'_>) -> bool {
    matches!(frame.header, Header::Uslp(UslpHeader { rest: None, .. }))
}

#[cold]
fn judge_continuity(
    continuity: Continuity,
    frame: &Frame<'_>,
    vc: &mut VirtualChannel,
    record: &mut FrameRecord,
    ledger: &mut Ledger,
    sink: &mut impl Sink,
) {
    let (gvcid, count) = (frame.gvcid, frame.frame_count);
    match continuity {
        Continuity::Gap { lost, at_least } => {
            record.flags.insert(FrameFlags::GAP);
            record.flags.set(FrameFlags::LOSS_AT_LEAST, at_least);
            vc.ledger.gaps += 1;
            vc.ledger.lost += lost;
            vc.ledger.gaps_at_least += u64::from(at_least);
            ledger.counts.gaps += 1;
            ledger.counts.lost += lost;
            ledger.counts.gaps_at_least += u64::from(at_least);
            sink.event(ChainEvent::Gap { gvcid, lost, at_least, count });
        }
        Continuity::Duplicate => {
            record.flags.insert(FrameFlags::DUPLICATE);
            vc.ledger.duplicates += 1;
            ledger.counts.duplicates += 1;
            sink.event(ChainEvent::Duplicate { gvcid, count });
        }
        Continuity::Reset => {
            record.flags.insert(FrameFlags::RESET);
            vc.ledger.resets += 1;
            ledger.counts.resets += 1;
            sink.event(ChainEvent::Reset { gvcid, count });
        }
        Continuity::First | Continuity::Next | Continuity::Uncounted => {}
    }
}
