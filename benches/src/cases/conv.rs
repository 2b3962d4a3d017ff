//! The convolutional code on one core, beside libfec.
//!
//! libfec is LGPL and therefore a program of its own: a small driver (`peers/libfec_viterbi.c`), compiled when the case
//! runs. It decodes rate 1/2 with its fastest kernel, frames of 8192 bits each by itself, as it does in receivers.

use std::time::Instant;

use fep_coding::conv::{ConvEncoder, ConvRate, ConvSpec, ViterbiDecoder};
use fep_coding::isa::Isa;
use hdrhistogram::Histogram;

use crate::{Case, Measured, peers::libfec, timing};

const GIGABIT: f64 = 1e9;
/// Octets that are decoded or encoded in one call.
const OCTETS: usize = 1 << 17;

/// `conv/decode/r12/soft` and so on: decoding of 8-bit soft symbols and encoding at every rate on the best instruction
/// set, rate 1/2 on every set, and how long a push of one window's symbols takes.
pub fn cases() -> Vec<Case> {
    let name = |rate: ConvRate| format!("r{}{}", rate.period_bits(), rate.period_symbols());
    let mut cases = Vec::new();
    for rate in ConvRate::ALL {
        let run = move |budget_s| {
            let (peer, note) = match rate {
                ConvRate::R1_2 => match libfec::figure("libfec_viterbi", &[], budget_s) {
                    Ok(figure) => (Some(figure), String::new()),
                    Err(reason) => (None, format!("; no libfec: {reason}")),
                },
                _ => (None, String::new()),
            };
            let isa = Isa::best();
            Measured {
                ours: decode_rate(rate, isa, 640, budget_s),
                peer,
                note: format!("ours on {isa}{note}"),
            }
        };
        cases.push(Case {
            name: format!("conv/decode/{}/soft", name(rate)),
            unit: "Gbit/s",
            peer_name: if rate == ConvRate::R1_2 { "libfec" } else { "" },
            run: Box::new(run),
        });
    }
    for isa in Isa::available() {
        cases.push(alone(format!("conv/decode/r12/soft/{isa}"), "Gbit/s", |budget_s| {
            (decode_rate(ConvRate::R1_2, *isa, 640, budget_s), String::new())
        }));
    }
    cases.push(alone("conv/decode/r12/soft/latency1088".to_owned(), "Gbit/s", |budget_s| {
        (decode_rate(ConvRate::R1_2, Isa::best(), 1088, budget_s), "windows of 1024 bits".to_owned())
    }));
    for isa in Isa::available() {
        cases.push(alone(format!("conv/latency/r12/window/{isa}"), "us", |budget_s| latency(*isa, budget_s)));
    }
    for rate in ConvRate::ALL {
        cases.push(alone(format!("conv/encode/{}", name(rate)), "Gbit/s", move |budget_s| {
            (encode_rate(rate, budget_s), String::new())
        }));
    }
    cases
}

/// A case without a peer.
fn alone(name: String, unit: &'static str, run: impl Fn(f64) -> (f64, String) + 'static) -> Case {
    let run = Box::new(move |budget_s| {
        let (ours, note) = run(budget_s);
        Measured { ours, peer: None, note }
    });
    Case { name, unit, peer_name: "", run }
}

/// Contents need only look random.
fn octets() -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let octet = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as u8
    };
    std::iter::repeat_with(octet).take(OCTETS).collect()
}

/// Soft symbols with noise of about a quarter of their amplitude.
fn symbols(spec: &ConvSpec, data: &[u8]) -> Vec<i8> {
    let mut encoder = ConvEncoder::new(spec).expect("parameters of the standard");
    let mut symbols = Vec::new();
    encoder.push_soft(data, 40, &mut symbols);
    encoder.finish_soft(40, &mut symbols);
    for (symbol, noise) in symbols.iter_mut().zip(data.iter().cycle()) {
        *symbol += (*noise as i8) / 8 + (noise << 4) as i8 / 8;
    }
    symbols
}

fn decode_rate(rate: ConvRate, isa: Isa, latency_bits: u32, budget_s: f64) -> f64 {
    let spec = ConvSpec { latency_bits, ..ConvSpec::ccsds(rate) };
    let data = octets();
    let symbols = symbols(&spec, &data);
    let mut decoder = ViterbiDecoder::with_isa(&spec, isa).expect("an available set");
    let mut bits = Vec::new();
    decoder.push(&symbols, &mut bits);
    decoder.finish(&mut bits);
    assert!(bits[20..OCTETS - 20] == data[20..OCTETS - 20], "work not done");
    let rate = timing::rate(budget_s, 8.0 * OCTETS as f64, || {
        bits.clear();
        decoder.push(std::hint::black_box(&symbols), &mut bits);
    });
    rate / GIGABIT
}

/// Microseconds of a push that brings the symbols of exactly one window.
fn latency(isa: Isa, budget_s: f64) -> (f64, String) {
    let spec = ConvSpec::ccsds(ConvRate::R1_2);
    let symbols = symbols(&spec, &octets());
    let mut decoder = ViterbiDecoder::with_isa(&spec, isa).expect("an available set");
    // Recording saturates: the bounds must hold the worst there can be.
    let mut times_ns = Histogram::<u64>::new_with_bounds(1, 10_000_000_000, 3).expect("valid bounds");
    let (start, mut bits) = (Instant::now(), Vec::new());
    while start.elapsed().as_secs_f64() < budget_s {
        for push in symbols.chunks_exact(2 * spec.window_bits()) {
            bits.clear();
            let begin = Instant::now();
            decoder.push(push, &mut bits);
            times_ns.saturating_record(begin.elapsed().as_nanos() as u64);
        }
    }
    let us = |quantile| times_ns.value_at_quantile(quantile) as f64 / 1000.0;
    (us(0.5), format!("{} bits a push, p99 {:.1} us", spec.window_bits(), us(0.99)))
}

fn encode_rate(rate: ConvRate, budget_s: f64) -> f64 {
    let data = octets();
    let mut encoder = ConvEncoder::new(&ConvSpec::ccsds(rate)).expect("parameters of the standard");
    let mut symbols = Vec::new();
    let rate = timing::rate(budget_s, 8.0 * OCTETS as f64, || {
        symbols.clear();
        encoder.push(std::hint::black_box(&data), &mut symbols);
    });
    rate / GIGABIT
}
