//! Codewords of other programs, both ways.

use fep_coding::isa::Isa;
use fep_coding::ldpc::{LdpcDecoder, LdpcEncoder, LdpcSpec};
use fep_coding::{FrameSync, Marker, SyncSpec};
use serde_json::Value;

use crate::channel::symbols;
use crate::golden::{cases, octets};

fn spec(case: &Value) -> LdpcSpec {
    match case["k"].as_u64() {
        None => LdpcSpec::C2,
        Some(k) => LdpcSpec::new(k as u32, case["rate"].as_str().expect("a rate")).expect("a code"),
    }
}

fn all_cases() -> Vec<Value> {
    let cases: Vec<Value> =
        ["coding/ldpc_c2.json", "coding/ldpc_ar4ja.json"].into_iter().flat_map(cases).collect();
    assert_eq!(cases.len(), 19);
    cases
}

/// The codeword with the wrong bits that the vector gives, and how many.
fn damaged(case: &Value) -> Option<(Vec<u8>, usize)> {
    if let Some(places) = case["hard_error_positions"].as_array() {
        let mut codeword = octets(&case["codeword"]);
        for place in places.iter().map(|place| place.as_u64().expect("a place") as usize) {
            codeword[place / 8] ^= 0x80 >> (place % 8);
        }
        return Some((codeword, places.len()));
    }
    let decode = case["decode"].as_object()?;
    Some((octets(&decode["received_hard"]), decode["n_flipped"].as_u64().expect("a count") as usize))
}

// REQ: FEP-LDPC-001
// REQ: FEP-LDPC-002
#[test]
fn codewords_are_those_of_other_programs_on_every_instruction_set() {
    for case in all_cases() {
        let (spec, information, sent) = (spec(&case), octets(&case["info"]), octets(&case["codeword"]));
        for isa in Isa::available() {
            let mut encoder = LdpcEncoder::with_isa(spec, *isa).expect("an available set");
            let mut codeword = vec![0; spec.codeword_len()];
            encoder.encode(&information, &mut codeword);
            assert!(codeword == sent, "{spec} on {isa}");
        }
    }
}

// REQ: FEP-LDPC-002
#[test]
fn all_parity_checks_hold_for_every_codeword_and_fail_for_what_is_one_bit_away() {
    for case in all_cases() {
        let (spec, mut word) = (spec(&case), octets(&case["codeword"]));
        assert!(spec.is_codeword(&word), "{spec}");
        for place in [0, spec.information_bits() - 1, spec.information_bits(), spec.codeword_bits() - 3] {
            word[place / 8] ^= 0x80 >> (place % 8);
            assert!(!spec.is_codeword(&word), "{spec}, bit {place}");
            word[place / 8] ^= 0x80 >> (place % 8);
        }
    }
}

// REQ: FEP-LDPC-003
// REQ: FEP-LDPC-006
#[test]
fn damaged_codewords_of_other_programs_are_corrected_and_their_wrong_bits_counted() {
    let mut seen = 0;
    for case in all_cases() {
        let Some((received, wrong)) = damaged(&case) else { continue };
        seen += 1;
        let spec = spec(&case);
        for isa in Isa::available() {
            let mut decoder = LdpcDecoder::with_isa(spec, 50, *isa).expect("an available set");
            let mut decoded = vec![0; spec.information_len()];
            for magnitude in [1, 20, 127] {
                let verdict = decoder.decode(&symbols(&received, magnitude), &mut decoded);
                assert!(verdict.converged, "{spec} on {isa}, symbols of {magnitude}: {wrong} wrong bits");
                assert!(decoded == octets(&case["info"]), "{spec} on {isa}");
                assert_eq!(verdict.symbols_corrected as usize, wrong, "{spec} on {isa}");
            }
        }
    }
    assert_eq!(seen, 16, "vectors with wrong bits");
}

// REQ: FEP-LDPC-003
#[test]
fn the_chain_of_one_codeword_a_marker_gives_every_frame() {
    let case = cases("coding/chains.json").into_iter().find(|case| case["config"]["ldpc"] == "TM2048");
    let case = case.expect("a chain with LDPC");
    let spec = LdpcSpec::new(1024, "1/2").expect("a code");
    let marker = Marker::new(&octets(&case["config"]["asm"])).expect("a marker");
    assert_eq!(marker, spec.marker());
    let derandomizer = fep_coding::Derandomizer::new(fep_coding::Randomizer::Long131071, spec.codeword_len());
    let mut decoder = LdpcDecoder::new(spec, 20);
    let mut sync = FrameSync::new(SyncSpec::ccsds(marker, spec.codeword_len())).expect("parameters");
    let mut frames = Vec::new();
    let mut sink = |block: fep_coding::Block<'_>| {
        let mut codeword = vec![0; spec.codeword_len()];
        derandomizer.apply_to(block.data, &mut codeword);
        let mut frame = vec![0; spec.information_len()];
        assert!(decoder.decode(&symbols(&codeword, 32), &mut frame).converged);
        frames.push(frame);
    };
    sync.push(&octets(&case["stream"]), &mut sink);
    sync.finish(&mut sink);
    let expected: Vec<Vec<u8>> = case["frames"].as_array().expect("frames").iter().map(octets).collect();
    assert_eq!(frames, expected);
}
