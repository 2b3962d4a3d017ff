//! LDPC of telemetry, one core, information bits: decoding with 10 iterations and no early stop, decoding of noisy blocks
//! at a working point, decoding of blocks without errors, latency, and encoding.
//!
//! The working point is 0.5 dB above the Eb/N0 at which one block in a hundred fails ([`THRESHOLDS_DB`]; measured, see
//! `docs/coding/ldpc.md`), with early stop and the iterations that the code has unless configured otherwise. An edge
//! update is one message from a check to a bit; its rate counts the iterations that were run.
//!
//! The peer is labrador-ldpc, which has the AR4JA codes of 1024 and 4096 bits: scalar min-sum on `i8`, flooding. It stops
//! as soon as all checks hold, so for 10 iterations it is given blocks of noise, which never converge; our time does not
//! depend on it. At the working point and without errors it is given the same symbols as we are.

use fep_coding::isa::Isa;
use fep_coding::ldpc::{LdpcDecoder, LdpcEncoder, LdpcSpec};
use fep_coding::soft::SoftVerdict;
use labrador_ldpc::LDPCCode;

use crate::{Case, Measured, timing};

const ITERATIONS: u16 = 10;
const BATCH: usize = 16;
/// Blocks of different noise at the working point.
const NOISY_BATCHES: usize = 4;
const GIGABIT: f64 = 1e9;
const ABOVE_THRESHOLD_DB: f64 = 0.5;
/// Eb/N0 at which one block in a hundred fails, by information bits and rate, in decibels.
const THRESHOLDS_DB: [(usize, &str, f64); 10] = [
    (7136, "7/8", 3.7),
    (1024, "1/2", 1.5),
    (1024, "2/3", 2.3),
    (1024, "4/5", 3.3),
    (4096, "1/2", 1.15),
    (4096, "2/3", 1.95),
    (4096, "4/5", 2.9),
    (16384, "1/2", 0.95),
    (16384, "2/3", 1.75),
    (16384, "4/5", 2.7),
];

/// `ldpc/<code>/10it`, `.../working`, `.../clean`, `.../10it/latency` (microseconds of one block alone) and
/// `.../encode`, on the best instruction set and on each.
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
            let name = |what: &str| {
                isa.map_or(format!("ldpc/{code}/{what}"), |isa| format!("ldpc/{code}/{what}/{isa}"))
            };
            let set = isa.unwrap_or(Isa::best());
            let peer = labrador(spec).filter(|_| isa.is_none());
            let peer_name = if peer.is_some() { "labrador-ldpc" } else { "" };
            cases.push(Case {
                name: name("10it"),
                unit: "Gbit/s",
                peer_name,
                run: Box::new(move |budget_s| {
                    let ours = decode_rate(spec, set, BATCH, budget_s);
                    let updates = edge_updates(spec, ours, ITERATIONS.into());
                    Measured {
                        ours: ours / GIGABIT,
                        peer: peer.map(|code| labrador_noise_rate(code, budget_s) / GIGABIT),
                        note: format!("batches of {BATCH} on {set}; {updates}"),
                    }
                }),
            });
            cases.push(Case {
                name: name("working"),
                unit: "Gbit/s",
                peer_name,
                run: Box::new(move |budget_s| working_point(spec, set, peer, budget_s)),
            });
            cases.push(Case {
                name: name("clean"),
                unit: "Gbit/s",
                peer_name,
                run: Box::new(move |budget_s| {
                    let blocks = Blocks::new(spec, BATCH, 0.0);
                    let (ours, verdicts) = blocks.decode_rate(set, budget_s);
                    assert!(
                        verdicts.iter().all(|verdict| verdict.converged && verdict.iterations == 0),
                        "no error, no iteration"
                    );
                    Measured {
                        ours: ours / GIGABIT,
                        peer: peer.map(|code| blocks.labrador_rate(code, budget_s).0 / GIGABIT),
                        note: format!("batches of {BATCH} without errors on {set}"),
                    }
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

/// What a rate in information bits a second is in edge updates.
fn edge_updates(spec: LdpcSpec, bits_per_s: f64, iterations: f64) -> String {
    let updates = bits_per_s / spec.information_bits() as f64 * spec.edges() as f64 * iterations;
    format!("{:.1} G edge updates/s", updates / 1e9)
}

/// Ours and the peer's in the same noise.
fn working_point(spec: LdpcSpec, isa: Isa, peer: Option<LDPCCode>, budget_s: f64) -> Measured {
    let of = |(k, rate, _): &&(usize, &str, f64)| *k == spec.information_bits() && *rate == spec.rate_name();
    let (_, _, threshold_db) = THRESHOLDS_DB.iter().find(of).expect("every code has a threshold");
    let eb_n0_db = threshold_db + ABOVE_THRESHOLD_DB;
    let rate = spec.information_bits() as f64 / spec.codeword_bits() as f64;
    let sigma = (0.5 / (rate * 10f64.powf(eb_n0_db / 10.0))).sqrt();
    let blocks = Blocks::new(spec, NOISY_BATCHES * BATCH, sigma);
    let (ours, verdicts) = blocks.decode_rate(isa, budget_s);
    let failed = verdicts.iter().filter(|verdict| !verdict.converged).count();
    let iterations: f64 = verdicts.iter().map(|verdict| f64::from(verdict.iterations)).sum();
    let iterations = iterations / verdicts.len() as f64;
    let mut note = format!(
        "Eb/N0 {eb_n0_db:.2} dB, {iterations:.1} iterations, {failed} of {} fail, on {isa}; {}",
        verdicts.len(),
        edge_updates(spec, ours, iterations)
    );
    let peer = peer.map(|code| {
        let (rate, iterations, failed) = blocks.labrador_rate(code, budget_s);
        note += &format!("; peer {iterations:.1} iterations, {failed} fail");
        rate / GIGABIT
    });
    Measured { ours: ours / GIGABIT, peer, note }
}

/// Codewords as they arrive.
struct Blocks {
    spec: LdpcSpec,
    sent: Vec<u8>,
    /// 1.0 is 16; at most 31, as the peer recommends.
    symbols: Vec<i8>,
}

impl Blocks {
    /// `count` blocks in noise of standard deviation `sigma` a symbol.
    fn new(spec: LdpcSpec, count: usize, sigma: f64) -> Blocks {
        let mut noise = noise();
        let mut encoder = LdpcEncoder::new(spec);
        let sent: Vec<u8> = (0..count * spec.information_len()).map(|_| noise() as u8).collect();
        let mut codeword = vec![0; spec.codeword_len()];
        let mut symbols = Vec::with_capacity(count * spec.codeword_bits());
        for information in sent.chunks_exact(spec.information_len()) {
            encoder.encode(information, &mut codeword);
            for place in 0..spec.codeword_bits() {
                let sign = if codeword[place / 8] >> (7 - place % 8) & 1 == 0 { 1.0 } else { -1.0 };
                let mut uniform = || ((noise() & 0xFF_FFFF) as f64 + 0.5) / f64::from(1 << 24);
                let gauss = (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
                symbols.push((16.0 * (sign + sigma * gauss)).round().clamp(-31.0, 31.0) as i8);
            }
        }
        Blocks { spec, sent, symbols }
    }

    /// Information bits a second, and the verdicts.
    fn decode_rate(&self, isa: Isa, budget_s: f64) -> (f64, Vec<SoftVerdict>) {
        let (n, k) = (self.spec.codeword_bits(), self.spec.information_len());
        let mut decoder = LdpcDecoder::with_isa(self.spec, self.spec.iterations_default(), isa);
        let decoder = decoder.as_mut().expect("an available set");
        let mut information = vec![0; self.sent.len()];
        let mut verdicts = vec![SoftVerdict::default(); self.sent.len() / k];
        let rate = timing::rate(budget_s, 8.0 * self.sent.len() as f64, || {
            let symbols = std::hint::black_box(&self.symbols).chunks(BATCH * n);
            let batches = symbols.zip(information.chunks_mut(BATCH * k));
            for ((symbols, information), verdicts) in batches.zip(verdicts.chunks_mut(BATCH)) {
                decoder.decode_batch(symbols, information, verdicts);
            }
        });
        let right =
            |((verdict, out), sent): ((&SoftVerdict, &[u8]), &[u8])| !verdict.converged || out == sent;
        let blocks = verdicts.iter().zip(information.chunks(k)).zip(self.sent.chunks(k));
        assert!(blocks.into_iter().all(right), "work not done");
        (rate, verdicts)
    }

    /// Information bits a second of the peer, its iterations a block, and how many blocks it failed.
    fn labrador_rate(&self, code: LDPCCode, budget_s: f64) -> (f64, f64, usize) {
        let mut output = vec![0; code.output_len()];
        let mut working = vec![0i8; code.decode_ms_working_len()];
        let mut working_u8 = vec![0; code.decode_ms_working_u8_len()];
        let (limit, k) = (usize::from(self.spec.iterations_default()), self.spec.information_len());
        let (mut iterations, mut failed) = (0, 0);
        let rate = timing::rate(budget_s, 8.0 * self.sent.len() as f64, || {
            (iterations, failed) = (0, 0);
            let symbols = std::hint::black_box(&self.symbols).chunks_exact(code.n());
            for (symbols, sent) in symbols.zip(self.sent.chunks_exact(k)) {
                let (success, taken) =
                    code.decode_ms(symbols, &mut output, &mut working, &mut working_u8, limit);
                iterations += taken;
                failed += usize::from(!success || output[..k] != *sent);
            }
        });
        let blocks = self.sent.len() / k;
        assert!(failed < blocks, "the peer decodes nothing");
        (rate, iterations as f64 / blocks as f64, failed)
    }
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
    assert!(
        verdicts.iter().all(done) && information.chunks(sent.len()).all(|out| out == sent),
        "work not done"
    );
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

/// Information bits a second of the peer with blocks that take all iterations.
fn labrador_noise_rate(code: LDPCCode, budget_s: f64) -> f64 {
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
