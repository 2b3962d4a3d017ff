//! Properties over all codes, and what is refused.

use fep_coding::isa::Isa;
use fep_coding::ldpc::{LdpcDecoder, LdpcEncoder, LdpcSpec, LdpcSpecError};
use fep_coding::soft::SoftVerdict;
use proptest::prelude::*;

use crate::channel::{Noise, codeword, quantised, received, sigma, symbols};

fn code() -> impl Strategy<Value = LdpcSpec> {
    (0usize..10).prop_map(|n| LdpcSpec::all().nth(n).expect("ten codes"))
}

/// Where a code just works, Eb/N0 in decibels.
fn threshold_db(spec: LdpcSpec) -> f64 {
    match spec.rate_name() {
        "1/2" => 1.2,
        "2/3" => 2.0,
        "4/5" => 3.0,
        _ => 4.0,
    }
}

// REQ: FEP-LDPC-001
#[test]
fn the_ten_codes_have_the_sizes_of_the_standard() {
    let sizes: Vec<(usize, usize)> =
        LdpcSpec::all().map(|spec| (spec.codeword_bits(), spec.information_bits())).collect();
    let expected = [
        (8160, 7136),
        (2048, 1024),
        (1536, 1024),
        (1280, 1024),
        (8192, 4096),
        (6144, 4096),
        (5120, 4096),
        (32768, 16384),
        (24576, 16384),
        (20480, 16384),
    ];
    assert_eq!(sizes, expected);
}

// REQ: FEP-LDPC-008
#[test]
fn configuration_names_a_code_by_size_and_rate_or_c2_by_name() {
    for spec in LdpcSpec::all() {
        let written = serde_json::to_string(&spec).expect("plain data");
        assert_eq!(serde_json::from_str::<LdpcSpec>(&written).expect("what was written"), spec);
    }
    let read = |text: &str| serde_json::from_str::<LdpcSpec>(text).map_err(|error| error.to_string());
    assert_eq!(read(r#"{"code": "c2"}"#), Ok(LdpcSpec::C2));
    assert_eq!(read(r#"{"k": 7136, "rate": "7/8"}"#), Ok(LdpcSpec::C2));
    assert_eq!(
        read(r#"{"code": "ar4ja", "k": 4096, "rate": "2/3"}"#),
        Ok(LdpcSpec::new(4096, "2/3").unwrap())
    );
}

// REQ: FEP-LDPC-008
#[test]
fn a_code_that_does_not_exist_is_refused_with_what_is_allowed() {
    let refusal = |text: &str| serde_json::from_str::<LdpcSpec>(text).expect_err(text).to_string();
    for (text, told) in [
        (r#"{"code": "c3"}"#, "\"c2\""),
        (r#"{"k": 1024}"#, "`rate` is missing"),
        (r#"{"rate": "1/2"}"#, "`k` is missing"),
        (r#"{"k": 2048, "rate": "1/2"}"#, "1024, 4096 or 16384"),
        (r#"{"k": 1024, "rate": "3/4"}"#, "\"4/5\""),
        (r#"{"k": 1024, "rate": "7/8"}"#, "k = 7136"),
        (r#"{"code": "c2", "k": 1024, "rate": "1/2"}"#, "say otherwise"),
        (r#"{"code": "ar4ja", "k": 7136, "rate": "7/8"}"#, "7/8"),
        (r#"{"k": 1024, "rate": "1/2", "iterations": 3}"#, "iterations"),
    ] {
        assert!(refusal(text).contains(told), "{text}: {}", refusal(text));
    }
    assert_eq!(LdpcSpec::new(1024, "1/3"), Err(LdpcSpecError::Rate("1/3".to_owned())));
}

// REQ: FEP-LDPC-005
#[test]
fn a_block_of_erasures_or_of_noise_does_not_converge_and_is_given_as_received() {
    for spec in LdpcSpec::all() {
        let mut decoder = LdpcDecoder::new(spec, 10);
        let mut decoded = vec![0xFF; spec.information_len()];
        let verdict = decoder.decode(&vec![0; spec.codeword_bits()], &mut decoded);
        assert!(!verdict.converged, "{spec}: nothing received");
        assert!(decoded.iter().all(|octet| *octet == 0));

        let noise = Noise(9).octets(spec.codeword_len());
        let verdict = decoder.decode(&symbols(&noise, 20), &mut decoded);
        assert_eq!(verdict, SoftVerdict { converged: false, iterations: 10, symbols_corrected: 0 }, "{spec}");
        assert!(decoded == noise[..spec.information_len()], "{spec}");
    }
}

// REQ: FEP-LDPC-004
#[test]
fn decoding_stops_when_all_checks_hold_unless_told_otherwise() {
    for spec in LdpcSpec::all() {
        let sent = codeword(spec, &Noise(3).octets(spec.information_len()));
        let mut decoder = LdpcDecoder::new(spec, 15);
        let mut decoded = vec![0; spec.information_len()];
        let early = decoder.decode(&symbols(&sent, 20), &mut decoded);
        assert!(early.converged && early.iterations == 0, "{spec}: {early:?}");
        decoder.set_early_stop(false);
        let late = decoder.decode(&symbols(&sent, 20), &mut decoded);
        assert_eq!(late, SoftVerdict { converged: true, iterations: 15, symbols_corrected: 0 });
        assert!(decoded == sent[..spec.information_len()]);
    }
}

// REQ: FEP-LDPC-003
#[test]
fn a_tenth_of_the_symbols_erased_is_recovered_and_not_counted_as_corrected() {
    for spec in LdpcSpec::all().filter(|spec| spec.rate_name() != "7/8") {
        let sent = codeword(spec, &Noise(4).octets(spec.information_len()));
        let mut symbols = symbols(&sent, 20);
        let mut noise = Noise(5);
        symbols.iter_mut().filter(|_| noise.next().is_multiple_of(10)).for_each(|symbol| *symbol = 0);
        let mut decoded = vec![0; spec.information_len()];
        let verdict = LdpcDecoder::new(spec, 50).decode(&symbols, &mut decoded);
        assert!(verdict.converged && verdict.symbols_corrected == 0, "{spec}: {verdict:?}");
        assert!(decoded == sent[..spec.information_len()]);
    }
}

// REQ: FEP-LDPC-012
#[test]
fn a_single_symbol_is_corrected_wherever_it_lies_and_however_strongly_it_is_wrong() {
    for spec in LdpcSpec::all() {
        let sent = codeword(spec, &Noise(5).octets(spec.information_len()));
        let right = symbols(&sent, 20);
        let mut decoder = LdpcDecoder::new(spec, 20);
        // C2's two fill bits behind the code say nothing.
        for place in (0..spec.codeword_bits() - 2).step_by(spec.codeword_bits() / 61) {
            let mut symbols = right.clone();
            symbols[place] = -127 * right[place].signum();
            let mut decoded = vec![0; spec.information_len()];
            let verdict = decoder.decode(&symbols, &mut decoded);
            assert!(
                verdict.converged && verdict.symbols_corrected == 1,
                "{spec}, symbol {place}: {verdict:?}"
            );
            assert!(decoded == sent[..spec.information_len()], "{spec}, symbol {place}");
        }
    }
}

// REQ: FEP-LDPC-003
#[test]
fn the_two_fill_bits_of_c2_may_be_anything() {
    let sent = codeword(LdpcSpec::C2, &Noise(6).octets(892));
    assert_eq!(sent[1019] & 3, 0, "fill bits are zeros");
    let mut symbols = symbols(&sent, 20);
    symbols[8158..].fill(-127);
    let mut decoded = vec![0; 892];
    let verdict = LdpcDecoder::new(LdpcSpec::C2, 10).decode(&symbols, &mut decoded);
    assert_eq!(verdict, SoftVerdict { converged: true, iterations: 0, symbols_corrected: 0 });
}

// REQ: FEP-LDPC-100
#[test]
fn a_codeword_of_any_strength_takes_no_iteration_on_any_instruction_set() {
    for (spec, strength) in LdpcSpec::all().flat_map(|spec| [1, 20, 127].map(|strength| (spec, strength))) {
        let sent = codeword(spec, &Noise(7).octets(spec.information_len()));
        for isa in Isa::available() {
            let mut decoder = LdpcDecoder::with_isa(spec, 10, *isa).expect("an available set");
            let mut decoded = vec![0; spec.information_len()];
            let verdict = decoder.decode(&symbols(&sent, strength), &mut decoded);
            let clean = SoftVerdict { converged: true, iterations: 0, symbols_corrected: 0 };
            assert_eq!(verdict, clean, "{spec} on {isa}, strength {strength}");
            assert!(decoded == sent[..spec.information_len()], "{spec} on {isa}");
        }
    }
}

// REQ: FEP-LDPC-100
#[test]
fn a_single_wrong_sign_anywhere_is_seen_before_the_first_iteration() {
    for spec in LdpcSpec::all() {
        let sent = codeword(spec, &Noise(8).octets(spec.information_len()));
        let right = symbols(&sent, 20);
        // C2's two fill bits behind the code say nothing.
        let places = (0..spec.codeword_bits() - 2).step_by(spec.codeword_bits() / 97);
        for isa in Isa::available().iter().filter(|isa| **isa != Isa::Scalar) {
            let mut decoder = LdpcDecoder::with_isa(spec, 20, *isa).expect("an available set");
            for place in places.clone().chain(spec.codeword_bits() - 40..spec.codeword_bits() - 2) {
                let mut symbols = right.clone();
                symbols[place] = -symbols[place];
                let mut decoded = vec![0; spec.information_len()];
                let verdict = decoder.decode(&symbols, &mut decoded);
                assert!(
                    verdict.iterations > 0 && verdict.symbols_corrected == 1,
                    "{spec} on {isa}, symbol {place}: {verdict:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // REQ: FEP-LDPC-002
    #[test]
    fn every_encoding_of_every_code_fulfils_every_check_on_every_instruction_set(
        spec in code(), seed: u64, sparse: bool,
    ) {
        let mut noise = Noise(seed);
        let mut information = noise.octets(spec.information_len());
        if sparse {
            let place = noise.next() as usize % spec.information_bits();
            information.fill(0);
            information[place / 8] = 0x80 >> (place % 8);
        }
        let mut scalar = vec![0; spec.codeword_len()];
        LdpcEncoder::with_isa(spec, Isa::Scalar).expect("always there").encode(&information, &mut scalar);
        prop_assert!(spec.is_codeword(&scalar), "{}", spec);
        for isa in Isa::available() {
            let mut encoded = vec![0; spec.codeword_len()];
            LdpcEncoder::with_isa(spec, *isa).expect("available").encode(&information, &mut encoded);
            prop_assert!(encoded == scalar, "{} on {}", spec, isa);
        }
    }

    // REQ: FEP-LDPC-007
    #[test]
    fn every_instruction_set_decodes_alone_and_in_batches_to_what_the_scalar_reference_says(
        spec in code(), count in 1usize..12, offset_db in -2.0f64..1.5, seed: u64, limit in 1u16..20,
        scale in 1.0f32..120.0, early_stop: bool, kinds: u64,
    ) {
        let large = spec.codeword_bits() > 16_000;
        let (count, limit) = if large { (count.min(3), limit.min(6)) } else { (count, limit) };
        let sigma = sigma(spec, threshold_db(spec) + offset_db) as f32;
        let mut noise = Noise(seed);
        let mut symbols = Vec::new();
        for block in 0..count {
            let sent = codeword(spec, &noise.octets(spec.information_len()));
            let sigma = match kinds >> (3 * block) & 7 {
                0 | 1 => 0.0,
                2 => 3.0,
                3 => {
                    symbols.resize(symbols.len() + spec.codeword_bits(), 0);
                    continue;
                }
                _ => sigma,
            };
            symbols.extend(quantised(&received(&sent, sigma, &mut noise), scale));
        }
        let (n, k) = (spec.codeword_bits(), spec.information_len());
        let mut scalar = LdpcDecoder::with_isa(spec, limit, Isa::Scalar).expect("always there");
        scalar.set_early_stop(early_stop);
        let mut expected = vec![0; count * k];
        let verdicts: Vec<SoftVerdict> = expected
            .chunks_exact_mut(k)
            .zip(symbols.chunks_exact(n))
            .map(|(out, symbols)| scalar.decode(symbols, out))
            .collect();
        for isa in Isa::available() {
            let mut decoder = LdpcDecoder::with_isa(spec, limit, *isa).expect("an available set");
            decoder.set_early_stop(early_stop);
            let mut decoded = vec![0; count * k];
            let mut batch = vec![SoftVerdict::default(); count];
            decoder.decode_batch(&symbols, &mut decoded, &mut batch);
            prop_assert_eq!(&batch, &verdicts, "{} on {}", spec, isa);
            prop_assert!(decoded == expected, "{} on {}", spec, isa);
        }
    }

    // REQ: FEP-LDPC-100
    #[test]
    fn no_iteration_is_taken_exactly_when_the_hard_decisions_fulfil_every_check(
        spec in code(), seed: u64, flips in prop::collection::vec(any::<u16>(), 0..3), erased: u16,
    ) {
        let mut noise = Noise(seed);
        let mut hard = codeword(spec, &noise.octets(spec.information_len()));
        let mut flip = |place: u16| {
            let place = usize::from(place) % spec.codeword_bits();
            hard[place / 8] ^= 0x80 >> (place % 8);
        };
        flips.iter().copied().for_each(&mut flip);
        let mut symbols = symbols(&hard, 20);
        // A symbol of which nothing is known counts as a 0.
        let erased = usize::from(erased) % spec.codeword_bits();
        symbols[erased] = 0;
        hard[erased / 8] &= !(0x80 >> (erased % 8));
        let clean = spec.is_codeword(&hard);
        for isa in Isa::available() {
            let mut decoded = vec![0; spec.information_len()];
            let verdict = LdpcDecoder::with_isa(spec, 20, *isa).expect("available").decode(&symbols, &mut decoded);
            prop_assert_eq!(verdict.iterations == 0, clean, "{} on {}: {:?}", spec, isa, verdict);
            prop_assert!(!clean || decoded == hard[..spec.information_len()], "{} on {}", spec, isa);
        }
    }

    // REQ: FEP-LDPC-003
    // REQ: FEP-LDPC-006
    #[test]
    fn what_was_sent_comes_back_through_noise_above_threshold_with_its_errors_counted(
        spec in code(), seed: u64, scale in 8.0f32..64.0,
    ) {
        let mut noise = Noise(seed);
        let sent = codeword(spec, &noise.octets(spec.information_len()));
        let sigma = sigma(spec, threshold_db(spec) + 2.0) as f32;
        let arrived = quantised(&received(&sent, sigma, &mut noise), scale);
        let mut decoded = vec![0; spec.information_len()];
        let verdict = LdpcDecoder::new(spec, 50).decode(&arrived, &mut decoded);
        prop_assert!(verdict.converged);
        prop_assert!(decoded == sent[..spec.information_len()]);
        let sent = symbols(&sent, 1);
        let counted = match spec { LdpcSpec::C2 => 8158, _ => sent.len() };
        let wrong = sent[..counted].iter().zip(&arrived).filter(|(sent, arrived)| (**sent * arrived.signum()) < 0);
        prop_assert_eq!(verdict.symbols_corrected as usize, wrong.count());
    }

    // REQ: FEP-LDPC-007
    #[test]
    fn symbols_of_any_strength_decode_to_the_same_on_every_instruction_set(
        spec in code(), seed: u64, limit in 1u16..6,
        extreme in prop::collection::vec((any::<u16>(), any::<i8>()), 0..400),
    ) {
        let mut noise = Noise(seed);
        let sent = codeword(spec, &noise.octets(spec.information_len()));
        let mut symbols = symbols(&sent, 127);
        let count = symbols.len();
        for (place, symbol) in extreme {
            symbols[usize::from(place) % count] = symbol;
        }
        let decode = |isa: Isa| {
            let mut decoded = vec![0; spec.information_len()];
            let mut decoder = LdpcDecoder::with_isa(spec, limit, isa).expect("available");
            (decoder.decode(&symbols, &mut decoded), decoded)
        };
        let expected = decode(Isa::Scalar);
        for isa in Isa::available() {
            prop_assert!(decode(*isa) == expected, "{} on {}", spec, isa);
        }
    }
}
