//! CLTUs with BCH, through channels that shift, invert, damage and cut.

use fep_coding::Polarity;
use fep_coding::tc::bch::{BchMode, BchVerdict};
use fep_coding::tc::{
    CltuBuilder, CltuReceiver, CltuSpec, CltuSpecError, CltuStart, EndReason, FRAME_LEN_MAX, FrameLenError,
};
use proptest::prelude::*;

use crate::channel::{Noise, Said, assert_balanced, bits, frames, pack, reasons};
use crate::golden::{cases, octets};

const PLAIN_SEC: CltuSpec = CltuSpec { randomized: false, ..CltuSpec::sec() };

fn cltu(frame: &[u8], randomized: bool) -> Vec<u8> {
    let mut out = Vec::new();
    CltuBuilder::new(randomized).build(frame, &mut out).expect("a frame that fits");
    assert_eq!(out.len(), CltuBuilder::cltu_len(frame.len()));
    out
}

/// All that the receiver says of a whole stream, with its books checked.
fn receive(spec: CltuSpec, stream: &[u8], piece: usize) -> (Vec<Said<BchVerdict>>, CltuReceiver) {
    let mut receiver = CltuReceiver::new(spec).expect("a valid specification");
    let mut said = Vec::new();
    for piece in stream.chunks(piece.max(1)) {
        receiver.push(piece, &mut |event| said.push(Said::of(event)));
        assert_balanced(receiver.counters());
    }
    receiver.finish(&mut |event| said.push(Said::of(event)));
    assert_balanced(receiver.counters());
    assert_eq!(receiver.counters().bits_held, 0);
    assert_eq!(receiver.counters().bits_in, 8 * stream.len() as u64);
    (said, receiver)
}

// REQ: FEP-TC-007
// REQ: FEP-TC-008
#[test]
fn cltus_are_those_of_two_other_programs_in_both_directions() {
    let vectors = cases("tc/cltu_bch.json");
    assert_eq!(vectors.len(), 8);
    for case in vectors {
        let frame = octets(&case["frame"]);
        for (randomized, key) in [(false, "cltu"), (true, "cltu_randomized")] {
            let sent = octets(&case[key]);
            assert_eq!(cltu(&frame, randomized), sent);
            for spec in [CltuSpec::ted(), CltuSpec::sec()] {
                let (said, receiver) = receive(CltuSpec { randomized, ..spec }, &sent, 7);
                assert_eq!(said.len(), 3, "{said:?}");
                assert_eq!(frames(&said)[0][..frame.len()], frame);
                assert_eq!(reasons(&said), [EndReason::Tail { bit_errors: 0 }]);
                assert_eq!(receiver.counters().bits_in_cltus, 8 * sent.len() as u64);
            }
        }
    }
}

// REQ: FEP-TC-009
#[test]
fn no_idle_sequence_is_taken_for_a_start_sequence() {
    for idle in [0x55, 0xAA] {
        let (said, _) = receive(PLAIN_SEC, &[idle; 300], 11);
        assert_eq!(said, []);
    }
    // Nor what lies between a tail and what follows it.
    for idle in [0x55, 0xAA] {
        let mut stream = vec![idle; 20];
        stream.extend(cltu(b"first", false));
        stream.extend([idle; 20]);
        stream.extend(cltu(b"second", false));
        let (said, receiver) = receive(PLAIN_SEC, &stream, 1000);
        assert_eq!(said.len(), 6, "{said:?}");
        assert_eq!(receiver.counters().false_starts, 0);
    }
}

// REQ: FEP-TC-010
#[test]
fn a_start_sequence_with_a_wrong_bit_is_found_with_correction_and_not_without() {
    let stream = cltu(b"start", false);
    for bit in 0..16 {
        let mut damaged = stream.clone();
        damaged[bit / 8] ^= 0x80 >> (bit % 8);
        let (said, _) = receive(PLAIN_SEC, &damaged, 3);
        let start = CltuStart { stream_bit: 0, inverted: false, start_bit_errors: 1 };
        assert_eq!(said[0], Said::Started(start), "{bit}");
        assert_eq!(frames(&said)[0][..5], *b"start");
        let (said, _) = receive(CltuSpec { randomized: false, ..CltuSpec::ted() }, &damaged, 3);
        assert_eq!(said, [], "{bit}");
    }
}

// REQ: FEP-TC-005
#[test]
fn a_tail_with_a_wrong_bit_is_a_tail_and_one_with_more_still_ends_the_cltu() {
    let sent = cltu(b"tail ends", false);
    let tail = 8 * (sent.len() - 8);
    for bit in 0..64 {
        let mut damaged = sent.clone();
        damaged[(tail + bit) / 8] ^= 0x80 >> (bit % 8);
        damaged.extend([0x55; 8]);
        let (said, receiver) = receive(PLAIN_SEC, &damaged, 9);
        assert_eq!(reasons(&said), [EndReason::Tail { bit_errors: 1 }]);
        assert_eq!(receiver.counters().tails, 1);
        let strict = CltuSpec { tail_bit_errors: 0, ..PLAIN_SEC };
        assert_eq!(reasons(&receive(strict, &damaged, 9).0)[0], EndReason::Rejected);
    }
    // Two wrong bits, the filler intact: never taken for a codeblock.
    for second in 1..63 {
        let mut damaged = sent.clone();
        for bit in [0, second] {
            damaged[(tail + bit) / 8] ^= 0x80 >> (bit % 8);
        }
        let (said, _) = receive(PLAIN_SEC, &damaged, 9);
        assert_eq!(reasons(&said)[0], EndReason::Rejected);
        assert_eq!(frames(&said)[0].len(), 14);
    }
}

// REQ: FEP-TC-011
#[test]
fn the_first_rejected_codeblock_ends_the_cltu_and_what_came_before_is_given_out() {
    let frame: Vec<u8> = (0..70).collect();
    let mut damaged = cltu(&frame, false);
    damaged[2 + 8 * 4] ^= 0x81; // two bits of the fifth codeblock
    damaged[2 + 8] ^= 0x10; // one of the second
    let (said, receiver) = receive(PLAIN_SEC, &damaged, 13);
    let Said::Frame(octets, verdicts) = &said[1] else { panic!("{said:?}") };
    assert_eq!(*octets, frame[..28]);
    use BchVerdict::{Clean, Corrected};
    assert_eq!(*verdicts, [Clean, Corrected { bit: 0x0B - 8 }, Clean, Clean]);
    assert_eq!(said[2], Said::Ended(EndReason::Rejected, 16 + 4 * 64));
    assert_eq!(receiver.counters().codeblocks_rejected, 1);

    let mut damaged = cltu(&frame, false);
    damaged[2] ^= 0x01;
    let ted = CltuSpec { randomized: false, ..CltuSpec::ted() };
    let (said, receiver) = receive(ted, &damaged, 13);
    assert_eq!(reasons(&said), [EndReason::Rejected]);
    assert_eq!((frames(&said).len(), receiver.counters().false_starts), (0, 1));
}

// REQ: FEP-TC-012
#[test]
fn a_cltu_cut_at_any_bit_and_followed_at_once_by_another_does_not_cost_the_other() {
    let first = bits(&cltu(&Noise(1).octets(35), true));
    let frame = Noise(2).octets(30);
    let second = bits(&cltu(&frame, true));
    for (spec, most) in [(CltuSpec::ted(), 4), (CltuSpec::sec(), 12)] {
        let mut lost = Vec::new();
        for cut in 16..first.len() {
            let stream: Vec<u8> = first[..cut].iter().chain(&second).copied().collect();
            let (said, _) = receive(spec, &pack(&stream), 1000);
            if !frames(&said).iter().any(|octets| octets.len() >= 30 && octets[..30] == frame) {
                lost.push(cut);
            }
        }
        // Where everything goes on to pass for codeblocks of the first until the tail, nobody can tell: with correction
        // that is one cut in 30 or so, for the code corrects a quarter of anything.
        assert!(lost.len() <= most, "{:?}: lost after a cut at {lost:?}", spec.mode);
    }
}

// REQ: FEP-TC-012
#[test]
fn cltus_without_any_bit_between_them_are_all_received() {
    let mut stream = Vec::new();
    for k in 0..20u8 {
        stream.extend(cltu(&[k; 9], true));
    }
    for spec in [CltuSpec::ted(), CltuSpec::sec()] {
        let (said, receiver) = receive(spec, &stream, 17);
        let expected: Vec<Vec<u8>> = (0..20).map(|k| vec![k; 9]).collect();
        let received: Vec<Vec<u8>> = frames(&said).iter().map(|octets| octets[..9].to_vec()).collect();
        assert_eq!(received, expected);
        assert_eq!(receiver.counters().bits_discarded, 0);
    }
}

// REQ: FEP-TC-013
#[test]
fn a_cltu_beyond_the_longest_allowed_is_ended_and_one_cut_by_the_end_of_the_stream_is_given_out() {
    let frame: Vec<u8> = (0..42).collect();
    let sent = cltu(&frame, false);
    let (said, _) = receive(CltuSpec { codeblocks_max: 4, ..PLAIN_SEC }, &sent, 5);
    assert_eq!(reasons(&said)[0], EndReason::TooLong);
    assert_eq!(frames(&said)[0], frame[..28]);
    let (said, _) = receive(CltuSpec { codeblocks_max: 6, ..PLAIN_SEC }, &sent, 5);
    assert_eq!(reasons(&said), [EndReason::Tail { bit_errors: 0 }]);

    let (said, _) = receive(PLAIN_SEC, &sent[..2 + 8 * 3 + 5], 5);
    assert_eq!(reasons(&said), [EndReason::StreamEnd]);
    assert_eq!(frames(&said)[0], frame[..21]);
}

// REQ: FEP-TC-014
#[test]
fn impossible_parameters_and_frames_are_refused_with_the_reason() {
    let refusal = |spec: CltuSpec| CltuReceiver::new(spec).expect_err("an impossible specification");
    assert_eq!(
        refusal(CltuSpec { start_bit_errors: 1, ..CltuSpec::ted() }),
        CltuSpecError::StartBitErrors { mode: BchMode::Ted, got: 1, most: 0 }
    );
    assert_eq!(
        refusal(CltuSpec { start_bit_errors: 2, ..CltuSpec::sec() }),
        CltuSpecError::StartBitErrors { mode: BchMode::Sec, got: 2, most: 1 }
    );
    assert_eq!(refusal(CltuSpec { tail_bit_errors: 2, ..CltuSpec::sec() }), CltuSpecError::TailBitErrors(2));
    for codeblocks_max in [0, 9364] {
        let refused = refusal(CltuSpec { codeblocks_max, ..CltuSpec::sec() });
        assert_eq!(refused, CltuSpecError::CodeblocksMax(codeblocks_max));
        assert!(refused.to_string().contains(&codeblocks_max.to_string()));
    }
    let mut out = vec![1];
    for len in [0, FRAME_LEN_MAX + 1] {
        assert_eq!(CltuBuilder::new(true).build(&vec![0; len], &mut out), Err(FrameLenError(len)));
    }
    assert_eq!(out, [1]);
    let text = serde_json::to_value(CltuSpec::sec()).expect("a specification serialises");
    assert_eq!(serde_json::from_value::<CltuSpec>(text).expect("and comes back"), CltuSpec::sec());
}

#[test]
fn a_reset_forgets_the_stream_and_keeps_the_counters() {
    let sent = cltu(b"reset me", true);
    let mut receiver = CltuReceiver::new(CltuSpec::sec()).expect("valid");
    receiver.push(&sent[..15], &mut |_| ());
    assert!(receiver.is_receiving());
    receiver.reset();
    assert!(!receiver.is_receiving());
    assert_balanced(receiver.counters());
    let mut said = Vec::new();
    receiver.push(&sent, &mut |event| said.push(Said::of(event)));
    assert_eq!(frames(&said)[0][..8], *b"reset me");
    assert_eq!(receiver.counters().bits_in, 8 * (15 + sent.len() as u64));
    assert_balanced(receiver.counters());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    // REQ: FEP-TC-009
    // REQ: FEP-TC-015
    #[test]
    fn what_is_built_is_recovered_at_any_alignment_and_polarity_with_a_wrong_bit_in_every_codeblock(
        lens in prop::collection::vec(1usize..300, 1..4),
        idle_bits in 0usize..100,
        inverted: bool,
        randomized: bool,
        seed: u64,
        piece in 1usize..200,
    ) {
        let mut noise = Noise(seed);
        let sent: Vec<Vec<u8>> = lens.iter().map(|len| noise.octets(*len)).collect();
        let mut stream: Vec<u8> = Vec::new();
        let mut starts = Vec::new();
        for frame in &sent {
            stream.extend((0..idle_bits).map(|i| (i % 2) as u8));
            starts.push(stream.len() as u64);
            let mut cltu = bits(&cltu(frame, randomized));
            let tail = cltu.len() - 64;
            for block in cltu[16..tail].chunks_exact_mut(64) {
                block[noise.next() as usize % 63] ^= 1;
            }
            stream.extend(cltu);
        }
        let flip = if inverted { 0xFF } else { 0 };
        let stream: Vec<u8> = pack(&stream).iter().map(|octet| octet ^ flip).collect();
        let polarity = [Polarity::Auto, if inverted { Polarity::Inverted } else { Polarity::Normal }];
        for polarity in polarity {
            let (said, receiver) = receive(CltuSpec { randomized, polarity, ..CltuSpec::sec() }, &stream, piece);
            let received = frames(&said);
            prop_assert_eq!(received.len(), sent.len(), "{:?}", said);
            for (received, frame) in received.iter().zip(&sent) {
                prop_assert_eq!(&received[..frame.len()], frame);
            }
            let found: Vec<u64> = said.iter().filter_map(|said| match said {
                Said::Started(start) => Some(start.stream_bit),
                _ => None,
            }).collect();
            prop_assert_eq!(&found, &starts);
            let counters = receiver.counters();
            prop_assert_eq!(counters.codeblocks, counters.codeblocks_corrected);
            prop_assert_eq!((counters.false_starts, counters.bits_shared), (0, 0));
        }
        let (_, foreign) = receive(CltuSpec {
            polarity: if inverted { Polarity::Normal } else { Polarity::Inverted },
            randomized,
            ..CltuSpec::ted()
        }, &stream, piece);
        prop_assert!(foreign.counters().cltus <= 1, "chance finds few in the wrong polarity");
    }

    // REQ: FEP-TC-016
    #[test]
    fn the_events_depend_on_the_stream_alone_and_every_bit_is_accounted_for(
        parts in prop::collection::vec((0usize..4, 0usize..60, any::<u64>()), 1..12),
        pieces in (1usize..40, 1usize..400),
        sec: bool,
    ) {
        // Start sequences, codeblocks, tails and noise in any order, so that much is found and much of it is false.
        let mut stream = Vec::new();
        for (kind, len, seed) in parts {
            match kind {
                0 => stream.extend(bits(&Noise(seed).octets(len))),
                1 => stream.extend(bits(&cltu(&Noise(seed).octets(len + 1), true))),
                2 => {
                    let whole = bits(&cltu(&Noise(seed).octets(len + 1), true));
                    stream.extend(&whole[..whole.len() * len / 60]);
                }
                _ => stream.extend(bits(&[0xEB, 0x90])),
            }
        }
        let stream = pack(&stream);
        let spec = if sec { CltuSpec::sec() } else { CltuSpec::ted() };
        let (first, receiver) = receive(spec, &stream, pieces.0);
        let (second, other) = receive(spec, &stream, pieces.1);
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(receiver.counters(), other.counters());
        let (whole, _) = receive(spec, &stream, stream.len());
        prop_assert_eq!(first, whole);
    }
}
