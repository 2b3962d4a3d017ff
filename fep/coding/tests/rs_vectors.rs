//! Reed-Solomon against codeblocks and verdicts made by libfec, and the known answers of the standard's encoders.

use fep_coding::isa::Isa;
use fep_coding::rs::{Basis, ReedSolomon, RsE, RsSpec, RsVerdict};
use serde_json::Value;

fn vectors() -> Vec<Value> {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/coding/rs.json"));
    let file: Value = serde_json::from_str(text).expect("the vector file is JSON");
    let cases = file["cases"].as_array().expect("a list of cases").clone();
    assert_eq!(cases.len(), 36, "the vector file is whole");
    cases
}

fn number(case: &Value, key: &str) -> u8 {
    case[key].as_u64().and_then(|n| u8::try_from(n).ok()).unwrap_or_else(|| panic!("{key} is a small number"))
}

fn octets(case: &Value, key: &str) -> Vec<u8> {
    unhex(case[key].as_str().unwrap_or_else(|| panic!("{key} is a hex string")))
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex digits")).collect()
}

fn spec(case: &Value) -> RsSpec {
    RsSpec {
        e: RsE::try_from(number(case, "E")).expect("E of the standard"),
        interleave: number(case, "interleave"),
        virtual_fill: number(case, "virtual_fill_per_codeword_q"),
        basis: Basis::Dual,
    }
}

fn codec(spec: RsSpec, isa: Isa) -> ReedSolomon {
    ReedSolomon::with_isa(spec, isa).unwrap_or_else(|error| panic!("{spec:?} on {isa}: {error}"))
}

/// What the vectors say of each codeword of a received codeblock: the symbols corrected, or `None` where it is beyond
/// correction.
fn answers(decode: &Value) -> Vec<Option<u16>> {
    let answers = decode["expected_per_codeword"].as_array().expect("one answer a codeword");
    let symbols = |answer: &Value| answer[1].as_u64().and_then(|n| u16::try_from(n).ok()).expect("a count");
    let read = |answer: &Value| match answer[0].as_str().expect("a word") {
        "ok" | "corrected" => Some(symbols(answer)),
        "uncorrectable" => None,
        other => panic!("unknown answer {other} in the vectors"),
    };
    answers.iter().map(read).collect()
}

// REQ: FEP-RS-001
// REQ: FEP-RS-002
#[test]
fn every_frame_of_the_vectors_encodes_to_the_codeblock_that_libfec_made_on_every_isa() {
    for case in vectors() {
        let (spec, frame, codeblock) = (spec(&case), octets(&case, "frame"), octets(&case, "codeblock"));
        assert_eq!((spec.frame_len(), spec.codeblock_len()), (frame.len(), codeblock.len()), "{spec:?}");
        for &isa in Isa::available() {
            let mut check = vec![0; spec.check_len()];
            codec(spec, isa).encode(&frame, &mut check);
            assert!(check == codeblock[frame.len()..], "{spec:?} on {isa}");
        }
    }
}

// REQ: FEP-RS-003
// REQ: FEP-RS-004
#[test]
fn every_received_codeblock_of_the_vectors_gets_libfecs_verdict_on_every_isa() {
    let mut decoded = 0;
    for case in vectors() {
        let (spec, sent) = (spec(&case), octets(&case, "codeblock"));
        for decode in case["decode"].as_array().expect("a list") {
            let (received, answers) = (octets(decode, "received"), answers(decode));
            let expected = RsVerdict {
                symbols_corrected: answers.iter().flatten().sum(),
                codewords_corrected: answers.iter().flatten().filter(|symbols| **symbols > 0).count() as u8,
                codewords_failed: answers.iter().filter(|answer| answer.is_none()).count() as u8,
            };
            for &isa in Isa::available() {
                let mut codeblock = received.clone();
                let verdict = codec(spec, isa).decode(&mut codeblock);
                let case = format!("{spec:?} {} on {isa}", decode["name"]);
                assert_eq!(verdict, expected, "{case}");
                for (at, octet) in codeblock.iter().enumerate() {
                    let failed = answers[at % answers.len()].is_none();
                    let wanted = if failed { received[at] } else { sent[at] };
                    assert_eq!(*octet, wanted, "{case}: octet {at}");
                }
                decoded += 1;
            }
        }
    }
    assert!(decoded >= 36, "the vectors hold decodings");
}

// REQ: FEP-RS-001
#[test]
fn a_message_of_one_last_one_has_the_published_parity_in_the_dual_basis() {
    let answers = [
        (RsE::E16, "660827f283411b8b28e61fad2759c879c85927ad1fe6288b1b4183f227086601"),
        (RsE::E8, "286d24c56c532d952d536cc5246d2801"),
    ];
    for (e, parity) in answers {
        let spec = RsSpec { e, interleave: 1, virtual_fill: 0, basis: Basis::Dual };
        let mut frame = vec![0; spec.frame_len()];
        *frame.last_mut().expect("a frame is not empty") = 1;
        for &isa in Isa::available() {
            let mut check = vec![0; spec.check_len()];
            codec(spec, isa).encode(&frame, &mut check);
            assert_eq!(check, unhex(parity), "{e:?} on {isa}");
        }
    }
}

// REQ: FEP-RS-005
#[test]
fn a_message_of_one_last_one_has_the_generator_polynomial_as_parity_in_the_conventional_basis() {
    // G1 .. G16 of annex F; the generator is its own mirror image.
    let half = unhex("5b7f56101e0deb61a5082a3656ab2071");
    let parity: Vec<u8> = half.iter().chain(half[..15].iter().rev()).copied().chain([1]).collect();
    let spec = RsSpec { e: RsE::E16, interleave: 1, virtual_fill: 0, basis: Basis::Conventional };
    let mut frame = vec![0; spec.frame_len()];
    frame[222] = 1;
    for &isa in Isa::available() {
        let mut check = vec![0; spec.check_len()];
        codec(spec, isa).encode(&frame, &mut check);
        assert_eq!(check, parity, "on {isa}");
    }
}
