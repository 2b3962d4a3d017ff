//! Links of soft symbols, one core: from the octets of the link to published frames, every code of the mission `lab` a
//! decibel above its threshold. Information bits; there is no peer that does the whole of it.
//!
//! `soft/unpack/...` is the reading of symbols alone, in symbols; `soft/latency/...` how long a block takes by itself and
//! in a batch, microseconds: what a decoder's batch costs the first of its blocks at most.

use std::hint::black_box;
use std::time::Instant;

use fep_coding::Isa;
use fep_coding::soft::{SoftFormat, SoftVerdict, SymbolBits, SymbolScale, Unpacker};
use fep_coding::spec::ChannelEncoder;
use fep_downlink::{Chain, ChainEvent, ChainOptions, FrameOut, PacketOut, Reception, Sink};
use fep_mission::ChannelConfig;
use fep_sim::{SymbolChannel, SymbolSpec};
use fep_time::{Monotonic, Tai};

use crate::{Case, Measured, timing};

const GIGA: f64 = 1e9;
const EIGHT: SoftFormat = SoftFormat::new(SymbolBits::Eight);
/// Channel of `lab`, Eb/N0 in dB.
const CHANNELS: [(&str, f64); 9] = [
    ("convolutional", 8.0),
    ("concatenated", 3.5),
    ("turbo-1-2", 2.0),
    ("turbo-1-3", 1.5),
    ("turbo-1-4", 1.2),
    ("turbo-1-6", 1.0),
    ("ldpc-1-2", 3.0),
    ("ldpc-c2", 5.0),
    ("ldpc-stream", 4.5),
];
/// Octets pushed at once: a receive buffer of the daemon.
const CHUNK: usize = 128 << 10;
/// Blocks of a batch.
const BATCH: usize = 64;

/// `soft/unpack/...`, `soft/chain/...` and `soft/latency/...`.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let scaled = |format| SoftFormat { scale: SymbolScale::Given(1000.0), ..format };
    for (name, format) in [
        ("8", SoftFormat::new(SymbolBits::Eight)),
        ("4", SoftFormat::new(SymbolBits::Four)),
        ("1", SoftFormat::new(SymbolBits::One)),
        ("i16", scaled(SoftFormat::I16_LE)),
        ("i16/auto", SoftFormat::I16_LE),
        ("f32", scaled(SoftFormat::F32_LE)),
        ("f32/auto", SoftFormat::F32_LE),
    ] {
        cases.push(case(format!("soft/unpack/{name}"), "Gsymbol/s", move |budget_s| {
            let octets: Vec<u8> = (0..CHUNK).map(|i| (i * 151) as u8).collect();
            let mut unpacker = Unpacker::new(format).expect("a format");
            let mut symbols = Vec::new();
            let count = (8 * CHUNK / format.bits.count()) as f64;
            timing::rate(budget_s, count, || {
                symbols.clear();
                unpacker.push(black_box(&octets), &mut symbols);
            }) / GIGA
        }));
    }
    for (name, eb_n0_db) in CHANNELS {
        for isa in Isa::available().iter().copied() {
            cases.push(case(format!("soft/chain/{name}/{isa}"), "Gbit/s", move |budget_s| {
                chain_rate(name, eb_n0_db, isa, budget_s)
            }));
        }
    }
    for (name, eb_n0_db) in CHANNELS.into_iter().filter(|(name, _)| !name.starts_with("con")) {
        for (what, blocks) in [("single", 1), ("batch", BATCH)] {
            let name_of_case = format!("soft/latency/{name}/{what}");
            cases
                .push(case(name_of_case, "us", move |budget_s| latency_us(name, eb_n0_db, blocks, budget_s)));
        }
    }
    cases
}

fn case(name: String, unit: &'static str, measure: impl Fn(f64) -> f64 + 'static) -> Case {
    let run =
        Box::new(move |budget_s: f64| Measured { ours: measure(budget_s), peer: None, note: String::new() });
    Case { name, unit, peer_name: "", run }
}

fn channel(name: &str) -> ChannelConfig {
    fep_mission::load("lab").expect("the built-in mission").channels[name].clone()
}

/// Symbols of so many frames in noise, packed.
fn link(channel: &ChannelConfig, eb_n0_db: f64, frames: usize) -> Vec<u8> {
    let mut encoder =
        ChannelEncoder::new(&channel.code, channel.code.marker(), channel.randomizer).expect("a code");
    let spec = SymbolSpec { eb_n0_db: Some(eb_n0_db), ..SymbolSpec::clear(EIGHT) };
    let mut radio = SymbolChannel::new(spec, channel.code.rate(), 1).expect("a channel");
    let (mut symbols, mut octets) = (Vec::new(), Vec::new());
    for number in 0..frames {
        let mut frame =
            vec![0x40 | (99 >> 2), (99 & 3) << 6, 0, (number >> 8) as u8, number as u8, 0, 7, 0xFE];
        let fecf_len = channel.frame.fecf.len();
        frame.extend((frame.len()..channel.frame.frame_len - fecf_len).map(|at| (at * 7 + number) as u8));
        if fecf_len > 0 {
            let check = fep_coding::crc::crc16_fecf(&frame);
            frame.extend(check.to_be_bytes());
        }
        symbols.clear();
        encoder.encode(&frame, &mut symbols);
        radio.push(&symbols, &mut octets);
    }
    octets
}

/// Counts good frames.
#[derive(Default)]
struct Counter(u64);

impl Sink for Counter {
    fn frame(&mut self, frame: &FrameOut<'_>) {
        self.0 += u64::from(frame.view.is_some());
    }

    fn packet(&mut self, _packet: &PacketOut<'_>) {}

    fn event(&mut self, _event: ChainEvent) {}
}

fn chain_rate(name: &str, eb_n0_db: f64, isa: Isa, budget_s: f64) -> f64 {
    let channel = channel(name);
    let symbols = channel.code.block_symbols();
    let frames = ((4 << 20) / symbols).clamp(16, 2000);
    let octets = link(&channel, eb_n0_db, frames);
    let options = ChainOptions { symbols: Some(EIGHT), isa: Some(isa), ..ChainOptions::default() };
    let mut chain = Chain::with_options(&channel, options).expect("a channel of the configuration");
    let mut counter = Counter::default();
    let mut runs = 0;
    let bits = (8 * channel.frame.frame_len * frames) as f64;
    let rate = timing::rate(budget_s, bits, || {
        for chunk in octets.chunks(CHUNK) {
            chain.receive(&Reception::new(black_box(chunk), Tai(0)), Monotonic(0), &mut counter);
        }
        runs += 1;
    });
    // Where the stream begins again a frame or two may go.
    assert!(
        counter.0 >= runs * (frames as u64 - 4),
        "{name}: {} of {} frames",
        counter.0,
        runs * frames as u64
    );
    rate / GIGA
}

fn latency_us(name: &str, eb_n0_db: f64, blocks: usize, budget_s: f64) -> f64 {
    let channel = channel(name);
    let block_symbols = channel.code.block_symbols();
    let mut decoder = channel.code.build_soft(Isa::best()).expect("a code");
    let marker_bits = channel.code.marker().bits() as usize;
    let frames = (BATCH + 2) * channel.code.payload_len().div_ceil(channel.code.frame_len());
    let octets = link(&channel, eb_n0_db, frames);
    let derandomizer = fep_coding::soft::SoftDerandomizer::new(channel.randomizer, block_symbols);
    let mut symbols = Vec::new();
    for period in octets.chunks_exact(marker_bits + block_symbols).take(blocks) {
        let from = symbols.len();
        symbols.extend(period[marker_bits..].iter().map(|octet| *octet as i8));
        derandomizer.apply(&mut symbols[from..]);
    }
    let mut payloads = vec![0; blocks * channel.code.payload_len()];
    let mut verdicts = vec![SoftVerdict::default(); blocks * decoder.codewords()];
    let (start, mut runs) = (Instant::now(), 0u32);
    while runs == 0 || start.elapsed().as_secs_f64() < budget_s {
        decoder.decode_batch(black_box(&symbols), &mut payloads, &mut verdicts);
        runs += 1;
    }
    start.elapsed().as_secs_f64() / f64::from(runs) * 1e6
}
