//! The account of a decoded stream: what `decode` and `ring follow` print. It counts what records say and judges
//! nothing itself; the same records always give the same report, whether they come from a file or from a ring.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, Write};

use fep_ccsds::Gvcid;
use fep_record::{BadReason, FrameFlags, FrameRecord, PacketRecord};
use serde::{Serialize, Serializer};

use crate::hashing::StreamHasher;
use crate::refused::{Refused, UndeclaredChannel};

/// Space packets: packet version number 1, coded 0 (133.0-B-2 4.1.3.2).
const PVN_SPACE_PACKET: u8 = 0;
/// Sequence counts of space packets are modulo 2^14 (133.0-B-2 4.1.3.4.3).
const SEQUENCE_COUNT_MASK: u16 = 0x3FFF;

/// Counts of one decoded stream. Serialised, it is the JSON object that others script against.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Report {
    /// All frames.
    pub(crate) frames: FrameCounts,
    /// Symbols corrected by the channel code, those of codewords inside frames that stayed bad included.
    pub(crate) symbols_corrected: u64,
    /// Per virtual channel.
    pub(crate) vcs: BTreeMap<VcKey, VcCounts>,
    /// Per application process.
    pub(crate) apids: BTreeMap<ApidKey, ApidCounts>,
    /// Frames that decoded and whose header does not belong here: part of good and corrected, in no virtual channel.
    pub(crate) refused: Refused,
    /// Packets with APIDs that the mission does not name, of virtual channels whose spacecraft reports or rejects them.
    /// Records do not say so: `None` where there was nothing but records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) undeclared: Option<BTreeMap<VcKey, UndeclaredChannel>>,
    /// Virtual channels in `vcs` that the mission does not describe: those that exploration found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) explored: Vec<VcKey>,
}

/// Frame counts: `received = good + corrected + uncorrectable`; `idle` is part of `good + corrected`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct FrameCounts {
    pub(crate) received: u64,
    pub(crate) good: u64,
    pub(crate) corrected: u64,
    pub(crate) uncorrectable: u64,
    pub(crate) idle: u64,
}

/// Spacecraft and virtual channel, written `SCID/VCID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct VcKey {
    pub(crate) scid: u16,
    pub(crate) vcid: u8,
}

/// Spacecraft, virtual channel and application process, written `SCID/VCID/APID`. The protocol of an encapsulation
/// packet stands where the APID would, with an `E` before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ApidKey {
    pub(crate) vc: VcKey,
    pub(crate) encapsulation: bool,
    pub(crate) apid: u16,
}

impl fmt::Display for VcKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.scid, self.vcid)
    }
}

impl fmt::Display for ApidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.vc, if self.encapsulation { "E" } else { "" }, self.apid)
    }
}

impl Serialize for VcKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for ApidKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Counts of one virtual channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct VcCounts {
    /// Frames that decoded, idle ones included. A frame that did not decode belongs to no virtual channel.
    pub(crate) frames: u64,
    /// Places where frames are missing by the counter.
    pub(crate) gaps: u64,
    /// Frames missing in them.
    pub(crate) lost: u64,
}

/// Counts of one application process.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct ApidCounts {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Packets whose sequence count is not the count before plus one (of idle packets too, which often do not count).
    pub(crate) gaps: u64,
    /// Over the whole packets in order of arrival; absent when nobody asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
}

/// One virtual channel on one link while it is being counted.
struct VcTally {
    key: VcKey,
    counts: VcCounts,
    last_count: Option<u32>,
    /// Index into `apids` by APID; made when the first packet comes.
    apids: HashMap<(bool, u16), usize>,
    /// The APID of the packet before: most packets repeat it.
    last_apid: Option<((bool, u16), usize)>,
}

/// One application process while it is being counted. Its index is the number of its hash stream.
struct ApidTally {
    key: ApidKey,
    counts: ApidCounts,
    last_sequence: Option<u16>,
}

/// Adds up records to a [`Report`].
pub(crate) struct Tally {
    frames: FrameCounts,
    symbols_corrected: u64,
    refused: Refused,
    vcs: Vec<VcTally>,
    vc_index: HashMap<(u16, Gvcid), usize>,
    last_vc: Option<((u16, Gvcid), usize)>,
    apids: Vec<ApidTally>,
    apid_index: HashMap<ApidKey, usize>,
    hasher: Option<StreamHasher>,
}

impl Tally {
    /// An empty account; `hashed` also computes SHA-256 per APID, on a thread of its own.
    pub(crate) fn new(hashed: bool) -> io::Result<Tally> {
        Ok(Tally {
            frames: FrameCounts::default(),
            symbols_corrected: 0,
            refused: Refused::default(),
            vcs: Vec::new(),
            vc_index: HashMap::new(),
            last_vc: None,
            apids: Vec::new(),
            apid_index: HashMap::new(),
            hasher: if hashed { Some(StreamHasher::start()?) } else { None },
        })
    }

    /// Counts one frame. `lost` is how many frames of its channel are missing before it, where the caller knows; else
    /// it is worked out from the frame counts.
    pub(crate) fn frame(&mut self, record: &FrameRecord, lost: Option<u64>) {
        let flags = record.flags;
        self.frames.received += 1;
        self.symbols_corrected += u64::from(record.symbols_corrected);
        let octets_good = !flags.intersects(FrameFlags::UNCORRECTABLE | FrameFlags::FECF_FAILED)
            && record.reason != BadReason::LengthInvalid;
        if !octets_good {
            self.frames.uncorrectable += 1;
            return;
        }
        if flags.contains(FrameFlags::CORRECTED) {
            self.frames.corrected += 1;
        } else {
            self.frames.good += 1;
        }
        if record.reason != BadReason::None {
            // Decoded, but its header makes no sense here.
            self.refused.count(record);
            if record.reason != BadReason::PointerInvalid {
                return; // There is no channel of this mission to count it under.
            }
        } else if flags.contains(FrameFlags::IDLE) {
            self.frames.idle += 1;
        }
        let index = self.vc(record.link_id, record.gvcid);
        let vc = &mut self.vcs[index];
        // One whose packets cannot be found is no frame of the channel, but its counter says what is missing before it.
        vc.counts.frames += u64::from(record.reason == BadReason::None);
        if flags.contains(FrameFlags::GAP) {
            vc.counts.gaps += 1;
            vc.counts.lost += match (lost, vc.last_count) {
                (Some(lost), _) => lost,
                (None, Some(last)) => missing(record.gvcid.tfvn, last, record.frame_count),
                (None, None) => 0,
            };
        }
        vc.last_count = Some(record.frame_count);
    }

    /// Counts one packet.
    pub(crate) fn packet(&mut self, record: &PacketRecord, bytes: &[u8]) {
        let index = self.vc(record.link_id, record.gvcid);
        let stream = self.apid(index, record.pvn != PVN_SPACE_PACKET, record.apid);
        let apid = &mut self.apids[stream];
        apid.counts.packets += 1;
        apid.counts.bytes += bytes.len() as u64;
        if record.pvn == PVN_SPACE_PACKET {
            let sequence = record.sequence & SEQUENCE_COUNT_MASK;
            if apid.last_sequence.is_some_and(|last| sequence != (last + 1) & SEQUENCE_COUNT_MASK) {
                apid.counts.gaps += 1;
            }
            apid.last_sequence = Some(sequence);
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(stream as u32, bytes);
        }
    }

    /// Records are missing here (lost on the bus): the next count of a channel has no known predecessor.
    pub(crate) fn interrupted(&mut self) {
        for vc in &mut self.vcs {
            vc.last_count = None;
        }
    }

    /// The frame counts so far.
    pub(crate) fn frames(&self) -> FrameCounts {
        self.frames
    }

    /// The report. Channels of the same name on several links are added together.
    pub(crate) fn finish(self) -> Report {
        let mut report = Report {
            frames: self.frames,
            symbols_corrected: self.symbols_corrected,
            refused: self.refused,
            ..Report::default()
        };
        for vc in &self.vcs {
            if vc.counts.frames == 0 && vc.counts.gaps == 0 {
                continue; // A packets ring holds packets only.
            }
            let sum = report.vcs.entry(vc.key).or_default();
            sum.frames += vc.counts.frames;
            sum.gaps += vc.counts.gaps;
            sum.lost += vc.counts.lost;
        }
        let mut hashes = self.hasher.map(|hasher| hasher.finish().into_iter());
        for apid in self.apids {
            let sha256 = hashes.as_mut().and_then(Iterator::next);
            report.apids.insert(apid.key, ApidCounts { sha256, ..apid.counts });
        }
        report
    }

    fn vc(&mut self, link_id: u16, gvcid: Gvcid) -> usize {
        let key = (link_id, gvcid);
        if let Some((last, index)) = self.last_vc
            && last == key
        {
            return index;
        }
        let vcs = &mut self.vcs;
        let index = *self.vc_index.entry(key).or_insert_with(|| {
            vcs.push(VcTally {
                key: VcKey { scid: gvcid.scid, vcid: gvcid.vcid },
                counts: VcCounts::default(),
                last_count: None,
                apids: HashMap::new(),
                last_apid: None,
            });
            vcs.len() - 1
        });
        self.last_vc = Some((key, index));
        index
    }

    fn apid(&mut self, vc: usize, encapsulation: bool, apid: u16) -> usize {
        let key = (encapsulation, apid);
        let vc = &mut self.vcs[vc];
        if let Some((last, index)) = vc.last_apid
            && last == key
        {
            return index;
        }
        let apids = &mut self.apids;
        let whole = ApidKey { vc: vc.key, encapsulation, apid };
        let by_name = &mut self.apid_index;
        let index = *vc.apids.entry(key).or_insert_with(|| {
            *by_name.entry(whole).or_insert_with(|| {
                apids.push(ApidTally { key: whole, counts: ApidCounts::default(), last_sequence: None });
                apids.len() - 1
            })
        });
        vc.last_apid = Some((key, index));
        index
    }
}

/// Frames between two counts of a channel of which the second was flagged as a gap.
///
/// The record does not carry the modulus of the counter. It matters only where the counter wrapped, and is then the
/// smallest that the frame version allows: 2^8 for TM (132.0-B-3 4.1.2.5), 2^24 for AOS, 2^28 with the frame count
/// cycle (732.0-B-4 4.1.2.4, 4.1.2.5.4), whole octets for USLP (732.1-B-2 4.1.2.11).
fn missing(tfvn: u8, last: u32, count: u32) -> u64 {
    if count > last {
        return u64::from(count - last - 1);
    }
    let moduli: &[u64] = match tfvn {
        0 => &[1 << 8],
        1 => &[1 << 24, 1 << 28],
        _ => &[1 << 8, 1 << 16, 1 << 24, 1 << 32],
    };
    let modulus = moduli.iter().copied().find(|modulus| u64::from(last) < *modulus).unwrap_or(1 << 32);
    modulus + u64::from(count) - u64::from(last) - 1
}

impl Report {
    /// Writes the report as tables for people.
    pub(crate) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        self.write_frames(out)?;
        self.write_packets(out)
    }

    /// The same of a ring, which holds frames, packets or events: nothing is said of what cannot be in it.
    pub(crate) fn write_text_of_ring(&self, out: &mut impl Write) -> io::Result<()> {
        if self.frames.received > 0 {
            self.write_frames(out)?;
        }
        self.write_packets(out)
    }

    fn write_frames(&self, out: &mut impl Write) -> io::Result<()> {
        let FrameCounts { received, good, corrected, uncorrectable, idle } = self.frames;
        writeln!(
            out,
            "Frames       received {received} = good {good} + corrected {corrected} + uncorrectable {uncorrectable}   (idle {idle})"
        )?;
        writeln!(out, "Symbols      corrected {}", self.symbols_corrected)?;
        self.refused.write_text(out)?;
        if !self.vcs.is_empty() {
            writeln!(out, "\n{:<14} {:>12} {:>8} {:>12}", "SCID/VCID", "frames", "gaps", "lost")?;
        }
        for (key, vc) in &self.vcs {
            let remark = if self.explored.contains(key) { "  not in the mission" } else { "" };
            writeln!(
                out,
                "{:<14} {:>12} {:>8} {:>12}{remark}",
                key.to_string(),
                vc.frames,
                vc.gaps,
                vc.lost
            )?;
        }
        Ok(())
    }

    fn write_packets(&self, out: &mut impl Write) -> io::Result<()> {
        if !self.apids.is_empty() {
            writeln!(out, "\n{:<14} {:>12} {:>8} {:>16}", "SCID/VCID/APID", "packets", "gaps", "octets")?;
        }
        for (key, apid) in &self.apids {
            writeln!(
                out,
                "{:<14} {:>12} {:>8} {:>16}",
                key.to_string(),
                apid.packets,
                apid.gaps,
                apid.bytes
            )?;
        }
        for (key, channel) in self.undeclared.iter().flatten() {
            channel.write_text(*key, out)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(vcid: u8, count: u32, flags: FrameFlags) -> FrameRecord {
        FrameRecord {
            gvcid: Gvcid { tfvn: 1, scid: 157, vcid },
            frame_count: count,
            flags,
            reason: if flags.contains(FrameFlags::UNCORRECTABLE) {
                BadReason::Uncorrectable
            } else {
                BadReason::None
            },
            ..FrameRecord::default()
        }
    }

    fn packet(apid: u16, sequence: u16, pvn: u8) -> PacketRecord {
        let gvcid = Gvcid { tfvn: 1, scid: 157, vcid: 16 };
        PacketRecord { gvcid, apid, sequence, pvn, ..PacketRecord::default() }
    }

    // REQ: FEP-CTL-302
    #[test]
    fn of_a_ring_of_packets_nothing_is_said_of_frames() {
        let text = |tally: Tally| {
            let mut text = Vec::new();
            tally.finish().write_text_of_ring(&mut text).expect("to memory");
            String::from_utf8(text).expect("text")
        };
        let mut packets = Tally::new(false).expect("no thread needed");
        packets.packet(&packet(7, 1, 0), &[0; 9]);
        let said = text(packets);
        assert!(said.contains("157/16/7") && !said.contains("Frames") && !said.contains("Symbols"), "{said}");
        let mut frames = Tally::new(false).expect("no thread needed");
        frames.frame(&frame(16, 7, FrameFlags::empty()), None);
        assert!(text(frames).contains("Frames       received 1 = good 1"));
        assert_eq!(text(Tally::new(false).expect("no thread needed")), "");
    }

    // REQ: FEP-CTL-002
    #[test]
    fn received_is_good_plus_corrected_plus_uncorrectable_and_idle_is_part_of_them() {
        let mut tally = Tally::new(false).expect("no thread needed");
        tally.frame(&frame(16, 7, FrameFlags::empty()), None);
        tally.frame(&FrameRecord { symbols_corrected: 5, ..frame(16, 8, FrameFlags::CORRECTED) }, None);
        tally.frame(&FrameRecord { symbols_corrected: 3, ..frame(0, 0, FrameFlags::UNCORRECTABLE) }, None);
        tally.frame(&frame(63, 0, FrameFlags::IDLE), None);
        tally.frame(
            &FrameRecord { reason: BadReason::UnknownVc, ..frame(9, 0, FrameFlags::HEADER_INVALID) },
            None,
        );
        let report = tally.finish();
        let want = FrameCounts { received: 5, good: 3, corrected: 1, uncorrectable: 1, idle: 1 };
        assert_eq!(report.frames, want);
        assert_eq!(report.symbols_corrected, 8);
        let json = serde_json::to_value(&report).expect("serialises");
        assert_eq!(
            json,
            serde_json::json!({
                "frames": {"received": 5, "good": 3, "corrected": 1, "uncorrectable": 1, "idle": 1},
                "symbols_corrected": 8,
                "vcs": {"157/16": {"frames": 2, "gaps": 0, "lost": 0}, "157/63": {"frames": 1, "gaps": 0, "lost": 0}},
                "apids": {},
                "refused": {
                    "frames": 1, "reasons": {"unknown_vc": 1},
                    "channels": {"157/9": {"frames": 1, "reason": "unknown_vc"}}, "other_channels": 0,
                },
            })
        );
    }

    #[test]
    fn a_gap_counts_the_frames_missing_in_it_over_the_wrap_of_the_counter_too() {
        assert_eq!(missing(1, 10, 12), 1);
        assert_eq!(missing(1, 0xFF_FFFF, 2), 2);
        assert_eq!(missing(1, 0x0FFF_FFFE, 0), 1);
        assert_eq!(missing(0, 254, 1), 2);
        assert_eq!(missing(12, 65_535, 1), 1);
        assert_eq!(missing(12, u32::MAX, 3), 3);
    }

    // REQ: FEP-CTL-101
    #[test]
    fn a_frame_whose_packet_pointer_is_wrong_is_refused_and_what_is_missing_before_it_still_counts() {
        let mut tally = Tally::new(false).expect("no thread needed");
        tally.frame(&frame(16, 1, FrameFlags::empty()), None);
        let wrong = frame(16, 5, FrameFlags::GAP | FrameFlags::HEADER_INVALID);
        tally.frame(&FrameRecord { reason: BadReason::PointerInvalid, ..wrong }, Some(3));
        tally.frame(&frame(16, 6, FrameFlags::empty()), None);
        let report = tally.finish();
        assert_eq!((report.frames.good, report.refused.frames), (3, 1));
        assert_eq!(report.refused.reasons["pointer_invalid"], 1);
        let counts = report.vcs.into_values().next();
        assert_eq!(counts, Some(VcCounts { frames: 2, gaps: 1, lost: 3 }));
    }

    #[test]
    fn after_an_interruption_a_gap_is_counted_but_not_its_unknown_length() {
        let mut tally = Tally::new(false).expect("no thread needed");
        tally.frame(&frame(16, 1, FrameFlags::empty()), None);
        tally.interrupted();
        tally.frame(&frame(16, 900, FrameFlags::GAP), None);
        tally.frame(&frame(16, 903, FrameFlags::GAP), None);
        let counts = tally.finish().vcs.into_values().next();
        assert_eq!(counts, Some(VcCounts { frames: 3, gaps: 2, lost: 2 }));
    }

    #[test]
    fn sequence_gaps_are_counted_modulo_the_counter_and_never_for_encapsulation_packets() {
        let mut tally = Tally::new(true).expect("thread");
        for sequence in [0xC000 | 16_383, 0xC000, 0xC001, 0xC003, 0xC003] {
            tally.packet(&packet(802, sequence, 0), b"abc");
        }
        tally.packet(&packet(2, 0, 7), b"x");
        tally.packet(&packet(2, 0, 7), b"y");
        let report = tally.finish();
        let json = serde_json::to_value(&report.apids).expect("serialises");
        assert_eq!(json["157/16/802"]["gaps"], 2);
        assert_eq!(json["157/16/802"]["bytes"], 15);
        assert_eq!(json["157/16/E2"]["packets"], 2);
        assert_eq!(json["157/16/E2"]["gaps"], 0);
        // SHA-256 of "xy" as coreutils compute it.
        assert_eq!(
            json["157/16/E2"]["sha256"],
            "769a4e6d0003189c7e96c5d9b7e810a0d11c3a12832527ec94b0f86d277f51ca"
        );
        assert!(report.vcs.is_empty(), "packets alone say nothing of frames");
    }

    #[test]
    fn the_same_channel_on_two_links_is_one_line_of_the_report() {
        let mut tally = Tally::new(false).expect("no thread needed");
        for link_id in [0, 1] {
            tally.frame(&FrameRecord { link_id, ..frame(16, 5, FrameFlags::empty()) }, None);
            tally.packet(&PacketRecord { link_id, ..packet(802, 0xC000, 0) }, b"ab");
        }
        let report = tally.finish();
        assert_eq!(report.vcs.len(), 1);
        assert_eq!(report.vcs.values().map(|vc| vc.frames).sum::<u64>(), 2);
        assert_eq!(report.apids.values().map(|apid| apid.packets).sum::<u64>(), 2);
    }
}
