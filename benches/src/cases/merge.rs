//! The merge of two antennas of one spacecraft on one core, at what 500 Mbit/s each deliver, with seeded losses on both. Time
//! is simulated: the delay that the merge adds is that of its rules, whatever machine it runs on.

use fep_ccsds::{AosHeader, Fecf, Fhp, FrameParts, FrameSpec, Header, TmDataField, TmHeader};
use fep_downlink::{Merge, MergeInput, MergeSpec, Quality};
use fep_mission::Colour;
use fep_record::{FrameFlags, FrameRecord};
use fep_time::{Monotonic, Tai};

use crate::{Case, Measured, timing};

/// Octets of a frame.
const FRAME_LEN: usize = 1115;
/// Frames of 1115 octets with markers and check symbols at 500 Mbit/s.
const RATE_HZ: i64 = 48_866;
const FRAMES: usize = 20_000;
const WAIT_NS: i64 = 20_000_000;
/// How much later the second antenna delivers: half a turn of an 8-bit counter and more.
const DELAY_NS: i64 = 4_000_000;

/// `merge/2x500/tm`, `merge/2x500/aos`: frames in of both antennas; `merge/1x500/aos`: one antenna in order, the price of
/// putting datagrams right.
pub fn cases() -> Vec<Case> {
    let case = |name: &str, tm: bool, antennas: u16, loss_permille: u64| Case {
        name: name.to_owned(),
        unit: "Mframes/s",
        peer_name: "",
        run: Box::new(move |budget_s| measure(tm, antennas, loss_permille, budget_s)),
    };
    vec![
        case("merge/2x500/tm", true, 2, 10),
        case("merge/2x500/aos", false, 2, 10),
        case("merge/2x500/aos/clean", false, 2, 0),
        case("merge/1x500/aos", false, 1, 0),
    ]
}

/// A cheap generator with a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

struct Arrival {
    at: i64,
    antenna: u16,
    frame: usize,
    record: FrameRecord,
}

fn frames(spec: &FrameSpec, tm: bool) -> Vec<Vec<u8>> {
    let mut random = Random(0x0123_4567_89AB_CDEF);
    let mut zone = vec![0; FRAME_LEN - 6 - 2];
    let made = (0..FRAMES).map(|count| {
        zone.iter_mut().for_each(|octet| *octet = random.below(256) as u8);
        let header = if tm {
            Header::Tm(TmHeader {
                scid: 5,
                vcid: 1,
                ocf: false,
                mc_count: count as u8,
                vc_count: count as u8,
                secondary_header: false,
                data_field: TmDataField::Packets { first_header_pointer: Fhp::None },
            })
        } else {
            Header::Aos(AosHeader {
                scid: 5,
                vcid: 1,
                vc_count: count as u32,
                replay: false,
                vc_count_cycle_used: false,
                reserved: 0,
                vc_count_cycle: 0,
            })
        };
        let mut frame = Vec::new();
        FrameParts::new(header, &zone).build(spec, &mut frame).expect("a frame");
        frame
    });
    made.collect()
}

fn arrivals(antennas: u16, loss_permille: u64) -> Vec<Arrival> {
    let mut random = Random(0x0FED_CBA9_8765_4321);
    let mut all = Vec::new();
    for antenna in 0..antennas {
        for frame in 0..FRAMES {
            if random.below(1000) < loss_permille {
                continue;
            }
            let mut record =
                FrameRecord { link_id: antenna, flags: FrameFlags::CODED, ..FrameRecord::default() };
            if loss_permille > 0 && random.below(1000) < 50 {
                record.symbols_corrected = 1 + random.below(10) as u16;
                record.flags.insert(FrameFlags::CORRECTED);
            }
            let at = frame as i64 * 1_000_000_000 / RATE_HZ + i64::from(antenna) * DELAY_NS;
            all.push(Arrival { at, antenna, frame, record });
        }
    }
    all.sort_by_key(|arrival| (arrival.at, arrival.antenna));
    all
}

fn measure(tm: bool, antennas: u16, loss_permille: u64, budget_s: f64) -> Measured {
    let mut spec = if tm { FrameSpec::tm(FRAME_LEN) } else { FrameSpec::aos(FRAME_LEN) };
    spec.fecf = Fecf::Crc16;
    let (frames, arrivals) = (frames(&spec, tm), arrivals(antennas, loss_permille));
    let merge_spec = MergeSpec {
        antennas: (0..antennas).collect(),
        frame: spec,
        wait_ns: WAIT_NS,
        window_frames: 4096,
        in_order: antennas > 1,
        report_unserved: antennas == 1,
    };
    let mut first = vec![i64::MAX; FRAMES];
    for arrival in &arrivals {
        first[arrival.frame] = first[arrival.frame].min(arrival.at);
    }
    let mut added_ns = Vec::with_capacity(FRAMES);
    run(&merge_spec, &frames, &arrivals, &mut |frame, at| added_ns.push(at - first[frame]));
    let had = first.iter().filter(|at| **at < i64::MAX).count();
    assert_eq!(added_ns.len(), had, "every frame that either antenna has is served once");
    added_ns.sort_unstable();
    let at = |share: f64| added_ns[((added_ns.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    let note = format!(
        "{} frames sent, {had} had by an antenna, all served; added p50 {:.0} us, p99 {:.0} us, most {:.0} us; wait {} ms, \
         antennas {} ms apart",
        FRAMES,
        at(0.5),
        at(0.99),
        at(1.0),
        WAIT_NS / 1_000_000,
        DELAY_NS / 1_000_000
    );
    let ours = timing::rate(budget_s, arrivals.len() as f64, || {
        let mut served = 0_usize;
        run(&merge_spec, &frames, &arrivals, &mut |frame, _| served += frame & 1);
        std::hint::black_box(served);
    });
    Measured { ours: ours / 1e6, note, ..Measured::default() }
}

fn run(spec: &MergeSpec, frames: &[Vec<u8>], arrivals: &[Arrival], served: &mut impl FnMut(usize, i64)) {
    let mut merge = Merge::new(spec.clone()).expect("a merge");
    for Arrival { at, antenna, frame, record } in arrivals {
        while let Some(timeout) = merge.next_timeout().filter(|timeout| timeout.0 <= *at) {
            merge.poll(timeout, &mut |merged| served(merged.seq as usize, timeout.0));
        }
        let input = MergeInput {
            octets: &frames[*frame],
            record: *record,
            received: Tai(*at),
            colour: Colour::Black,
            antenna: *antenna,
            seq: *frame as u64,
            quality: Quality::Unstated,
        };
        merge.push(&input, Monotonic(*at), &mut |merged| served(merged.seq as usize, *at));
    }
    let end = arrivals.last().map_or(0, |arrival| arrival.at);
    merge.flush(&mut |merged| served(merged.seq as usize, end));
}
