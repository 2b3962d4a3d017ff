//! The judgement of one spacecraft's frames: headers, continuity, packets, and what became of each.

use fep_ccsds::{Continuity, Frame, FrameSpec, Gvcid, MasterChannel, Payload};
use fep_coding::soft::SoftVerdict;
use fep_coding::spec::DecodeVerdict;
use fep_mission::{ChannelConfig, VcColour, VcService};
use fep_record::{BadReason, FrameFlags, FrameRecord, Session};

use crate::block::BlockNote;
use crate::counters::{ResumePoint, VcResume, replay};
use crate::reception::Quality;
use crate::virtual_channel::{FrameContext, VirtualChannel};
use crate::{ChainEvent, ChainOptions, FrameOut, IdlePolicy, Ledger, Merged, Sink, VcLedger};

const NO_VC: u8 = u8::MAX;

/// Judges the frames of one physical channel and follows its virtual channels. A [`Chain`](crate::Chain) has one of its
/// own; behind a [`Merge`](crate::Merge) it stands alone.
pub struct Spacecraft {
    spec: FrameSpec,
    scid: u16,
    coded: bool,
    session: Session,
    idle: IdlePolicy,
    ledger: Ledger,
    vc_index: [u8; 64],
    vcids: Vec<u8>,
    vcs: Vec<VirtualChannel>,
    master: MasterChannel,
    resume_point: ResumePoint,
    resume: Option<ResumePoint>,
}

impl Spacecraft {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(channel: &ChannelConfig, options: &ChainOptions) -> Spacecraft {
        let mut vc_index = [NO_VC; 64];
        let mut vcs = Vec::with_capacity(channel.vcs.len());
        for (index, config) in channel.vcs.iter().enumerate() {
            vc_index[usize::from(config.id & 63)] = index as u8;
            let gvcid = Gvcid { tfvn: channel.frame.kind.tfvn(), scid: channel.scid, vcid: config.id };
            vcs.push(VirtualChannel::new(index, gvcid, config));
        }
        Spacecraft {
            coded: channel.code.verifies_frames(!channel.frame.fecf.is_empty()),
            spec: channel.frame.clone(),
            scid: channel.scid,
            session: options.session,
            idle: options.idle,
            ledger: Ledger::default(),
            vc_index,
            vcids: channel.vcs.iter().map(|vc| vc.id).collect(),
            resume_point: ResumePoint { master_count: None, vcs: vec![None; vcs.len()] },
            vcs,
            master: MasterChannel::default(),
            resume: None,
        }
    }

    /// Forgets everything but what was counted.
    pub fn reset(&mut self) {
        self.master.reset();
        self.resume = None;
        for vc in &mut self.vcs {
            vc.give_up_packet(&mut self.ledger.counts);
        }
        self.resume_point.master_count = None;
        self.resume_point.vcs.fill(None);
    }

    /// The stream was interrupted: what follows may be any number of frames later.
    pub(crate) fn interrupted(&mut self) {
        self.master.interrupted();
    }

    /// What became of the frames.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Counts of the virtual channels, in the order of the configuration.
    pub fn vcs(&self) -> impl ExactSizeIterator<Item = (Gvcid, &VcLedger)> {
        self.vcs.iter().map(|vc| (vc.gvcid, &vc.ledger))
    }

    /// Where the frame counters stand.
    pub fn resume_point(&self) -> &ResumePoint {
        &self.resume_point
    }

    /// Continues frame counters from a resume point.
    pub fn resume(&mut self, point: ResumePoint) {
        // Until a channel is heard of again, it still stands where it stood.
        self.resume_point = point.clone();
        self.resume = Some(point);
    }

    /// Counts what decoding by iteration took.
    pub(crate) fn count_iterations(&mut self, verdicts: &[SoftVerdict]) {
        let counts = &mut self.ledger.counts;
        counts.codewords += verdicts.len() as u64;
        counts.iterations += verdicts.iter().map(|verdict| u64::from(verdict.iterations)).sum::<u64>();
    }

    /// A frame that a merge serves: its octets and header have been judged, its place in the sequence has not.
    pub fn merged(&mut self, merged: &Merged<'_>, sink: &mut impl Sink) {
        let Merged { octets, mut record, received, .. } = *merged;
        for flag in [FrameFlags::GAP, FrameFlags::DUPLICATE, FrameFlags::RESET] {
            record.flags.set(flag, false);
        }
        let note = BlockNote { received, ..BlockNote::default() };
        let Ok(frame) = Frame::parse_unchecked(&self.spec, octets) else {
            return self.bad(octets, &note, record, BadReason::HeaderInvalid, sink);
        };
        self.attribute(octets, &note, record, &frame, sink);
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
        if note.following.interrupted {
            self.master.interrupted();
        }
        let mut record = self.record(note);
        if let Some(verdict) = verdict {
            record.symbols_corrected = verdict.symbols_corrected;
            record.codewords_failed = verdict.codewords_failed;
            if verdict.is_uncorrectable() {
                record.flags.insert(FrameFlags::UNCORRECTABLE);
                return self.bad(octets, note, record, BadReason::Uncorrectable, sink);
            }
            record.flags.set(FrameFlags::CORRECTED, verdict.symbols_corrected > 0);
        }
        record.flags.set(FrameFlags::CODED, self.coded && (verdict.is_some() || !self.spec.fecf.is_empty()));
        if note.quality == Quality::Erred && !record.flags.contains(FrameFlags::CODED) {
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
        record.flags.set(FrameFlags::CORRECTED, record.symbols_corrected > 0 || frame.fhec_corrected > 0);
        record.gvcid = frame.gvcid;
        record.frame_count = frame.frame_count as u32;
        self.attribute(octets, note, record, &frame, sink);
    }

    #[inline]
    fn attribute(
        &mut self,
        octets: &[u8],
        note: &BlockNote,
        record: FrameRecord,
        frame: &Frame<'_>,
        sink: &mut impl Sink,
    ) {
        if frame.gvcid.scid != self.scid {
            return self.bad(octets, note, record, BadReason::UnknownSpacecraft, sink);
        }
        let index = self.vc_index[usize::from(frame.gvcid.vcid & 63)];
        if index == NO_VC {
            return self.bad(octets, note, record, BadReason::UnknownVc, sink);
        }
        self.accept(octets, note, record, frame, usize::from(index), sink);
    }

    /// A frame of a known virtual channel whose octets are vouched for.
    #[inline]
    fn accept(
        &mut self,
        octets: &[u8],
        note: &BlockNote,
        mut record: FrameRecord,
        frame: &Frame<'_>,
        index: usize,
        sink: &mut impl Sink,
    ) {
        if let Some(point) = self.resume.take() {
            replay(&point, &self.vcids, frame, note.received, &mut self.master);
        }
        let continuity = self.master.observe(frame, note.received).virtual_channel;
        self.resume_point.master_count = frame.mc_count;
        if !frame.is_expedited() && frame.frame_count_modulus > 1 {
            let (count, modulus) = (frame.frame_count, frame.frame_count_modulus);
            self.resume_point.vcs[index] = Some(VcResume { count, modulus });
        }
        let payload = match self.vcs[index].service {
            VcService::BPdu => frame.payload(fep_ccsds::VcService::Bitstream),
            VcService::Vca | VcService::Idle => frame.payload(fep_ccsds::VcService::Vca),
            VcService::Packets | VcService::MPdu => frame.payload(fep_ccsds::VcService::Packets),
        };
        let vc = &mut self.vcs[index];
        if continuity != Continuity::Next {
            judge_continuity(continuity, frame, vc, &mut record, &mut self.ledger, sink);
        }
        let payload = match payload {
            Ok(payload) => payload,
            Err(invalid) => {
                vc.give_up_packet(&mut self.ledger.counts);
                record.flags.insert(FrameFlags::HEADER_INVALID);
                return self.bad(octets, note, record, BadReason::from(invalid), sink);
            }
        };
        vc.ledger.frames += 1;
        self.count_verdict(&record);
        let mut drop = false;
        if frame.idle {
            record.flags.insert(FrameFlags::IDLE);
            self.ledger.counts.idle += 1;
            drop = self.idle == IdlePolicy::Drop;
        }
        let vc = &mut self.vcs[index];
        let out = FrameOut {
            octets,
            record,
            received: note.received,
            view: Some(frame),
            vc: Some(index),
            colour: vc.colour,
            lost: continuity.lost(),
        };
        if drop {
            self.ledger.counts.dropped_idle += 1;
            sink.idle_dropped(&out);
        } else {
            self.ledger.counts.published += 1;
            sink.frame(&out);
        }
        if !vc.takes_packets {
            return;
        }
        let zone = match payload {
            Payload::Packets(zone) => zone,
            // What is in progress goes on behind an idle frame, but a gap before it must not go unnoticed.
            Payload::Idle(data) => {
                fep_ccsds::PacketZone { first_header_pointer: fep_ccsds::Fhp::IdleOnly, data }
            }
            Payload::Bitstream(_) | Payload::Sdu(_) => return vc.give_up_packet(&mut self.ledger.counts),
        };
        let context = FrameContext { record, received: note.received, idle: self.idle };
        vc.take_packets(zone, continuity, &context, &mut self.ledger.counts, sink);
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
            _ => self.count_verdict(&record),
        }
        sink.frame(&FrameOut {
            octets,
            record,
            received: note.received,
            view: None,
            vc: None,
            colour: VcColour::Black,
            lost: 0,
        });
        sink.event(ChainEvent::Bad { reason });
    }

    /// A frame whose octets are vouched for, or for which there is nothing that could.
    fn count_verdict(&mut self, record: &FrameRecord) {
        let counts = &mut self.ledger.counts;
        counts.received += 1;
        if record.flags.contains(FrameFlags::CORRECTED) {
            counts.corrected += 1;
            counts.symbols_corrected += u64::from(record.symbols_corrected);
        } else {
            counts.good += 1;
        }
    }
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
        Continuity::Gap { lost, .. } => {
            record.flags.insert(FrameFlags::GAP);
            vc.ledger.gaps += 1;
            vc.ledger.lost += lost;
            ledger.counts.gaps += 1;
            ledger.counts.lost += lost;
            sink.event(ChainEvent::Gap { gvcid, lost, count });
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
