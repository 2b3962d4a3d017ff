//! Properties over random specifications, streams, damage and cuts.

use fep_coding::{Marker, Polarity, SyncSpec};
use proptest::prelude::*;

use crate::oracle;
use crate::stream::{
    Given, Noise, Telemetry, assert_every_bit_is_accounted_for, synchronise, synchronise_cut,
};

const MARKERS: [Marker; 6] = [
    Marker::CCSDS_32,
    Marker::EMBEDDED_32,
    Marker::CCSDS_64,
    Marker::CCSDS_96,
    Marker::CCSDS_128,
    Marker::CCSDS_192,
];

fn any_spec() -> impl Strategy<Value = SyncSpec> {
    let marker = (0..MARKERS.len()).prop_map(|i| MARKERS[i]);
    let polarity = prop_oneof![Just(Polarity::Auto), Just(Polarity::Normal), Just(Polarity::Inverted)];
    (marker, 6usize..60, 0u32..3, 0u32..4, 0u32..3, 0u32..4, 0u32..9, polarity).prop_map(
        |(marker, block_len, search, lock, check_markers, flywheel_blocks, slip_window_bits, polarity)| {
            SyncSpec {
                marker,
                block_len,
                search_bit_errors: search,
                lock_bit_errors: search + lock,
                check_markers,
                flywheel_blocks,
                slip_window_bits,
                polarity,
            }
        },
    )
}

/// Something that happens to one block of a stream.
#[derive(Debug, Clone, Copy)]
enum Event {
    Marker { errors: usize },
    Content,
    Delete { bits: usize },
    Insert { bits: usize },
    Invert { at_marker: bool },
    FalseMarker,
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1usize..32).prop_map(|errors| Event::Marker { errors }),
        Just(Event::Content),
        (1usize..40).prop_map(|bits| Event::Delete { bits }),
        (1usize..400).prop_map(|bits| Event::Insert { bits }),
        any::<bool>().prop_map(|at_marker| Event::Invert { at_marker }),
        Just(Event::FalseMarker),
    ]
}

/// Lets `event` happen to `block` and says whether the block may be lost by it.
fn happen(telemetry: &mut Telemetry, block: usize, event: Event, seed: u64) -> bool {
    let content = 8 * telemetry.spec.block_len;
    let inside = telemetry.block_start(block) + Noise::new(seed).below(content - 40);
    match event {
        Event::Marker { errors } => {
            telemetry.damage_marker(block, errors);
            true
        }
        Event::Content => {
            let noise = Noise::new(seed).octets(content);
            let start = telemetry.block_start(block);
            telemetry.bits.0[start..start + content].iter_mut().zip(noise).for_each(|(bit, n)| *bit ^= n & 1);
            true
        }
        Event::Delete { bits } => {
            telemetry.delete(inside, bits);
            true
        }
        Event::Insert { bits } => {
            telemetry.insert(inside, bits, seed);
            true
        }
        Event::Invert { at_marker } => {
            telemetry.invert_from(if at_marker { telemetry.markers[block] } else { inside });
            !at_marker
        }
        Event::FalseMarker => {
            let marker = crate::stream::Bits::unpack(telemetry.spec.marker.as_bytes()).0;
            let bits = marker.len().min(content);
            let start = telemetry.block_start(block) + Noise::new(seed).below(content - bits + 1);
            telemetry.bits.0[start..start + bits].copy_from_slice(&marker[..bits]);
            true
        }
    }
}

fn assert_given_in_order(telemetry: &Telemetry, given: &[Given], touched: &[usize]) {
    let mut rest = given.iter();
    for block in (0..telemetry.blocks.len()).filter(|block| !touched.contains(block)) {
        assert!(
            rest.any(|given| given.data == telemetry.blocks[block]),
            "block {block} is lost; markers at {:?}, given {:?}",
            telemetry.markers,
            given.iter().map(|g| (g.stream_bit, g.flywheel, g.slip_bits, g.inverted)).collect::<Vec<_>>()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    // REQ: FEP-SYNC-001
    #[test]
    fn a_clean_stream_at_a_random_bit_offset_loses_nothing(
        spec in any_spec(), lead_bits in 0usize..300, count in 1usize..12, seed: u64,
    ) {
        let mut telemetry = Telemetry::new(&spec, lead_bits, count, seed);
        if spec.polarity == Polarity::Inverted {
            telemetry.invert_from(0);
        }
        let (given, sync) = synchronise(&spec, &telemetry.bits.pack());
        let data: Vec<_> = given.iter().map(|block| &block.data).collect();
        prop_assert_eq!(data, telemetry.blocks.iter().collect::<Vec<_>>());
        prop_assert!(given.iter().zip(&telemetry.markers).all(|(g, m)| g.stream_bit == *m as u64));
        prop_assert_eq!(sync.counters().lock_acquired, 1);
        prop_assert_eq!(sync.counters().lock_lost, 1, "by the end of the stream");
    }

    // REQ: FEP-SYNC-005
    #[test]
    fn marker_errors_up_to_the_tolerance_lose_nothing(
        spec in any_spec(), lead_bits in 0usize..100, count in 2usize..12, seed: u64,
    ) {
        let mut telemetry = Telemetry::new(&spec, lead_bits, count, seed);
        let mut noise = Noise::new(seed ^ 1);
        telemetry.damage_marker(0, noise.below(spec.search_bit_errors as usize + 1));
        for block in 1..count {
            telemetry.damage_marker(block, noise.below(spec.lock_bit_errors as usize + 1));
        }
        if spec.polarity == Polarity::Inverted {
            telemetry.invert_from(0);
        }
        let (given, sync) = synchronise(&spec, &telemetry.bits.pack());
        let data: Vec<_> = given.iter().map(|block| &block.data).collect();
        prop_assert_eq!(data, telemetry.blocks.iter().collect::<Vec<_>>());
        prop_assert!(given.iter().all(|block| !block.flywheel && block.slip_bits == 0));
        prop_assert_eq!(
            sync.counters().marker_bit_errors,
            given.iter().map(|block| u64::from(block.marker_bit_errors)).sum::<u64>()
        );
    }

    // REQ: FEP-SYNC-013
    #[test]
    fn events_that_leave_whole_blocks_between_them_lose_at_most_the_blocks_they_touch(
        spec in any_spec(), lead_bits in 0usize..300, seed: u64,
        events in prop::collection::vec((any_event(), 0usize..4), 1..4), tail in 0usize..6,
    ) {
        let spec = SyncSpec { polarity: Polarity::Auto, check_markers: spec.check_markers.min(1), ..spec };
        let gap = 2 + spec.check_markers as usize;
        let count = gap + events.len() * (gap + 4) + tail;
        let mut telemetry = Telemetry::new(&spec, lead_bits, count, seed);
        let mut touched = Vec::new();
        let mut block = 0;
        for (i, (event, more)) in events.into_iter().enumerate() {
            block += gap + more;
            if happen(&mut telemetry, block, event, seed ^ (i as u64 + 1)) {
                touched.push(block);
            }
        }
        let octets = telemetry.bits.pack();
        let (given, sync) = synchronise(&spec, &octets);
        assert_given_in_order(&telemetry, &given, &touched);
        assert_every_bit_is_accounted_for(&spec, &given, &sync, octets.len());
    }

    // REQ: FEP-SYNC-013
    // REQ: FEP-SYNC-015
    #[test]
    fn one_event_anywhere_loses_at_most_the_block_it_touches(
        spec in any_spec(), lead_bits in 0usize..300, count in 3usize..12, block in 0usize..12,
        event in any_event(), seed: u64,
    ) {
        let spec = SyncSpec { polarity: Polarity::Auto, check_markers: spec.check_markers.min(1), ..spec };
        let block = block % count;
        let mut telemetry = Telemetry::new(&spec, lead_bits, count, seed);
        let touched = if happen(&mut telemetry, block, event, seed) { vec![block] } else { vec![] };
        let octets = telemetry.bits.pack();
        let (given, sync) = synchronise(&spec, &octets);
        assert_given_in_order(&telemetry, &given, &touched);
        assert_every_bit_is_accounted_for(&spec, &given, &sync, octets.len());
    }

    // REQ: FEP-SYNC-014
    #[test]
    fn what_is_released_does_not_depend_on_how_the_stream_is_cut(
        spec in any_spec(), lead_bits in 0usize..300, seed: u64, count in 1usize..16,
        events in prop::collection::vec((any_event(), 0usize..16), 0..6),
        cuts in prop::collection::vec(prop_oneof![1usize..4, 1usize..80, 1usize..2000], 1..8),
    ) {
        let mut telemetry = Telemetry::new(&spec, lead_bits, count, seed);
        for (i, (event, block)) in events.into_iter().enumerate() {
            // A deletion may reach over the end of a block that an earlier event has shortened.
            if telemetry.block_start(block % count) + 8 * spec.block_len + 40 < telemetry.bits.0.len() {
                happen(&mut telemetry, block % count, event, seed ^ i as u64);
            }
        }
        let octets = telemetry.bits.pack();
        let (whole, sync_whole) = synchronise(&spec, &octets);
        let (cut, sync_cut) = synchronise_cut(&spec, &octets, &cuts);
        prop_assert_eq!(&whole, &cut);
        prop_assert_eq!(sync_whole.counters(), sync_cut.counters());
        assert_every_bit_is_accounted_for(&spec, &cut, &sync_cut, octets.len());
        prop_assert_eq!(&whole, &oracle::expected(&spec, &octets));
    }
}

/// Streams of few bit patterns are full of markers, false ones and half ones: what random damage never makes.
fn dense_stream() -> impl Strategy<Value = (SyncSpec, Vec<u8>)> {
    let piece = prop_oneof![
        4 => Just(vec![0x1A, 0xCF, 0xFC, 0x1D]),
        1 => Just(vec![0xE5, 0x30, 0x03, 0xE2]),
        1 => Just(vec![0x1A, 0xCF, 0xFC, 0x1C]),
        4 => prop::collection::vec(any::<u8>(), 1..14),
        1 => Just(vec![0x35, 0x9F, 0xF8, 0x3A]),
    ];
    let pieces = prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat());
    (any_spec(), 1usize..13, pieces).prop_map(|(spec, block_len, octets)| {
        let spec = SyncSpec { marker: Marker::CCSDS_32, block_len, ..spec };
        let slip_window_bits = spec.slip_window_bits.min(4 * block_len as u32);
        (SyncSpec { search_bit_errors: spec.search_bit_errors.min(1), slip_window_bits, ..spec }, octets)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    // REQ: FEP-SYNC-014
    #[test]
    fn streams_dense_with_markers_come_out_as_the_naive_oracle_says(
        (spec, octets) in dense_stream(), cuts in prop::collection::vec(1usize..40, 1..5),
    ) {
        let (given, sync) = synchronise_cut(&spec, &octets, &cuts);
        prop_assert_eq!(&given, &oracle::expected(&spec, &octets));
        assert_every_bit_is_accounted_for(&spec, &given, &sync, octets.len());
    }
}
