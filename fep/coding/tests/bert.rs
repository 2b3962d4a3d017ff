//! Bit error rate tests: the sequences against their definition and other people's figures, the checker against channels
//! whose every deed is known.

use fep_coding::bert::{
    BertChecker, BertCounters, BertEvent, Confidence, Pn, PnGenerator, Resync, ber_interval,
};
use proptest::prelude::*;

/// The register of O.150 as drawn there: stages 1 to n, the outputs of two added and fed to the first, the last sent.
fn by_register(pn: Pn, count: usize) -> Vec<u8> {
    let (n, k, inverted) = match pn {
        Pn::Pn9 => (9, 5, 0),
        Pn::Pn15 => (15, 14, 1),
        Pn::Pn20 => (20, 3, 0),
        Pn::Pn23 => (23, 18, 1),
    };
    let mut stages = vec![1u8; n];
    (0..count)
        .map(|_| {
            let sent = stages[n - 1] ^ inverted;
            let fed = stages[k - 1] ^ stages[n - 1];
            stages.rotate_right(1);
            stages[0] = fed;
            sent
        })
        .collect()
}

fn bits(octets: &[u8]) -> Vec<u8> {
    octets.iter().flat_map(|octet| (0..8).map(move |i| octet >> (7 - i) & 1)).collect()
}

fn pack(bits: &[u8]) -> Vec<u8> {
    bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |octet, bit| octet << 1 | bit)).collect()
}

fn sequence(pn: Pn, octets: usize) -> Vec<u8> {
    let mut out = vec![0; octets];
    PnGenerator::new(pn).fill(&mut out);
    out
}

fn assert_balanced(counters: &BertCounters) {
    assert_eq!(
        counters.bits_in,
        counters.bits_checked + counters.bits_unsynchronised + counters.bits_held,
        "{counters:?}"
    );
    assert!(counters.errors <= counters.bits_checked);
}

/// All events and the final counters, with the books checked.
fn check(pn: Pn, stream: &[u8], piece: usize) -> (Vec<BertEvent>, BertCounters) {
    let mut checker = BertChecker::new(pn);
    let mut events = Vec::new();
    for piece in stream.chunks(piece) {
        checker.push(piece, &mut |event| events.push(event));
        assert_balanced(checker.counters());
    }
    checker.finish(&mut |event| events.push(event));
    assert_balanced(checker.counters());
    (events, *checker.counters())
}

fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

// REQ: FEP-BERT-001
#[test]
fn the_generator_gives_what_the_register_of_the_recommendation_gives() {
    for pn in Pn::ALL {
        let expected = by_register(pn, 8 * 5000);
        assert_eq!(bits(&sequence(pn, 5000)), expected, "{pn}");
    }
    // The sequence of 511 bits as it is widely printed.
    assert_eq!(sequence(Pn::Pn9, 8), [0xFF, 0x83, 0xDF, 0x17, 0x32, 0x09, 0x4E, 0xD1]);
}

// REQ: FEP-BERT-001
#[test]
fn every_sequence_has_its_full_period_and_balance() {
    for pn in Pn::ALL {
        let period = pn.period() as usize;
        let octets = sequence(pn, period + 8);
        let (first, second) = octets.split_at(period);
        assert_eq!(first[..8], second[..8], "{pn} repeats after 8 periods");
        let ones: u64 = first.iter().map(|octet| u64::from(octet.count_ones())).sum();
        let ones_a_period = if pn.is_inverted() { pn.period() / 2 } else { pn.period().div_ceil(2) };
        assert_eq!(ones, 8 * ones_a_period, "{pn}");
        // No shorter period: the start does not come back at any divisor's octet.
        let again = (1..period).find(|at| octets[*at..at + 8] == octets[..8]);
        assert_eq!(again, None, "{pn}");
    }
}

// REQ: FEP-BERT-001
#[test]
fn a_sequence_is_the_same_however_it_is_asked_for() {
    for pn in Pn::ALL {
        let whole = sequence(pn, 3000);
        let mut generator = PnGenerator::new(pn);
        let mut pieces = Vec::new();
        for len in (0..40).cycle() {
            let mut piece = vec![0; len.min(3000 - pieces.len())];
            generator.fill(&mut piece);
            pieces.extend(piece);
            if pieces.len() == 3000 {
                break;
            }
        }
        assert_eq!(pieces, whole, "{pn}");
        let mut other = vec![0; 100];
        PnGenerator::with_polarity(pn, !pn.is_inverted()).fill(&mut other);
        assert!(other.iter().zip(&whole).all(|(a, b)| *a == !b));
    }
}

// REQ: FEP-BERT-004
#[test]
fn a_burst_is_told_from_a_slip() {
    for pn in Pn::ALL {
        let mut stream = sequence(pn, 5000);
        let mut random = noise(3);
        for octet in &mut stream[2000..2600] {
            *octet = random() as u8;
        }
        let (events, counters) = check(pn, &stream, 77);
        assert_eq!((counters.sync_acquired, counters.sync_lost, counters.slips), (2, 1, 0), "{pn}");
        assert!(matches!(events[2], BertEvent::Synchronised { resync: Resync::SamePlace, .. }), "{events:?}");
        assert!(counters.errors < 64, "{pn}: the burst is not counted, {} errors", counters.errors);
    }
}

// REQ: FEP-BERT-005
#[test]
fn a_line_that_stands_still_or_is_random_is_never_synchronised() {
    let mut random = noise(17);
    let random: Vec<u8> = (0..200_000).map(|_| random() as u8).collect();
    for pn in Pn::ALL {
        for stream in [&[0x00; 4000][..], &[0xFF; 4000], &[0x55; 4000], &random] {
            let (events, counters) = check(pn, stream, 1000);
            assert_eq!((events.len(), counters.bits_checked), (0, 0), "{pn}");
        }
        let (events, _) = check(pn, &sequence(Pn::ALL[(pn as usize + 1) % 4], 4000), 1000);
        assert_eq!(events.len(), 0, "{pn} is not another sequence");
    }
}

// REQ: FEP-BERT-002
#[test]
fn one_error_in_ten_bits_is_still_measured() {
    for pn in Pn::ALL {
        let mut random = noise(5);
        let mut wrong = 0u64;
        let stream: Vec<u8> = bits(&sequence(pn, 400_000));
        let stream: Vec<u8> = stream
            .iter()
            .map(|bit| {
                let error = u8::from(random().is_multiple_of(10));
                wrong += u64::from(error);
                bit ^ error
            })
            .collect();
        let (events, counters) = check(pn, &pack(&stream), 4096);
        assert_eq!((counters.sync_acquired, counters.sync_lost), (1, 0), "{pn} {events:?}");
        assert!(counters.errors <= wrong);
        let rate = counters.rate(Confidence::P99).expect("bits were checked");
        assert!(rate.low < 0.1 && 0.1 < rate.high, "{pn}: {rate:?}");
    }
}

// REQ: FEP-BERT-006
#[test]
fn the_interval_is_the_published_one() {
    // Wilson, 95 %: 0 of 10 and 1 of 10 as in Brown, Cai and DasGupta (2001) and Newcombe (1998, 15 of 148).
    let near = |a: f64, b: f64| assert!((a - b).abs() < 6e-5, "{a} is not {b}");
    let none = ber_interval(0, 10, Confidence::P95).expect("bits");
    near(none.low, 0.0);
    near(none.high, 0.2775);
    let some = ber_interval(15, 148, Confidence::P95).expect("bits");
    near(some.low, 0.0624);
    near(some.high, 0.1605);
    assert_eq!(ber_interval(0, 0, Confidence::P95), None);
    let all = ber_interval(10, 10, Confidence::P99).expect("bits");
    assert_eq!((all.rate, all.high), (1.0, 1.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // REQ: FEP-BERT-002
    // REQ: FEP-BERT-003
    #[test]
    fn every_wrong_bit_is_counted_once_at_any_alignment_and_polarity(
        which in 0usize..4, skip in 0usize..5000, inverted: bool,
        wrong in prop::collection::btree_set(0usize..60_000, 0..100), piece in 1usize..3000,
    ) {
        let pn = Pn::ALL[which];
        let mut stream = bits(&sequence(pn, 8300))[skip..][..61_000].to_vec();
        stream.iter_mut().for_each(|bit| *bit ^= u8::from(inverted));
        // The first bits are left alone, so that it is known where counting starts.
        for place in &wrong {
            stream[place + 1000] ^= 1;
        }
        let (events, counters) = check(pn, &pack(&stream), piece);
        let [BertEvent::Synchronised { stream_bit, inverted: seen, resync: Resync::First }] = events[..] else {
            panic!("{events:?}")
        };
        prop_assert!(stream_bit <= 128);
        prop_assert_eq!(seen, inverted);
        prop_assert_eq!(counters.errors, wrong.len() as u64);
        prop_assert_eq!(counters.bits_checked, 61_000 - stream_bit);
    }

    // REQ: FEP-BERT-004
    #[test]
    fn a_slip_is_told_by_its_length_and_costs_no_error(
        which in 0usize..4, at in 3000usize..20_000, slip in prop_oneof![-200i32..0, 1i32..200], piece in 1usize..3000,
    ) {
        let pn = Pn::ALL[which];
        let mut stream = bits(&sequence(pn, 4000));
        if slip < 0 {
            stream.drain(at..at + slip.unsigned_abs() as usize);
        } else {
            // Bits of the sequence come twice.
            let again = stream[at - slip as usize..at].to_vec();
            stream.splice(at..at, again);
        }
        let stream = pack(&stream);
        let (events, counters) = check(pn, &stream, piece);
        prop_assert_eq!(counters.slips, 1, "{:?}", events);
        let BertEvent::Lost { stream_bit } = events[1] else { panic!("{events:?}") };
        let BertEvent::Synchronised { resync, .. } = events[2] else { panic!("{events:?}") };
        prop_assert_eq!(resync, Resync::Slip { bits: slip });
        // After a slip the first bits may be right by chance, and a few taken for wrong ones before it. The sequence differs
        // from itself moved by the same sequence, which has stretches of a hundred bits with few ones.
        let hidden = stream_bit.abs_diff(at as u64);
        prop_assert!(hidden < 192, "slip at {}, lost at {}", at, stream_bit);
        prop_assert!(counters.errors <= 8 + hidden / 4, "{} errors", counters.errors);
        let (same, _) = check(pn, &stream, 100_000);
        prop_assert_eq!(events, same);
    }

    // REQ: FEP-BERT-003
    #[test]
    fn a_stream_that_turns_over_is_followed_and_counted(which in 0usize..4, at in 500usize..3000) {
        let pn = Pn::ALL[which];
        let mut stream = sequence(pn, 4000);
        stream[at..].iter_mut().for_each(|octet| *octet = !*octet);
        let (events, counters) = check(pn, &stream, 512);
        prop_assert_eq!((counters.inversions, counters.slips, counters.errors), (1, 0, 0), "{:?}", events);
        prop_assert_eq!(events[1], BertEvent::Lost { stream_bit: 8 * at as u64 });
    }
}
