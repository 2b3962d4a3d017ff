//! The merge when one antenna brings frames that are not of the sequence, or misses what happens to the counter: the others'
//! frames, and its own later ones, come out all the same. And strays on a single link.

mod made;
mod record;

use fep_ccsds::{AosHeader, FrameParts, FrameSpec, Header};
use fep_downlink::{Chain, ChainOptions, Framing, Merge, MergeInput, MergeSpec, Quality, Reception};
use fep_mission::Colour;
use fep_record::{FrameFlags, FrameRecord};
use fep_time::{Monotonic, Tai};
use made::{aos_frame, channel_of};
use record::Recorder;

const MS: i64 = 1_000_000;
/// Time from one frame to the next.
const PERIOD: i64 = MS;
const WAIT: i64 = 20 * MS;

/// The count of a frame; [`u32::MAX`] of a stray.
fn count_of(octets: &[u8]) -> u32 {
    if octets[5] & 0x80 != 0 { u32::MAX } else { u32::from_be_bytes([0, octets[2], octets[3], octets[4]]) }
}

struct Pass {
    merge: Merge,
    now: i64,
    served: Vec<u32>,
    /// Its frames were served in an earlier life.
    recalls: Option<u16>,
}

impl Pass {
    fn new() -> Pass {
        let spec = MergeSpec {
            antennas: vec![1, 2, 3],
            frame: FrameSpec::aos(64),
            wait_ns: WAIT,
            window_frames: 1024,
            in_order: true,
            report_unserved: false,
        };
        Pass { merge: Merge::new(spec).expect("a merge"), now: 0, served: Vec::new(), recalls: None }
    }

    /// One frame on each of these antennas, a quarter of a millisecond apart.
    fn frame(&mut self, count: u32, antennas: &[u16]) {
        self.frame_with(count, false, antennas);
    }

    /// A frame that is not of the sequence: it says that it is replayed.
    fn stray(&mut self, count: u32, antenna: u16) {
        self.frame_with(count, true, &[antenna]);
    }

    fn frame_with(&mut self, count: u32, replay: bool, antennas: &[u16]) {
        let header = AosHeader {
            scid: 9,
            vcid: 1,
            vc_count: count,
            replay,
            vc_count_cycle_used: false,
            reserved: 0,
            vc_count_cycle: 0,
        };
        // What the frame holds says which it is, whatever its count.
        let zone: Vec<u8> =
            (0..58_u32).map(|i| (count.wrapping_mul(2_654_435_761) >> (i % 24)) as u8).collect();
        let mut octets = Vec::new();
        FrameParts::new(Header::Aos(header), &zone).build(&FrameSpec::aos(64), &mut octets).expect("a frame");
        self.now += PERIOD;
        for (index, antenna) in antennas.iter().enumerate() {
            let at = self.now + index as i64 * PERIOD / 4;
            let mut record = FrameRecord { link_id: *antenna, ..FrameRecord::default() };
            record.flags.insert(FrameFlags::CODED);
            let input = MergeInput {
                octets: &octets,
                record,
                received: Tai(at),
                colour: Colour::Black,
                antenna: *antenna,
                seq: 0,
                quality: Quality::Unstated,
            };
            if self.recalls == Some(*antenna) {
                self.merge.recall(&input, Monotonic(at));
                continue;
            }
            let served = &mut self.served;
            let mut sink = |merged: fep_downlink::Merged<'_>| served.push(count_of(merged.octets));
            self.merge.poll(Monotonic(at), &mut sink);
            self.merge.push(&input, Monotonic(at), &mut sink);
        }
        assert!(self.merge.ledger().is_balanced(), "{:?}", self.merge.ledger());
    }

    fn frames(&mut self, counts: std::ops::Range<u32>, antennas: &[u16]) {
        counts.for_each(|count| self.frame(count, antennas));
    }

    /// Nothing comes for so long.
    fn pause(&mut self, ns: i64) {
        self.now += ns;
        let served = &mut self.served;
        self.merge.poll(Monotonic(self.now), &mut |merged| served.push(count_of(merged.octets)));
    }

    /// Everything that was served of these counts, once and in order.
    fn expect(&mut self, counts: std::ops::Range<u32>) {
        self.pause(10 * WAIT);
        let found: Vec<u32> = std::mem::take(&mut self.served);
        let wanted: Vec<u32> = counts.clone().collect();
        let kept: Vec<u32> = found.into_iter().filter(|count| counts.contains(count)).collect();
        assert!(kept == wanted, "{} of {} frames, {:?}", kept.len(), wanted.len(), self.merge.ledger());
    }
}

// REQ: FEP-MRG-101
#[test]
fn stray_frames_of_one_antenna_do_not_move_the_sequence_of_the_others() {
    let mut pass = Pass::new();
    pass.frames(1000..1500, &[1, 2, 3]);
    pass.frames(5_000_000..5_000_002, &[1]);
    pass.frames(1500..2500, &[1, 2, 3]);
    pass.expect(1000..2500);
    // Many, of random counts.
    for stray in 0..200_u32 {
        pass.frame(stray.wrapping_mul(2_654_435_761) % (1 << 24), &[1]);
        pass.frames(2500 + 5 * stray..2505 + 5 * stray, &[2, 3]);
    }
    pass.expect(2500..3500);
    pass.frames(3500..4000, &[1, 2, 3]);
    pass.expect(3500..4000);
}

// REQ: FEP-MRG-101
#[test]
fn frames_of_the_future_of_one_antenna_cost_no_other_antenna_a_frame() {
    for ahead in [3, 50, 200, 1000, 5000, 9000, 100_000] {
        let mut pass = Pass::new();
        pass.frames(1000..1100, &[1, 2, 3]);
        for round in 0..40_u32 {
            let begin = 1100 + 100 * round;
            pass.stray(begin + ahead, 1);
            pass.frames(begin..begin + 100, &[1, 2, 3]);
        }
        let end = 1100 + 4000;
        pass.expect(1000..end);
        pass.frames(end..end + 500, &[2, 3]);
        pass.expect(end..end + 500);
    }
}

// REQ: FEP-MRG-101
#[test]
fn what_was_served_before_is_recalled_without_anything_held_and_its_copies_are_known() {
    let mut pass = Pass::new();
    pass.recalls = Some(3);
    // Most is missing: as it was served in a bad pass.
    for count in (0..5000).step_by(3) {
        pass.frame(count, &[3]);
        let pending: u64 = pass.merge.ledger().antennas.iter().map(|(_, counts)| counts.pending).sum();
        assert_eq!(pending, 0, "{count}");
    }
    pass.recalls = None;
    pass.merge.antenna_gone(3, Monotonic(pass.now), &mut |_| panic!("nothing is held"));
    for count in 4000..6000 {
        pass.frame(count, &[1, 2]);
    }
    pass.pause(10 * WAIT);
    // The places that had been passed when the last life ended are late; the others come, and nothing twice.
    assert_eq!(pass.served, (4999..6000).collect::<Vec<_>>());
}

// REQ: FEP-MRG-101
#[test]
fn an_antenna_that_missed_a_reset_of_the_counter_is_heard_again() {
    let mut pass = Pass::new();
    pass.frames(300_000..300_500, &[1, 2, 3]);
    pass.frames(200_000..200_500, &[1, 2]);
    pass.frames(100_000..100_500, &[1, 2, 3]);
    pass.expect(100_000..100_500);
    // The others hear nothing any more.
    pass.pause(2_000 * MS);
    pass.frames(100_500..102_000, &[3]);
    pass.expect(100_500..102_000);
}

// REQ: FEP-MRG-101
#[test]
fn an_antenna_that_missed_a_frame_of_a_glitch_of_the_counter_is_heard_again() {
    let mut pass = Pass::new();
    pass.frames(1000..1500, &[1, 2, 3]);
    pass.frame(9_000_000, &[1, 2, 3]);
    pass.frame(9_000_001, &[1, 3]);
    pass.frames(1502..2500, &[1, 2, 3]);
    pass.pause(2_000 * MS);
    pass.served.clear();
    pass.frames(2500..4000, &[2]);
    pass.expect(2500..4000);
}

// REQ: FEP-MRG-101
#[test]
fn a_sequence_that_nobody_follows_any_more_is_left() {
    let mut pass = Pass::new();
    pass.frames(1000..1100, &[1, 2, 3]);
    // The first antenna alone plays something else for a while; then it is off, and the others come back.
    pass.pause(3_000 * MS);
    pass.frames(7_000_000..7_000_100, &[1]);
    pass.pause(3_000 * MS);
    pass.frames(1100..1300, &[2, 3]);
    pass.served.clear();
    pass.frames(1300..2000, &[2, 3]);
    pass.expect(1300..2000);
}

const AOS: &str = r#"
title = "datagrams"
[spacecraft.a]
scid = 7
[channel.link]
spacecraft = "a"
randomizer = "none"
frame = { kind = "aos", frame_len = 223, fecf = "crc16" }
sync = { marker = "1acffc1d" }
code = { code = "reed_solomon", interleave = 1 }
[[channel.link.vc]]
id = 0
service = "m_pdu"
"#;

// REQ: FEP-MRG-302
#[test]
fn a_stray_of_a_wide_counter_is_out_of_sequence_and_no_loss() {
    let channel = channel_of(AOS);
    let first = 3_000_000;
    let sequence: Vec<u32> = (first..first + 120).collect();
    for stray in [first + 5_000_000, 77, first - 2_000_000, first + 100_000] {
        let options = ChainOptions { framing: Framing::DatagramFrame, ..ChainOptions::default() };
        let mut chain = Chain::with_options(&channel, options).expect("a chain");
        let mut recorder = Recorder::default();
        let mut sent = sequence.clone();
        sent.insert(60, stray);
        for (number, count) in sent.into_iter().enumerate() {
            let at = number as i64 * MS;
            let frame = aos_frame(&channel, 7, 0, count);
            chain.receive(&Reception::new(&frame, Tai(at)), Monotonic(at), &mut recorder);
            assert!(chain.ledger().is_balanced(), "{}", chain.ledger());
        }
        chain.disconnected(&mut recorder);
        let counts = chain.ledger().counts;
        assert_eq!((counts.lost, counts.gaps, counts.good), (0, 0, 121), "{stray}");
        // There, and back.
        assert_eq!((counts.resets, counts.duplicates), (2, 0), "{stray}");
        let served: Vec<u32> = recorder
            .frames
            .iter()
            .map(|frame| frame.record.frame_count)
            .filter(|count| *count != stray)
            .collect();
        assert_eq!(served, sequence, "{stray}");
    }
}
