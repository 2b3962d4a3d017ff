//! Where blocks lie in their stream, and what comes out at its end.

use fep_coding::soft::{SoftSync, SoftSyncSpec};
use fep_coding::{Block, FrameSync, Marker, SyncState};
use proptest::prelude::*;

use crate::stream::{Bits, Given, Noise, Telemetry, spec};

const LEN: usize = 60;

/// The blocks that the pieces of a stream complete, and those that its end completes.
fn pushed_and_finished(sync: &mut FrameSync, octets: &[u8], cut: usize) -> (Vec<Given>, Vec<Given>) {
    let (mut pushed, mut finished) = (Vec::new(), Vec::new());
    for piece in octets.chunks(cut) {
        sync.push(piece, &mut |block: Block<'_>| pushed.push(Given::from(block)));
    }
    sync.finish(&mut |block: Block<'_>| finished.push(Given::from(block)));
    (pushed, finished)
}

// REQ: FEP-SYNC-011
// REQ: FEP-SYNC-101
#[test]
fn the_end_of_the_stream_in_check_flywheel_and_lock_gives_every_whole_block_and_the_next_stream_starts_in_search()
 {
    let lead_bits = 11;
    let whole = Telemetry::new(&spec(LEN), lead_bits, 6, 31);
    let period = whole.spec.period_bits() as usize;
    // The stream ends in the octet behind the end of a block; the blocks listed have damaged markers.
    for (state, blocks, damaged, before_the_end) in [
        (SyncState::Check, 1, vec![], 0),
        (SyncState::Lock, 4, vec![], 4),
        (SyncState::Flywheel, 5, vec![4], 4),
        (SyncState::Flywheel, 6, vec![4, 5], 4),
    ] {
        let mut telemetry = Telemetry::new(&spec(LEN), lead_bits, 6, 31);
        telemetry.bits.0.truncate(lead_bits + blocks * period);
        // A marker that is damaged beyond recognition.
        damaged.iter().for_each(|block| telemetry.damage_marker(*block, 14));
        let octets = telemetry.bits.pack();
        let mut sync = FrameSync::new(telemetry.spec.clone()).expect("a valid specification");
        for run in 0..2 {
            sync.push(&octets, &mut |_: Block<'_>| {});
            assert_eq!(sync.state(), state, "{blocks} blocks");
            sync.reset();
            let (pushed, finished) = pushed_and_finished(&mut sync, &octets, octets.len());
            assert_eq!(
                (pushed.len(), finished.len()),
                (before_the_end, blocks - before_the_end),
                "run {run}"
            );
            for (k, given) in pushed.iter().chain(&finished).enumerate() {
                assert_eq!(given.data, whole.blocks[k], "block {k}");
                assert_eq!(given.stream_bit, (lead_bits + k * period) as u64, "block {k} of run {run}");
                assert_eq!(given.flywheel, damaged.contains(&k));
            }
            assert_eq!(sync.state(), SyncState::Search);
            assert_eq!(sync.counters().bits_held, 0);
        }
    }
}

// REQ: FEP-SYNC-011
#[test]
fn a_stream_cut_in_the_middle_of_a_block_gives_all_blocks_before_it_wherever_the_cut_is() {
    let telemetry = Telemetry::new(&spec(LEN), 5, 5, 32);
    let period = telemetry.spec.period_bits() as usize;
    for cut in (0..5 * period).step_by(7) {
        let mut bits = telemetry.bits.clone();
        bits.0.truncate(5 + cut);
        let octets = bits.pack();
        let mut sync = FrameSync::new(telemetry.spec.clone()).expect("a valid specification");
        let (pushed, finished) = pushed_and_finished(&mut sync, &octets, 97);
        // The last octet is filled up, and may hold the last bits of a block.
        let expected = (8 * octets.len() - 5) / period;
        assert_eq!(pushed.len() + finished.len(), expected, "cut {cut} bits behind the first marker");
        assert_eq!(sync.state(), SyncState::Search);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    // REQ: FEP-SYNC-101
    #[test]
    fn a_block_carries_the_place_of_its_marker_behind_slips_inversions_and_missing_markers(
        lead_bits in 0usize..200, seed: u64, cut in 1usize..300, soft: bool, runs in 1usize..3,
        events in prop::collection::vec((0u8..4, 1usize..9), 0..5),
    ) {
        let spec = spec(LEN);
        let mut telemetry = Telemetry::new(&spec, lead_bits, 24, seed);
        let mut noise = Noise::new(seed ^ 1);
        let (mut touched, mut slipped) = (Vec::new(), 0);
        for (k, (event, size)) in events.into_iter().enumerate() {
            let block = 4 * k + 3;
            match event {
                0 => telemetry.delete(telemetry.block_start(block) + noise.below(400), size),
                1 => telemetry.insert(telemetry.block_start(block) + noise.below(400), size, seed),
                2 => telemetry.invert_from(telemetry.markers[block]),
                _ => telemetry.damage_marker(block, 5),
            }
            slipped += u64::from(event < 2);
            if event < 2 {
                touched.push(block);
            }
        }
        let octets = telemetry.bits.pack();
        let period = spec.period_bits();
        let mut places: Vec<Vec<(u64, i8)>> = Vec::new();
        if soft {
            let symbols: Vec<i8> =
                Bits::unpack(&octets).0.iter().map(|bit| if *bit == 0 { 9 } else { -9 }).collect();
            let spec = SoftSyncSpec {
                search_bit_errors: 1,
                lock_bit_errors: 3,
                check_markers: 1,
                ..SoftSyncSpec::ccsds(Marker::CCSDS_32, 8 * LEN)
            };
            let mut sync = SoftSync::new(spec).expect("a valid specification");
            for _ in 0..runs {
                let mut given = Vec::new();
                let mut sink = |block: Block<'_, i8>| given.push((block.stream_bit, block.slip_bits));
                symbols.chunks(cut).for_each(|piece| sync.push(piece, &mut sink));
                sync.finish(&mut sink);
                prop_assert_eq!(sync.counters().slips, slipped * (places.len() as u64 + 1));
                places.push(given);
            }
        } else {
            let mut sync = FrameSync::new(spec).expect("a valid specification");
            for _ in 0..runs {
                let (pushed, finished) = pushed_and_finished(&mut sync, &octets, cut);
                for given in pushed.iter().chain(&finished) {
                    let block = telemetry.markers.iter().position(|marker| *marker as u64 == given.stream_bit);
                    let block = block.expect("a block lies behind a marker");
                    prop_assert!(touched.contains(&block) || given.data == telemetry.blocks[block]);
                }
                places.push(pushed.iter().chain(&finished).map(|given| (given.stream_bit, given.slip_bits)).collect());
            }
        }
        let markers: Vec<u64> = telemetry.markers.iter().map(|marker| *marker as u64).collect();
        for places in &places {
            prop_assert_eq!(&places.iter().map(|(place, _)| *place).collect::<Vec<_>>(), &markers);
            // A slip says how far a block lies off the place that the one before it gave it.
            for pair in places.windows(2) {
                prop_assert_eq!(pair[1].0 as i64, pair[0].0 as i64 + period as i64 + i64::from(pair[1].1));
            }
        }
    }
}
