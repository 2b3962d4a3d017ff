//! Frame counters across a restart of the process, even one by `kill -9`.
//!
//! Next to every published frame the hot thread stores its count in a page of shared memory: one plain store. The next
//! life of `fepd` reads the page, looks in the frames ring for the one frame that may have been committed after the
//! last store, and so knows exactly where every virtual channel stood. What the link lost in between is then counted
//! as a gap by the first frame of each channel, modulo the width of its counter: 256 frames for TM, where the master
//! channel counter has eight bits too; 2^24 or 2^28 for AOS; 2^8n for USLP.

use std::path::Path;

use fep_bus::{
    Access, BusError, Colour, Consumer, MetricId, MetricPage, MetricReader, MetricSet, MetricValue, Poll,
    Producer, Resume,
};
use fep_ccsds::Frame;
use fep_record::{BadReason, FrameRecord, KIND_FRAME};

use fep_downlink::{ResumePoint, VcResume};
use fep_mission::ChannelConfig;

/// The page of one link.
pub(crate) struct ResumePage {
    page: MetricPage,
    master: MetricId,
    seq: MetricId,
    /// Count and modulus by index of the virtual channel.
    vcs: Vec<(MetricId, MetricId)>,
}

impl ResumePage {
    /// Makes the page of `link` below `dir`, and says where the counters stood when the last one was written.
    pub(crate) fn take_over(
        dir: &Path,
        link: &str,
        frames: &Producer,
        frames_ring: &str,
        channel: &ChannelConfig,
        access: &Access,
    ) -> Result<(ResumePage, ResumePoint), BusError> {
        let mut set = MetricSet::new();
        let (master, seq) = (set.gauge("master.next"), set.gauge("seq"));
        let vcs = channel
            .vcs
            .iter()
            .map(|vc| (set.gauge(count_name(channel, vc.id)), set.gauge(modulus_name(vc.id))));
        let vcs: Vec<_> = vcs.collect();
        let name = format!("{link}.counters");
        let (mut point, last_seq) = read(&dir.join("metrics").join(&name), channel);
        let newest = frames.head().seq - 1;
        if let Some(last_seq) = last_seq
            && last_seq < newest
        {
            catch_up(&mut point, last_seq, dir, frames_ring, channel);
        }
        // The new page takes the place of the old one only when it knows what the old one knew.
        let page = MetricPage::create(dir, &format!("{name}.new"), &set, access)?;
        let path = dir.join("metrics").join(&name);
        let mut page = ResumePage { page, master, seq, vcs };
        page.store_point(&point);
        page.page.set(page.seq, newest);
        std::fs::rename(page.page.path(), &path).map_err(|source| BusError::Io {
            path,
            action: "put into place",
            source,
        })?;
        Ok((page, point))
    }

    /// Notes a frame that has been committed (or dropped by policy): a few plain stores.
    /// `seq` is its number in the black frames ring, if it went there.
    #[inline]
    pub(crate) fn note(&mut self, vc: usize, frame: &Frame<'_>, seq: Option<u64>) {
        if let Some(count) = frame.mc_count {
            self.page.set(self.master, u64::from(count) + 1);
        }
        if frame.frame_count_modulus > 1 && !frame.is_expedited() {
            let (count, modulus) = self.vcs[vc];
            self.page.set(modulus, frame.frame_count_modulus);
            self.page.set(count, frame.frame_count + 1);
        }
        if let Some(seq) = seq {
            self.page.set(self.seq, seq);
        }
    }

    /// Forgets every count: a reset was asked for.
    pub(crate) fn clear(&mut self) {
        let vcs = vec![None; self.vcs.len()];
        self.store_point(&ResumePoint { master_count: None, vcs });
    }

    fn store_point(&mut self, point: &ResumePoint) {
        self.page.set(self.master, point.master_count.map_or(0, |count| u64::from(count) + 1));
        for ((count, modulus), vc) in self.vcs.iter().zip(&point.vcs) {
            self.page.set(*modulus, vc.map_or(0, |vc| vc.modulus));
            self.page.set(*count, vc.map_or(0, |vc| vc.count + 1));
        }
    }
}

fn count_name(channel: &ChannelConfig, vcid: u8) -> String {
    // The spacecraft is part of the name: another one under the same link name continues nothing.
    format!("next.{}.{vcid}", channel.scid)
}

fn modulus_name(vcid: u8) -> String {
    format!("modulus.{vcid}")
}

/// Name under which the frames ring is looked at once, at start.
const READER: &str = "fepd-resume";

/// What the page of an earlier life says. A page that cannot be read says nothing: the counters start anew.
fn read(path: &Path, channel: &ChannelConfig) -> (ResumePoint, Option<u64>) {
    let empty = ResumePoint { master_count: None, vcs: vec![None; channel.vcs.len()] };
    let Ok(reader) = MetricReader::open(path) else { return (empty, None) };
    let gauge = |name: &str| match reader.value(name) {
        Some(MetricValue::Gauge(value)) => Some(value),
        _ => None,
    };
    let vcs = channel.vcs.iter().map(|vc| {
        let count = gauge(&count_name(channel, vc.id))?.checked_sub(1)?;
        let modulus = gauge(&modulus_name(vc.id)).filter(|modulus| *modulus > count)?;
        Some(VcResume { count, modulus })
    });
    let vcs: Vec<_> = vcs.collect();
    if vcs.iter().all(Option::is_none) {
        return (empty, None);
    }
    let master_count = gauge("master.next").and_then(|next| u8::try_from(next.checked_sub(1)?).ok());
    (ResumePoint { master_count, vcs }, gauge("seq"))
}

/// Takes into account the frames that were committed after the last store into the page: none or one, after a kill.
fn catch_up(point: &mut ResumePoint, last_seq: u64, dir: &Path, ring: &str, channel: &ChannelConfig) {
    let Ok(mut consumer) = Consumer::attach(dir, ring, READER, Resume::Oldest) else { return };
    let mut octets = Vec::new();
    loop {
        match consumer.poll(&mut octets) {
            Poll::Record(record) if record.seq > last_seq && record.tag.kind == KIND_FRAME => {
                let Some(tag) = FrameRecord::from_words(record.tag.flags, record.tag.words) else { continue };
                let vc = channel
                    .vcs
                    .iter()
                    .position(|vc| vc.id == tag.gvcid.vcid && tag.gvcid.scid == channel.scid);
                let (Some(vc), BadReason::None) = (vc, tag.reason) else { continue };
                let Ok(frame) = Frame::parse(&channel.frame, &octets) else { continue };
                if frame.frame_count_modulus > 1 && !frame.is_expedited() {
                    let (count, modulus) = (frame.frame_count, frame.frame_count_modulus);
                    point.vcs[vc] = Some(VcResume { count, modulus });
                }
                point.master_count = frame.mc_count.or(point.master_count);
            }
            Poll::Record(_) | Poll::Gap(_) | Poll::Restarted { .. } => {}
            Poll::Empty | Poll::Closed | Poll::Recreated => break,
        }
    }
    drop(consumer);
    // It is no consumer that anybody should see listed; a file left behind would do no harm.
    let _ = std::fs::remove_file(dir.join(Colour::Black.directory()).join(ring).join("cursors").join(READER));
}
