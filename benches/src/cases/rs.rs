//! Reed-Solomon (255,223), interleaving 5, dual basis, one core, beside libfec.
//!
//! libfec is LGPL and therefore a program of its own: a small driver (`peers/libfec_rs.c`), compiled when the case runs.
//! Both sides take a whole codeblock, decode its five codewords in place and are checked for having restored it.

use fep_coding::isa::Isa;
use fep_coding::rs::{Basis, CODEWORD_LEN, ReedSolomon, RsE, RsSpec, RsVerdict};

use crate::peers::libfec;
use crate::{Case, Measured, timing};

const SPEC: RsSpec = RsSpec { e: RsE::E16, interleave: 5, virtual_fill: 0, basis: Basis::Dual };
/// Octets from one codeblock to the next: a marker of four octets lies between, as in a stream of CADUs.
const STRIDE: usize = SPEC.codeblock_len() + 4;
const BATCH: usize = 64;
const GIGABIT: f64 = 1e9;

/// `rs/223/i5/...`: clean, with 1, 8 and 16 wrong symbols in every codeword, and encoding; on the best instruction set
/// beside libfec, and on every set of this machine alone.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for isa in std::iter::once(None).chain(Isa::available().iter().copied().map(Some)) {
        for errors in [0, 1, 8, 16] {
            let what = if errors == 0 { "clean".to_owned() } else { format!("errors{errors}") };
            cases.push(case(
                what,
                isa,
                move |isa, budget_s| decode_rate(isa, errors, budget_s),
                ["decode", &errors.to_string()],
            ));
        }
        cases.push(case("encode".to_owned(), isa, encode_rate, ["encode", "0"]));
    }
    cases
}

/// One case: beside libfec if the set is left open.
fn case(what: String, isa: Option<Isa>, ours: impl Fn(Isa, f64) -> f64 + 'static, peer: [&str; 2]) -> Case {
    let peer = peer.map(str::to_owned);
    let name = isa.map_or(format!("rs/223/i5/{what}"), |isa| format!("rs/223/i5/{what}/{isa}"));
    let run = Box::new(move |budget_s: f64| {
        let Some(isa) = isa else {
            let isa = Isa::best();
            let (peer, note) =
                match libfec::figure("libfec_rs", &peer.each_ref().map(String::as_str), budget_s) {
                    Ok(rate) => (Some(rate), format!("ours on {isa}")),
                    Err(reason) => (None, format!("ours on {isa}; no libfec: {reason}")),
                };
            return Measured { ours: ours(isa, budget_s), peer, note };
        };
        Measured { ours: ours(isa, budget_s), peer: None, note: String::new() }
    });
    Case { name, unit: "Gbit/s", peer_name: if isa.is_none() { "libfec" } else { "" }, run }
}

fn codec(isa: Isa) -> ReedSolomon {
    ReedSolomon::with_isa(SPEC, isa).expect("parameters of the standard on an available set")
}

/// A cheap generator: contents and error places need only look random.
fn noise() -> impl FnMut() -> usize {
    let mut state = 88_172_645_463_325_252_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize
    }
}

fn encode_rate(isa: Isa, budget_s: f64) -> f64 {
    let (mut codec, mut noise) = (codec(isa), noise());
    let frame: Vec<u8> = (0..SPEC.frame_len()).map(|_| noise() as u8).collect();
    let mut check = vec![0; SPEC.check_len()];
    let bits = 8.0 * SPEC.frame_len() as f64;
    timing::rate(budget_s, bits, || codec.encode(std::hint::black_box(&frame), &mut check)) / GIGABIT
}

fn decode_rate(isa: Isa, errors: usize, budget_s: f64) -> f64 {
    let (mut codec, mut noise) = (codec(isa), noise());
    let interleave = SPEC.interleave as usize;
    let mut sent = vec![0; BATCH * STRIDE];
    for codeblock in sent.chunks_exact_mut(STRIDE) {
        let (frame, rest) = codeblock.split_at_mut(SPEC.frame_len());
        frame.fill_with(|| noise() as u8);
        codec.encode(frame, &mut rest[..SPEC.check_len()]);
    }
    let mut received = sent.clone();
    for codeblock in received.chunks_exact_mut(STRIDE) {
        for codeword in 0..interleave {
            let mut hit = [false; CODEWORD_LEN];
            for _ in 0..errors {
                let place = std::iter::repeat_with(|| noise() % CODEWORD_LEN).find(|place| !hit[*place]);
                let place = place.expect("an endless search that E < 255 errors cannot exhaust");
                hit[place] = true;
                codeblock[place * interleave + codeword] ^= 1 + (noise() % 255) as u8;
            }
        }
    }
    let mut work = received.clone();
    let mut verdicts = vec![RsVerdict::default(); BATCH];
    let bits = 8.0 * (SPEC.frame_len() * BATCH) as f64;
    let rate = timing::rate(budget_s, bits, || {
        if errors > 0 {
            work.copy_from_slice(&received);
        }
        codec.decode_batch(std::hint::black_box(&mut work), STRIDE, &mut verdicts);
    });
    let expected = (interleave * errors) as u16;
    assert!(
        work == sent && verdicts.iter().all(|verdict| verdict.symbols_corrected == expected),
        "work not done"
    );
    rate / GIGABIT
}
