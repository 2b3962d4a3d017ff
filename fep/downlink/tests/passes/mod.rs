//! Passes of a spacecraft over several antennas, made with a seed: what is sent, what each antenna gets, and when.
#![allow(dead_code)]

use fep_ccsds::{
    AosHeader, Fecf, Fhp, FrameParts, FrameSpec, Header, TmDataField, TmHeader, UslpHeader, UslpHeaderRest,
};

/// Splitmix64: numbers for simulations.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn permille(&mut self, chance: u32) -> bool {
        self.below(1000) < u64::from(chance)
    }
}

/// Which frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Tm,
    Aos,
    /// With a count of so many octets.
    Uslp {
        octets: u8,
    },
}

/// One sequence of frames: a virtual channel, or the expedited frames of one.
pub(crate) struct Channel {
    pub(crate) is_counted: bool,
    /// All its frames have the same octets.
    pub(crate) is_alike: bool,
    /// Its frames repeat with every turn of the counter.
    pub(crate) repeats: bool,
}

pub(crate) struct Sent {
    pub(crate) octets: Vec<u8>,
    pub(crate) channel: usize,
    pub(crate) at: i64,
}

/// What a spacecraft sends.
pub(crate) struct Pass {
    pub(crate) spec: FrameSpec,
    pub(crate) frames: Vec<Sent>,
    pub(crate) channels: Vec<Channel>,
}

const FRAME_LEN: usize = 64;

impl Pass {
    /// Channels 0 and 1 with contents of their own, 2 with frames that say nothing but their count, 3 of idle frames, 4 of
    /// expedited frames (USLP).
    pub(crate) fn new(kind: Kind, seed: u64, rate_hz: i64, frames: usize) -> Pass {
        let mut random = Random(seed);
        let mut spec = match kind {
            Kind::Tm => FrameSpec::tm(FRAME_LEN),
            Kind::Aos => FrameSpec::aos(FRAME_LEN),
            Kind::Uslp { .. } => FrameSpec::uslp(FRAME_LEN),
        };
        spec.fecf = Fecf::Crc16;
        let is_uslp = matches!(kind, Kind::Uslp { .. });
        let has_count = kind != Kind::Uslp { octets: 0 };
        let channels = vec![
            Channel { is_counted: has_count, is_alike: false, repeats: false },
            Channel { is_counted: has_count, is_alike: false, repeats: false },
            Channel { is_counted: has_count, is_alike: !has_count, repeats: true },
            Channel { is_counted: kind == Kind::Tm, is_alike: kind != Kind::Tm, repeats: true },
            Channel { is_counted: false, is_alike: false, repeats: false },
        ];
        let mut counts: [u64; 5] = std::array::from_fn(|_| random.next());
        let mut master = random.next() as u8;
        let period_ns = 1_000_000_000 / rate_hz;
        let sent = (0..frames).map(|number| {
            let channel = match random.below(20) {
                0..=9 => 0,
                10..=13 => 1,
                14..=15 => 2,
                16..=18 => 3,
                _ if is_uslp => 4,
                _ => 0,
            };
            let octets = frame(kind, &spec, channel, counts[channel], master, &mut random);
            counts[channel] = counts[channel].wrapping_add(1);
            master = master.wrapping_add(1);
            Sent { octets, channel, at: number as i64 * period_ns }
        });
        let frames = sent.collect();
        Pass { spec, frames, channels }
    }
}

fn frame(
    kind: Kind,
    spec: &FrameSpec,
    channel: usize,
    count: u64,
    master: u8,
    random: &mut Random,
) -> Vec<u8> {
    let is_fill = channel == 3;
    let mut content = |zone: &mut [u8]| {
        if channel < 2 || channel == 4 {
            zone.iter_mut().for_each(|octet| *octet = random.next() as u8);
        }
    };
    let mut octets = Vec::new();
    match kind {
        Kind::Tm => {
            let pointer = if is_fill { Fhp::IdleOnly } else { Fhp::None };
            let header = TmHeader {
                scid: 5,
                vcid: channel as u8,
                ocf: false,
                // Left at 0, as some spacecraft do: fill frames repeat every 256.
                mc_count: if is_fill || channel == 2 { 0 } else { master },
                vc_count: count as u8,
                secondary_header: false,
                data_field: TmDataField::Packets { first_header_pointer: pointer },
            };
            let mut zone = [0; FRAME_LEN - 6 - 2];
            content(&mut zone);
            FrameParts::new(Header::Tm(header), &zone).build(spec, &mut octets).expect("a frame");
        }
        Kind::Aos => {
            let header = AosHeader {
                scid: 5,
                vcid: if is_fill { 63 } else { channel as u8 },
                vc_count: if is_fill { 0 } else { count as u32 & 0xFF_FFFF },
                replay: false,
                vc_count_cycle_used: false,
                reserved: 0,
                vc_count_cycle: 0,
            };
            let mut zone = [0; FRAME_LEN - 6 - 2];
            content(&mut zone);
            FrameParts::new(Header::Aos(header), &zone).build(spec, &mut octets).expect("a frame");
        }
        Kind::Uslp { octets: count_len } => {
            let is_expedited = channel == 4;
            let count_len = if is_fill { 0 } else { count_len };
            let mask = if count_len == 8 { u64::MAX } else { (1 << (8 * u32::from(count_len))) - 1 };
            let rest = UslpHeaderRest {
                frame_len: FRAME_LEN as u32,
                bypass: is_expedited,
                protocol_control_command: false,
                reserved: 0,
                ocf: false,
                vcf_count_len: count_len,
                vcf_count: count & mask,
            };
            let vcid = if is_fill { 63 } else { channel as u8 % 4 };
            let header = UslpHeader { scid: 5, destination: false, vcid, map_id: 0, rest: Some(rest) };
            let mut zone = vec![0; FRAME_LEN - 7 - usize::from(count_len) - 2];
            content(&mut zone);
            // VCA SDU, no first header pointer.
            zone[0] = 0xE0;
            FrameParts::new(Header::Uslp(header), &zone).build(spec, &mut octets).expect("a frame");
        }
    }
    octets
}

/// What an antenna does to a pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct AntennaSim {
    pub(crate) delay_ns: i64,
    pub(crate) jitter_ns: i64,
    pub(crate) loss_permille: u32,
    /// Where in the pass, as a share of it, and how many frames.
    pub(crate) outages: Vec<(f64, usize)>,
    pub(crate) corrected_permille: u32,
    /// Frames that come twice in a row.
    pub(crate) repeat_permille: u32,
    /// Whether the merge is told of each outage.
    pub(crate) says_gone: bool,
}

/// A frame on its way into the merge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) at: i64,
    pub(crate) antenna: u16,
    /// Its true number.
    pub(crate) frame: usize,
    pub(crate) received: i64,
    pub(crate) symbols_corrected: u16,
    pub(crate) is_bad: bool,
    /// No frame: the antenna is gone.
    pub(crate) is_end: bool,
}

/// Everything that reaches the merge, in order of time.
pub(crate) fn arrivals(
    pass: &Pass,
    antennas: &[AntennaSim],
    stamped_on_arrival: bool,
    random: &mut Random,
) -> Vec<Arrival> {
    let mut all = Vec::new();
    for (antenna, sim) in antennas.iter().enumerate() {
        let mut at = i64::MIN;
        let outages: Vec<_> = sim
            .outages
            .iter()
            .map(|(share, frames)| {
                let from = (share * pass.frames.len() as f64) as usize;
                from..from + frames
            })
            .collect();
        for (frame, sent) in pass.frames.iter().enumerate() {
            let jitter_ns = random.below(sim.jitter_ns.unsigned_abs() + 1) as i64;
            at = at.max(sent.at + sim.delay_ns + jitter_ns);
            let is_out = outages.iter().any(|outage| outage.contains(&frame));
            let received = if stamped_on_arrival { at } else { sent.at + random.below(500) as i64 };
            let symbols_corrected =
                if random.permille(sim.corrected_permille) { 1 + random.below(15) as u16 } else { 0 };
            let arrival = Arrival {
                at,
                antenna: antenna as u16,
                frame,
                received,
                symbols_corrected,
                is_bad: false,
                is_end: false,
            };
            if is_out && sim.says_gone && outages.iter().any(|outage| outage.start == frame) {
                all.push(Arrival { is_end: true, ..arrival });
            }
            if is_out {
                continue;
            }
            if random.permille(sim.loss_permille) {
                if random.permille(500) {
                    all.push(Arrival { is_bad: true, ..arrival });
                }
                continue;
            }
            all.push(arrival);
            if random.permille(sim.repeat_permille) && pass.channels[sent.channel].is_counted {
                all.push(arrival);
            }
        }
    }
    all.sort_by_key(|arrival| (arrival.at, arrival.antenna));
    all
}
