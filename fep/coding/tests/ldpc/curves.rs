//! Frame errors in noise, beside the floating-point reference in the same noise.

use fep_coding::ldpc::{LdpcDecoder, LdpcSpec};

use crate::channel::{Noise, bit, codeword, quantised, received, sigma};
use crate::reference::SumProduct;

/// Whether trial number `trial` at `eb_n0_db` comes out as it was sent.
fn decodes(decoder: &mut LdpcDecoder, trial: u64, eb_n0_db: f64) -> bool {
    let spec = decoder.spec();
    let information = Noise(trial).octets(spec.information_len());
    let spread = sigma(spec, eb_n0_db) as f32;
    let received = received(&codeword(spec, &information), spread, &mut Noise(1_000_000 + trial));
    let mut decoded = vec![0; information.len()];
    decoder.decode(&quantised(&received, 32.0), &mut decoded).converged && decoded == information
}

/// Blocks of `trials` that were not decoded to what was sent: by us at `eb_n0_db` + 0.1 dB, and by the reference at
/// `eb_n0_db`.
fn failures(spec: LdpcSpec, reference: &SumProduct, trials: usize, eb_n0_db: f64) -> (usize, usize) {
    let mut decoder = LdpcDecoder::new(spec, 100);
    let (mut ours, mut theirs) = (0, 0);
    for trial in 0..trials as u64 {
        ours += usize::from(!decodes(&mut decoder, trial, eb_n0_db + 0.1));

        let sent = codeword(spec, &Noise(trial).octets(spec.information_len()));
        let spread = sigma(spec, eb_n0_db) as f32;
        let received = received(&sent, spread, &mut Noise(1_000_000 + trial));
        let right = |word: Vec<u8>| (0..spec.information_bits()).all(|i| word[i] == bit(&sent, i));
        theirs += usize::from(!reference.decode(&received, spread, 100).is_some_and(right));
    }
    (ours, theirs)
}

/// Three points in the waterfall of a code: Eb/N0 in decibels and trials.
fn holds_within_a_tenth_of_a_decibel(k: u32, rate: &str, points: [(f64, usize); 3]) {
    let spec = LdpcSpec::new(k, rate).expect("a code");
    let reference = SumProduct::new(spec);
    let mut counts = (0, 0);
    for (eb_n0_db, trials) in points {
        let (ours, theirs) = failures(spec, &reference, trials, eb_n0_db);
        println!("{spec} at {eb_n0_db} dB: {ours} (0.1 dB better), reference {theirs} of {trials}");
        // Both see the same noise, so the difference varies less than either count does.
        let allowance = 2.0 * (theirs as f64).sqrt().max(1.0);
        assert!(
            (ours as f64) <= theirs as f64 + allowance,
            "{spec} at {eb_n0_db} dB: {ours}, reference {theirs}"
        );
        counts = (counts.0 + ours, counts.1 + theirs);
    }
    assert!(counts.1 >= 12, "{spec}: {} failures of the reference say too little", counts.1);
    let all = 2.0 * (counts.1 as f64).sqrt();
    assert!((counts.0 as f64) <= counts.1 as f64 + all, "{spec}: {counts:?} over all points");
}

macro_rules! within_a_tenth_of_a_decibel {
    ($($name:ident: $k:literal, $rate:literal, $points:expr;)*) => {$(
        // REQ: FEP-LDPC-009
        #[test]
        fn $name() {
            holds_within_a_tenth_of_a_decibel($k, $rate, $points);
        }
    )*};
}

within_a_tenth_of_a_decibel! {
    c2_is_within_a_tenth_of_a_decibel_of_sum_product:
        7136, "7/8", [(3.45, 40), (3.5, 60), (3.55, 60)];
    rate_1_2_of_1024_bits_is_within_a_tenth_of_a_decibel_of_sum_product:
        1024, "1/2", [(0.8, 150), (1.0, 200), (1.2, 250)];
    rate_2_3_of_1024_bits_is_within_a_tenth_of_a_decibel_of_sum_product:
        1024, "2/3", [(1.5, 150), (1.7, 200), (1.9, 250)];
    rate_4_5_of_1024_bits_is_within_a_tenth_of_a_decibel_of_sum_product:
        1024, "4/5", [(2.4, 150), (2.6, 200), (2.8, 250)];
    rate_1_2_of_4096_bits_is_within_a_tenth_of_a_decibel_of_sum_product:
        4096, "1/2", [(0.75, 50), (0.8, 50), (0.85, 50)];
    rate_2_3_of_4096_bits_is_within_a_tenth_of_a_decibel_of_sum_product:
        4096, "2/3", [(1.5, 40), (1.55, 40), (1.6, 40)];
    rate_4_5_of_4096_bits_is_within_a_tenth_of_a_decibel_of_sum_product:
        4096, "4/5", [(2.4, 40), (2.5, 40), (2.55, 40)];
    rate_1_2_of_16384_bits_is_within_a_tenth_of_a_decibel_of_sum_product:
        16384, "1/2", [(0.65, 12), (0.7, 12), (0.75, 12)];
    rate_2_3_of_16384_bits_is_within_a_tenth_of_a_decibel_of_sum_product:
        16384, "2/3", [(1.4, 12), (1.45, 12), (1.5, 12)];
    rate_4_5_of_16384_bits_is_within_a_tenth_of_a_decibel_of_sum_product:
        16384, "4/5", [(2.3, 12), (2.35, 12), (2.4, 12)];
}

// REQ: FEP-LDPC-013
#[test]
fn no_code_has_an_error_floor_a_few_tenths_of_a_decibel_above_its_waterfall() {
    for (k, rate, eb_n0_db, trials) in [
        (7136, "7/8", 4.0, 300),
        (1024, "1/2", 2.2, 1000),
        (1024, "2/3", 3.0, 1000),
        (1024, "4/5", 4.0, 1000),
        (4096, "1/2", 1.4, 400),
        (4096, "2/3", 2.2, 400),
        (4096, "4/5", 3.1, 400),
        (16384, "1/2", 1.1, 100),
        (16384, "2/3", 1.9, 100),
        (16384, "4/5", 2.8, 100),
    ] {
        let spec = LdpcSpec::new(k, rate).expect("a code");
        let mut decoder = LdpcDecoder::new(spec, 50);
        let failures = (0..trials).filter(|trial| !decodes(&mut decoder, *trial, eb_n0_db)).count();
        println!("{spec} at {eb_n0_db} dB: {failures} of {trials}");
        assert!(failures <= 1, "{spec} at {eb_n0_db} dB: {failures} of {trials} blocks fail");
    }
}
