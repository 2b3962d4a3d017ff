//! LDPC of telemetry, one core, information bits: encoding, decoding with 10 iterations and no early stop, and latency.
//!
//! The peer is labrador-ldpc, which has the AR4JA codes of 1024 and 4096 bits: scalar min-sum on `i8`, flooding. It stops
//! as soon as all checks hold, so it is given blocks of noise, which never converge; our time does not depend on it.

use fep_coding::isa::Isa;
use fep_coding::ldpc::{LdpcDecoder, LdpcEncoder, LdpcSpec};
use fep_coding::soft::SoftVerdict;
use labrador_ldpc::LDPCCode;

use crate::{Case, Measured, timing};

const ITERATIONS: u16 = 10;
const BATCH: usize = 16;
const GIGABIT: f64 = 1e9;

/// `ldpc/<code>/10it`, `.../latency` (microseconds of one block alone) and `.../encode`, on the best instruction set and
/// on each.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for spec in LdpcSpec::all() {
        let code = match spec {
            LdpcSpec::C2 => "c2".to_owned(),
            LdpcSpec::Ar4ja { .. } => {
                format!("ar4ja/{}r{}", spec.information_bits(), spec.rate_name().replace('/', ""))
            }
        };
        for isa in std::iter::once(None).chain(Isa::available().iter().copied().map(Some)) {
            let name = |what: &str| isa.map_or(format!("ldpc/{code}/{what}"), |isa| format!("ldpc/{code}/{what}/{isa}"));
            let set = isa.unwrap_or(Isa::best());
            let peer = labrador(spec).filter(|_| isa.is_none());
            cases.push(Case {
                name: name("10it"),
                unit: "Gbit/s",
                peer_name: if peer.is_some() { "labrador-ldpc" } else { "" },
                run: Box::new(move |budget_s| Measured {
                    ours: decode_rate(spec, set, BATCH, budget_s) / GIGABIT,
                    peer: peer.map(|code| labrador_rate(code, budget_s) / GIGABIT),
                    note: format!("batches of {BATCH} on {set}"),
                }),
            });
            cases.push(Case {
                name: name("10it/latency"),
                unit: "us",
                peer_name: "",
                run: Box::new(move |budget_s| {
                    let block_us = |count, budget_s| {
                        let bits = (count * spec.information_bits()) as f64;
                        1e6 * bits / decode_rate(spec, set, count, budget_s)
                    };
                    let batch_us = block_us(BATCH, budget_s / 2.0);
                    let note = format!("one block on {set}; a batch of {BATCH}: {batch_us:.1} us");
                    Measured { ours: block_us(1, budget_s / 2.0), peer: None, note }
                }),
            });
            cases.push(Case {
                name: name("encode"),
                unit: "Gbit/s",
                peer_name: "",
                run: Box::new(move |budget_s| Measured {
                    ours: encode_rate(spec, set, budget_s) / GIGABIT,
                    peer: None,
                    note: format!("on {set}"),
                }),
            });
        }
    }
    cases
}

/// A cheap generator: contents need only look random.
fn noise() -> impl FnMut() -> usize {
    let mut state = 88_172_645_463_325_252_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize
    }
}

fn encode_rate(spec: LdpcSpec, isa: Isa, budget_s: f64) -> f64 {
    let mut encoder = LdpcEncoder::with_isa(spec, isa).expect("an available set");
    let mut noise = noise();
    let information: Vec<u8> = (0..spec.information_len()).map(|_| noise() as u8).collect();
    let mut parity = vec![0; spec.parity_len()];
    let bits = spec.information_bits() as f64;
    timing::rate(budget_s, bits, || encoder.parity(std::hint::black_box(&information), &mut parity))
}

/// Information bits a second, `count` blocks a call.
fn decode_rate(spec: LdpcSpec, isa: Isa, count: usize, budget_s: f64) -> f64 {
    let mut noise = noise();
    let sent: Vec<u8> = (0..spec.information_len()).map(|_| noise() as u8).collect();
    let mut codeword = vec![0; spec.codeword_len()];
    LdpcEncoder::with_isa(spec, isa).expect("an available set").encode(&sent, &mut codeword);
    let symbols: Vec<i8> = (0..count * spec.codeword_bits())
        .map(|i| {
            let place = i % spec.codeword_bits();
            let bit = codeword[place / 8] >> (7 - place % 8) & 1;
            // Some are weak, none is wrong.
            (1 - 2 * bit as i8) * (4 + (noise() % 40) as i8)
        })
        .collect();
    let mut decoder = LdpcDecoder::with_isa(spec, ITERATIONS, isa).expect("an available set");
    decoder.set_early_stop(false);
    let mut information = vec![0; count * spec.information_len()];
    let mut verdicts = vec![SoftVerdict::default(); count];
    let rate = timing::rate(budget_s, (count * spec.information_bits()) as f64, || {
        decoder.decode_batch(std::hint::black_box(&symbols), &mut information, &mut verdicts);
    });
    let done = |verdict: &SoftVerdict| verdict.converged && verdict.iterations == ITERATIONS;
    assert!(verdicts.iter().all(done) && information.chunks(sent.len()).all(|out| out == sent), "work not done");
    rate
}

fn labrador(spec: LdpcSpec) -> Option<LDPCCode> {
    Some(match (spec.information_bits(), spec.rate_name()) {
        (1024, "1/2") => LDPCCode::TM2048,
        (1024, "2/3") => LDPCCode::TM1536,
        (1024, "4/5") => LDPCCode::TM1280,
        (4096, "1/2") => LDPCCode::TM8192,
        (4096, "2/3") => LDPCCode::TM6144,
        (4096, "4/5") => LDPCCode::TM5120,
        _ => return None,
    })
}

fn labrador_rate(code: LDPCCode, budget_s: f64) -> f64 {
    let mut noise = noise();
    let symbols: Vec<i8> = (0..code.n()).map(|_| (noise() % 63) as i8 - 31).collect();
    let mut output = vec![0; code.output_len()];
    let mut working = vec![0i8; code.decode_ms_working_len()];
    let mut working_u8 = vec![0; code.decode_ms_working_u8_len()];
    let mut verdict = (false, 0);
    let rate = timing::rate(budget_s, code.k() as f64, || {
        let symbols = std::hint::black_box(&symbols);
        verdict = code.decode_ms(symbols, &mut output, &mut working, &mut working_u8, ITERATIONS.into());
    });
    assert!(!verdict.0, "noise does not converge");
    rate
}
