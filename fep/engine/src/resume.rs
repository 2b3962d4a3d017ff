//! Frame counters across a restart of the process, even one by `kill -9`.
//!
//! Next to every published frame the hot thread stores where its counters stand in a page of shared memory: a few plain
//! stores. The next life of `fepd` reads the page, looks in the frames rings (of both colours) for the frames that may have
//! been committed after the last store, and so knows exactly where every virtual channel stood. What the link lost in between
//! is then counted as a gap by the first frame of each channel. The page holds receive times and rates as well: where the
//! counter may have turned in between (256 frames of TM), the time that went by tells how often.

use std::path::Path;

use crate::rings::{Rings, frames_ring};
use fep_bus::{
    Access, BusError, Colour, Consumer, MetricId, MetricPage, MetricReader, MetricSet, MetricValue, Poll,
    Resume,
};
use fep_ccsds::{CounterState, Frame, Gvcid, MasterChannelState, Mcid};
use fep_downlink::{FrameOut, ResumePoint};
use fep_mission::ChannelConfig;
use fep_record::{BadReason, FrameRecord, KIND_FRAME};

/// The page of one link or spacecraft.
pub(crate) struct ResumePage {
    page: MetricPage,
    /// Numbers of the newest frames in the frames rings: black, red.
    seqs: [MetricId; 2],
    /// By spacecraft of the channel.
    masters: Vec<(Mcid, [MetricId; MasterChannelState::WORDS])>,
    /// By index of the virtual channel.
    vcs: Vec<(Gvcid, [MetricId; CounterState::WORDS])>,
}

impl ResumePage {
    /// Makes the page of `link` below `dir`, and says where the counters stood when the last one was written.
    pub(crate) fn take_over(
        dir: &Path,
        role: &str,
        rings: &Rings,
        channel: &ChannelConfig,
        access: &Access,
    ) -> Result<(ResumePage, ResumePoint), BusError> {
        let mut set = MetricSet::new();
        let tfvn = channel.frame.kind.tfvn();
        let seqs = SEQS.map(|name| set.gauge(name));
        let masters =
            channel.scids().map(|scid| (Mcid { tfvn, scid }, master_names(scid).map(|name| set.gauge(name))));
        let masters = masters.collect();
        let vcs = channel.vcs.iter().map(|vc| {
            let gvcid = Gvcid { tfvn, scid: vc.scid, vcid: vc.id };
            (gvcid, counter_names(gvcid).map(|name| set.gauge(name)))
        });
        let vcs = vcs.collect();
        let name = format!("{role}.counters");
        let (mut point, noted) = read(&dir.join("metrics").join(&name), channel);
        let newest = [Some(&rings.black), rings.red.as_ref()]
            .map(|pair| pair.map_or(0, |pair| pair.frames.head().seq - 1));
        for (colour, (noted, newest)) in
            [Colour::Black, Colour::Red].into_iter().zip(noted.into_iter().zip(newest))
        {
            if let Some(noted) = noted
                && noted < newest
            {
                catch_up(&mut point, noted, dir, &frames_ring(role, colour), colour, channel);
            }
        }
        // The new page takes the place of the old one only when it knows what the old one knew.
        let page = MetricPage::create(dir, &format!("{role}.new"), &set, access)?;
        let path = dir.join("metrics").join(&name);
        let mut page = ResumePage { page, seqs, masters, vcs };
        page.store_point(&point);
        for (seq, newest) in page.seqs.into_iter().zip(newest) {
            page.page.set(seq, newest);
        }
        std::fs::rename(page.page.path(), &path).map_err(|source| BusError::Io {
            path,
            action: "put into place",
            source,
        })?;
        Ok((page, point))
    }

    /// Notes a frame that has been committed under the number `seq` of its ring, or dropped by policy: plain stores.
    #[inline]
    pub(crate) fn note(&mut self, frame: &FrameOut<'_>, seq: Option<u64>) {
        if let (Some(vc), Some(counters)) = (frame.vc, frame.counters) {
            let (gvcid, words) = self.vcs[vc];
            if let Some(counter) = counters.counter(gvcid.vcid, false) {
                // The count comes last: a kill in between leaves the frame before, and the ring has this one.
                set_words(&mut self.page, words, counter.to_words());
            }
            if let Some((_, words)) = self.masters.iter().find(|(mcid, _)| *mcid == gvcid.mcid()) {
                set_words(&mut self.page, *words, counters.master_state().to_words());
            }
        }
        if let Some(seq) = seq {
            self.page.set(self.seqs[usize::from(frame.colour == Colour::Red)], seq);
        }
    }

    /// Forgets every count: a reset was asked for.
    pub(crate) fn clear(&mut self) {
        self.store_point(&ResumePoint::default());
    }

    fn store_point(&mut self, point: &ResumePoint) {
        let state =
            |mcid: Mcid| point.spacecraft.iter().find(|(known, _)| *known == mcid).map(|(_, state)| state);
        for (mcid, words) in &self.masters {
            let values = state(*mcid).map_or([0; MasterChannelState::WORDS], MasterChannelState::to_words);
            set_words(&mut self.page, *words, values);
        }
        for (gvcid, words) in &self.vcs {
            let counter = state(gvcid.mcid()).and_then(|state| {
                state.channels.iter().find(|counter| counter.vcid == gvcid.vcid && !counter.expedited)
            });
            let values = counter.map_or([0; CounterState::WORDS], CounterState::to_words);
            set_words(&mut self.page, *words, values);
        }
    }
}

fn set_words<const N: usize>(page: &mut MetricPage, ids: [MetricId; N], values: [u64; N]) {
    for (id, value) in ids.into_iter().zip(values).rev() {
        page.set(id, value);
    }
}

const SEQS: [&str; 2] = ["seq", "seq.red"];

// The spacecraft is part of every name: another one under the same link name continues nothing.
fn master_names(scid: u16) -> [String; MasterChannelState::WORDS] {
    ["next", "received", "rate_low", "rate_high"].map(|word| format!("master.{scid}.{word}"))
}

fn counter_names(Gvcid { scid, vcid, .. }: Gvcid) -> [String; CounterState::WORDS] {
    ["next", "modulus", "received", "rate_low", "rate_high"].map(|word| format!("{word}.{scid}.{vcid}"))
}

/// Name under which the frames rings are looked at once, at start.
const READER: &str = "fepd-resume";

/// What the page of an earlier life says, and the numbers of the newest frames noted in it. A page that cannot be read says
/// nothing: the counters start anew.
fn read(path: &Path, channel: &ChannelConfig) -> (ResumePoint, [Option<u64>; 2]) {
    let Ok(reader) = MetricReader::open(path) else { return (ResumePoint::default(), [None; 2]) };
    let gauge = |name: &str| match reader.value(name) {
        Some(MetricValue::Gauge(value)) => Some(value),
        _ => None,
    };
    let word = |name: String| gauge(&name).unwrap_or(0);
    let tfvn = channel.frame.kind.tfvn();
    let mut point = ResumePoint::default();
    for scid in channel.scids() {
        let channels = channel.vcs.iter().filter(|vc| vc.scid == scid).filter_map(|vc| {
            CounterState::from_words(vc.id, false, counter_names(Gvcid { tfvn, scid, vcid: vc.id }).map(word))
        });
        let channels: Vec<_> = channels.collect();
        if !channels.is_empty() {
            let state = MasterChannelState::from_words(master_names(scid).map(word), channels);
            point.spacecraft.push((Mcid { tfvn, scid }, state));
        }
    }
    if point.spacecraft.is_empty() {
        return (point, [None; 2]);
    }
    (point, SEQS.map(gauge))
}

/// Takes into account the frames that were committed after the last store into the page: none or one, after a kill.
fn catch_up(
    point: &mut ResumePoint,
    noted: u64,
    dir: &Path,
    ring: &str,
    colour: Colour,
    channel: &ChannelConfig,
) {
    let Ok(mut consumer) = Consumer::attach(dir, ring, READER, Resume::Oldest) else { return };
    let mut octets = Vec::new();
    loop {
        match consumer.poll(&mut octets) {
            Poll::Record(record) if record.seq > noted && record.tag.kind == KIND_FRAME => {
                let Some(tag) = FrameRecord::from_words(record.tag.flags, record.tag.words) else { continue };
                let known = channel.vcs.iter().any(|vc| vc.id == tag.gvcid.vcid && vc.scid == tag.gvcid.scid);
                if known && matches!(tag.reason, BadReason::None | BadReason::PointerInvalid) {
                    let frame = Frame::parse_unchecked(&channel.frame, &octets);
                    frame.into_iter().for_each(|frame| advance(point, &frame, record.tag.received));
                }
            }
            Poll::Record(_) | Poll::Gap(_) | Poll::Restarted { .. } => {}
            Poll::Empty | Poll::Closed | Poll::Recreated => break,
        }
    }
    drop(consumer);
    // It is no consumer that anybody should see listed; a file left behind would do no harm.
    let _ = std::fs::remove_file(dir.join(colour.directory()).join(ring).join("cursors").join(READER));
}

/// The counters stand at this frame, if it was received after those that the point knows.
fn advance(point: &mut ResumePoint, frame: &Frame<'_>, received: fep_time::Tai) {
    let mcid = frame.gvcid.mcid();
    if !point.spacecraft.iter().any(|(known, _)| *known == mcid) {
        point.spacecraft.push((mcid, MasterChannelState::default()));
    }
    for (_, state) in point.spacecraft.iter_mut().filter(|(known, _)| *known == mcid) {
        state.master_count = frame.mc_count.or(state.master_count);
        state.received = Some(received);
        let is_fill = frame.idle && frame.mc_count.is_none();
        if frame.frame_count_modulus <= 1 || frame.is_expedited() || is_fill {
            continue;
        }
        let (vcid, count, modulus) = (frame.gvcid.vcid, frame.frame_count, frame.frame_count_modulus);
        match state.channels.iter_mut().find(|counter| counter.vcid == vcid && !counter.expedited) {
            Some(counter) => (counter.count, counter.modulus, counter.received) = (count, modulus, received),
            None => {
                let rate = None;
                state.channels.push(CounterState { vcid, expedited: false, count, modulus, received, rate });
            }
        }
    }
}
