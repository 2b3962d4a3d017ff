//! The batch of blocks that are decoded together, and the judgement of each frame.

use fep_ccsds::{Continuity, Frame, FrameSpec, Gvcid, MasterChannel, Payload};
use fep_coding::soft::SoftVerdict;
use fep_coding::spec::DecodeVerdict;
use fep_coding::{Block, BlockDecoder, CodeSpec, Derandomizer, Isa, Randomizer};
use fep_record::{BadReason, FrameFlags, FrameRecord, Session};
use fep_time::Tai;

use super::counters::{ResumePoint, VcResume, replay};
use super::virtual_channel::{FrameContext, VirtualChannel};
use super::{ChainError, ChainEvent, ChainOptions, FrameOut, IdlePolicy, Ledger, Sink, VcLedger};
use crate::config::{ChannelConfig, VcColour, VcService};

/// Octets of blocks decoded together: enough for the decoder to fill its lanes, little enough to stay in L2.
const BATCH_OCTETS: usize = 80 << 10;
/// Blocks start on cache lines.
const ALIGN: usize = 64;
const NO_VC: u8 = u8::MAX;

/// What is known of a block before it is decoded.
#[derive(Clone, Copy, Default)]
pub(crate) struct Note {
    pub(crate) rx_tai_ns: i64,
    pub(crate) marker_bit_errors: u8,
    pub(crate) flags: FrameFlags,
}

/// Blocks on their way through the decoder.
pub(crate) struct Batch {
    block_len: usize,
    frame_len: usize,
    stride: usize,
    blocks: Vec<u8>,
    notes: Vec<Note>,
    verdicts: Vec<DecodeVerdict>,
    held: usize,
    derandomizer: Derandomizer,
    decoder: BlockDecoder,
    judge: Judge,
}

impl Batch {
    pub(crate) fn new(channel: &ChannelConfig, options: &ChainOptions) -> Result<Batch, ChainError> {
        let refused = |source| ChainError::Code { channel: channel.name.clone(), source };
        let isa = options.isa.unwrap_or_else(Isa::best);
        let (code, randomizer) = match channel.code {
            // Frames of a sliced stream are plain once the slices are decoded.
            CodeSpec::LdpcStream(stream) => {
                (CodeSpec::None { frame_len: stream.frame_len }, Randomizer::None)
            }
            code => (code, channel.randomizer),
        };
        let decoder = code.build(isa).map_err(refused)?;
        let block_len = channel.sync.block_len;
        assert_eq!(block_len, decoder.block_len(), "configuration derives the one from the other");
        let derandomizer =
            Derandomizer::with_isa(randomizer, block_len, isa).map_err(|error| refused(error.into()))?;
        let stride = block_len.next_multiple_of(ALIGN);
        let capacity = (BATCH_OCTETS / stride).clamp(1, 64);
        Ok(Batch {
            block_len,
            frame_len: decoder.frame_len(),
            stride,
            blocks: vec![0; capacity * stride],
            notes: vec![Note::default(); capacity],
            verdicts: vec![DecodeVerdict::default(); capacity],
            held: 0,
            derandomizer,
            decoder,
            judge: Judge::new(channel, options),
        })
    }

    /// Octets between markers.
    pub(crate) fn block_len(&self) -> usize {
        self.block_len
    }

    /// Takes a block of the synchroniser.
    #[inline]
    pub(crate) fn push_block(&mut self, block: &Block<'_>, rx_tai_ns: i64, sink: &mut impl Sink) {
        let mut flags = FrameFlags::empty();
        flags.set(FrameFlags::INVERTED, block.inverted);
        flags.set(FrameFlags::FLYWHEEL, block.flywheel);
        flags.set(FrameFlags::SLIP, block.slip_bits != 0);
        self.push_coded(
            block.data,
            Note { rx_tai_ns, marker_bit_errors: block.marker_bit_errors, flags },
            sink,
        );
    }

    /// Takes a block as it was received.
    #[inline]
    pub(crate) fn push_coded(&mut self, block: &[u8], note: Note, sink: &mut impl Sink) {
        let start = self.held * self.stride;
        self.derandomizer.apply_to(block, &mut self.blocks[start..start + self.block_len]);
        self.notes[self.held] = note;
        self.held += 1;
        if self.held == self.notes.len() {
            self.flush(sink);
        }
    }

    /// Takes a frame that was decoded on the way here, with the verdict on it.
    pub(crate) fn push_judged(
        &mut self,
        frame: &[u8],
        note: Note,
        verdict: &DecodeVerdict,
        sink: &mut impl Sink,
    ) {
        self.flush(sink);
        sink.batch_decoded(1);
        self.judge.frame(frame, &note, Some(verdict), sink);
        sink.batch_done();
    }

    /// Counts what decoding by iteration took.
    pub(crate) fn count_iterations(&mut self, verdicts: &[SoftVerdict]) {
        let counts = &mut self.judge.ledger.counts;
        counts.codewords += verdicts.len() as u64;
        counts.iterations += verdicts.iter().map(|verdict| u64::from(verdict.iterations)).sum::<u64>();
    }

    /// Takes a frame that was decoded before it reached us.
    pub(crate) fn push_decoded(&mut self, frame: &[u8], note: Note, sink: &mut impl Sink) {
        self.flush(sink);
        sink.batch_decoded(1);
        self.judge.frame(frame, &note, None, sink);
        sink.batch_done();
    }

    /// Takes octets that are no frame of this channel: of a wrong length, or behind a wrong marker.
    pub(crate) fn push_bad(&mut self, octets: &[u8], note: Note, reason: BadReason, sink: &mut impl Sink) {
        self.flush(sink);
        sink.batch_decoded(1);
        self.judge.refuse(octets, &note, reason, sink);
        sink.batch_done();
    }

    /// Decodes and hands over what is held.
    pub(crate) fn flush(&mut self, sink: &mut impl Sink) {
        if self.held == 0 {
            return;
        }
        let held = std::mem::take(&mut self.held);
        let verdicts = &mut self.verdicts[..held];
        self.decoder.decode_batch(&mut self.blocks[..held * self.stride], self.stride, verdicts);
        sink.batch_decoded(held);
        for ((block, note), verdict) in
            self.blocks.chunks_exact(self.stride).zip(&self.notes).zip(verdicts.iter())
        {
            self.judge.frame(&block[..self.frame_len], note, Some(verdict), sink);
        }
        sink.batch_done();
    }

    pub(crate) fn reset(&mut self) {
        self.held = 0;
        self.judge.reset();
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.judge.ledger
    }

    pub(crate) fn vcs(&self) -> impl ExactSizeIterator<Item = (Gvcid, &VcLedger)> {
        self.judge.vcs.iter().map(|vc| (vc.gvcid, &vc.ledger))
    }

    pub(crate) fn resume_point(&self) -> &ResumePoint {
        &self.judge.resume_point
    }

    pub(crate) fn resume(&mut self, point: ResumePoint) {
        // Until a channel is heard of again, it still stands where it stood.
        self.judge.resume_point = point.clone();
        self.judge.resume = Some(point);
    }
}

/// Judges frames and follows virtual channels.
struct Judge {
    spec: FrameSpec,
    scid: u16,
    coded: bool,
    link_id: u16,
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

impl Judge {
    fn new(channel: &ChannelConfig, options: &ChainOptions) -> Judge {
        let mut vc_index = [NO_VC; 64];
        let mut vcs = Vec::with_capacity(channel.vcs.len());
        for (index, config) in channel.vcs.iter().enumerate() {
            vc_index[usize::from(config.id & 63)] = index as u8;
            let gvcid = Gvcid { tfvn: channel.frame.kind.tfvn(), scid: channel.scid, vcid: config.id };
            vcs.push(VirtualChannel::new(index, gvcid, config));
        }
        Judge {
            coded: !channel.frame.fecf.is_empty() || channel.code.detects_errors(),
            spec: channel.frame.clone(),
            scid: channel.scid,
            link_id: options.link_id,
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

    fn reset(&mut self) {
        self.master.reset();
        self.resume = None;
        for vc in &mut self.vcs {
            vc.give_up_packet(&mut self.ledger.counts);
        }
        self.resume_point.master_count = None;
        self.resume_point.vcs.fill(None);
    }

    /// One frame with the code's verdict; `None` for a frame that was decoded before it reached us.
    #[inline]
    fn frame(&mut self, octets: &[u8], note: &Note, verdict: Option<&DecodeVerdict>, sink: &mut impl Sink) {
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
        if frame.gvcid.scid != self.scid {
            return self.bad(octets, note, record, BadReason::UnknownSpacecraft, sink);
        }
        let index = self.vc_index[usize::from(frame.gvcid.vcid & 63)];
        if index == NO_VC {
            return self.bad(octets, note, record, BadReason::UnknownVc, sink);
        }
        self.accept(octets, note, record, &frame, usize::from(index), sink);
    }

    /// A frame of a known virtual channel whose octets are vouched for.
    #[inline]
    fn accept(
        &mut self,
        octets: &[u8],
        note: &Note,
        mut record: FrameRecord,
        frame: &Frame<'_>,
        index: usize,
        sink: &mut impl Sink,
    ) {
        if let Some(point) = self.resume.take() {
            replay(&point, &self.vcids, frame, Tai(note.rx_tai_ns), &mut self.master);
        }
        let continuity = self.master.observe(frame, Tai(note.rx_tai_ns)).virtual_channel;
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
            rx_tai_ns: note.rx_tai_ns,
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
        let context = FrameContext { record, rx_tai_ns: note.rx_tai_ns, idle: self.idle };
        vc.take_packets(zone, continuity, &context, &mut self.ledger.counts, sink);
    }

    /// Octets that are no frame: nothing of them is looked at.
    fn refuse(&mut self, octets: &[u8], note: &Note, reason: BadReason, sink: &mut impl Sink) {
        let mut record = self.record(note);
        record.flags.insert(FrameFlags::HEADER_INVALID);
        self.bad(octets, note, record, reason, sink);
    }

    fn record(&self, note: &Note) -> FrameRecord {
        FrameRecord {
            link_id: self.link_id,
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
        note: &Note,
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
            rx_tai_ns: note.rx_tai_ns,
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
