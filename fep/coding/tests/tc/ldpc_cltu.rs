//! CLTUs with LDPC, in soft symbols.

use fep_coding::tc::ldpc::{
    LdpcCltuBuilder, LdpcCltuReceiver, LdpcCltuSpec, LdpcCltuSpecError, LdpcRandomization, LdpcVerdict,
    START_SEQUENCE, TAIL_SEQUENCE, TcLdpc, TcLdpcDecoder,
};
use fep_coding::tc::{EndReason, FrameLenError};
use fep_coding::{Isa, Polarity};
use proptest::prelude::*;

use crate::channel::{Noise, Said, assert_balanced, bits, frames, reasons};
use crate::golden::{cases, octets};

fn cltu(spec: &LdpcCltuSpec, frame: &[u8]) -> Vec<u8> {
    let mut builder = LdpcCltuBuilder::new(spec).expect("a valid specification");
    let mut out = Vec::new();
    builder.build(frame, &mut out).expect("a frame that fits");
    assert_eq!(out.len(), builder.cltu_len(frame.len()));
    out
}

/// Symbols of amplitude 32 in Gaussian noise of standard deviation `sigma` (of the amplitude).
fn symbols(octets: &[u8], sigma: f64, noise: &mut Noise) -> Vec<i8> {
    let amplitude = |bit: &u8| 32.0 * (1.0 - 2.0 * f64::from(*bit) + sigma * noise.gauss());
    bits(octets).iter().map(amplitude).map(|value| value.round().clamp(-127.0, 127.0) as i8).collect()
}

fn receive(spec: LdpcCltuSpec, stream: &[i8], piece: usize) -> (Vec<Said<LdpcVerdict>>, LdpcCltuReceiver) {
    let mut receiver = LdpcCltuReceiver::new(spec).expect("a valid specification");
    let mut said = Vec::new();
    for piece in stream.chunks(piece.max(1)) {
        receiver.push(piece, &mut |event| said.push(Said::of(event)));
        assert_balanced(receiver.counters());
    }
    receiver.finish(&mut |event| said.push(Said::of(event)));
    assert_balanced(receiver.counters());
    assert_eq!(receiver.counters().bits_held, 0);
    assert_eq!(receiver.counters().bits_in, stream.len() as u64);
    (said, receiver)
}

// REQ: FEP-TC-022
// REQ: FEP-TC-023
#[test]
fn cltus_are_those_of_another_program_in_both_directions() {
    let vectors = cases("tc/cltu_ldpc.json");
    assert_eq!(vectors.len(), 6);
    let n128 = LdpcCltuSpec::new(TcLdpc::N128);
    for case in vectors {
        let frame = octets(&case["frame"]);
        for (spec, key) in [
            (n128, "cltu_128_64_with_tail"),
            (LdpcCltuSpec { tail: false, ..n128 }, "cltu_128_64_no_tail"),
            (LdpcCltuSpec::new(TcLdpc::N512), "cltu_512_256"),
        ] {
            let sent = octets(&case[key]);
            assert_eq!(cltu(&spec, &frame), sent, "{key}");
            let mut receiver = LdpcCltuReceiver::new(spec).expect("valid");
            let mut said = Vec::new();
            for piece in sent.chunks(5) {
                receiver.push_hard(piece, &mut |event| said.push(Said::of(event)));
            }
            receiver.finish(&mut |event| said.push(Said::of(event)));
            assert_eq!(said.len(), 3, "{said:?}");
            assert_eq!(frames(&said)[0][..frame.len()], frame);
            let reason = if spec.tail { EndReason::Tail { bit_errors: 0 } } else { EndReason::StreamEnd };
            assert_eq!(reasons(&said), [reason]);
        }
    }
}

// REQ: FEP-TC-023
#[test]
fn the_rule_of_issue_3_randomises_the_frame_and_not_the_fill_and_is_recovered() {
    let spec = LdpcCltuSpec { randomization: LdpcRandomization::Frame, ..LdpcCltuSpec::new(TcLdpc::N128) };
    let frame = [0; 11];
    let sent = cltu(&spec, &frame);
    // The randomiser starts with FF 39 9E 5A 68 E9 06 F5 6C 89 2F; the fill is plain.
    assert_eq!(sent[8..16], [0xFF, 0x39, 0x9E, 0x5A, 0x68, 0xE9, 0x06, 0xF5]);
    assert_eq!(sent[24..32], [0x6C, 0x89, 0x2F, 0x55, 0x55, 0x55, 0x55, 0x55]);
    let (said, _) = receive(spec, &symbols(&sent, 0.3, &mut Noise(4)), 50);
    assert_eq!(frames(&said)[0][..11], frame);
    let (said, _) = receive(LdpcCltuSpec::new(TcLdpc::N128), &symbols(&sent, 0.0, &mut Noise(4)), 50);
    assert!(frames(&said).iter().all(|octets| octets[..8] != frame[..8]), "the rules are told apart");
}

// REQ: FEP-TC-024
#[test]
fn the_tail_is_no_codeword_and_ends_the_cltu_where_it_is_not_looked_for() {
    let mut decoded = [0; 8];
    for randomised in [false, true] {
        let mut tail = TAIL_SEQUENCE;
        if randomised {
            fep_coding::Derandomizer::new(fep_coding::Randomizer::Tc255, 16).apply(&mut tail);
        }
        assert_eq!(
            TcLdpcDecoder::new(TcLdpc::N128, 200).decode_hard(&tail, &mut decoded),
            LdpcVerdict::Failed
        );
    }
    let spec = LdpcCltuSpec::new(TcLdpc::N128);
    let sent = cltu(&spec, &[7; 20]);
    let (said, _) = receive(LdpcCltuSpec { tail: false, ..spec }, &symbols(&sent, 0.0, &mut Noise(1)), 99);
    assert_eq!(reasons(&said), [EndReason::Rejected]);
    assert_eq!(frames(&said)[0][..20], [7; 20]);
}

// REQ: FEP-TC-024
#[test]
fn cltus_one_behind_the_other_or_cut_do_not_cost_the_next() {
    for code in TcLdpc::ALL {
        let spec = LdpcCltuSpec::new(code);
        let first = symbols(&cltu(&spec, &Noise(5).octets(70)), 0.0, &mut Noise(1));
        let frame = Noise(6).octets(40);
        let second = symbols(&cltu(&spec, &frame), 0.0, &mut Noise(2));
        for cut in (0..=first.len()).step_by(7).chain([first.len()]) {
            let stream: Vec<i8> = first[..cut].iter().chain(&second).copied().collect();
            let (said, _) = receive(spec, &stream, 333);
            if !frames(&said).iter().any(|octets| octets.len() >= 40 && octets[..40] == frame) {
                panic!("{code} cut at {cut} of {}: {said:?}", first.len());
            }
        }
    }
}

// REQ: FEP-TC-025
#[test]
fn start_sequences_are_found_in_noise_and_not_in_idle_sequences() {
    assert_eq!(START_SEQUENCE, [0x03, 0x47, 0x76, 0xC7, 0x27, 0x28, 0x95, 0xB0]);
    for code in TcLdpc::ALL {
        let spec = LdpcCltuSpec::new(code);
        let mut noise = Noise(77);
        // Es/N0 of 2 dB: about 4 of 100 symbols are wrong.
        let sigma = (0.5 / 10f64.powf(0.2)).sqrt();
        let (mut stream, mut sent) = (Vec::new(), Vec::new());
        for k in 0..100 {
            let frame = noise.octets(10 + k);
            stream.extend(symbols(&[0x55; 40], sigma, &mut noise));
            stream.extend(symbols(&cltu(&spec, &frame), sigma, &mut noise));
            sent.push(frame);
        }
        stream.extend(symbols(&[0x55; 40], sigma, &mut noise));
        let (said, receiver) = receive(spec, &stream, 4096);
        let got = frames(&said);
        let whole = |frame: &&Vec<u8>| got.iter().any(|octets| octets.starts_with(frame.as_slice()));
        let recovered = sent.iter().filter(whole).count();
        assert!(recovered >= 97, "{code}: {recovered} of 100");
        assert_eq!(receiver.counters().false_starts, 0, "{code}");
        let (said, _) = receive(spec, &symbols(&[0x55; 2000], sigma, &mut noise), 1000);
        assert_eq!(said, []);
    }
}

// REQ: FEP-TC-014
#[test]
fn impossible_parameters_and_frames_are_refused_with_the_reason() {
    let (n128, n512) = (LdpcCltuSpec::new(TcLdpc::N128), LdpcCltuSpec::new(TcLdpc::N512));
    for (spec, expected) in [
        (LdpcCltuSpec { tail: true, ..n512 }, LdpcCltuSpecError::Tail),
        (LdpcCltuSpec { threshold_percent: 50, ..n128 }, LdpcCltuSpecError::Threshold(50)),
        (LdpcCltuSpec { threshold_percent: 101, ..n128 }, LdpcCltuSpecError::Threshold(101)),
        (LdpcCltuSpec { iterations_max: 0, ..n128 }, LdpcCltuSpecError::Iterations(0)),
        (LdpcCltuSpec { codewords_max: 0, ..n128 }, LdpcCltuSpecError::CodewordsMax { got: 0, most: 8192 }),
        (
            LdpcCltuSpec { codewords_max: 2049, ..n512 },
            LdpcCltuSpecError::CodewordsMax { got: 2049, most: 2048 },
        ),
    ] {
        assert_eq!(LdpcCltuReceiver::new(spec).err(), Some(expected));
        assert_eq!(LdpcCltuBuilder::new(&spec).err(), Some(expected));
    }
    let mut out = Vec::new();
    let mut builder = LdpcCltuBuilder::new(&n128).expect("valid");
    assert_eq!(builder.build(&[], &mut out), Err(FrameLenError(0)));
    let text = serde_json::to_value(n512).expect("a specification serialises");
    assert_eq!(text["code"], "512_256");
    assert_eq!(serde_json::from_value::<LdpcCltuSpec>(text).expect("and comes back"), n512);
}

// REQ: FEP-TC-013
#[test]
fn a_cltu_beyond_the_longest_allowed_is_ended() {
    let spec = LdpcCltuSpec { codewords_max: 3, ..LdpcCltuSpec::new(TcLdpc::N128) };
    let stream = symbols(&cltu(&spec, &[3; 40]), 0.0, &mut Noise(1));
    let (said, _) = receive(spec, &stream, 100);
    assert_eq!(reasons(&said), [EndReason::TooLong]);
    assert_eq!(frames(&said), [vec![3; 24]]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // REQ: FEP-TC-016
    // REQ: FEP-TC-025
    #[test]
    fn what_is_built_is_recovered_in_either_polarity_however_the_stream_is_cut(
        n512: bool, tail: bool, frame_rule: bool, inverted: bool,
        len in 1usize..120, idle in 0usize..200, seed: u64, piece in 1usize..700,
    ) {
        let code = if n512 { TcLdpc::N512 } else { TcLdpc::N128 };
        let randomization = if frame_rule { LdpcRandomization::Frame } else { LdpcRandomization::Codewords };
        let spec = LdpcCltuSpec { tail: tail && !n512, randomization, ..LdpcCltuSpec::new(code) };
        let mut noise = Noise(seed);
        let frame = noise.octets(len);
        let mut stream: Vec<i8> = (0..idle).map(|i| if i % 2 == 0 { 32 } else { -32 }).collect();
        stream.extend(symbols(&cltu(&spec, &frame), 0.45, &mut noise));
        stream.extend((0..700).map(|i| if i % 2 == 0 { 32 } else { -32 }));
        if inverted {
            stream.iter_mut().for_each(|symbol| *symbol = -*symbol);
        }
        let (said, receiver) = receive(spec, &stream, piece);
        prop_assert_eq!(&frames(&said)[0][..len], &frame);
        let Said::Started(start) = said[0] else { panic!("{said:?}") };
        prop_assert_eq!((start.stream_bit, start.inverted), (idle as u64, inverted));
        let (whole, other) = receive(spec, &stream, stream.len());
        prop_assert_eq!(&said, &whole);
        prop_assert_eq!(receiver.counters(), other.counters());
        let foreign = if inverted { Polarity::Normal } else { Polarity::Inverted };
        prop_assert_eq!(receive(LdpcCltuSpec { polarity: foreign, ..spec }, &stream, piece).0, []);

        let mut scalar = LdpcCltuReceiver::new(spec).expect("valid").with_isa(Isa::Scalar).expect("always there");
        let mut by_scalar = Vec::new();
        scalar.push(&stream, &mut |event| by_scalar.push(Said::of(event)));
        scalar.finish(&mut |event| by_scalar.push(Said::of(event)));
        prop_assert_eq!(said, by_scalar);
    }
}
