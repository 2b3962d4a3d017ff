//! Properties of channels and of cuts.

use fep_coding::Isa;
use fep_coding::conv::{
    ConvEncoder, ConvRate, ConvSpec, ConvSpecError, NodeSync, Quadrature, ViterbiDecoder,
};
use proptest::prelude::*;

use crate::channel::{Noise, decoded, encoded, noisy, sigma};

fn any_spec() -> impl Strategy<Value = ConvSpec> {
    let rate = prop::sample::select(ConvRate::ALL.to_vec());
    (rate, any::<Option<bool>>(), any::<bool>(), 224u32..1300).prop_map(
        |(rate, invert_g2, g2_first, latency_bits)| ConvSpec {
            invert_g2,
            g2_first,
            latency_bits,
            ..ConvSpec::ccsds(rate)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    // REQ: FEP-CONV-003
    #[test]
    fn what_was_encoded_is_decoded_through_a_good_channel(
        spec in any_spec(), octets in 0usize..600, seed: u64, amplitude in 4.0..120.0f64,
    ) {
        let mut noise = Noise(seed);
        // At the ends of a stream, where a state is unknown, the code is weak.
        let ends = spec.overlap_bits() / 8;
        let data = noise.octets(ends + octets + ends);
        // Three decibels and more above where errors are seen.
        let symbols = noisy(&encoded(&spec, &data), sigma(spec.rate, 11.0), amplitude, &mut noise);
        let (bits, count) = decoded(&spec, Isa::best(), &symbols);
        prop_assert_eq!(count, 8 * data.len() as u64);
        prop_assert_eq!(&bits[ends..][..octets], &data[ends..][..octets]);
    }

    // REQ: FEP-CONV-005
    // REQ: FEP-CONV-006
    #[test]
    fn any_symbols_in_any_pieces_give_the_same_bits_on_every_instruction_set(
        spec in any_spec(), symbols in 0usize..12_000, seed: u64, kind in 0..4,
        cuts in prop::collection::vec(1usize..3000, 1..6),
    ) {
        let mut noise = Noise(seed);
        let symbols: Vec<i8> = match kind {
            0 => noise.octets(symbols).iter().map(|octet| *octet as i8).collect(),
            1 => noise.octets(symbols).iter().map(|octet| (*octet as i8) >> 6).collect(),
            2 => noise.octets(symbols).iter().map(|octet| if octet & 1 == 0 { 127 } else { -128 }).collect(),
            _ => {
                let data = noise.octets(symbols / 16);
                noisy(&encoded(&spec, &data), sigma(spec.rate, 3.0), 40.0, &mut noise)
            }
        };
        let expected = decoded(&spec, Isa::Scalar, &symbols);
        for isa in Isa::available() {
            let mut decoder = ViterbiDecoder::with_isa(&spec, *isa).expect("a valid specification");
            let mut bits = Vec::new();
            let mut rest = symbols.as_slice();
            for cut in cuts.iter().cycle() {
                let (piece, behind) = rest.split_at((*cut).min(rest.len()));
                decoder.push(piece, &mut bits);
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            let count = decoder.finish(&mut bits);
            prop_assert_eq!(&(bits, count), &expected, "{}", isa);
            prop_assert_eq!(decoder.counters().bits_out, count);
            prop_assert_eq!(decoder.counters().symbols_in, symbols.len() as u64);
            prop_assert_eq!(count, spec.complete_bits(symbols.len() as u64));
        }
    }

    // REQ: FEP-CONV-005
    #[test]
    fn a_bit_is_given_as_soon_as_its_latency_allows(spec in any_spec(), seed: u64) {
        let symbols: Vec<i8> = Noise(seed).octets(6000).iter().map(|octet| *octet as i8).collect();
        let mut decoder = ViterbiDecoder::new(&spec).expect("a valid specification");
        let mut bits = Vec::new();
        for (pushed, symbol) in symbols.iter().enumerate() {
            decoder.push(&[*symbol], &mut bits);
            let complete = spec.complete_bits(pushed as u64 + 1);
            let owed = complete.saturating_sub(u64::from(spec.latency_bits));
            prop_assert!(8 * bits.len() as u64 >= owed, "{} bits of {}", 8 * bits.len(), complete);
        }
    }
}

/// The stream that makes metrics differ most: strongest symbols against one another, long, in every pattern of signs.
// REQ: FEP-CONV-007
#[test]
fn path_metrics_of_an_octet_never_overflow_on_the_worst_inputs() {
    for rate in ConvRate::ALL {
        let spec = ConvSpec { latency_bits: 4096, ..ConvSpec::ccsds(rate) };
        let mut noise = Noise(7);
        let mut inputs: Vec<Vec<i8>> = Vec::new();
        // A mean that is small beside the strongest symbols, so that these saturate the quantiser.
        for period in [1, 2, 3, 4, 6, 7, 12, 14, 24, 63, 128] {
            let pattern: Vec<bool> = (0..period).map(|_| noise.next() & 1 == 1).collect();
            let symbol = |k: usize| match (k / 600 % 3, pattern[k % period]) {
                (0, one) => i8::from(one) * 2 - 1,
                (_, true) => -128,
                (_, false) => 127,
            };
            inputs.push((0..8_000).map(symbol).collect());
        }
        // A codeword, and then abruptly its complement, over and over.
        let data = noise.octets(500);
        let codeword = encoded(&spec, &data);
        for run in [1, 5, 12, 14, 100] {
            let flipped = codeword.iter().enumerate().map(|(k, symbol)| match k / 700 % 4 {
                0 => *symbol,
                _ if k / run % 2 == 0 => symbol.saturating_mul(127),
                _ => symbol.saturating_mul(-127),
            });
            inputs.push(flipped.collect());
        }
        for (k, input) in inputs.iter().enumerate() {
            // The reference counts in 32 bits: an overflow would show as a difference.
            let expected = decoded(&spec, Isa::Scalar, input);
            for isa in Isa::available() {
                assert!(decoded(&spec, *isa, input) == expected, "rate {rate}, input {k}, {isa}");
            }
        }
    }
}

// REQ: FEP-CONV-008
#[test]
fn impossible_parameters_are_refused_with_their_name_and_the_values_allowed() {
    let spec = ConvSpec::ccsds(ConvRate::R7_8);
    let refused = |spec: ConvSpec| spec.validate().expect_err("an impossible parameter").to_string();
    assert_eq!(
        refused(ConvSpec { latency_bits: 100, ..spec }),
        "latency_bits = 100: rate 7/8 takes 224 to 4096 (a window of at least 64 bits and 160 more)"
    );
    assert!(matches!(
        ConvSpec { latency_bits: 5000, ..spec }.validate(),
        Err(ConvSpecError::Latency { given: 5000, .. })
    ));
    let node_sync = NodeSync { probe_bits: 3, ..NodeSync::default() };
    assert_eq!(refused(ConvSpec { node_sync, ..spec }), "node_sync.probe_bits = 3: from 256 to 65536");
    let node_sync = NodeSync { quadrature: Quadrature::TurnsAndMirrors, ..NodeSync::default() };
    let message = refused(ConvSpec { node_sync, ..ConvSpec::ccsds(ConvRate::R5_6) });
    assert!(
        message.contains("turns_and_mirrors") && message.contains("off and turns are allowed"),
        "{message}"
    );
    let text = r#"{ "rate": "4/5" }"#;
    let message = serde_json::from_str::<ConvSpec>(text).expect_err("no such rate").to_string();
    assert!(message.contains("4/5") && message.contains("7/8"), "{message}");
    let text = r#"{ "rate": "1/2", "invert_c2": true }"#;
    let message = serde_json::from_str::<ConvSpec>(text).expect_err("no such key").to_string();
    assert!(message.contains("invert_c2") && message.contains("invert_g2"), "{message}");
    assert!("5/4".parse::<ConvRate>().expect_err("no rate").to_string().contains("1/2, 2/3, 3/4, 5/6, 7/8"));
}

// REQ: FEP-CONV-009
#[test]
fn the_inversion_and_the_order_of_the_pair_can_be_overridden() {
    let data = Noise(1).octets(40);
    let symbols = |spec: ConvSpec| encoded(&spec, &data);
    let plain = ConvSpec { invert_g2: Some(false), ..ConvSpec::ccsds(ConvRate::R1_2) };
    let standard = symbols(ConvSpec::ccsds(ConvRate::R1_2));
    let (plain_symbols, swapped) =
        (symbols(plain), symbols(ConvSpec { g2_first: true, ..ConvSpec::ccsds(ConvRate::R1_2) }));
    for k in 0..standard.len() / 2 {
        let [c1, c2] = [standard[2 * k], standard[2 * k + 1]];
        assert_eq!([plain_symbols[2 * k], plain_symbols[2 * k + 1]], [c1, -c2]);
        assert_eq!([swapped[2 * k], swapped[2 * k + 1]], [c2, c1]);
    }
    // The impulse response of the standard's polynomials: 11 10 11 11 00 01 11.
    let mut impulse = Vec::new();
    let mut encoder = ConvEncoder::new(&plain).expect("a valid specification");
    encoder.push(&[0x80, 0], &mut impulse);
    encoder.finish(&mut impulse);
    assert_eq!(impulse[..2], [0b1110_1111, 0b0001_1100]);
}

// REQ: FEP-CONV-010
#[test]
fn the_symbol_error_estimate_is_that_of_the_channel() {
    for (rate, eb_n0_db) in [(ConvRate::R1_2, 4.0), (ConvRate::R3_4, 5.5), (ConvRate::R7_8, 7.0)] {
        let spec = ConvSpec::ccsds(rate);
        let mut noise = Noise(3);
        let sent = encoded(&spec, &noise.octets(20_000));
        let mut received = noisy(&sent, sigma(rate, eb_n0_db), 40.0, &mut noise);
        for erased in received.iter_mut().step_by(97) {
            *erased = 0;
        }
        let present = received.iter().filter(|symbol| **symbol != 0).count() as u64;
        let wrong = received.iter().zip(&sent).filter(|(r, s)| **r != 0 && (**r < 0) != (**s < 0)).count();
        let mut decoder = ViterbiDecoder::new(&spec).expect("a valid specification");
        decoder.push(&received, &mut Vec::new());
        let recent = decoder.recent_errors();
        decoder.finish(&mut Vec::new());
        let counters = decoder.counters();
        assert_eq!(counters.symbols_compared, present);
        let difference = counters.symbols_wrong as f64 / wrong as f64 - 1.0;
        assert!(difference.abs() < 0.02, "rate {rate}: {} of {wrong}", counters.symbols_wrong);
        let rate_now = recent.rate().expect("windows were decoded");
        let overall = wrong as f64 / present as f64;
        assert!((rate_now / overall - 1.0).abs() < 0.25, "{rate_now} lately, {overall} overall");
    }
}
