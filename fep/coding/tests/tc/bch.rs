//! The BCH code: other programs' codeblocks, and every error pattern that the code promises something about.

use fep_coding::tc::TAIL_SEQUENCE;
use fep_coding::tc::bch::{Bch, BchMode, BchVerdict, FillerRule, encode, encode_run};
use proptest::prelude::*;

use crate::golden::{cases, octets};

const TED: Bch = Bch::new(BchMode::Ted, FillerRule::Ignored);
const SEC: Bch = Bch::new(BchMode::Sec, FillerRule::Ignored);

fn codeblock(octets: &[u8]) -> [u8; 8] {
    octets.try_into().expect("a codeblock")
}

fn flipped(mut codeblock: [u8; 8], bits: &[usize]) -> [u8; 8] {
    for bit in bits {
        codeblock[bit / 8] ^= 0x80 >> (bit % 8);
    }
    codeblock
}

/// Long division by x⁷+x⁶+x²+1, bit by bit; the parity complemented, the filler 0.
fn by_division(information: [u8; 7]) -> u8 {
    let mut remainder = 0u8;
    for bit in information.iter().flat_map(|octet| (0..8).map(move |i| octet >> (7 - i) & 1)) {
        let feedback = remainder >> 6 & 1 ^ bit;
        remainder = remainder << 1 & 0x7F ^ if feedback == 1 { 0b100_0101 } else { 0 };
    }
    (remainder ^ 0x7F) << 1
}

// REQ: FEP-TC-001
// REQ: FEP-TC-002
#[test]
fn codeblocks_are_judged_as_another_program_judges_them() {
    let vectors = cases("tc/bch_decode.json");
    assert_eq!(vectors.len(), 16);
    for case in vectors {
        let sent = codeblock(&octets(&case["codeblock_sent"]));
        let received = codeblock(&octets(&case["received"]));
        let information: [u8; 7] = sent[..7].try_into().expect("seven octets");
        assert_eq!(encode(information), sent);

        let mut corrected = received;
        let expected = match case["SEC_result"].as_str() {
            Some("ok") => BchVerdict::Clean,
            Some("correctable") => {
                BchVerdict::Corrected { bit: case["SEC_corrected_bit"].as_u64().expect("a bit") as u8 }
            }
            _ => BchVerdict::Rejected,
        };
        assert_eq!(SEC.decode(&mut corrected), expected, "{case}");
        let restored = if expected.is_accepted() { sent } else { received };
        assert_eq!(corrected[..7], restored[..7], "{case}");

        let mut detected = received;
        let expected = if case["TED_result"] == "ok" { BchVerdict::Clean } else { BchVerdict::Rejected };
        assert_eq!(TED.decode(&mut detected), expected, "{case}");
        assert_eq!(detected, received, "{case}: left as received");
    }
}

// REQ: FEP-TC-002
#[test]
fn every_single_wrong_bit_is_corrected_and_every_two_are_detected() {
    for information in [[0; 7], [0xFF; 7], *b"command"] {
        let sent = encode(information);
        assert_eq!(SEC.decode(&mut sent.clone()), BchVerdict::Clean);
        for first in 0..63 {
            let mut received = flipped(sent, &[first]);
            assert_eq!(SEC.decode(&mut received), BchVerdict::Corrected { bit: first as u8 });
            assert_eq!(received, sent);
            for second in first + 1..63 {
                let mut received = flipped(sent, &[first, second]);
                assert_eq!(SEC.decode(&mut received), BchVerdict::Rejected, "{first} {second}");
                assert_eq!(received, flipped(sent, &[first, second]), "left as received");
            }
        }
    }
}

// REQ: FEP-TC-003
#[test]
fn every_pattern_of_one_two_or_three_wrong_bits_is_detected() {
    let sent = encode(*b"detects");
    let rejects = |bits: &[usize]| {
        assert_eq!(TED.decode(&mut flipped(sent, bits)), BchVerdict::Rejected, "{bits:?}");
    };
    for first in 0..63 {
        rejects(&[first]);
        for second in first + 1..63 {
            rejects(&[first, second]);
            for third in second + 1..63 {
                rejects(&[first, second, third]);
            }
        }
    }
}

// REQ: FEP-TC-004
#[test]
fn a_filler_bit_of_one_is_ignored_or_inhibits_correction_as_configured() {
    let sent = encode(*b"fillers");
    let careful = Bch::new(BchMode::Sec, FillerRule::InhibitsCorrection);
    assert_eq!(sent[7] & 1, 0);
    for decoder in [SEC, TED, careful] {
        assert_eq!(decoder.decode(&mut flipped(sent, &[63])), BchVerdict::Clean);
    }
    for bit in 0..63 {
        let both = flipped(sent, &[bit, 63]);
        assert_eq!(SEC.decode(&mut both.clone()), BchVerdict::Corrected { bit: bit as u8 });
        assert_eq!(careful.decode(&mut both.clone()), BchVerdict::Rejected);
        assert_eq!(careful.decode(&mut flipped(sent, &[bit])), BchVerdict::Corrected { bit: bit as u8 });
    }
}

// REQ: FEP-TC-005
#[test]
fn the_tail_sequence_is_rejected_in_either_mode_even_with_a_wrong_bit() {
    for decoder in [SEC, TED] {
        assert_eq!(decoder.decode(&mut TAIL_SEQUENCE.clone()), BchVerdict::Rejected);
        for bit in 0..64 {
            let damaged = flipped(TAIL_SEQUENCE, &[bit]);
            assert_eq!(decoder.decode(&mut damaged.clone()), BchVerdict::Rejected, "{bit}");
        }
    }
    // Two wrong bits can make a correctable codeblock of it, hence the limit of the tail's tolerance.
    let two = (0..63).flat_map(|first| (first + 1..63).map(move |second| [first, second]));
    assert!(two.into_iter().any(|bits| SEC.decode(&mut flipped(TAIL_SEQUENCE, &bits)).is_accepted()));
}

proptest! {
    // REQ: FEP-TC-001
    #[test]
    fn parity_is_the_complemented_remainder_of_the_division(information: [u8; 7]) {
        let codeblock = encode(information);
        prop_assert_eq!(codeblock[7], by_division(information));
        prop_assert_eq!(&codeblock[..7], &information);
    }

    // REQ: FEP-TC-006
    #[test]
    fn a_run_of_codeblocks_is_decoded_up_to_the_first_that_is_rejected(
        information in prop::collection::vec(any::<u8>(), 1..200),
        bad in 0usize..40,
        single in prop::collection::vec(0usize..63, 40),
    ) {
        let mut sent = Vec::new();
        encode_run(&information, &mut sent);
        let count = information.len().div_ceil(7);
        prop_assert_eq!(sent.len(), 8 * count);
        let mut received = sent.clone();
        for (block, bit) in received.chunks_exact_mut(8).zip(&single) {
            block[bit / 8] ^= 0x80 >> (bit % 8);
        }
        if bad < count {
            received[8 * bad..][..8].copy_from_slice(&TAIL_SEQUENCE);
        }
        let mut decoded = vec![0; 7 * count];
        let mut verdicts = vec![BchVerdict::Clean; count];
        let accepted = SEC.decode_run(&received, &mut decoded, &mut verdicts);
        prop_assert_eq!(accepted, bad.min(count));
        for (k, verdict) in verdicts[..accepted].iter().enumerate() {
            prop_assert_eq!(*verdict, BchVerdict::Corrected { bit: single[k] as u8 });
        }
        let mut filled = information.clone();
        filled.resize(7 * count, 0x55);
        prop_assert_eq!(&decoded[..7 * accepted], &filled[..7 * accepted]);
    }
}
