//! Synthetic streams composed of other programs' encoders, with offsets, slips, inversions and marker errors.

use fep_coding::rs::{Basis, RsE, RsSpec};
use fep_coding::{CodeSpec, Derandomizer, Isa, Marker, Randomizer, SyncSpec};
use serde_json::Value;

use crate::golden::{cases, octets};
use crate::stream::{assert_every_bit_is_accounted_for, synchronise, synchronise_cut};

const CHAINS: &str = "coding/chains.json";

fn indexes(values: &Value) -> Vec<usize> {
    values
        .as_array()
        .expect("a list")
        .iter()
        .map(|value| value.as_u64().expect("a number") as usize)
        .collect()
}

// REQ: FEP-SYNC-006
// REQ: FEP-SYNC-008
#[test]
fn reed_solomon_chains_with_slips_and_inversions_give_every_frame_that_can_be_recovered() {
    let reed_solomon = cases(CHAINS).into_iter().filter(|case| case["config"]["E"].is_u64());
    let mut seen = 0;
    for case in reed_solomon {
        seen += 1;
        let config = &case["config"];
        let number = |key: &str| config[key].as_u64().expect("a number") as u8;
        let rs = RsSpec {
            e: RsE::try_from(number("E")).expect("8 or 16"),
            interleave: number("I"),
            virtual_fill: number("q"),
            basis: Basis::Dual,
        };
        let randomizer = match config["randomizer"].as_str() {
            Some("255") => Randomizer::Legacy255,
            Some("131071") => Randomizer::Long131071,
            other => panic!("unknown randomiser {other:?}"),
        };
        if config["convolutional_rate"].is_string() {
            continue; // needs the Viterbi decoder
        }
        let code = CodeSpec::ReedSolomon(rs);
        let spec = SyncSpec::ccsds(Marker::new(&octets(&config["asm"])).expect("a marker"), code.block_len());
        let stream = octets(&case["stream"]);
        let (given, sync) = synchronise(&spec, &stream);
        assert_eq!(synchronise_cut(&spec, &stream, &[1, 5, 700]).0, given);
        assert_every_bit_is_accounted_for(&spec, &given, &sync, stream.len());
        let markers: Vec<usize> = given.iter().map(|block| block.stream_bit as usize).collect();
        assert_eq!(markers, indexes(&case["marker_start_bit_of_each_block"]), "{}", case["name"]);

        let inverted: Vec<usize> = (0..given.len()).filter(|&block| given[block].inverted).collect();
        assert_eq!(inverted, indexes(&case["events"]["inverted_blocks"]));
        for slip in case["events"]["bit_slips_[block,kind,bits]_at_mid_block"].as_array().expect("a list") {
            let (block, bits) =
                (slip[0].as_u64().expect("a number") as usize, slip[2].as_i64().expect("bits"));
            let sign = if slip[1] == "del" { -1 } else { 1 };
            assert_eq!(i64::from(given[block + 1].slip_bits), sign * bits);
        }
        for errors in case["events"]["marker_bit_errors_[block,count]"].as_array().expect("a list") {
            let block = errors[0].as_u64().expect("a number") as usize;
            assert_eq!(u64::from(given[block].marker_bit_errors), errors[1]);
        }

        let mut decoder = code.build(Isa::best()).expect("a code of the standard");
        let derandomizer = Derandomizer::new(randomizer, code.block_len());
        let lost = indexes(&case["blocks_not_recoverable"]);
        for (k, block) in given.iter().enumerate() {
            let mut data = block.data.clone();
            derandomizer.apply(&mut data);
            let mut verdict = [Default::default()];
            decoder.decode_batch(&mut data, code.block_len(), &mut verdict);
            assert_eq!(verdict[0].is_uncorrectable(), lost.contains(&k), "block {k}");
            if !lost.contains(&k) {
                assert_eq!(data[..code.frame_len()], octets(&case["frames"][k]), "frame {k}");
            }
        }
    }
    assert_eq!(seen, 3, "cases with Reed-Solomon");
}

// REQ: FEP-SYNC-001
#[test]
fn long_markers_of_turbo_and_ldpc_chains_are_found_where_they_were_put() {
    let mut seen = 0;
    for case in cases(CHAINS) {
        let config = &case["config"];
        let marker = if config["csm"].is_string() { &config["csm"] } else { &config["asm"] };
        if !case["marker_start_bit_of_each_block"].is_array() || config["E"].is_u64() {
            continue;
        }
        seen += 1;
        let expected = indexes(&case["marker_start_bit_of_each_block"]);
        let marker = Marker::new(&octets(marker)).expect("a marker");
        let block_len = (expected[1] - expected[0] - marker.bits() as usize) / 8;
        let spec = SyncSpec::ccsds(marker, block_len);
        let (given, _) = synchronise(&spec, &octets(&case["stream"]));
        let found: Vec<usize> = given.iter().map(|block| block.stream_bit as usize).collect();
        assert_eq!(found, expected, "{}", case["name"]);
    }
    assert_eq!(seen, 3, "cases with a long marker");
}
