//! Data that is a codeword in two phases, and what was decoded in the wrong one.

use fep_coding::conv::{Axes, ConvCounters, ConvRate, ConvReceiver, ConvSpec, NodeSync, Quadrature};
use fep_coding::{Block, FrameSync, Marker, SyncSpec};
use proptest::prelude::*;

use crate::channel::{Noise, encoded, noisy, sigma};
use crate::receiver::turned;

const BLOCK_LEN: usize = 223;

/// Frames behind their markers; the first four octets of each are its number.
fn frames(count: usize, mut content: impl FnMut(usize) -> Vec<u8>) -> Vec<u8> {
    (0..count)
        .flat_map(|k| {
            let number = (k as u32).to_be_bytes();
            let frame = [Marker::CCSDS_32.as_bytes(), &number, &content(BLOCK_LEN - 4)];
            frame.concat()
        })
        .collect()
}

/// The numbers of the frames that come out, and the most symbols that were held at any time.
fn received(spec: &ConvSpec, symbols: &[i8], cut: usize) -> (Vec<usize>, u64, ConvCounters) {
    let mut receiver = ConvReceiver::new(spec).expect("a valid specification");
    let sync = SyncSpec { flywheel_blocks: 0, ..SyncSpec::ccsds(Marker::CCSDS_32, BLOCK_LEN) };
    let mut sync = FrameSync::new(sync).expect("a valid specification");
    let (mut numbers, mut most_held) = (Vec::new(), 0);
    let mut sink = |block: Block<'_>| {
        let number = u32::from_be_bytes(block.data[..4].try_into().expect("four octets"));
        // Decoded again, a frame may come twice.
        if !numbers.contains(&(number as usize)) {
            numbers.push(number as usize);
        }
    };
    let mut bits = Vec::new();
    for piece in symbols.chunks(cut) {
        bits.clear();
        receiver.push(piece, &mut bits, &mut |_| {});
        sync.push(&bits, &mut sink);
        most_held = most_held.max(receiver.counters().symbols_held);
    }
    bits.clear();
    receiver.finish(&mut bits);
    sync.push(&bits, &mut sink);
    sync.finish(&mut sink);
    (numbers, most_held, receiver.counters())
}

fn quadrature(rate: ConvRate) -> ConvSpec {
    let node_sync = NodeSync { quadrature: Quadrature::Turns, ..NodeSync::default() };
    ConvSpec { node_sync, ..ConvSpec::ccsds(rate) }
}

/// The four quadrants of a carrier: turned or not, inverted or not.
fn quadrants() -> impl Iterator<Item = (Axes, bool)> {
    [Axes::Upright, Axes::Turned].into_iter().flat_map(|axes| [(axes, false), (axes, true)])
}

// REQ: FEP-CONV-103
#[test]
fn a_preamble_of_alternating_symbols_costs_no_frame_whichever_symbol_it_begins_with() {
    let spec = ConvSpec::ccsds(ConvRate::R1_2);
    for count in [12_000, 12_001, 3000, 3001, 4705, 60_001] {
        for first in [40, -40] {
            let mut noise = Noise(count as u64);
            let data = frames(6, |len| noise.octets(len));
            let mut symbols: Vec<i8> = (0..count).map(|k| if k % 2 == 0 { first } else { -first }).collect();
            // Where the preamble reads as ones the encoder starts in another state than it left.
            symbols.extend(encoded(&spec, &[&[0; 4][..], &data].concat()).iter().map(|symbol| 40 * symbol));
            for cut in [symbols.len(), 1000] {
                let (numbers, _, _) = received(&spec, &symbols, cut);
                assert_eq!(numbers, [0, 1, 2, 3, 4, 5], "{count} symbols from {first} on, pieces of {cut}");
            }
        }
    }
}

// REQ: FEP-CONV-103
#[test]
fn a_lead_of_a_constant_octet_costs_no_frame_at_any_rate_in_any_quadrant() {
    for rate in ConvRate::ALL {
        let spec = quadrature(rate);
        for fill in [0x00, 0xFF, 0x55, 0xAA, 0x33, 0x7E] {
            for lead in [150, 900, 2500] {
                let mut noise = Noise(lead as u64);
                let data = [vec![fill; lead], frames(5, |len| noise.octets(len))].concat();
                let sent = encoded(&spec, &data);
                for (axes, invert) in quadrants() {
                    for late in [0, 1] {
                        let symbols = turned(&sent, axes, false, invert);
                        let symbols: Vec<i8> = symbols[late..].iter().map(|symbol| 40 * symbol).collect();
                        let (numbers, _, counters) = received(&spec, &symbols, 1500);
                        let context = format!(
                            "rate {rate}, {lead} octets of {fill:#x}, {axes:?}, inverted {invert}, {late} late"
                        );
                        assert_eq!(numbers, [0, 1, 2, 3, 4], "{context}: {counters:?}");
                    }
                }
            }
        }
    }
}

// REQ: FEP-CONV-103
#[test]
fn frames_of_a_constant_fill_are_told_apart_by_their_markers() {
    for fill in [0x00, 0xFF, 0x55] {
        for rate in [ConvRate::R1_2, ConvRate::R3_4] {
            for lead in [0, 1000, 6000] {
                let spec = quadrature(rate);
                let data = [vec![fill; lead], frames(12, |len| vec![fill; len])].concat();
                for (axes, invert) in quadrants() {
                    let symbols = turned(&encoded(&spec, &data), axes, false, invert);
                    let symbols: Vec<i8> = symbols[1..].iter().map(|symbol| 40 * symbol).collect();
                    let (numbers, _, counters) = received(&spec, &symbols, 5000);
                    // The first symbol is missing, and with no lead that of the first marker.
                    let missing = numbers.len() < 12;
                    let context =
                        format!("rate {rate}, {lead} octets of {fill:#x}, {axes:?}, inverted {invert}");
                    assert!(
                        !missing || lead == 0 && numbers[..] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
                        "{context}: {numbers:?} {counters:?}"
                    );
                }
            }
        }
    }
}

// REQ: FEP-CONV-104
#[test]
fn a_tie_that_never_ends_holds_no_more_than_a_few_probes_and_delays_no_longer() {
    for rate in ConvRate::ALL {
        let spec = quadrature(rate);
        let node = spec.node_sync;
        for fill in [0x00, 0x55] {
            let symbols: Vec<i8> =
                encoded(&spec, &vec![fill; 60_000]).iter().map(|symbol| 40 * symbol).collect();
            let (_, most_held, counters) = received(&spec, &symbols[1..], 3000);
            let bits = 6 * (u64::from(node.probe_bits) + 2 * u64::from(spec.latency_bits));
            assert!(most_held <= spec.first_symbol(bits) + 3000, "rate {rate}: {most_held} symbols held");
            let decoded = counters.symbols_decoded as f64 / symbols.len() as f64;
            assert!((0.99..1.5).contains(&decoded), "rate {rate}: {counters:?}");
        }
    }
}

// REQ: FEP-CONV-105
#[test]
fn a_symbol_lost_or_added_costs_only_the_frame_that_it_happens_in() {
    for rate in ConvRate::ALL {
        let spec = ConvSpec::ccsds(rate);
        let mut noise = Noise(rate.period_bits() as u64);
        let lead = 400;
        let data = [noise.octets(lead), frames(30, |len| noise.octets(len))].concat();
        let sent = noisy(&encoded(&spec, &data), sigma(rate, 9.0), 30.0, &mut noise);
        for slipped in [8, 9, 28, 29] {
            for place in [0.3, 0.9] {
                for insert in [false, true] {
                    let bit = 8.0 * (lead as f64 + (slipped as f64 + place) * (BLOCK_LEN + 4) as f64);
                    let at = spec.first_symbol(bit as u64) as usize;
                    let mut symbols = sent.clone();
                    let count = usize::from(!insert);
                    symbols.splice(at..at + count, std::iter::repeat_n(20, 1 - count));
                    let (numbers, _, counters) = received(&spec, &symbols, 2000);
                    let expected: Vec<usize> = (0..30).filter(|number| *number != slipped).collect();
                    let whole: Vec<usize> =
                        numbers.iter().copied().filter(|number| *number < 30 && *number != slipped).collect();
                    assert_eq!(
                        whole, expected,
                        "rate {rate}, frame {slipped} at {place}, insert {insert}: {counters:?}"
                    );
                    assert!(counters.symbols_repeated > 0 || slipped == 29);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    // REQ: FEP-CONV-104
    // REQ: FEP-CONV-105
    #[test]
    fn leads_slips_and_noise_in_any_pieces_give_the_same_bits_and_decode_no_symbol_more_than_twice(
        rate in prop::sample::select(ConvRate::ALL.to_vec()), turns: bool, seed: u64,
        parts in prop::collection::vec((0u8..5, 1usize..900), 1..8),
        cuts in prop::collection::vec(1usize..9000, 1..5),
    ) {
        let quadrature = if turns { Quadrature::Turns } else { Quadrature::Off };
        let node_sync = NodeSync { quadrature, probe_bits: 512, watch_bits: 1024, ..NodeSync::default() };
        let spec = ConvSpec { node_sync, ..ConvSpec::ccsds(rate) };
        let mut noise = Noise(seed);
        let mut symbols = Vec::new();
        for (kind, octets) in parts {
            match kind {
                0 => symbols.extend(encoded(&spec, &vec![0x55; octets])),
                1 => symbols.extend(encoded(&spec, &vec![0x00; octets])),
                2 => symbols.extend(encoded(&spec, &noise.octets(octets))),
                3 => symbols.extend(noise.octets(octets).iter().map(|octet| (*octet as i8) >> 7 | 1)),
                _ => drop(symbols.pop()),
            }
        }
        let symbols: Vec<i8> = symbols.iter().map(|symbol| 40 * symbol).collect();
        let run = |cuts: &[usize]| {
            let mut receiver = ConvReceiver::new(&spec).expect("a valid specification");
            let (mut bits, mut events, mut rest, mut places) = (Vec::new(), Vec::new(), &symbols[..], Vec::new());
            for cut in cuts.iter().cycle() {
                let (piece, behind) = rest.split_at((*cut).min(rest.len()));
                receiver.push(piece, &mut bits, &mut |event| events.push(event));
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            let count = receiver.finish(&mut bits);
            places.extend((0..count).step_by(97).map(|bit| receiver.symbol_of_bit(bit)));
            (bits, events, places, receiver.counters())
        };
        let whole = run(&[symbols.len().max(1)]);
        prop_assert_eq!(&run(&cuts), &whole);
        let counters = whole.3;
        prop_assert_eq!(
            counters.symbols_in + counters.symbols_repeated, counters.symbols_decoded + counters.symbols_discarded
        );
        prop_assert!(counters.symbols_repeated <= counters.symbols_in);
    }
}
