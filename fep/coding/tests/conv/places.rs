//! From the bits that come out back to the symbols that went in, and the ends of streams.

use fep_coding::conv::{Axes, ConvEvent, ConvRate, ConvReceiver, ConvSpec, NodeSync, Quadrature};
use fep_coding::{Block, FrameSync, Marker, SyncSpec};
use proptest::prelude::*;

use crate::channel::{Noise, encoded, noisy, sigma};
use crate::receiver::turned;

const BLOCK_LEN: usize = 200;
/// Octets in front of the first frame.
const LEAD: usize = 20;

/// Frames behind their markers, encoded; each frame's first octets say its number.
fn frames(count: usize, noise: &mut Noise) -> Vec<u8> {
    let mut octets = Vec::new();
    for k in 0..count {
        octets.extend_from_slice(Marker::CCSDS_32.as_bytes());
        octets.extend_from_slice(&(k as u32).to_be_bytes());
        octets.extend(noise.octets(BLOCK_LEN - 4));
    }
    octets
}

/// For each block found: the number of the frame, and the symbol that its marker was decoded from.
fn located(
    receiver: &mut ConvReceiver,
    sync: &mut FrameSync,
    symbols: &[i8],
    cut: usize,
) -> Vec<(usize, u64)> {
    let mut found = Vec::new();
    let mut bits = Vec::new();
    for piece in symbols.chunks(cut) {
        bits.clear();
        receiver.push(piece, &mut bits, &mut |_| {});
        sync.push(&bits, &mut |block: Block<'_>| found.push(locate(receiver, &block)));
    }
    bits.clear();
    receiver.finish(&mut bits);
    sync.push(&bits, &mut |block: Block<'_>| found.push(locate(receiver, &block)));
    sync.finish(&mut |block: Block<'_>| found.push(locate(receiver, &block)));
    found
}

fn locate(receiver: &ConvReceiver, block: &Block<'_>) -> (usize, u64) {
    let number = u32::from_be_bytes(block.data[..4].try_into().expect("four octets")) as usize;
    (number, receiver.symbol_of_bit(block.stream_bit).expect("a bit given a moment ago"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    // REQ: FEP-CONV-101
    #[test]
    fn the_first_bit_of_a_frame_leads_back_to_the_symbol_where_the_encoder_put_it(
        rate in prop::sample::select(ConvRate::ALL.to_vec()), lead in 0usize..9000, seed: u64, cut in 1usize..9000,
        slip_at in 0.3..0.7f64, slip in -1i64..=1, gap in 0usize..5000,
        axes in prop::sample::select(vec![Axes::Upright, Axes::Turned]),
    ) {
        let node_sync =
            NodeSync { quadrature: Quadrature::Turns, probe_bits: 512, watch_bits: 1024, ..NodeSync::default() };
        let spec = ConvSpec { node_sync, ..ConvSpec::ccsds(rate) };
        let mut noise = Noise(seed);
        let data = frames(24, &mut noise);
        let sent = turned(&encoded(&spec, &data), axes, false, seed % 2 == 0);
        let mut symbols: Vec<i8> = noise.octets(lead).iter().map(|octet| *octet as i8).collect();
        symbols.extend(noisy(&sent, sigma(rate, 8.0), 30.0, &mut noise));
        // Symbols are lost or come in addition, and noise for a while; whole modulation symbols where axes are turned.
        let at = lead + (slip_at * sent.len() as f64) as usize / 2 * 2;
        let inserted = noise.octets(gap / 2 * 2).iter().map(|octet| *octet as i8).collect::<Vec<_>>();
        symbols.splice(at..at, inserted);
        let slip = if axes == Axes::Upright { slip } else { 2 * slip };
        match slip {
            ..0 => drop(symbols.drain(at..at + slip.unsigned_abs() as usize)),
            _ => drop(symbols.splice(at..at, vec![7; slip as usize])),
        }
        let moved = (gap / 2 * 2) as i64 + slip;

        let frame_symbols = spec.first_symbol(8 * (BLOCK_LEN + 4) as u64);
        let mut receiver = ConvReceiver::new(&spec).expect("a valid specification");
        let mut sync = FrameSync::new(SyncSpec::ccsds(Marker::CCSDS_32, BLOCK_LEN)).expect("a valid specification");
        for run in 0..2 {
            let found = located(&mut receiver, &mut sync, &symbols, cut);
            // Around the damage frames are lost; of the 24 at least these are not.
            prop_assert!(found.len() >= 12, "run {}: {:?}", run, found);
            for (number, symbol) in found {
                // Until the lock is sure again, some bits are wrong.
                let damage = at as u64..at as u64 + moved.unsigned_abs() + frame_symbols;
                let is_near_damage = symbol + frame_symbols > damage.start && symbol < damage.end;
                if is_near_damage || number >= 24 {
                    continue; // taken on trust: what it says is its number may be anything
                }
                let bit = (8 * number * (BLOCK_LEN + 4)) as u64;
                let mut expected = lead as i64 + spec.first_symbol(bit) as i64;
                if expected >= at as i64 {
                    expected += moved;
                }
                let off = (symbol as i64 - expected).unsigned_abs();
                prop_assert!(off <= u64::from(axes != Axes::Upright), "frame {}: {} for {}", number, symbol, expected);
            }
        }
    }
}

// REQ: FEP-CONV-101
#[test]
fn the_place_of_a_bit_is_known_when_it_was_given_and_until_the_next_stream_begins() {
    let spec = ConvSpec::ccsds(ConvRate::R1_2);
    let symbols = encoded(&spec, &Noise(3).octets(1000));
    let mut receiver = ConvReceiver::new(&spec).expect("a valid specification");
    assert_eq!(receiver.symbol_of_bit(0), None);
    let mut bits = Vec::new();
    receiver.push(&symbols, &mut bits, &mut |_| {});
    let given = 8 * bits.len() as u64;
    assert_eq!(receiver.symbol_of_bit(given - 1), Some(2 * (given - 1)));
    assert_eq!(receiver.symbol_of_bit(given), None);
    assert_eq!(receiver.finish(&mut bits), 8000);
    assert_eq!(receiver.symbol_of_bit(7999), Some(15_998));
    receiver.push(&symbols[..10], &mut bits, &mut |_| {});
    assert_eq!(receiver.symbol_of_bit(0), None);
    let counters = receiver.counters();
    receiver.reset();
    assert_eq!(receiver.counters().symbols_discarded, counters.symbols_discarded + 10);
    // A new stream: events and places count from its start.
    let mut events = Vec::new();
    receiver.push(&symbols[1..], &mut bits, &mut |event| events.push(event));
    assert!(matches!(events[..], [ConvEvent::Locked { symbol: 1, bit: 0, .. }]), "{events:?}");
    assert_eq!(receiver.symbol_of_bit(5), Some(11));
}

// REQ: FEP-CONV-102
#[test]
fn a_frame_that_was_received_wholly_comes_out_at_the_end_of_the_stream_at_every_rate() {
    for rate in ConvRate::ALL {
        for count in [1, 2, 5] {
            for skip in [0, 1, 700] {
                let spec = ConvSpec::ccsds(rate);
                let mut noise = Noise(count as u64);
                // The state of the encoder is known after some octets.
                let data = [noise.octets(LEAD), frames(count, &mut noise)].concat();
                let mut symbols: Vec<i8> = noise.octets(skip).iter().map(|octet| *octet as i8).collect();
                symbols.extend(encoded(&spec, &data).iter().map(|symbol| 60 * symbol));
                let mut receiver = ConvReceiver::new(&spec).expect("a valid specification");
                let mut sync = FrameSync::new(SyncSpec::ccsds(Marker::CCSDS_32, BLOCK_LEN))
                    .expect("a valid specification");
                let found = located(&mut receiver, &mut sync, &symbols, 1000);
                let expected: Vec<(usize, u64)> = (0..count)
                    .map(|k| (k, skip as u64 + spec.first_symbol(8 * (LEAD + k * (BLOCK_LEN + 4)) as u64)))
                    .collect();
                assert_eq!(found, expected, "rate {rate}, {skip} symbols late");
                assert_eq!(receiver.hypothesis(), None, "the next stream is searched");
            }
        }
    }
}
