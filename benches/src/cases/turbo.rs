//! Turbo codes, one core, information bits. No peer installs from a registry; the figures stand alone.
//!
//! Decoding runs all iterations (no early stop) on symbols at an Eb/N0 in the waterfall; a batch is 64 codewords, and
//! each case's note tells how long a batch and a codeword alone take.

use std::hint::black_box;

use fep_coding::Isa;
use fep_coding::soft::SoftVerdict;
use fep_coding::turbo::{TurboDecoder, TurboDecoding, TurboEncoder, TurboRate, TurboSpec, TurboStop};

use crate::{Case, Measured, timing};

const BATCH: usize = 64;
const GIGABIT: f64 = 1e9;

/// `turbo/1784r13/6it` on every set of this machine, every other rate and length on the best; encoders; with early stop.
pub fn cases() -> Vec<Case> {
    let six = TurboDecoding { iterations_max: 6, stop: TurboStop::Never };
    let mut cases = Vec::new();
    for rate in TurboRate::ALL {
        for information_bits in [1784, 3568, 7136, 8920] {
            let spec = TurboSpec { information_bits, rate };
            cases.push(decode(spec, "6it", six, None));
            cases.push(encode(spec));
        }
    }
    let spec = TurboSpec { information_bits: 1784, rate: TurboRate::R1_3 };
    cases.extend(Isa::available().iter().map(|isa| decode(spec, "6it", six, Some(*isa))));
    let early = TurboDecoding { iterations_max: 10, stop: TurboStop::Agreement };
    cases.push(decode(spec, "early", early, None));
    cases
}

fn name(spec: TurboSpec, what: &str) -> String {
    format!("turbo/{}r1{}/{what}", spec.information_bits, spec.rate.symbols_per_bit())
}

/// A cheap generator: contents and noise need only look random.
fn noise() -> impl FnMut() -> u64 {
    let mut state = 88_172_645_463_325_252_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 16
    }
}

/// Frames and their codewords as soft symbols 1 dB above where the code begins to work.
fn received(spec: TurboSpec) -> (Vec<u8>, Vec<i8>) {
    let mut noise = noise();
    let mut encoder = TurboEncoder::new(spec).expect("a code of the standard");
    let frames: Vec<u8> = (0..BATCH * spec.information_len()).map(|_| noise() as u8).collect();
    let eb_n0_db = if spec.rate == TurboRate::R1_2 { 1.8 } else { 1.2 };
    let rate = spec.information_bits as f64 / spec.codeword_bits() as f64;
    let deviation = (1.0 / (2.0 * rate * 10_f64.powf(eb_n0_db / 10.0))).sqrt();
    let mut codeword = vec![0; spec.codeword_len()];
    let mut symbols = Vec::new();
    for frame in frames.chunks(spec.information_len()) {
        encoder.encode(frame, &mut codeword);
        symbols.extend((0..spec.codeword_bits()).map(|i| {
            let sent = if codeword[i / 8] << (i % 8) & 0x80 == 0 { 1.0 } else { -1.0 };
            // Twelve uniform values make a good enough normal one.
            let normal = (0..12).map(|_| (noise() & 0xFFFF) as f64 / 65536.0).sum::<f64>() - 6.0;
            (24.0 * (sent + deviation * normal)).clamp(-127.0, 127.0) as i8
        }));
    }
    (frames, symbols)
}

fn decode(spec: TurboSpec, what: &str, decoding: TurboDecoding, isa: Option<Isa>) -> Case {
    let what = isa.map_or(what.to_owned(), |isa| format!("{what}/{isa}"));
    let isa = isa.unwrap_or(Isa::best());
    let run = move |budget_s: f64| {
        let mut decoder = TurboDecoder::with_isa(spec, decoding, isa).expect("valid, on an available set");
        let (frames, symbols) = received(spec);
        let mut decoded = vec![0; frames.len()];
        let mut verdicts = [SoftVerdict::default(); BATCH];
        let bits = (BATCH * spec.information_bits) as f64;
        let rate = timing::rate(budget_s, bits, || {
            decoder.decode_batch(black_box(&symbols), &mut decoded, &mut verdicts);
        });
        assert!(decoded == frames, "work not done");
        let iterations: u32 = verdicts.iter().map(|verdict| u32::from(verdict.iterations)).sum();
        let alone = timing::rate(budget_s, 1.0, || {
            let frame = &mut decoded[..spec.information_len()];
            black_box(decoder.decode(black_box(&symbols[..spec.codeword_bits()]), frame));
        });
        let note = format!(
            "{isa}, {:.1} iterations, latency: batch of {BATCH} {:.0} µs, alone {:.0} µs; no peer installs",
            f64::from(iterations) / BATCH as f64,
            1e6 * bits / rate,
            1e6 / alone,
        );
        Measured { ours: rate / GIGABIT, peer: None, note }
    };
    Case { name: name(spec, &what), unit: "Gbit/s", peer_name: "", run: Box::new(run) }
}

fn encode(spec: TurboSpec) -> Case {
    let run = move |budget_s: f64| {
        let mut encoder = TurboEncoder::new(spec).expect("a code of the standard");
        let mut noise = noise();
        let frame: Vec<u8> = (0..spec.information_len()).map(|_| noise() as u8).collect();
        let mut codeword = vec![0; spec.codeword_len()];
        let rate = timing::rate(budget_s, spec.information_bits as f64, || {
            encoder.encode(black_box(&frame), &mut codeword);
            black_box(&codeword);
        });
        Measured { ours: rate / GIGABIT, peer: None, note: "no peer installs".to_owned() }
    };
    Case { name: name(spec, "encode"), unit: "Gbit/s", peer_name: "", run: Box::new(run) }
}
