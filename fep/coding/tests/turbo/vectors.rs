//! Vectors of other programs, both directions.

use fep_coding::turbo::{
    TurboDecoder, TurboDecoding, TurboEncoder, TurboRate, TurboSpec, TurboSpecError, TurboStop, interleaver,
};
use fep_coding::{Derandomizer, Isa, Randomizer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::channel::{bit, codeword, hard};
use crate::golden::{cases, octets};

/// The code that a case's keys name, read as a configuration would be.
fn spec(information_bits: &Value, rate: &Value) -> TurboSpec {
    let table = serde_json::json!({ "information_bits": information_bits, "rate": rate });
    serde_json::from_value(table).expect("a code of the standard")
}

fn named(name: &str) -> Vec<serde_json::Value> {
    cases("coding/turbo.json").into_iter().filter(|case| case["name"] == name).collect()
}

// REQ: FEP-TURBO-002
#[test]
fn the_interleavers_are_those_of_the_standard() {
    let cases = named("interleaver");
    assert_eq!(cases.len(), 4);
    for case in cases {
        let order = interleaver(case["k"].as_u64().expect("a number") as usize);
        let from_one: Vec<u16> = order.iter().map(|bit| bit + 1).collect();
        let listed: Vec<u16> =
            serde_json::from_value(case["pi_first_64_one_based"].clone()).expect("numbers");
        assert_eq!(from_one[..64], listed);
        let octets: Vec<u8> = from_one.iter().flat_map(|bit| bit.to_be_bytes()).collect();
        let digest: String = Sha256::digest(&octets).iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(digest, case["sha256_of_pi_as_be_u16_one_based"].as_str().expect("a digest"));
    }
}

// REQ: FEP-TURBO-001
// REQ: FEP-TURBO-003
#[test]
fn every_length_at_every_rate_is_encoded_as_other_programs_do_and_decodes_back() {
    let cases = named("encode");
    assert_eq!(cases.len(), 16);
    for case in cases {
        let spec = spec(&case["k"], &case["rate"]);
        let (frame, expected) = (octets(&case["info"]), octets(&case["codeword"]));
        assert_eq!(case["n"], spec.codeword_bits(), "{spec}");
        assert_eq!(expected.len(), spec.codeword_len(), "{spec}");
        assert_eq!(codeword(spec, &frame), expected, "{spec}");
        for isa in Isa::available() {
            let mut decoder =
                TurboDecoder::with_isa(spec, TurboDecoding::default(), *isa).expect("an available set");
            let mut decoded = vec![0; frame.len()];
            let verdict = decoder.decode(&hard(&expected, spec.codeword_bits(), 1), &mut decoded);
            assert_eq!(decoded, frame, "{spec} on {isa}");
            assert!(verdict.converged && verdict.symbols_corrected == 0, "{spec} on {isa}: {verdict:?}");
            assert_eq!(verdict.iterations, 2, "{spec} on {isa}");
        }
    }
}

// REQ: FEP-TURBO-004
#[test]
fn noisy_symbols_that_another_program_decodes_are_decoded() {
    let cases = named("decode_soft");
    assert_eq!(cases.len(), 3);
    for case in cases {
        let spec = spec(&case["k"], &case["rate"]);
        let frame = octets(&case["info"]);
        let symbols: Vec<i8> = octets(&case["soft_int8_hex"]).iter().map(|octet| *octet as i8).collect();
        let sent = codeword(spec, &frame);
        let wrong = |(i, symbol): &(usize, &i8)| **symbol != 0 && (bit(&sent, *i) == 1) != (**symbol < 0);
        let wrong = symbols.iter().enumerate().filter(wrong).count();
        for isa in Isa::available() {
            let mut decoder =
                TurboDecoder::with_isa(spec, TurboDecoding::default(), *isa).expect("an available set");
            let mut decoded = vec![0; frame.len()];
            let verdict = decoder.decode(&symbols, &mut decoded);
            assert_eq!(decoded, frame, "{spec} on {isa}");
            assert!(verdict.converged, "{spec} on {isa}: {verdict:?}");
            assert_eq!(verdict.symbols_corrected as usize, wrong, "{spec} on {isa}");
        }
    }
}

// REQ: FEP-TURBO-005
#[test]
fn a_stream_of_randomised_codewords_behind_long_markers_gives_its_frames() {
    let chains: Vec<_> =
        cases("coding/chains.json").into_iter().filter(|case| case["config"]["turbo_k"].is_u64()).collect();
    assert_eq!(chains.len(), 1);
    for case in chains {
        let spec = spec(&case["config"]["turbo_k"], &case["config"]["turbo_rate"]);
        assert_eq!(case["config"]["randomizer"], "131071");
        let derandomizer = Derandomizer::new(Randomizer::Long131071, spec.codeword_len());
        let decoding = TurboDecoding { iterations_max: 10, stop: TurboStop::Fecf };
        let mut decoder = TurboDecoder::new(spec, decoding).expect("a code of the standard");
        let stream = octets(&case["stream"]);
        let marker_bits = 8 * octets(&case["config"]["asm"]).len();
        let markers = case["marker_start_bit_of_each_block"].as_array().expect("a list");
        assert_eq!(markers.len(), 5);
        for (marker, frame) in markers.iter().zip(case["frames"].as_array().expect("frames")) {
            let from = marker.as_u64().expect("a number") as usize + marker_bits;
            let mut block = vec![0; spec.codeword_len()];
            for i in 0..spec.codeword_bits() {
                block[i / 8] |= bit(&stream, from + i) << (7 - i % 8);
            }
            derandomizer.apply(&mut block);
            let mut decoded = vec![0; spec.information_len()];
            let verdict = decoder.decode(&hard(&block, spec.codeword_bits(), 32), &mut decoded);
            assert!(verdict.converged, "{verdict:?}");
            assert_eq!(decoded, octets(frame));
        }
    }
}

// REQ: FEP-TURBO-001
#[test]
fn impossible_parameters_are_refused_with_what_is_possible() {
    let spec = TurboSpec { information_bits: 1785, rate: TurboRate::R1_3 };
    let refused = TurboEncoder::new(spec).expect_err("no such length");
    assert_eq!(refused, TurboSpecError::InformationBits(1785));
    assert_eq!(
        refused.to_string(),
        "information_bits = 1785: 1784, 3568, 7136 or 8920 (CCSDS 131.0-B-5 6.3)"
    );
    let spec = TurboSpec { information_bits: 1784, ..spec };
    for iterations_max in [0, 51] {
        let decoding = TurboDecoding { iterations_max, ..TurboDecoding::default() };
        let refused = TurboDecoder::new(spec, decoding).expect_err("no such number");
        assert_eq!(refused.to_string(), format!("iterations_max = {iterations_max}: 1 to 50"));
    }
    let unknown = serde_json::json!({ "information_bits": 1784, "rate": "7/8" });
    let refused = serde_json::from_value::<TurboSpec>(unknown).expect_err("no such rate");
    assert!(refused.to_string().contains("`1/2`, `1/3`, `1/4`, `1/6`"), "{refused}");
}

#[test]
fn the_lengths_of_codewords_are_those_of_the_standard() {
    let bits =
        |information_bits| TurboRate::ALL.map(|rate| TurboSpec { information_bits, rate }.codeword_bits());
    assert_eq!(bits(1784), [3576, 5364, 7152, 10728]);
    assert_eq!(bits(3568), [7144, 10716, 14288, 21432]);
    assert_eq!(bits(7136), [14280, 21420, 28560, 42840]);
    assert_eq!(bits(8920), [17848, 26772, 35696, 53544]);
}
