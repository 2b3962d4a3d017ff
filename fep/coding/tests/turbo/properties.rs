//! Properties: every instruction set, alone and in batches, on any channel.

use fep_coding::Isa;
use fep_coding::crc::crc16_fecf;
use fep_coding::soft::SoftVerdict;
use fep_coding::turbo::{INFORMATION_BITS, TurboDecoder, TurboDecoding, TurboRate, TurboSpec, TurboStop};
use proptest::prelude::*;

use crate::channel::{Noise, bit, codeword, deviation, hard, quantised, received};

fn specs() -> impl Strategy<Value = TurboSpec> {
    (prop::sample::select(&INFORMATION_BITS[..]), prop::sample::select(&TurboRate::ALL[..]))
        .prop_map(|(information_bits, rate)| TurboSpec { information_bits, rate })
}

fn stops() -> impl Strategy<Value = TurboStop> {
    prop::sample::select(&[TurboStop::Never, TurboStop::Agreement, TurboStop::Fecf][..])
}

/// Frames that end with their FECF.
fn frames(spec: TurboSpec, count: usize, noise: &mut Noise) -> Vec<u8> {
    let mut frames = Vec::new();
    for _ in 0..count {
        let frame = noise.octets(spec.information_len() - 2);
        frames.extend_from_slice(&frame);
        frames.extend(crc16_fecf(&frame).to_be_bytes());
    }
    frames
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // REQ: FEP-TURBO-007
    #[test]
    fn every_instruction_set_decodes_alone_and_in_batches_to_the_same(
        information_bits in prop::sample::select(&INFORMATION_BITS[..2]),
        rate in prop::sample::select(&TurboRate::ALL[..]),
        stop in stops(),
        count in prop::sample::select(&[1usize, 7, 8, 31, 33, 66][..]),
        margin_db in -1.5f64..2.0,
        iterations_max in 1u8..4,
        seed: u64,
    ) {
        let spec = TurboSpec { information_bits, rate };
        let mut noise = Noise(seed);
        let sent = frames(spec, count, &mut noise);
        let mut symbols = Vec::new();
        for frame in sent.chunks(spec.information_len()) {
            let deviation = deviation(spec, margin_db);
            symbols.extend(quantised(&received(spec, &codeword(spec, frame), deviation, &mut noise)));
        }
        let decoding = TurboDecoding { iterations_max, stop };
        let run = |isa: Isa, alone: bool| {
            let mut decoder = TurboDecoder::with_isa(spec, decoding, isa).expect("an available set");
            let (mut decoded, mut verdicts) = (vec![0; sent.len()], vec![SoftVerdict::default(); count]);
            if alone {
                let frames = decoded.chunks_mut(spec.information_len());
                let codewords = symbols.chunks(spec.codeword_bits());
                for ((verdict, frame), symbols) in verdicts.iter_mut().zip(frames).zip(codewords) {
                    *verdict = decoder.decode(symbols, frame);
                }
            } else {
                decoder.decode_batch(&symbols, &mut decoded, &mut verdicts);
            }
            (decoded, verdicts)
        };
        let (frames, verdicts) = run(Isa::Scalar, true);
        for &isa in Isa::available() {
            for alone in [true, false] {
                let (decoded, given) = run(isa, alone);
                prop_assert_eq!(&given, &verdicts, "{}, {} on {}, alone: {}", spec, count, isa, alone);
                prop_assert!(decoded == frames, "{spec}, {count} on {isa}, alone: {alone}");
            }
        }
    }

    // REQ: FEP-TURBO-003
    #[test]
    fn what_is_sent_well_above_the_threshold_arrives_and_the_wrong_symbols_are_counted(
        spec in specs(), stop in stops(), margin_db in 1.0f64..6.0, seed: u64,
    ) {
        let mut noise = Noise(seed);
        let sent = frames(spec, 1, &mut noise);
        let word = codeword(spec, &sent);
        let symbols = quantised(&received(spec, &word, deviation(spec, 1.0 + margin_db), &mut noise));
        let decoding = TurboDecoding { iterations_max: 12, stop };
        let mut decoder = TurboDecoder::new(spec, decoding).expect("a code of the standard");
        let mut decoded = vec![0; sent.len()];
        let verdict = decoder.decode(&symbols, &mut decoded);
        prop_assert!(decoded == sent, "{spec}: {verdict:?}");
        prop_assert!(verdict.converged);
        prop_assert!((1..=12).contains(&verdict.iterations) && (stop != TurboStop::Never || verdict.iterations == 12));
        let wrong = |(i, symbol): &(usize, &i8)| **symbol != 0 && (bit(&word, *i) == 1) != (**symbol < 0);
        prop_assert_eq!(verdict.symbols_corrected as usize, symbols.iter().enumerate().filter(wrong).count());
    }

    // REQ: FEP-TURBO-008
    #[test]
    fn symbols_of_any_strength_get_a_verdict_that_says_how_far_they_are_from_the_answer(
        spec in specs(), stop in stops(), seed: u64, strength in 1i8..=127,
        extreme in prop::collection::vec((any::<u32>(), any::<i8>()), 0..400),
    ) {
        let mut noise = Noise(seed);
        let sent = frames(spec, 1, &mut noise);
        let mut symbols = hard(&codeword(spec, &sent), spec.codeword_bits(), strength);
        for (place, symbol) in extreme {
            let place = place as usize % symbols.len();
            symbols[place] = symbol;
        }
        let decoding = TurboDecoding { iterations_max: 4, stop };
        let mut decoder = TurboDecoder::new(spec, decoding).expect("a code of the standard");
        let mut decoded = vec![0; sent.len()];
        let verdict = decoder.decode(&symbols, &mut decoded);
        let answer = codeword(spec, &decoded);
        let wrong = |(i, symbol): &(usize, &i8)| **symbol != 0 && (bit(&answer, *i) == 1) != (**symbol < 0);
        prop_assert_eq!(verdict.symbols_corrected as usize, symbols.iter().enumerate().filter(wrong).count());
    }
}

// REQ: FEP-TURBO-008
#[test]
fn a_codeword_of_nothing_but_noise_or_erasures_does_not_pass_the_check_of_its_frame() {
    let spec = TurboSpec { information_bits: 1784, rate: TurboRate::R1_3 };
    let decoding = TurboDecoding { iterations_max: 3, stop: TurboStop::Fecf };
    for isa in Isa::available() {
        let mut decoder = TurboDecoder::with_isa(spec, decoding, *isa).expect("an available set");
        let mut symbols = vec![0; spec.codeword_bits()];
        symbols.extend(Noise(7).octets(spec.codeword_bits()).iter().map(|octet| *octet as i8));
        let (mut frames, mut verdicts) = (vec![0; 2 * 223], vec![SoftVerdict::default(); 2]);
        decoder.decode_batch(&symbols, &mut frames, &mut verdicts);
        for verdict in &verdicts {
            assert!(!verdict.converged && verdict.iterations == 3, "{isa}: {verdict:?}");
        }
        assert_eq!(verdicts[0].symbols_corrected, 0, "nothing was received, nothing was corrected");
    }
}

// REQ: FEP-TURBO-009
#[test]
fn the_scale_of_the_symbols_matters_little_and_inverted_ones_never_pass() {
    let spec = TurboSpec { information_bits: 1784, rate: TurboRate::R1_4 };
    let decoding = TurboDecoding { iterations_max: 10, stop: TurboStop::Fecf };
    let mut decoder = TurboDecoder::new(spec, decoding).expect("a code of the standard");
    let mut noise = Noise(11);
    let sent = frames(spec, 1, &mut noise);
    let values = received(spec, &codeword(spec, &sent), deviation(spec, 1.5), &mut noise);
    for scale in [3.0, 8.0, 20.0, 50.0] {
        let symbols: Vec<i8> =
            values.iter().map(|value| (scale * value).round().clamp(-127.0, 127.0) as i8).collect();
        let mut decoded = vec![0; sent.len()];
        assert!(decoder.decode(&symbols, &mut decoded).converged, "times {scale}");
        assert_eq!(decoded, sent, "times {scale}");
        let inverted: Vec<i8> = symbols.iter().map(|symbol| -symbol).collect();
        assert!(!decoder.decode(&inverted, &mut decoded).converged, "times -{scale}");
    }
}
