//! Frame error rates in the waterfall, beside the reference in the same noise.

use fep_coding::turbo::{TurboDecoder, TurboDecoding, TurboRate, TurboSpec, TurboStop};

use crate::channel::{Noise, bit, codeword, deviation, quantised, received};
use crate::reference;

const ITERATIONS: u8 = 10;

/// Frames of `trials` that were not decoded to what was sent, by us at `ours_db` and by the reference at `reference_db`.
fn failures(spec: TurboSpec, trials: usize, ours_db: f64, reference_db: f64) -> (usize, usize) {
    let (mut sent, mut symbols, mut theirs) = (Vec::new(), Vec::new(), 0);
    for trial in 0..trials as u64 {
        let frame = Noise(trial).octets(spec.information_len());
        let codeword = codeword(spec, &frame);
        let receive = |db: f64| {
            let deviation = deviation(spec, db);
            (received(spec, &codeword, deviation, &mut Noise(1_000_000 + trial)), deviation)
        };
        symbols.extend(quantised(&receive(ours_db).0));
        let (values, deviation) = receive(reference_db);
        let found = reference::decodes(spec, &values, deviation, ITERATIONS.into(), |i| bit(&frame, i));
        theirs += usize::from(!found);
        sent.extend(frame);
    }
    let decoding = TurboDecoding { iterations_max: ITERATIONS, stop: TurboStop::Agreement };
    let mut decoder = TurboDecoder::new(spec, decoding).expect("a code of the standard");
    let mut decoded = vec![0; sent.len()];
    decoder.decode_batch(&symbols, &mut decoded, &mut vec![Default::default(); trials]);
    let len = spec.information_len();
    let ours = decoded.chunks(len).zip(sent.chunks(len)).filter(|(a, b)| a != b).count();
    (ours, theirs)
}

// REQ: FEP-TURBO-006
#[test]
fn the_fixed_point_decoder_is_within_a_tenth_of_a_decibel_of_log_map() {
    for (rate, points) in [
        (TurboRate::R1_2, [(0.7, 80), (0.9, 180), (1.05, 350)]),
        (TurboRate::R1_3, [(0.1, 80), (0.3, 150), (0.45, 350)]),
        (TurboRate::R1_4, [(-0.1, 80), (0.05, 180), (0.2, 400)]),
        (TurboRate::R1_6, [(-0.4, 80), (-0.25, 180), (-0.1, 400)]),
    ] {
        let spec = TurboSpec { information_bits: 1784, rate };
        for (eb_n0_db, trials) in points {
            let (ours, reference) = failures(spec, trials, eb_n0_db + 0.1, eb_n0_db);
            println!("{spec} at {eb_n0_db} dB: {ours} (0.1 dB better), reference {reference} of {trials}");
            // Both see the same noise, so the difference varies less than either count does.
            let allowance = 2.0 * (reference as f64).sqrt();
            assert!(reference >= 8, "{spec} at {eb_n0_db} dB: {reference} failures say too little");
            assert!(
                (ours as f64) <= reference as f64 + allowance,
                "{spec} at {eb_n0_db} dB: {ours} failures, reference {reference}"
            );
        }
    }
}
