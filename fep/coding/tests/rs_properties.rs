//! Reed-Solomon properties: what is sent is restored up to E errors and never falsified beyond, on every instruction set
//! with the answers of the scalar reference.

mod noise;

use fep_coding::isa::Isa;
use fep_coding::rs::{Basis, CODEWORD_LEN, ReedSolomon, RsE, RsSpec, RsSpecError, RsVerdict};
use proptest::prelude::*;

use noise::Noise;

fn codec(spec: RsSpec, isa: Isa) -> ReedSolomon {
    ReedSolomon::with_isa(spec, isa).unwrap_or_else(|error| panic!("{spec:?} on {isa}: {error}"))
}

fn encoded(spec: RsSpec, isa: Isa, frame: &[u8]) -> Vec<u8> {
    let mut codeblock = frame.to_vec();
    codeblock.resize(spec.codeblock_len(), 0);
    let (frame, check) = codeblock.split_at_mut(spec.frame_len());
    codec(spec, isa).encode(frame, check);
    codeblock
}

/// Changes `count` symbols of one codeword, at places drawn without repetition among those sent.
fn damage(noise: &mut Noise, spec: RsSpec, codeblock: &mut [u8], codeword: usize, count: usize) {
    let interleave = spec.interleave as usize;
    let symbols = codeblock.len() / interleave;
    let mut places: Vec<usize> = (0..symbols).collect();
    for k in 0..count {
        places.swap(k, k + noise.below(symbols - k));
        codeblock[places[k] * interleave + codeword] ^= 1 + noise.below(255) as u8;
    }
}

fn column(codeblock: &[u8], spec: RsSpec, codeword: usize) -> Vec<u8> {
    codeblock.iter().skip(codeword).step_by(spec.interleave as usize).copied().collect()
}

fn specs() -> impl Strategy<Value = RsSpec> {
    (any::<bool>(), 0..6usize, prop_oneof![Just(0u8), 0..40u8, any::<u8>()], any::<bool>()).prop_map(
        |(strong, interleave, fill, dual)| {
            let e = if strong { RsE::E16 } else { RsE::E8 };
            RsSpec {
                e,
                interleave: [1, 2, 3, 4, 5, 8][interleave],
                virtual_fill: fill % e.information_symbols() as u8,
                basis: if dual { Basis::Dual } else { Basis::Conventional },
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // REQ: FEP-RS-003
    // REQ: FEP-RS-006
    #[test]
    fn up_to_e_wrong_symbols_anywhere_in_every_codeword_are_corrected_and_counted(spec in specs(), seed: u64) {
        let mut noise = Noise(seed);
        let frame = noise.octets(spec.frame_len());
        let sent = encoded(spec, Isa::Scalar, &frame);
        let mut received = sent.clone();
        let mut expected = RsVerdict::default();
        for codeword in 0..spec.interleave as usize {
            let count = noise.below(spec.e.correctable() + 1);
            damage(&mut noise, spec, &mut received, codeword, count);
            expected.symbols_corrected += count as u16;
            expected.codewords_corrected += u8::from(count > 0);
        }
        for &isa in Isa::available() {
            prop_assert!(encoded(spec, isa, &frame) == sent, "encoded differently on {}", isa);
            let mut codeblock = received.clone();
            prop_assert_eq!(codec(spec, isa).decode(&mut codeblock), expected, "on {}", isa);
            prop_assert!(codeblock == sent, "octets differ on {}", isa);
        }
    }

    // REQ: FEP-RS-004
    // REQ: FEP-RS-007
    #[test]
    fn more_than_e_wrong_symbols_leave_a_codeword_as_received_or_make_another_valid_one(spec in specs(), seed: u64) {
        let mut noise = Noise(seed);
        let sent = encoded(spec, Isa::Scalar, &noise.octets(spec.frame_len()));
        let mut received = sent.clone();
        for codeword in 0..spec.interleave as usize {
            let symbols = CODEWORD_LEN - spec.virtual_fill as usize;
            let count = spec.e.correctable() + 1 + noise.below(symbols - spec.e.correctable());
            damage(&mut noise, spec, &mut received, codeword, count);
        }
        let mut reference = received.clone();
        let expected = codec(spec, Isa::Scalar).decode(&mut reference);
        for &isa in Isa::available() {
            let mut codeblock = received.clone();
            prop_assert_eq!(codec(spec, isa).decode(&mut codeblock), expected, "on {}", isa);
            prop_assert!(codeblock == reference, "octets differ on {}", isa);
        }
        let (mut changed, mut symbols) = (0, 0);
        for codeword in 0..spec.interleave as usize {
            let (before, after) = (column(&received, spec, codeword), column(&reference, spec, codeword));
            let changes = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            prop_assert!(changes <= spec.e.correctable());
            changed += u8::from(changes > 0);
            symbols += changes as u16;
        }
        prop_assert_eq!((expected.codewords_corrected, expected.symbols_corrected), (changed, symbols));
        if !expected.is_uncorrectable() {
            let again = codec(spec, Isa::Scalar).decode(&mut reference);
            prop_assert!(again.is_clean(), "what was accepted is a codeword");
        }
    }

    // REQ: FEP-RS-008
    // REQ: FEP-RS-009
    #[test]
    fn a_batch_of_any_size_and_stride_gets_the_answers_of_its_codeblocks_one_by_one(
        spec in specs(), seed: u64, count in 0..40usize, gap in 0..70usize,
    ) {
        let mut noise = Noise(seed);
        let (len, stride) = (spec.codeblock_len(), spec.codeblock_len() + gap);
        let slice_len = if count == 0 { 0 } else { (count - 1) * stride + len + noise.below(80) };
        let mut received = noise.octets(slice_len);
        let sent = encoded(spec, Isa::Scalar, &noise.octets(spec.frame_len()));
        // From a batch in which nearly all is clean to one in which nearly nothing is.
        let (rarity, severity) = (1 + noise.below(8), 1 + noise.below(spec.e.correctable() + 3));
        for k in 0..count {
            let codeblock = &mut received[k * stride..k * stride + len];
            codeblock.copy_from_slice(&sent);
            for codeword in 0..spec.interleave as usize {
                if noise.below(rarity) == 0 {
                    let errors = noise.below(severity + 1).min(len / spec.interleave as usize);
                    damage(&mut noise, spec, codeblock, codeword, errors);
                }
            }
        }
        let mut reference = received.clone();
        let mut scalar = codec(spec, Isa::Scalar);
        let expected: Vec<RsVerdict> =
            (0..count).map(|k| scalar.decode(&mut reference[k * stride..k * stride + len])).collect();
        for &isa in Isa::available() {
            let mut codeblocks = received.clone();
            let stale = RsVerdict { symbols_corrected: 7, codewords_corrected: 7, codewords_failed: 7 };
            let mut verdicts = vec![stale; count];
            codec(spec, isa).decode_batch(&mut codeblocks, stride, &mut verdicts);
            prop_assert_eq!(&verdicts, &expected, "on {}", isa);
            prop_assert!(codeblocks == reference, "octets differ on {}", isa);
        }
    }

    // REQ: FEP-RS-008
    #[test]
    fn arbitrary_octets_get_the_same_answer_on_every_isa(spec in specs(), seed: u64) {
        let received = Noise(seed).octets(spec.codeblock_len());
        let mut reference = received.clone();
        let expected = codec(spec, Isa::Scalar).decode(&mut reference);
        for &isa in Isa::available() {
            let mut codeblock = received.clone();
            prop_assert_eq!(codec(spec, isa).decode(&mut codeblock), expected, "on {}", isa);
            prop_assert!(codeblock == reference, "octets differ on {}", isa);
        }
    }

    // REQ: FEP-RS-010
    #[test]
    fn errors_that_point_into_the_virtual_fill_are_uncorrectable(spec in specs(), seed: u64) {
        let mut noise = Noise(seed);
        let fill = spec.virtual_fill as usize;
        prop_assume!(fill > 0);
        // A codeword of the unshortened code whose "fill" holds nonzero symbols, the rest of it sent: the decoder sees
        // exactly those symbols in error, and must not believe it.
        let whole = RsSpec { virtual_fill: 0, interleave: 1, ..spec };
        let inside = 1 + noise.below(fill.min(spec.e.correctable()));
        let mut frame = noise.octets(whole.frame_len());
        frame[..fill].fill(0);
        for k in 0..inside {
            frame[k * fill / inside] = 1 + noise.below(255) as u8;
        }
        let sent = encoded(whole, Isa::Scalar, &frame);
        let shortened = RsSpec { interleave: 1, ..spec };
        let received = &sent[fill..];
        for &isa in Isa::available() {
            let mut codeblock = received.to_vec();
            let verdict = codec(shortened, isa).decode(&mut codeblock);
            let failed = RsVerdict { codewords_failed: 1, ..RsVerdict::default() };
            prop_assert_eq!(verdict, failed, "{} symbols in the fill, on {}", inside, isa);
            prop_assert!(codeblock == received, "octets differ on {}", isa);
        }
    }

    // REQ: FEP-RS-002
    #[test]
    fn virtual_fill_is_a_frame_with_zeros_in_front_that_are_not_sent(spec in specs(), seed: u64) {
        let whole = RsSpec { virtual_fill: 0, ..spec };
        let frame = Noise(seed).octets(spec.frame_len());
        let mut filled = vec![0; whole.frame_len() - frame.len()];
        filled.extend_from_slice(&frame);
        for &isa in Isa::available() {
            let check = &encoded(spec, isa, &frame)[spec.frame_len()..];
            prop_assert_eq!(check, &encoded(whole, isa, &filled)[whole.frame_len()..], "on {}", isa);
        }
    }

    // REQ: FEP-RS-005
    #[test]
    fn the_two_bases_carry_the_same_code_under_the_matrix_of_annex_f(spec in specs(), seed: u64) {
        const ROWS: [u8; 8] = [0x8D, 0xEF, 0xEC, 0x86, 0xFA, 0x99, 0xAF, 0x7B];
        let dual = |u: &u8| (0..8).filter(|bit| u >> (7 - bit) & 1 == 1).fold(0, |z, bit| z ^ ROWS[bit]);
        let frame = Noise(seed).octets(spec.frame_len());
        for &isa in Isa::available() {
            let conventional = encoded(RsSpec { basis: Basis::Conventional, ..spec }, isa, &frame);
            let carried: Vec<u8> = conventional.iter().map(dual).collect();
            let frame: Vec<u8> = frame.iter().map(dual).collect();
            prop_assert_eq!(encoded(RsSpec { basis: Basis::Dual, ..spec }, isa, &frame), carried, "on {}", isa);
        }
    }
}

// REQ: FEP-RS-003
#[test]
fn a_single_wrong_symbol_at_any_place_of_any_interleaving_is_corrected_on_every_isa() {
    for interleave in [1, 2, 3, 4, 5, 8] {
        for e in [RsE::E8, RsE::E16] {
            let spec = RsSpec { e, interleave, virtual_fill: 3, basis: Basis::Dual };
            let sent = encoded(spec, Isa::Scalar, &Noise(1).octets(spec.frame_len()));
            for &isa in Isa::available() {
                let mut codec = codec(spec, isa);
                for at in (0..sent.len()).step_by(if isa == Isa::Scalar { 7 } else { 1 }) {
                    let mut codeblock = sent.clone();
                    codeblock[at] ^= 1 + (at % 255) as u8;
                    let verdict = codec.decode(&mut codeblock);
                    assert_eq!(
                        (verdict.symbols_corrected, verdict.codewords_corrected),
                        (1, 1),
                        "{spec:?} {isa} {at}"
                    );
                    assert!(!verdict.is_clean() && !verdict.is_uncorrectable());
                    assert!(codeblock == sent, "{spec:?} {isa} {at}");
                }
            }
        }
    }
}

// REQ: FEP-RS-008
#[test]
fn a_codec_that_has_met_hopeless_codewords_decodes_the_next_batch_as_a_new_one_does() {
    let spec = RsSpec { e: RsE::E16, interleave: 5, virtual_fill: 0, basis: Basis::Dual };
    let mut noise = Noise(3);
    let sent = encoded(spec, Isa::Scalar, &noise.octets(spec.frame_len()));
    for &isa in Isa::available() {
        let mut codec = codec(spec, isa);
        let mut hopeless = noise.octets(20 * spec.codeblock_len());
        let mut verdicts = vec![RsVerdict::default(); 20];
        codec.decode_batch(&mut hopeless, spec.codeblock_len(), &mut verdicts);
        assert!(verdicts.iter().all(RsVerdict::is_uncorrectable), "random octets are far from any codeword");
        let mut received = sent.clone();
        damage(&mut noise, spec, &mut received, 2, 3);
        let verdict = codec.decode(&mut received);
        let expected = RsVerdict { symbols_corrected: 3, codewords_corrected: 1, codewords_failed: 0 };
        assert_eq!((verdict, received), (expected, sent.clone()), "on {isa}");
    }
}

// REQ: FEP-RS-011
#[test]
fn parameters_outside_the_standard_are_refused_with_the_reason() {
    let good = RsSpec { e: RsE::E16, interleave: 5, virtual_fill: 0, basis: Basis::Dual };
    assert_eq!(good.validate(), Ok(()));
    assert_eq!((good.frame_len(), good.check_len(), good.codeblock_len()), (1115, 160, 1275));
    for interleave in [0, 6, 7, 9, 255] {
        let refused = ReedSolomon::new(RsSpec { interleave, ..good }).expect_err("no such depth");
        assert_eq!(refused, RsSpecError::Interleave(interleave));
        assert!(refused.to_string().contains(&interleave.to_string()));
    }
    assert!(RsSpec { virtual_fill: 222, ..good }.validate().is_ok());
    let refused = RsSpec { virtual_fill: 223, ..good }.validate();
    assert_eq!(refused, Err(RsSpecError::VirtualFill { fill: 223, max: 222, information: 223 }));
    assert_eq!(RsE::try_from(12), Err(RsSpecError::Correction(12)));
    let foreign = if cfg!(target_arch = "aarch64") { Isa::Avx2 } else { Isa::Neon };
    assert!(matches!(ReedSolomon::with_isa(good, foreign), Err(RsSpecError::Isa(_))));
}

// REQ: FEP-RS-011
#[test]
fn parameters_read_from_configuration_have_the_standards_defaults_and_no_unknown_keys() {
    let spec: RsSpec = serde_json::from_str(r#"{"e": 16, "interleave": 4}"#).expect("a short form");
    assert_eq!(spec, RsSpec { e: RsE::E16, interleave: 4, virtual_fill: 0, basis: Basis::Dual });
    let written = serde_json::to_string(&spec).expect("serialises");
    assert_eq!(written, r#"{"e":16,"interleave":4,"virtual_fill":0,"basis":"dual"}"#);
    assert_eq!(serde_json::from_str::<RsSpec>(&written).expect("reads back"), spec);
    assert!(serde_json::from_str::<RsSpec>(r#"{"e": 9, "interleave": 4}"#).is_err());
    assert!(serde_json::from_str::<RsSpec>(r#"{"e": 8, "interleave": 4, "fill": 1}"#).is_err());
}

// REQ: FEP-RS-012
#[test]
#[should_panic(expected = "overlap at a stride of 1274")]
fn codeblocks_that_would_overlap_are_refused_by_name() {
    let spec = RsSpec { e: RsE::E16, interleave: 5, virtual_fill: 0, basis: Basis::Dual };
    codec(spec, Isa::best()).decode_batch(&mut vec![0; 4000], 1274, &mut [RsVerdict::default(); 2]);
}

// REQ: FEP-RS-012
#[test]
#[should_panic(expected = "3 codeblocks need 3825 octets, the slice holds 3824")]
fn a_slice_too_short_for_its_codeblocks_is_refused_by_name() {
    let spec = RsSpec { e: RsE::E16, interleave: 5, virtual_fill: 0, basis: Basis::Dual };
    codec(spec, Isa::best()).decode_batch(&mut vec![0; 3824], 1275, &mut [RsVerdict::default(); 3]);
}
