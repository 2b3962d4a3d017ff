//! Sliced frames.

use fep_coding::ldpc::{LdpcSpec, LdpcStreamDecoder, LdpcStreamEncoder, LdpcStreamSpec, LdpcStreamSpecError};
use fep_coding::{FrameSync, Randomizer, SyncSpec};
use proptest::prelude::*;
use serde_json::Value;

use crate::channel::{Noise, quantised, received, sigma, symbols};
use crate::golden::{cases, octets};

fn vector() -> (Value, LdpcStreamSpec) {
    let case = cases("coding/chains.json").into_iter().find(|case| case["config"]["csm"].is_string());
    let case = case.expect("a chain of sliced frames");
    let spec = LdpcStreamSpec {
        ldpc: LdpcSpec::new(1024, "1/2").expect("a code"),
        codewords: case["config"]["m"].as_u64().expect("a number") as u8,
        randomizer: Randomizer::Long131071,
    };
    assert_eq!(spec.code_marker().as_bytes(), octets(&case["config"]["csm"]));
    (case, spec)
}

/// The frames in a stream of marker and frame.
fn frames(spec: &LdpcStreamSpec, frame_len: usize, stream: &[u8]) -> Vec<Vec<u8>> {
    let mut sync = FrameSync::new(spec.frame_sync(frame_len)).expect("parameters");
    let mut frames = Vec::new();
    let mut sink = |block: fep_coding::Block<'_>| frames.push(block.data.to_vec());
    sync.push(stream, &mut sink);
    sync.finish(&mut sink);
    frames
}

// REQ: FEP-LDPC-010
#[test]
fn sliced_frames_become_the_codeblocks_of_another_program() {
    let (case, spec) = vector();
    let sent: Vec<Vec<u8>> = case["frames"].as_array().expect("frames").iter().map(octets).collect();
    let mut encoder = LdpcStreamEncoder::new(spec).expect("parameters");
    let mut out = Vec::new();
    sent.iter().for_each(|frame| encoder.push(frame, &mut out));
    encoder.finish(&mut out);
    // The vector begins with a few bits of noise.
    let (stream, bits) = (octets(&case["stream"]), case["n_bits"].as_u64().expect("a number") as usize);
    let lead = case["events"]["leading_random_bits"].as_u64().expect("a number") as usize;
    assert_eq!(8 * out.len() + lead, bits);
    let bit = |octets: &[u8], i: usize| octets[i / 8] >> (7 - i % 8) & 1;
    assert!((0..8 * out.len()).all(|i| bit(&out, i) == bit(&stream, lead + i)));
}

// REQ: FEP-LDPC-010
// REQ: FEP-LDPC-011
#[test]
fn the_codeblocks_of_another_program_give_back_its_frames() {
    let (case, spec) = vector();
    let mut sync =
        FrameSync::new(SyncSpec::ccsds(spec.code_marker(), spec.codeblock_bits() / 8)).expect("parameters");
    let mut decoder = LdpcStreamDecoder::new(spec, 20).expect("parameters");
    let mut stream = Vec::new();
    let mut sink = |block: fep_coding::Block<'_>| {
        let mut slices = vec![0; spec.slices_len()];
        let mut verdicts = vec![Default::default(); usize::from(spec.codewords)];
        decoder.decode(&symbols(block.data, 32), &mut slices, &mut verdicts);
        assert!(verdicts.iter().all(|verdict| verdict.converged));
        stream.extend(slices);
    };
    sync.push(&octets(&case["stream"]), &mut sink);
    sync.finish(&mut sink);
    let expected: Vec<Vec<u8>> = case["frames"].as_array().expect("frames").iter().map(octets).collect();
    assert_eq!(frames(&spec, expected[0].len(), &stream), expected);
}

// REQ: FEP-LDPC-010
#[test]
fn codeblocks_of_no_codeword_or_of_nine_are_refused_with_what_is_allowed() {
    let (_, spec) = vector();
    for codewords in [0, 9] {
        let refusal = LdpcStreamSpec { codewords, ..spec }.validate().expect_err("impossible");
        assert_eq!(refusal, LdpcStreamSpecError::Codewords(codewords));
        assert!(refusal.to_string().contains("1 to 8"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    // REQ: FEP-LDPC-010
    // REQ: FEP-LDPC-011
    #[test]
    fn frames_of_any_length_come_through_codeblocks_of_any_size_and_noise_above_threshold(
        code in 0usize..7, codewords in 1u8..=8, frame_len in 20usize..1500, count in 4usize..8, seed: u64,
        randomizer in prop::sample::select(vec![
            Randomizer::None, Randomizer::Legacy255, Randomizer::Long131071,
        ]),
    ) {
        let ldpc = LdpcSpec::all().nth(code).expect("ten codes");
        let spec = LdpcStreamSpec { ldpc, codewords, randomizer };
        let mut noise = Noise(seed);
        let sent: Vec<Vec<u8>> = (0..count).map(|_| noise.octets(frame_len)).collect();
        let mut encoder = LdpcStreamEncoder::new(spec).expect("parameters");
        let mut out = Vec::new();
        sent.iter().for_each(|frame| encoder.push(frame, &mut out));
        encoder.finish(&mut out);

        let marker = spec.code_marker();
        let marker_len = marker.as_bytes().len();
        let codeblock_len = spec.codeblock_bits() / 8;
        prop_assert_eq!(out.len() % (marker_len + codeblock_len), 0);
        let mut arrived = Vec::new();
        for codeblock in out.chunks_exact(marker_len + codeblock_len) {
            prop_assert_eq!(&codeblock[..marker_len], marker.as_bytes());
            let sigma = sigma(ldpc, 6.0) as f32;
            arrived.extend(quantised(&received(&codeblock[marker_len..], sigma, &mut noise), 32.0));
        }
        let blocks = arrived.len() / spec.codeblock_bits();
        let mut stream = vec![0; blocks * spec.slices_len()];
        let mut verdicts = vec![Default::default(); blocks * usize::from(codewords)];
        LdpcStreamDecoder::new(spec, 50).expect("parameters").decode(&arrived, &mut stream, &mut verdicts);
        prop_assert!(verdicts.iter().all(|verdict| verdict.converged));
        // Behind the last frame, fill may be given as blocks without a marker.
        prop_assert!(frames(&spec, frame_len, &stream).starts_with(&sent));
    }
}
