//! Streams of unknown phase and rotation, with slips.

use fep_coding::Isa;
use fep_coding::conv::{
    Axes, ConvCounters, ConvEvent, ConvRate, ConvReceiver, ConvSpec, NodeSync, Quadrature, ViterbiDecoder,
};
use proptest::prelude::*;

use crate::channel::{Noise, bit_errors, encoded, noisy, sigma};

/// Everything a receiver said of a stream cut into pieces of `cuts`, in turn.
fn received(
    spec: &ConvSpec,
    isa: Isa,
    symbols: &[i8],
    cuts: &[usize],
) -> (Vec<u8>, Vec<ConvEvent>, ConvCounters) {
    let mut receiver = ConvReceiver::with_isa(spec, isa).expect("a valid specification");
    let (mut bits, mut events) = (Vec::new(), Vec::new());
    let (mut rest, mut cuts) = (symbols, cuts.iter().cycle());
    while let (false, Some(cut)) = (rest.is_empty(), cuts.next()) {
        let (piece, behind) = rest.split_at((*cut).min(rest.len()));
        receiver.push(piece, &mut bits, &mut |event| events.push(event));
        assert_balanced(&receiver.counters());
        rest = behind;
    }
    let count = receiver.finish(&mut bits);
    let counters = receiver.counters();
    assert_balanced(&counters);
    assert_eq!((counters.symbols_held, counters.bits_out), (0, count));
    (bits, events, counters)
}

fn assert_balanced(counters: &ConvCounters) {
    let accounted = counters.symbols_decoded + counters.symbols_discarded + counters.symbols_held;
    assert_eq!(counters.symbols_in + counters.symbols_repeated, accounted, "{counters:?}");
}

/// Where each octet-long run of `data` is to be found in the bits, any alignment: the fraction of `data`'s octets, from
/// `from` on, that the bits from `bit` on repeat, inverted or not.
fn agreement(data: &[u8], bits: &[u8], search: std::ops::Range<usize>) -> f64 {
    let bit = |octets: &[u8], k: usize| octets[k / 8] >> (7 - k % 8) & 1;
    let count = 8 * bits.len().min(data.len()) - search.end;
    let best = search
        .map(|offset| {
            let differ = (0..count).filter(|k| bit(bits, *k) != bit(data, *k + offset)).count();
            differ.min(count - differ)
        })
        .min()
        .expect("offsets to try");
    1.0 - best as f64 / count as f64
}

/// Turns the axes as the link does, `odd` symbols being the first of their modulation symbol.
pub(crate) fn turned(symbols: &[i8], axes: Axes, odd: bool, invert: bool) -> Vec<i8> {
    let mut out = symbols.to_vec();
    for pair in out[usize::from(odd)..].chunks_exact_mut(2) {
        let [i, q] = [pair[0], pair[1]];
        let arrived = match axes {
            Axes::Upright => [i, q],
            Axes::Turned => [q, i.saturating_neg()],
            Axes::Exchanged => [q, i],
            Axes::Mirrored => [i, q.saturating_neg()],
        };
        pair.copy_from_slice(&arrived);
    }
    if invert {
        out.iter_mut().for_each(|symbol| *symbol = symbol.saturating_neg());
    }
    out
}

// REQ: FEP-CONV-011
#[test]
fn every_phase_rotation_and_polarity_is_found_at_every_rate() {
    for rate in ConvRate::ALL {
        let (quadrature, all_axes) = match rate {
            ConvRate::R5_6 => (Quadrature::Turns, &Axes::ALL[..2]),
            _ => (Quadrature::TurnsAndMirrors, &Axes::ALL[..]),
        };
        let node_sync = NodeSync { quadrature, ..NodeSync::default() };
        let spec = ConvSpec { node_sync, ..ConvSpec::ccsds(rate) };
        // A little above the working point of the rate.
        let eb_n0_db = 4.5 + 4.0 * (rate.ratio() - 0.5);
        let mut noise = Noise(rate.period_bits() as u64);
        let data = noise.octets(900);
        let symbols = noisy(&encoded(&spec, &data), sigma(rate, eb_n0_db), 40.0, &mut noise);
        for skip in 0..rate.period_symbols() {
            for axes in all_axes.iter().copied() {
                for odd in [false, true] {
                    let arrived = turned(&symbols, axes, odd, skip % 2 == 0);
                    // The first whole modulation symbol of the lock decides which of its two names a rotation has.
                    let (bits, events, counters) = received(&spec, Isa::best(), &arrived[skip..], &[4096]);
                    let context =
                        format!("rate {rate}, {axes:?}, {skip} symbols late, odd {odd}: {events:?}");
                    assert!(
                        matches!(events[..], [ConvEvent::Locked { symbol, bit: 0, .. }]
                        if symbol < rate.period_symbols() as u64),
                        "{context}"
                    );
                    assert!(counters.symbols_discarded < 2 * rate.period_symbols() as u64 + 1, "{context}");
                    let agreement = agreement(&data, &bits, 0..2 * rate.period_bits() + 1);
                    assert!(agreement > 0.995, "{context}: {agreement}");
                }
            }
        }
    }
}

// REQ: FEP-CONV-012
#[test]
fn slips_are_noticed_and_the_phase_is_found_again_with_every_symbol_accounted_for() {
    for rate in [ConvRate::R1_2, ConvRate::R3_4, ConvRate::R7_8] {
        let spec = ConvSpec::ccsds(rate);
        let mut noise = Noise(11);
        let data = noise.octets(12_000);
        let clean = encoded(&spec, &data);
        let mut symbols = noisy(&clean, sigma(rate, 5.5 + 4.0 * (rate.ratio() - 0.5)), 40.0, &mut noise);
        let slip_at = symbols.len() / 3;
        symbols.remove(slip_at);
        // Then nothing but noise for a while, in whole periods.
        let silence_at = 2 * symbols.len() / 3;
        let silence: Vec<i8> =
            (0..24_000).map(|_| (40.0 * noise.gauss()).clamp(-127.0, 127.0) as i8).collect();
        symbols.splice(silence_at..silence_at, silence.iter().copied());

        let (bits, events, counters) = received(&spec, Isa::best(), &symbols, &[1000, 3, 50_000]);
        assert_eq!((counters.locks - counters.losses, counters.losses >= 2), (1, true), "{events:?}");
        assert_eq!(counters.symbols_in, symbols.len() as u64);
        let watch = u64::from(spec.node_sync.watch_bits) + u64::from(spec.latency_bits);
        let Some(ConvEvent::Lost { symbol, bit, again, .. }) = events.get(1) else { panic!("{events:?}") };
        assert!(*again <= slip_at as u64, "decoded again from {again} on, slipped at {slip_at}");
        let noticed = spec.complete_bits(*symbol) - spec.complete_bits(slip_at as u64);
        assert!(*symbol > slip_at as u64 && noticed <= watch, "noticed {noticed} bits after the slip");
        assert!(bit % 8 == 0 && *bit < 8 * bits.len() as u64);
        // The last third is decoded from the last lock on.
        let Some(ConvEvent::Locked { symbol, bit, .. }) = events.last() else { panic!("{events:?}") };
        let behind = &bits[*bit as usize / 8..];
        let first = spec.complete_bits(symbol - silence.len() as u64 + 1) as usize / 8;
        assert!(first < 2 * data.len() / 3 + 2000, "locked again at octet {first}");
        // The probe may have begun in the noise.
        let agreement = agreement(&data[first + 400 - 2..], &behind[400..behind.len() - 8], 0..48);
        assert!(agreement > 0.995, "rate {rate}: {agreement}");
    }
}

// REQ: FEP-CONV-011
#[test]
fn noise_alone_is_passed_over_and_counted() {
    for rate in ConvRate::ALL {
        let spec = ConvSpec::ccsds(rate);
        let mut noise = Noise(5);
        let symbols: Vec<i8> =
            (0..400_000).map(|_| (40.0 * noise.gauss()).clamp(-127.0, 127.0) as i8).collect();
        let (_, events, counters) = received(&spec, Isa::best(), &symbols, &[100_000]);
        assert_eq!(counters.symbols_discarded, symbols.len() as u64, "rate {rate}: {events:?}");
    }
}

// REQ: FEP-CONV-011
#[test]
fn the_error_rate_of_random_symbols_is_what_the_thresholds_are_made_of() {
    for rate in ConvRate::ALL {
        let mut noise = Noise(6);
        let symbols: Vec<i8> = (0..1_000_000).map(|_| if noise.next() & 1 == 1 { 20 } else { -20 }).collect();
        let mut decoder = ViterbiDecoder::new(&ConvSpec::ccsds(rate)).expect("a valid specification");
        decoder.push(&symbols, &mut Vec::new());
        let counters = decoder.counters();
        let measured = counters.symbols_wrong as f64 / counters.symbols_compared as f64 * 1e6;
        let stated = rate.random_error_ppm() as f64;
        assert!(
            (measured / stated - 1.0).abs() < 0.02,
            "rate {rate}: {measured:.0} measured, {stated} stated"
        );
    }
}

// REQ: FEP-CONV-010
#[test]
fn a_locked_receiver_gives_the_bits_of_a_decoder_that_knows_the_phase() {
    let spec = ConvSpec::ccsds(ConvRate::R2_3);
    let mut noise = Noise(8);
    let data = noise.octets(3000);
    let symbols = noisy(&encoded(&spec, &data), sigma(spec.rate, 6.0), 40.0, &mut noise);
    let (bits, _, counters) = received(&spec, Isa::best(), &symbols, &[777]);
    let mut decoder = ViterbiDecoder::new(&spec).expect("a valid specification");
    let mut expected = Vec::new();
    decoder.push(&symbols, &mut expected);
    decoder.finish(&mut expected);
    assert_eq!(bits, expected);
    assert_eq!(counters.symbols_wrong, decoder.counters().symbols_wrong);
    assert!(bit_errors(&bits, &data) <= 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    // REQ: FEP-CONV-005
    // REQ: FEP-CONV-012
    #[test]
    fn cuts_and_instruction_sets_change_nothing_and_no_symbol_is_lost(
        rate in prop::sample::select(ConvRate::ALL.to_vec()), turns: bool, seed: u64, odd: bool,
        axes in prop::sample::select(Axes::ALL.to_vec()), damage in 0usize..4,
        cuts in prop::collection::vec(1usize..9000, 1..5),
    ) {
        let quadrature = if turns { Quadrature::Turns } else { Quadrature::Off };
        let node_sync = NodeSync { quadrature, probe_bits: 512, watch_bits: 1024, ..NodeSync::default() };
        let spec = ConvSpec { node_sync, ..ConvSpec::ccsds(rate) };
        let mut noise = Noise(seed);
        let data = noise.octets(1500);
        let mut symbols = turned(&encoded(&spec, &data), axes, odd, seed % 2 == 0);
        symbols = noisy(&symbols, sigma(rate, 6.0), 40.0, &mut noise);
        for _ in 0..damage {
            let place = noise.next() as usize % symbols.len();
            match noise.next() % 3 {
                0 => { symbols.remove(place); }
                1 => symbols.insert(place, 7),
                _ => symbols[place..].iter_mut().take(3000).for_each(|symbol| *symbol = noise.next() as i8),
            }
        }
        let whole = received(&spec, Isa::Scalar, &symbols, &[symbols.len()]);
        prop_assert_eq!(&received(&spec, Isa::Scalar, &symbols, &cuts), &whole);
        for isa in Isa::available() {
            prop_assert_eq!(&received(&spec, *isa, &symbols, &cuts), &whole);
        }
    }
}

// REQ: FEP-CONV-120
#[test]
fn windows_spread_over_threads_give_the_same_bits_and_events_through_slips() {
    for rate in [ConvRate::R1_2, ConvRate::R3_4] {
        let spec = ConvSpec::ccsds(rate);
        let mut noise = Noise(9);
        let data = noise.octets(60_000);
        let mut symbols = noisy(&encoded(&spec, &data), sigma(rate, 5.0), 40.0, &mut noise);
        // Slips that turn the phase, in the middle of what is decoded at once.
        for at in [120_000, 250_001] {
            symbols.remove(at);
        }
        let expected = received(&spec, Isa::best(), &symbols, &[30_000]);
        for threads in [1, 2, 5] {
            let mut receiver = ConvReceiver::new(&spec).expect("a valid specification");
            receiver.spread(threads, Isa::best()).expect("the best");
            let (mut bits, mut events, mut spread) = (Vec::new(), Vec::new(), 0);
            for piece in symbols.chunks(400_000) {
                receiver.push_spread(piece, &mut bits, &mut |event| events.push(event), &mut |batches| {
                    spread += 1;
                    std::thread::scope(|scope| {
                        batches.iter_mut().for_each(|batch| {
                            scope.spawn(|| batch.run());
                        });
                    });
                });
            }
            receiver.finish(&mut bits);
            assert!(spread > 1 || threads == 1, "{spread} calls on {threads} threads");
            assert!(bits == expected.0, "{rate:?} on {threads} threads");
            assert_eq!(events, expected.1, "{rate:?} on {threads} threads");
            assert_balanced(&receiver.counters());
        }
    }
}
