//! Vectors made by other people's programs.

use fep_coding::conv::{ConvEncoder, ConvRate, ConvSpec, ViterbiDecoder};
use fep_coding::rs::{Basis, RsE, RsSpec};
use fep_coding::spec::UncodedFrames;
use fep_coding::{CodeSpec, Derandomizer, FrameSync, Isa, Marker, Randomizer, SyncSpec};

use crate::channel::{bit_errors, decoded};
use crate::golden::{cases, octets};

fn encode(spec: &ConvSpec, data: &[u8], cut: usize) -> (Vec<u8>, u64) {
    let mut encoder = ConvEncoder::new(spec).expect("a valid specification");
    let mut symbols = Vec::new();
    for piece in data.chunks(cut) {
        encoder.push(piece, &mut symbols);
    }
    let count = encoder.finish(&mut symbols);
    (symbols, count)
}

/// Every stream of the encoding vectors: specification, data, symbols, how many.
fn streams() -> Vec<(ConvSpec, Vec<u8>, Vec<u8>, u64)> {
    let mut streams = Vec::new();
    for case in cases("coding/conv_encode.json") {
        let data = octets(&case["data"]);
        let half = (&case["rate_1_2_G2_inverted"], &case["n_symbols"]);
        let punctured = ConvRate::ALL[1..].iter().map(|rate| {
            let case = &case["punctured"][rate.name()];
            (rate, (&case["symbols"], &case["n_symbols"]))
        });
        for (rate, (symbols, count)) in std::iter::once((&ConvRate::R1_2, half)).chain(punctured) {
            let count = count.as_u64().expect("a number");
            streams.push((ConvSpec::ccsds(*rate), data.clone(), octets(symbols), count));
        }
    }
    assert_eq!(streams.len(), 25, "five cases at five rates");
    streams
}

// REQ: FEP-CONV-001
// REQ: FEP-CONV-002
#[test]
fn libcorrects_symbols_are_made_at_every_rate_however_the_data_is_cut() {
    for (spec, data, symbols, count) in streams() {
        for cut in [1, 3, 7, data.len()] {
            assert_eq!(encode(&spec, &data, cut), (symbols.clone(), count), "rate {}", spec.rate);
        }
    }
}

// REQ: FEP-CONV-003
#[test]
fn libcorrects_symbols_decode_to_its_data_at_every_rate_on_every_instruction_set() {
    for (spec, data, symbols, count) in streams() {
        for isa in Isa::available() {
            let mut decoder = ViterbiDecoder::with_isa(&spec, *isa).expect("a valid specification");
            let mut bits = Vec::new();
            let mut soft = Vec::new();
            fep_coding::soft::from_hard(&symbols, count as usize, 100, &mut soft);
            decoder.push(&soft, &mut bits);
            let given = decoder.finish(&mut bits);
            assert_eq!(given, 8 * data.len() as u64, "rate {}", spec.rate);
            // The decoder knows neither the first state nor the last: at the ends of a punctured stream several messages
            // can give the same symbols.
            let unsure =
                if spec.rate == ConvRate::R1_2 { 0 } else { (spec.overlap_bits() / 8).min(data.len() / 2) };
            let sure = unsure..data.len() - unsure;
            assert_eq!(bits[sure.clone()], data[sure], "rate {} on {isa}", spec.rate);
            assert_eq!(decoder.counters().symbols_wrong, 0);
            assert_eq!(decoder.counters().symbols_compared, count);
        }
    }
}

// REQ: FEP-CONV-004
#[test]
fn noisy_vectors_decode_with_no_more_errors_than_libcorrect_made_hard_and_soft() {
    let spec = ConvSpec::ccsds(ConvRate::R1_2);
    let mut soft_cases = 0;
    for case in cases("coding/conv_decode.json") {
        let data = octets(&case["data"]);
        let allowed = |key: &str| case[key].as_u64().expect("a number") as u32;
        for isa in Isa::available() {
            let mut decoder = ViterbiDecoder::with_isa(&spec, *isa).expect("a valid specification");
            let mut bits = Vec::new();
            decoder.push_hard(&octets(&case["received_symbols_G2_inverted"]), &mut bits);
            decoder.finish(&mut bits);
            let errors = bit_errors(&bits, &data);
            assert!(errors <= allowed("libcorrect_hard_decode_bit_errors"), "{errors} errors on {isa}");
            let wrong = u64::from(allowed("channel_errors"));
            assert_eq!(decoder.counters().symbols_wrong, wrong, "symbols wrong, by encoding again");

            if case["soft_int8_G2_inverted_hex"].is_string() {
                soft_cases += 1;
                let symbols: Vec<i8> =
                    octets(&case["soft_int8_G2_inverted_hex"]).iter().map(|octet| *octet as i8).collect();
                let errors = bit_errors(&decoded(&spec, *isa, &symbols).0, &data);
                assert!(errors <= allowed("libcorrect_hard_decode_of_soft_signs_bit_errors"), "{errors}");
                // The same with four bits a symbol.
                let four_bits: Vec<i8> = symbols.iter().map(|symbol| symbol >> 4 << 4 | 8).collect();
                let errors = bit_errors(&decoded(&spec, *isa, &four_bits).0, &data);
                assert!(errors <= allowed("libcorrect_hard_decode_of_soft_signs_bit_errors"), "{errors}");
            }
        }
    }
    assert_eq!(soft_cases, 3 * Isa::available().len());
}

// REQ: FEP-CONV-013
#[test]
fn concatenated_and_punctured_chains_give_every_frame() {
    let mut seen = 0;
    for case in cases("coding/chains.json") {
        let config = &case["config"];
        let Some(rate) = config["convolutional_rate"].as_str() else { continue };
        seen += 1;
        let spec = ConvSpec::ccsds(rate.parse().expect("a rate"));
        let code = match config["E"].as_u64() {
            Some(e) => CodeSpec::ReedSolomon(RsSpec {
                e: RsE::try_from(e as u8).expect("8 or 16"),
                interleave: config["I"].as_u64().expect("a depth") as u8,
                virtual_fill: config["q"].as_u64().expect("a number") as u8,
                basis: Basis::Dual,
            }),
            None => UncodedFrames { frame_len: config["frame_length"].as_u64().expect("a length") as usize }
                .into(),
        };
        let randomizer = match config["randomizer"].as_str().expect("a randomiser") {
            "255" => Randomizer::Legacy255,
            _ => Randomizer::Long131071,
        };
        let marker = Marker::new(&octets(&config["asm"])).expect("a marker");

        let mut viterbi = ViterbiDecoder::new(&spec).expect("a valid specification");
        let mut bits = Vec::new();
        let (stream, symbols) = (octets(&case["stream"]), case["n_symbols"].as_u64().expect("a number"));
        assert_eq!(symbols, 8 * stream.len() as u64, "this test pushes whole octets");
        viterbi.push_hard(&stream, &mut bits);
        viterbi.finish(&mut bits);
        let wrong = viterbi.counters().symbols_wrong;
        let made = case["channel_symbol_errors"].as_u64().expect("a number");
        assert!(wrong.abs_diff(made) <= made / 20, "{wrong} symbols wrong, {made} were made so");

        let mut sync =
            FrameSync::new(SyncSpec::ccsds(marker, code.block_len())).expect("a valid specification");
        let mut decoder = code.build(Isa::best()).expect("a valid code");
        let derandomizer = Derandomizer::new(randomizer, code.block_len());
        let mut frames = Vec::new();
        let mut on_block = |block: fep_coding::Block<'_>| {
            let mut data = block.data.to_vec();
            derandomizer.apply(&mut data);
            let mut verdict = [Default::default()];
            decoder.decode_batch(&mut data, code.block_len(), &mut verdict);
            assert!(!verdict[0].is_uncorrectable());
            data.truncate(code.frame_len());
            frames.push(data);
        };
        sync.push(&bits, &mut on_block);
        sync.finish(&mut on_block);
        let expected: Vec<Vec<u8>> = case["frames"].as_array().expect("frames").iter().map(octets).collect();
        assert_eq!(frames, expected, "{}", case["name"]);
    }
    assert_eq!(seen, 2, "chains with a convolutional code");
}
