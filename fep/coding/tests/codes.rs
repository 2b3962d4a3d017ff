//! Randomisers, checksums, header check and code specifications, against vectors and peers made elsewhere.

mod golden;

use fep_coding::conv::{ConvRate, ConvSpec, NodeSync, Quadrature, ViterbiDecoder};
use fep_coding::crc::{Crc16, Crc32, crc16_fecf, crc32_uslp};
use fep_coding::differential::{DifferentialDecoder, LineCode};
use fep_coding::fhec::{self, FhecVerdict};
use fep_coding::ldpc::LdpcSpec;
use fep_coding::rs::{Basis, RsE, RsSpec, RsSpecError, RsVerdict};
use fep_coding::soft::{SoftDerandomizer, SoftVerdict};
use fep_coding::spec::{
    ChannelEncoder, ConcatenatedCode, ConvolutionalCode, DecodeVerdict, LdpcCode, LdpcStreamCode, SyncDomain,
    TurboCode, UncodedFrames,
};
use fep_coding::turbo::{INFORMATION_BITS, TurboRate, TurboStop};
use fep_coding::{CodeSpec, CodeSpecError, Derandomizer, FrameSync, Isa, Randomizer, SyncSpec};
use proptest::prelude::*;
use serde_json::{Value, json};

use golden::{cases, octets};

// REQ: FEP-CODING-002
// REQ: FEP-CODING-003
#[test]
fn the_sequences_are_those_of_other_programs() {
    let mut seen = 0;
    for case in cases("coding/randomizers.json") {
        let (randomizer, key) = match case["name"].as_str() {
            Some("tm_255_legacy") => (Randomizer::Legacy255, "first_600_octets"),
            Some("tc_255") => (Randomizer::Tc255, "first_600_octets"),
            Some("tm_131071") => (Randomizer::Long131071, "first_2048_octets"),
            _ => continue,
        };
        seen += 1;
        let expected = octets(&case[key]);
        assert_eq!(randomizer.sequence(expected.len()), expected, "{randomizer:?}");
    }
    assert_eq!(seen, 3);
}

// REQ: FEP-CODING-002
// REQ: FEP-CODING-003
#[test]
fn randomised_data_is_that_of_other_programs_in_place_and_copied() {
    let mut seen = 0;
    for case in cases("coding/randomizers.json").iter().filter(|case| case["name"] == "applied") {
        let data = octets(&case["data"]);
        for (randomizer, key) in [
            (Randomizer::Legacy255, "tm_255"),
            (Randomizer::Tc255, "tc_255"),
            (Randomizer::Long131071, "tm_131071"),
        ] {
            for isa in Isa::available() {
                seen += 1;
                let derandomizer =
                    Derandomizer::with_isa(randomizer, data.len(), *isa).expect("an available set");
                let mut applied = data.clone();
                derandomizer.apply(&mut applied);
                assert_eq!(applied, octets(&case[key]), "{randomizer:?} {isa}");
                let mut copied = vec![0; data.len()];
                derandomizer.apply_to(&data, &mut copied);
                assert_eq!(copied, applied, "{randomizer:?} {isa}");
            }
        }
    }
    assert!(seen >= 9, "{seen} checks");
}

// REQ: FEP-CODING-003
#[test]
fn the_long_sequence_repeats_after_131071_bits_with_65536_ones() {
    let octets = Randomizer::Long131071.sequence(2 * 131_071);
    let bits: Vec<u8> = octets.iter().flat_map(|octet| (0..8).map(move |i| (octet >> (7 - i)) & 1)).collect();
    let (first, rest) = bits.split_at(131_071);
    assert_eq!(first.iter().filter(|bit| **bit == 1).count(), 65_536);
    assert!(rest.chunks(131_071).all(|period| period == &first[..period.len()]));
    assert_ne!(first[..1000], first[1000..2000]);
}

#[test]
fn no_randomiser_leaves_data_as_it_is() {
    let derandomizer = Derandomizer::new(Randomizer::None, 16);
    let mut data = [7; 16];
    derandomizer.apply(&mut data);
    let mut copied = [0; 16];
    derandomizer.apply_to(&data, &mut copied);
    assert_eq!((data, copied), ([7; 16], [7; 16]));
}

#[test]
fn randomisers_have_the_names_of_configuration_files() {
    for (name, randomizer) in [
        ("none", Randomizer::None),
        ("legacy", Randomizer::Legacy255),
        ("long", Randomizer::Long131071),
        ("tc", Randomizer::Tc255),
    ] {
        assert_eq!(serde_json::from_value::<Randomizer>(json!(name)).expect("a name"), randomizer);
        assert_eq!(serde_json::to_value(randomizer).expect("a name"), json!(name));
    }
}

// REQ: FEP-CODING-004
// REQ: FEP-CODING-005
#[test]
fn checksums_are_those_of_other_programs_on_every_instruction_set() {
    for case in cases("coding/crc.json") {
        let data = octets(&case["data"]);
        let fecf = format!("{:04x}", crc16_fecf(&data));
        assert_eq!(fecf, case["fecf_crc16"]);
        assert_eq!(format!("{:08x}", crc32_uslp(&data)), case["uslp_prox_crc32"]);
        for isa in Isa::available() {
            let crc16 = Crc16::with_isa(*isa).expect("an available set");
            assert_eq!(format!("{:04x}", crc16.checksum(&data)), fecf, "{isa}");
            let crc32 = Crc32::with_isa(*isa).expect("an available set");
            assert_eq!(format!("{:08x}", crc32.checksum(&data)), case["uslp_prox_crc32"], "{isa}");
        }
    }
}

/// The USLP polynomial as the `crc` crate wants it.
const USLP: crc::Algorithm<u32> = crc::Algorithm {
    width: 32,
    poly: 0x00A0_0805,
    init: 0,
    refin: false,
    refout: false,
    xorout: 0,
    check: 0x5169_3C0C,
    residue: 0,
};

// REQ: FEP-CODING-004
// REQ: FEP-CODING-005
#[test]
fn checksums_of_every_short_length_are_those_of_the_crc_crate() {
    let crc16 = crc::Crc::<u16>::new(&crc::CRC_16_IBM_3740);
    let crc32 = crc::Crc::<u32>::new(&USLP);
    let data: Vec<u8> = (0..600u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    for isa in Isa::available() {
        let (ours16, ours32) =
            (Crc16::with_isa(*isa).expect("available"), Crc32::with_isa(*isa).expect("available"));
        for len in 0..data.len() {
            assert_eq!(ours16.checksum(&data[..len]), crc16.checksum(&data[..len]), "{isa}, {len} octets");
            assert_eq!(ours32.checksum(&data[..len]), crc32.checksum(&data[..len]), "{isa}, {len} octets");
        }
    }
}

proptest! {
    // REQ: FEP-CODING-004
    // REQ: FEP-CODING-005
    #[test]
    fn checksums_are_those_of_the_crc_crate_and_zero_over_data_with_its_checksum(
        data in prop::collection::vec(any::<u8>(), 0..5000), offset in 0usize..64,
    ) {
        let data = &data[offset.min(data.len())..];
        let fecf = crc::Crc::<u16>::new(&crc::CRC_16_IBM_3740).checksum(data);
        let uslp = crc::Crc::<u32>::new(&USLP).checksum(data);
        for isa in Isa::available() {
            let crc16 = Crc16::with_isa(*isa).expect("an available set");
            let crc32 = Crc32::with_isa(*isa).expect("an available set");
            prop_assert_eq!(crc16.checksum(data), fecf);
            prop_assert_eq!(crc32.checksum(data), uslp);
            prop_assert_eq!(crc16.checksum(&[data, &fecf.to_be_bytes()].concat()), 0);
            prop_assert_eq!(crc32.checksum(&[data, &uslp.to_be_bytes()].concat()), 0);
        }
    }

    // REQ: FEP-CODING-001
    #[test]
    fn randomising_twice_is_nothing_and_every_instruction_set_agrees(
        data in prop::collection::vec(any::<u8>(), 0..3000), spare in 0usize..100,
        randomizer in prop_oneof![
            Just(Randomizer::None), Just(Randomizer::Legacy255), Just(Randomizer::Long131071), Just(Randomizer::Tc255)
        ],
    ) {
        let sequence = randomizer.sequence(data.len());
        let expected: Vec<u8> = data.iter().zip(&sequence).map(|(a, b)| a ^ b).collect();
        for isa in Isa::available() {
            let derandomizer = Derandomizer::with_isa(randomizer, data.len() + spare, *isa).expect("available");
            let mut applied = data.clone();
            derandomizer.apply(&mut applied);
            prop_assert_eq!(&applied, &expected);
            derandomizer.apply(&mut applied);
            prop_assert_eq!(&applied, &data);
            derandomizer.apply_to(&data, &mut applied);
            prop_assert_eq!(&applied, &expected);
        }
    }
}

// REQ: FEP-CODING-006
#[test]
fn header_checks_and_corrections_are_those_of_another_program() {
    let mut corrected = [0; 3];
    for case in cases("frames/aos_fhec.json") {
        let header = octets(&case["mcid_vcid_hdr_octets_0_1"]);
        let signalling = octets(&case["signaling_octet_5"])[0];
        assert_eq!(
            format!("{:04x}", fhec::encode(header[0], header[1], signalling)),
            case["fhec"],
            "of {case}"
        );
        let errors = case["symbol_errors"].as_u64().expect("a number") as usize;
        if errors > 2 {
            continue; // beyond the code: reported or not, by chance
        }
        corrected[errors] += 1;
        let received = octets(&case["received_10_symbols"]);
        let check = u16::from_be_bytes([received[3], received[4]]);
        assert_eq!(
            fhec::decode(received[0], received[1], received[2], check),
            FhecVerdict::Good { header: [header[0], header[1], signalling], symbols_corrected: errors as u8 },
            "of {case}"
        );
    }
    assert!(corrected.iter().all(|cases| *cases > 0), "{corrected:?}");
}

// REQ: FEP-CODING-006
#[test]
fn three_wrong_header_symbols_are_mostly_reported_and_never_taken_for_a_clean_header() {
    let [c0, c1] = fhec::encode(0x72, 0x21, 0x45).to_be_bytes();
    let (mut reported, mut all) = (0, 0);
    for pattern in 0u32..4096 {
        let [a, b, c] = [pattern >> 8, (pattern >> 4) & 0xF, pattern & 0xF].map(|error| error as u8);
        if a == 0 || b == 0 || c == 0 {
            continue;
        }
        all += 1;
        match fhec::decode(0x72 ^ (a << 4), 0x21 ^ b, 0x45 ^ c, u16::from_be_bytes([c0, c1])) {
            FhecVerdict::Uncorrectable => reported += 1,
            FhecVerdict::Good { symbols_corrected, .. } => assert_eq!(symbols_corrected, 2),
        }
    }
    assert!(reported * 2 > all, "{reported} of {all}");
}

// REQ: FEP-CODING-007
#[test]
fn a_code_is_read_from_configuration_and_impossible_ones_are_refused_with_the_reason() {
    let read = |value: Value| serde_json::from_value::<CodeSpec>(value);
    let rs = RsSpec { e: RsE::E16, interleave: 5, virtual_fill: 0, basis: Basis::Dual };
    assert_eq!(
        read(json!({"code": "reed_solomon", "e": 16, "interleave": 5})).expect("a code"),
        CodeSpec::ReedSolomon(rs)
    );
    let uncoded = read(json!({"code": "none", "frame_len": 1115})).expect("no code");
    assert_eq!(uncoded, uncoded_frames(1115));
    assert_eq!(serde_json::to_value(uncoded).expect("JSON"), json!({"code": "none", "frame_len": 1115}));
    let unknown = read(json!({"code": "raptor"})).expect_err("no such code").to_string();
    assert!(unknown.contains("raptor") && unknown.contains("reed_solomon"), "{unknown}");

    for frame_len in [0, 65_537] {
        let error = uncoded_frames(frame_len).build(Isa::Scalar).expect_err("an impossible length");
        assert_eq!(error, CodeSpecError::FrameLen(frame_len));
        assert!(error.to_string().contains("65536"));
    }
    let odd = CodeSpec::ReedSolomon(RsSpec { interleave: 6, ..rs });
    let refused = odd.validate().expect_err("no such interleaving");
    assert_eq!(refused.codec::<RsSpecError>(), Some(&RsSpecError::Interleave(6)));
    assert!(odd.build_encoder(Isa::Scalar).is_err());
    let foreign = if cfg!(target_arch = "aarch64") { Isa::Avx2 } else { Isa::Neon };
    assert!(matches!(uncoded.build(foreign), Err(CodeSpecError::Isa(_))));
}

proptest! {
    // REQ: FEP-CODING-008
    #[test]
    fn what_an_encoder_makes_the_decoder_of_the_same_specification_gives_back(
        e in prop_oneof![Just(RsE::E8), Just(RsE::E16)], interleave in prop_oneof![Just(1u8), Just(4), Just(5), Just(8)],
        virtual_fill in 0u8..100, frames in 1usize..5, spare in 0usize..40, coded: bool, seed: u8,
    ) {
        let rs = RsSpec { e, interleave, virtual_fill, basis: Basis::Dual };
        let spec = if coded { CodeSpec::ReedSolomon(rs) } else { uncoded_frames(rs.frame_len()) };
        for isa in Isa::available() {
            let mut encoder = spec.build_encoder(*isa).expect("a code");
            let mut decoder = spec.build(*isa).expect("a code");
            prop_assert_eq!(encoder.block_len(), decoder.block_len());
            let (block_len, frame_len) = (decoder.block_len(), decoder.frame_len());
            let stride = block_len + spare;
            let sent: Vec<u8> = (0..frames * frame_len).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect();
            let mut blocks = vec![0; frames * stride];
            for (frame, block) in sent.chunks_exact(frame_len).zip(blocks.chunks_exact_mut(stride)) {
                encoder.encode(frame, &mut block[..block_len]);
            }
            if coded {
                blocks.chunks_exact_mut(stride).for_each(|block| block[7] ^= 0x40);
            }
            let mut verdicts = vec![Default::default(); frames];
            decoder.decode_batch(&mut blocks, stride, &mut verdicts);
            for ((block, frame), verdict) in
                blocks.chunks_exact(stride).zip(sent.chunks_exact(frame_len)).zip(&verdicts)
            {
                prop_assert_eq!(&block[..frame_len], frame);
                prop_assert_eq!(verdict.symbols_corrected, u16::from(coded));
            }
        }
    }
}

fn uncoded_frames(frame_len: usize) -> CodeSpec {
    UncodedFrames { frame_len }.into()
}

fn every_code() -> Vec<CodeSpec> {
    let rs = RsSpec { e: RsE::E16, interleave: 2, virtual_fill: 3, basis: Basis::Dual };
    let mut codes = vec![uncoded_frames(100), CodeSpec::ReedSolomon(rs)];
    for rate in ConvRate::ALL {
        let convolutional = ConvSpec::ccsds(rate);
        codes.push(ConvolutionalCode { frame_len: 100, convolutional }.into());
        codes.push(ConcatenatedCode { reed_solomon: rs, convolutional }.into());
    }
    for rate in TurboRate::ALL {
        codes.extend(INFORMATION_BITS.map(|bits| CodeSpec::Turbo(TurboCode::new(bits, rate))));
    }
    codes.extend(LdpcSpec::all().map(|ldpc| CodeSpec::Ldpc(LdpcCode::new(ldpc))));
    codes.extend(
        LdpcSpec::all().map(|ldpc| {
            CodeSpec::LdpcStream(LdpcStreamCode { codewords: 3, ..LdpcStreamCode::new(ldpc, 100) })
        }),
    );
    codes
}

// REQ: FEP-CODING-007
#[test]
fn every_code_is_written_to_configuration_and_read_back_the_same() {
    let node_sync = NodeSync {
        quadrature: Quadrature::Turns,
        probe_bits: 300,
        watch_bits: 1_000_000,
        threshold_percent: 12,
    };
    let convolutional = ConvSpec {
        invert_g2: Some(true),
        g2_first: true,
        latency_bits: 4000,
        node_sync,
        ..ConvSpec::ccsds(ConvRate::R1_2)
    };
    let reed_solomon = RsSpec { e: RsE::E8, interleave: 8, virtual_fill: 238, basis: Basis::Conventional };
    let ldpc = LdpcCode { iterations_max: 7, ..LdpcCode::new(LdpcSpec::C2) };
    let stream =
        LdpcStreamCode { iterations_max: 9, codewords: 8, ..LdpcStreamCode::new(LdpcSpec::C2, 65_536) };
    let turbo =
        TurboCode { iterations_max: 50, stop: TurboStop::Fecf, ..TurboCode::new(8920, TurboRate::R1_4) };
    // No key at its default: none is lost on the way.
    let unusual: [CodeSpec; 4] =
        [ConcatenatedCode { reed_solomon, convolutional }.into(), ldpc.into(), stream.into(), turbo.into()];
    for code in every_code().into_iter().chain(unusual) {
        assert_eq!(code.validate(), Ok(()), "{code:?}");
        let value = serde_json::to_value(code).expect("JSON");
        assert_eq!(serde_json::from_value::<CodeSpec>(value.clone()).expect("itself"), code, "{value}");
    }
}

// REQ: FEP-CODING-007
#[test]
fn combinations_that_cannot_be_are_refused_with_the_reason() {
    let read = |value: Value| serde_json::from_value::<CodeSpec>(value).map_err(|error| error.to_string());
    for (value, told) in [
        (json!({"code": "turbo", "rate": "1/3"}), "information_bits"),
        (json!({"code": "turbo", "information_bits": 1784, "rate": "1/5"}), "1/6"),
        (
            json!({"code": "turbo", "information_bits": 1784, "rate": "1/3", "virtual_fill": 1}),
            "virtual_fill: unknown key (allowed: information_bits, rate, iterations_max, stop)",
        ),
        (json!({"code": "turbo", "frame_len": 1000, "rate": "1/3"}), "frame_len: unknown key"),
        (json!({"code": "ldpc", "k": 1024, "rate": "7/8"}), "k = 1024"),
        (
            json!({"code": "ldpc", "k": 2048, "rate": "1/2"}),
            "k: \"2048\" is not a choice (allowed: 1024, 4096, 16384, 7136)",
        ),
        (json!({"code": "concatenated", "reed_solomon": {"e": 16, "interleave": 5}}), "convolutional"),
        (
            json!({"code": "convolutional", "frame_len": 5, "convolutional": {"rate": "4/5"}}),
            "convolutional.rate: \"4/5\" is not a choice",
        ),
        (json!({"code": "convolutional", "convolutional": {"rate": "3/4"}}), "frame_len: missing key"),
        (json!({"code": "none", "frame_len": 65_537}), "65537 is out of range (allowed: 1 to 65536)"),
        (json!({"code": "reed_solomon", "virtual_fill": -1}), "virtual_fill: -1 is out of range"),
        (json!({"code": "reed_solomon", "e": 0.5}), "e: \"\" is not a choice (allowed: 8, 16)"),
        (json!({"code": "concatenated", "reed_solomon": 5}), "missing key"),
        (json!({"frame_len": 5}), "code: missing key (allowed: none, reed_solomon, convolutional,"),
        (json!(["none"]), "map"),
    ] {
        let refused = read(value.clone()).expect_err("impossible");
        assert!(refused.contains(told), "{value}: {refused}");
    }
    let text = |error: CodeSpecError| error.to_string();
    let turbo = CodeSpec::Turbo(TurboCode::new(1784, TurboRate::R1_3));
    assert_eq!(turbo.check_frame(223), Ok(()));
    assert!(text(turbo.check_frame(224).unwrap_err()).contains("frames of 223 octets, but frame_len is 224"));
    let odd = CodeSpec::Turbo(TurboCode::new(1785, TurboRate::R1_3));
    assert!(text(odd.validate().unwrap_err()).contains("1784, 3568, 7136 or 8920"));
    let tired = CodeSpec::Turbo(TurboCode { iterations_max: 0, ..TurboCode::new(1784, TurboRate::R1_3) });
    assert!(text(tired.validate().unwrap_err()).contains("iterations_max = 0"));
    let ldpc = LdpcCode::new(LdpcSpec::C2);
    assert_eq!(CodeSpec::Ldpc(ldpc).check_frame(892), Ok(()));
    assert!(text(CodeSpec::Ldpc(ldpc).check_frame(1115).unwrap_err()).contains("ldpc_stream"));
    let tired = CodeSpec::Ldpc(LdpcCode { iterations_max: 0, ..ldpc });
    assert!(text(tired.validate().unwrap_err()).contains("iterations_max = 0: 1 to"));
    let stream = LdpcStreamCode { codewords: 9, ..LdpcStreamCode::new(LdpcSpec::C2, 1115) };
    assert!(text(CodeSpec::LdpcStream(stream).validate().unwrap_err()).contains("codewords = 9"));
    let stream = CodeSpec::LdpcStream(LdpcStreamCode::new(LdpcSpec::C2, 1115));
    assert_eq!(stream.build(Isa::Scalar).err(), Some(CodeSpecError::NoBlocks));
    assert_eq!(uncoded_frames(9).build_soft(Isa::Scalar).err(), Some(CodeSpecError::NoSymbols));
    let early = ConvSpec { latency_bits: 64, ..ConvSpec::ccsds(ConvRate::R1_2) };
    let conv = CodeSpec::Convolutional(ConvolutionalCode { frame_len: 9, convolutional: early });
    assert!(text(conv.validate().unwrap_err()).starts_with("convolutional: latency_bits = 64"));
}

// REQ: FEP-CODING-101
#[test]
fn frames_that_neither_code_nor_fecf_checks_are_allowed_and_known_to_be_unchecked() {
    for code in every_code() {
        assert_eq!(code.check_frame(code.frame_len()), Ok(()), "{code:?}");
        let detects = match code {
            CodeSpec::None(_) | CodeSpec::Convolutional(_) | CodeSpec::Turbo(_) => false,
            CodeSpec::ReedSolomon(_) | CodeSpec::Concatenated(_) => true,
            CodeSpec::Ldpc(_) | CodeSpec::LdpcStream(_) => true,
        };
        assert_eq!((code.verifies_frames(false), code.verifies_frames(true)), (detects, true), "{code:?}");
    }
}

// REQ: FEP-CODING-008
#[test]
fn a_verdict_on_a_block_counts_its_codewords_and_saturates() {
    let verdict = |converged, symbols_corrected| SoftVerdict { converged, iterations: 3, symbols_corrected };
    let verdicts = [verdict(true, 0), verdict(false, 65_000), verdict(true, 700)];
    let judged = DecodeVerdict::of_codewords(&verdicts, true);
    let expected = DecodeVerdict { symbols_corrected: 65_535, codewords_corrected: 2, codewords_failed: 1 };
    assert_eq!(judged, expected);
    let judged = DecodeVerdict::of_codewords(&verdicts, false);
    assert_eq!(judged, DecodeVerdict { codewords_failed: 0, ..expected }, "the FECF judges");
    assert!(expected.is_uncorrectable() && !judged.is_uncorrectable() && !judged.is_clean());
    let rs = RsVerdict { symbols_corrected: 300, codewords_corrected: 4, codewords_failed: 1 };
    let (expected, given) = ((300, 4, 1), DecodeVerdict::from(rs));
    assert_eq!((given.symbols_corrected, given.codewords_corrected, given.codewords_failed), expected);
}

// REQ: FEP-CODING-102
#[test]
fn a_line_code_lies_in_front_of_the_inner_code_and_is_undone_behind_its_decoder_at_either_polarity() {
    for code in every_code() {
        for line_code in [LineCode::NrzM, LineCode::NrzS] {
            let encoder = ChannelEncoder::new(&code, code.marker(), Randomizer::Legacy255).expect("a code");
            if code.domain() == SyncDomain::Symbols {
                let expected = CodeSpecError::LineCode { code: code.name(), line_code };
                assert_eq!(code.check_line_code(line_code), Err(expected.clone()));
                assert_eq!(encoder.with_line_code(line_code).err(), Some(expected));
                continue;
            }
            let mut encoder = encoder.with_line_code(line_code).expect("a code of bits");
            let frames: Vec<Vec<u8>> =
                (0..4).map(|n| (0..code.frame_len()).map(|i| (i * 37 + n) as u8).collect()).collect();
            let mut symbols = Vec::new();
            frames.iter().for_each(|frame| encoder.encode(frame, &mut symbols));
            encoder.finish(&mut symbols);
            for polarity in [1, -1] {
                let symbols: Vec<i8> = symbols.iter().map(|symbol| polarity * 30 * symbol).collect();
                let mut bits = Vec::new();
                match code.convolutional() {
                    Some(conv) => {
                        let mut viterbi = ViterbiDecoder::new(conv).expect("a code");
                        viterbi.push(&symbols, &mut bits);
                        viterbi.finish(&mut bits);
                    }
                    None => {
                        let (eights, _) = symbols.as_chunks::<8>();
                        let octet = |eight: &[i8; 8]| eight.iter().fold(0, |o, s| o << 1 | u8::from(*s < 0));
                        bits.extend(eights.iter().map(octet));
                    }
                }
                DifferentialDecoder::new(line_code).apply(&mut bits);
                // Upside down, the first bit of the first marker is wrong, no other: tolerated errors find all markers.
                let spec =
                    SyncSpec { search_bit_errors: 1, ..SyncSpec::ccsds(code.marker(), code.block_len()) };
                let mut sync = FrameSync::new(spec).expect("a channel");
                let derandomizer = Derandomizer::new(Randomizer::Legacy255, code.block_len());
                let mut decoder = code.build(Isa::best()).expect("a code");
                let mut decoded = Vec::new();
                let mut take = |block: fep_coding::Block<'_>| {
                    assert!(!block.inverted, "{code:?}");
                    let mut data = vec![0; block.data.len()];
                    derandomizer.apply_to(block.data, &mut data);
                    let mut verdict = [DecodeVerdict::default()];
                    decoder.decode_batch(&mut data, code.block_len(), &mut verdict);
                    assert!(verdict[0].is_clean(), "{code:?}");
                    data.truncate(code.frame_len());
                    decoded.push(data);
                };
                sync.push(&bits, &mut take);
                sync.finish(&mut take);
                assert_eq!(decoded, frames, "{code:?}, {line_code}, polarity {polarity}");
            }
        }
    }
}

#[test]
fn a_large_ldpc_code_of_low_rate_is_given_more_iterations_unless_it_is_told_how_many() {
    let read = |mut keys: Value, code: &str| {
        keys["code"] = json!(code);
        match serde_json::from_value::<CodeSpec>(keys).expect("a code") {
            CodeSpec::Ldpc(code) => code.iterations_max,
            CodeSpec::LdpcStream(code) => code.iterations_max,
            other => panic!("{other:?}"),
        }
    };
    for (k, rate, default) in
        [(16_384, "1/2", 100), (4096, "1/2", 100), (1024, "1/2", 50), (16_384, "2/3", 100), (7136, "7/8", 50)]
    {
        assert_eq!(read(json!({"k": k, "rate": rate}), "ldpc"), default, "k={k} rate={rate}");
        assert_eq!(read(json!({"k": k, "rate": rate, "iterations_max": 60}), "ldpc"), 60);
    }
    let stream = json!({"k": 4096, "rate": "1/2", "codewords": 2, "frame_len": 1115});
    assert_eq!(read(stream, "ldpc_stream"), 100);
}

// REQ: FEP-CODING-008
#[test]
fn sizes_rates_and_markers_are_those_of_the_standard() {
    let facts = |code: CodeSpec| (code.block_symbols(), code.frame_len(), code.marker().bits());
    let turbo = |bits, rate| CodeSpec::Turbo(TurboCode::new(bits, rate));
    assert_eq!(facts(turbo(1784, TurboRate::R1_3)), (5364, 223, 96));
    assert_eq!(facts(turbo(8920, TurboRate::R1_6)), (53_544, 1115, 192));
    let ldpc = |k, rate| CodeSpec::Ldpc(LdpcCode::new(LdpcSpec::new(k, rate).expect("a code")));
    assert_eq!(facts(ldpc(16_384, "4/5")), (20_480, 2048, 64));
    assert_eq!(facts(ldpc(7136, "7/8")), (8160, 892, 32));
    assert!((ldpc(1024, "2/3").rate() - 2.0 / 3.0).abs() < 1e-12);
    for code in every_code() {
        assert!(code.rate() > 0.0 && code.rate() <= 1.0, "{code:?}");
        assert_eq!(code.block_len(), code.block_symbols().div_ceil(8), "{code:?}");
        assert_eq!(
            code.needs_symbols(),
            code.rate() < 0.98 && !matches!(code, CodeSpec::ReedSolomon(_)),
            "{code:?}"
        );
    }
}

// REQ: FEP-CODING-008
#[test]
fn every_code_decodes_what_it_encodes_from_octets_and_from_symbols() {
    for code in every_code() {
        let frame: Vec<u8> = (0..code.frame_len()).map(|i| (i * 37 + i / 11) as u8).collect();
        let mut symbols = Vec::new();
        let mut encoder = ChannelEncoder::new(&code, code.marker(), Randomizer::Long131071).expect("a code");
        // As many frames as fill a codeblock at least.
        let frames = code.payload_len().div_ceil(code.frame_len() + 4);
        for _ in 0..frames {
            encoder.encode(&frame, &mut symbols);
        }
        let marker_bits = code.marker().bits() as usize;
        if code.domain() == SyncDomain::Symbols {
            let mut block = symbols[marker_bits..marker_bits + code.block_symbols()].to_vec();
            SoftDerandomizer::new(Randomizer::Long131071, block.len()).apply(&mut block);
            block.iter_mut().step_by(37).for_each(|symbol| *symbol = 0);
            let mut decoder = code.build_soft(Isa::best()).expect("a code");
            let mut payload = vec![0; code.payload_len()];
            let mut verdicts = vec![SoftVerdict::default(); decoder.codewords()];
            decoder.decode_batch(
                &block.iter().map(|symbol| 20 * symbol).collect::<Vec<_>>(),
                &mut payload,
                &mut verdicts,
            );
            assert!(verdicts.iter().all(|verdict| verdict.converged), "{code:?}: {verdicts:?}");
            assert!(!code.judge(&verdicts).is_uncorrectable());
            if let Some(slicing) = code.slicing() {
                assert_eq!((slicing.codewords, slicing.frame_len), (3, 100));
                assert_eq!(slicing.slice_len * 3, payload.len());
                assert_eq!((slicing.frame.block_len(), slicing.codeword.marker()), (100, code.marker()));
                let stream = [slicing.frame_marker.as_bytes(), &frame].concat();
                assert_eq!(payload[..104.min(payload.len())], stream[..104.min(payload.len())], "{code:?}");
            } else {
                assert_eq!(payload, frame, "{code:?}");
            }
        }
        if code.slicing().is_none() {
            let mut block = vec![0; code.block_len()];
            code.build_encoder(Isa::best()).expect("a code").encode(&frame, &mut block);
            if code.detects_errors() {
                block[3] ^= 0x10;
            }
            let mut verdict = [DecodeVerdict::default()];
            code.build(Isa::best()).expect("a code").decode_batch(&mut block, code.block_len(), &mut verdict);
            assert!(!verdict[0].is_uncorrectable(), "{code:?}");
            assert_eq!(block[..frame.len()], frame, "{code:?}");
        }
    }
}
