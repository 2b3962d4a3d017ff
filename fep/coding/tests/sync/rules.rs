//! The rules of the synchroniser one by one, each on the smallest stream that shows it.

use fep_coding::sync::{MarkerError, SyncSpecError};
use fep_coding::{Block, FrameSync, Isa, Marker, Polarity, SyncSpec, SyncState};

use crate::stream::{
    Bits, Given, Noise, Telemetry, assert_every_bit_is_accounted_for, spec, synchronise, synchronise_cut,
};

const LEN: usize = 100;

/// Checks that exactly the untouched blocks come out as they were sent, in order, whatever else comes out; returns all.
fn assert_only_lost(telemetry: &Telemetry, touched: &[usize]) -> Vec<Given> {
    let octets = telemetry.bits.pack();
    let (given, sync) = synchronise(&telemetry.spec, &octets);
    assert_every_bit_is_accounted_for(&telemetry.spec, &given, &sync, octets.len());
    assert_eq!(synchronise_cut(&telemetry.spec, &octets, &[1]).0, given, "octet by octet");
    let mut rest = given.iter();
    for block in (0..telemetry.blocks.len()).filter(|block| !touched.contains(block)) {
        assert!(rest.any(|given| given.data == telemetry.blocks[block]), "block {block} is lost: {given:#?}");
    }
    given
}

// REQ: FEP-SYNC-001
#[test]
fn a_clean_stream_loses_nothing_at_any_bit_offset() {
    for lead_bits in 0..17 {
        for marker in [
            Marker::CCSDS_32,
            Marker::EMBEDDED_32,
            Marker::CCSDS_64,
            Marker::CCSDS_96,
            Marker::CCSDS_128,
            Marker::CCSDS_192,
        ] {
            let telemetry = Telemetry::new(&SyncSpec::ccsds(marker, LEN), lead_bits, 5, 7);
            let given = assert_only_lost(&telemetry, &[]);
            assert_eq!(given.len(), 5, "marker {marker}, offset {lead_bits}");
            assert_eq!(given[0].stream_bit, lead_bits as u64);
            assert!(given.iter().all(|block| !block.flywheel && block.slip_bits == 0 && !block.inverted));
        }
    }
}

// REQ: FEP-SYNC-002
#[test]
fn the_states_are_search_check_lock_flywheel_and_search_again() {
    let mut telemetry = Telemetry::new(&spec(LEN), 24, 4, 1);
    (2..4).for_each(|block| telemetry.damage_marker(block, 12));
    telemetry.spec.flywheel_blocks = 1;
    let octets = telemetry.bits.pack();
    let mut sync = FrameSync::new(telemetry.spec.clone()).expect("a valid specification");
    let mut given = Vec::new();
    let mut sink = |block: Block<'_>| given.push(Given::from(block));
    let mut states = vec![sync.state()];
    for octet in &octets {
        sync.push(std::slice::from_ref(octet), &mut sink);
        if states.last() != Some(&sync.state()) {
            states.push(sync.state());
        }
    }
    use SyncState::{Check, Flywheel, Lock, Search};
    assert_eq!(states, [Search, Check, Lock, Flywheel, Search]);
    assert_eq!(sync.counters().lock_acquired, 1);
    assert_eq!(sync.counters().lock_lost, 1);
    assert_eq!(given.len(), 3, "the one block on trust comes out once nothing better can overlap it");
    assert!(given[2].flywheel && given[2].data == telemetry.blocks[2]);
}

// REQ: FEP-SYNC-003
#[test]
fn blocks_received_before_lock_is_declared_are_released_when_it_is() {
    let mut spec = spec(LEN);
    spec.check_markers = 3;
    let telemetry = Telemetry::new(&spec, 3, 6, 2);
    let octets = telemetry.bits.pack();
    let mut sync = FrameSync::new(spec).expect("a valid specification");
    let mut given = Vec::new();
    let third_marker_ends = telemetry.block_start(3).div_ceil(8);
    sync.push(&octets[..third_marker_ends - 1], &mut |block: Block<'_>| given.push(Given::from(block)));
    assert_eq!((given.len(), sync.state()), (0, SyncState::Check));
    sync.push(&octets[third_marker_ends - 1..third_marker_ends], &mut |block: Block<'_>| {
        given.push(Given::from(block));
    });
    assert_eq!((given.len(), sync.state()), (3, SyncState::Lock));
    assert!(given.iter().zip(&telemetry.blocks).all(|(given, sent)| given.data == *sent));
}

// REQ: FEP-SYNC-003
#[test]
fn a_damaged_marker_during_the_check_costs_no_block() {
    for flywheel_blocks in 0..3 {
        let mut spec = spec(LEN);
        spec.flywheel_blocks = flywheel_blocks;
        let mut telemetry = Telemetry::new(&spec, 11, 6, 3);
        telemetry.damage_marker(1, 12);
        assert_only_lost(&telemetry, if flywheel_blocks == 0 { &[1] } else { &[] });
    }
}

// REQ: FEP-SYNC-004
#[test]
fn a_false_marker_in_front_of_the_stream_or_in_data_costs_no_block() {
    let marker = Bits::unpack(Marker::CCSDS_32.as_bytes()).0;
    for place in 0..8 * (LEN - 4) {
        let mut telemetry = Telemetry::new(&spec(LEN), 8 * LEN, 6, 4);
        telemetry.bits.0[place..place + 32].copy_from_slice(&marker);
        assert_only_lost(&telemetry, &[]);
        let mut telemetry = Telemetry::new(&spec(LEN), 8 * LEN, 6, 4);
        let (start, end) = (telemetry.block_start(0), telemetry.markers[1]);
        telemetry.bits.0[start + place..start + place + 32].copy_from_slice(&marker);
        telemetry.blocks[0] = Bits(telemetry.bits.0[start..end].to_vec()).pack();
        assert_only_lost(&telemetry, &[]);
    }
}

// REQ: FEP-SYNC-005
#[test]
fn a_marker_with_as_many_errors_as_allowed_in_lock_is_found_in_place() {
    let mut telemetry = Telemetry::new(&spec(LEN), 5, 8, 5);
    (2..8).for_each(|block| telemetry.damage_marker(block, 3));
    let given = assert_only_lost(&telemetry, &[]);
    assert!(given.iter().all(|block| !block.flywheel));
    assert_eq!(
        given.iter().map(|block| block.marker_bit_errors).collect::<Vec<_>>(),
        [0, 0, 3, 3, 3, 3, 3, 3]
    );
}

// REQ: FEP-SYNC-005
#[test]
fn one_error_more_than_allowed_in_lock_makes_a_flywheel_block() {
    let mut telemetry = Telemetry::new(&spec(LEN), 5, 8, 6);
    telemetry.damage_marker(3, 4);
    let given = assert_only_lost(&telemetry, &[]);
    let flags: Vec<_> = given.iter().map(|block| (block.flywheel, block.marker_bit_errors)).collect();
    assert_eq!(flags[2..5], [(false, 0), (true, 4), (false, 0)]);
}

// REQ: FEP-SYNC-005
#[test]
fn a_candidate_may_have_as_many_errors_as_allowed_in_search_and_no_more() {
    let mut telemetry = Telemetry::new(&spec(LEN), 13, 4, 7);
    telemetry.damage_marker(0, 1);
    assert_eq!(assert_only_lost(&telemetry, &[])[0].marker_bit_errors, 1);
    let mut telemetry = Telemetry::new(&spec(LEN), 13, 4, 7);
    telemetry.damage_marker(0, 2);
    assert_eq!(assert_only_lost(&telemetry, &[0]).len(), 3);
}

// REQ: FEP-SYNC-006
#[test]
fn a_slip_within_the_window_loses_no_following_block() {
    for slip in 1..=8 {
        let mut deleted = Telemetry::new(&spec(LEN), 6, 7, 8);
        deleted.delete(deleted.block_start(3) + 400, slip);
        let given = assert_only_lost(&deleted, &[3]);
        assert_eq!(given.len(), 7, "the damaged block comes out too");
        assert_eq!(given[4].slip_bits, -(slip as i8));
        let mut inserted = Telemetry::new(&spec(LEN), 6, 7, 9);
        inserted.insert(inserted.block_start(3) + 400, slip, 1);
        let given = assert_only_lost(&inserted, &[3]);
        assert_eq!(given.len(), 7, "the damaged block comes out too");
        assert_eq!(given[4].slip_bits, slip as i8);
    }
}

// REQ: FEP-SYNC-007
#[test]
fn a_slip_beyond_the_window_loses_no_following_block() {
    for slip in [9, 17, 100, 333, 700] {
        for flywheel_blocks in [0, 1, 3] {
            let mut spec = spec(LEN);
            spec.flywheel_blocks = flywheel_blocks;
            let mut deleted = Telemetry::new(&spec, 6, 9, 10);
            deleted.delete(deleted.block_start(3) + 50, slip);
            assert_only_lost(&deleted, &[3]);
            let mut inserted = Telemetry::new(&spec, 6, 9, 11);
            inserted.insert(inserted.block_start(3) + 50, slip, 2);
            assert_only_lost(&inserted, &[3]);
        }
    }
}

// REQ: FEP-SYNC-007
#[test]
fn a_slip_beyond_the_window_just_before_the_end_loses_no_block() {
    for block in 4..6 {
        let mut telemetry = Telemetry::new(&spec(LEN), 6, 7, 12);
        telemetry.delete(telemetry.block_start(block) + 50, 90);
        assert_only_lost(&telemetry, &[block]);
    }
}

// REQ: FEP-SYNC-007
#[test]
fn a_stream_that_slips_and_slips_back_during_the_flywheel_loses_no_block_in_between() {
    let mut telemetry = Telemetry::new(&spec(LEN), 6, 12, 13);
    telemetry.delete(telemetry.block_start(4) + 50, 40);
    telemetry.insert(telemetry.block_start(7) + 50, 40, 3);
    let given = assert_only_lost(&telemetry, &[4, 7]);
    assert!(given.iter().any(|block| block.data == telemetry.blocks[5]));
}

// REQ: FEP-SYNC-007
#[test]
fn a_chance_marker_in_the_slip_window_does_not_hide_the_block_behind_a_real_slip() {
    for off_place in [0, 5] {
        let mut telemetry = Telemetry::new(&spec(LEN), 6, 9, 24);
        telemetry.insert(telemetry.block_start(3) + 50, 300, 4);
        // The second marker due after the slip is due in the middle of block 4.
        let chance = telemetry.markers[3] + 2 * telemetry.spec.period_bits() as usize + off_place;
        telemetry.bits.0[chance..chance + 32].copy_from_slice(&Bits::unpack(Marker::CCSDS_32.as_bytes()).0);
        let (start, end) = (telemetry.block_start(4), telemetry.markers[5]);
        assert!(chance > start && chance + 32 < end);
        telemetry.blocks[4] = Bits(telemetry.bits.0[start..end].to_vec()).pack();
        assert_only_lost(&telemetry, &[3]);
    }
}

// REQ: FEP-SYNC-008
#[test]
fn an_inversion_of_the_stream_is_found_and_undone() {
    let mut telemetry = Telemetry::new(&spec(LEN), 6, 9, 14);
    telemetry.invert_from(telemetry.markers[3]);
    telemetry.invert_from(telemetry.block_start(6) + 123);
    let given = assert_only_lost(&telemetry, &[6]);
    let inverted: Vec<_> = given.iter().map(|block| block.inverted).collect();
    assert_eq!(inverted, [false, false, false, true, true, true, true, false, false]);
    let (_, sync) = synchronise(&telemetry.spec, &telemetry.bits.pack());
    assert_eq!(sync.counters().inversions, 2);
}

// REQ: FEP-SYNC-008
#[test]
fn a_fixed_polarity_takes_no_marker_of_the_other() {
    for (polarity, inverted) in [(Polarity::Normal, true), (Polarity::Inverted, false)] {
        let mut spec = spec(LEN);
        spec.polarity = polarity;
        let mut telemetry = Telemetry::new(&spec, 6, 5, 15);
        if inverted {
            telemetry.invert_from(0);
        }
        let octets = telemetry.bits.pack();
        assert_eq!(synchronise(&spec, &octets).0, []);
        let complement: Vec<u8> = octets.iter().map(|octet| !octet).collect();
        let (given, sync) = synchronise(&spec, &complement);
        assert!(given.iter().map(|block| &block.data).eq(&telemetry.blocks));
        assert_eq!(sync.counters().inversions, 0, "a polarity that never changes is no inversion");
    }
}

// REQ: FEP-SYNC-009
#[test]
fn lost_lock_releases_blocks_on_trust_unless_real_ones_overlap_them() {
    let mut telemetry = Telemetry::new(&spec(LEN), 6, 12, 16);
    telemetry.spec.flywheel_blocks = 2;
    (4..8).for_each(|block| telemetry.damage_marker(block, 14));
    let given = assert_only_lost(&telemetry, &[6, 7]);
    let trusted: Vec<_> = given.iter().filter(|block| block.flywheel).map(|block| &block.data).collect();
    assert_eq!(trusted, [&telemetry.blocks[4], &telemetry.blocks[5]]);
    assert_eq!(given.len(), 10);
}

// REQ: FEP-SYNC-010
#[test]
fn a_block_in_lock_is_released_with_its_last_octet() {
    let telemetry = Telemetry::new(&spec(LEN), 0, 5, 17);
    let octets = telemetry.bits.pack();
    let mut sync = FrameSync::new(telemetry.spec.clone()).expect("a valid specification");
    let period = LEN + 4;
    sync.push(&octets[..2 * period], &mut |_: Block<'_>| {});
    for block in 2..5 {
        let (mut early, mut late) = (0, 0);
        sync.push(&octets[block * period..(block + 1) * period - 1], &mut |_: Block<'_>| early += 1);
        sync.push(&octets[(block + 1) * period - 1..(block + 1) * period], &mut |_: Block<'_>| late += 1);
        assert_eq!((early, late), (0, 1), "block {block}");
    }
}

// REQ: FEP-SYNC-010
#[test]
fn a_whole_aligned_upright_block_is_borrowed_from_the_input() {
    let telemetry = Telemetry::new(&spec(LEN), 0, 6, 18);
    let octets = telemetry.bits.pack();
    let mut sync = FrameSync::new(telemetry.spec.clone()).expect("a valid specification");
    let input = octets.as_ptr_range();
    let mut borrowed = 0;
    sync.push(&octets, &mut |block: Block<'_>| borrowed += usize::from(input.contains(&block.data.as_ptr())));
    assert_eq!(borrowed, 6);
}

// REQ: FEP-SYNC-011
#[test]
fn a_single_block_is_released_at_the_end_of_the_stream() {
    for check_markers in 0..4 {
        let mut spec = spec(LEN);
        spec.check_markers = check_markers;
        assert_eq!(assert_only_lost(&Telemetry::new(&spec, 9, 1, 19), &[]).len(), 1);
    }
}

// REQ: FEP-SYNC-011
#[test]
fn at_the_end_a_false_marker_does_not_hide_the_only_real_block() {
    let mut telemetry = Telemetry::new(&spec(LEN), 500, 2, 20);
    let marker = Bits::unpack(Marker::CCSDS_32.as_bytes());
    telemetry.bits.0[100..132].copy_from_slice(&marker.0);
    telemetry.damage_marker(1, 12);
    assert_only_lost(&telemetry, &[1]);
}

// REQ: FEP-SYNC-011
#[test]
fn at_the_end_a_broken_check_releases_each_block_once() {
    let mut spec = spec(LEN);
    spec.check_markers = 4;
    let mut telemetry = Telemetry::new(&spec, 3, 5, 25);
    telemetry.damage_marker(1, 12);
    telemetry.damage_marker(4, 12);
    let given = assert_only_lost(&telemetry, &[1, 4]);
    assert_eq!(given.iter().filter(|block| !block.flywheel).count(), 3);
}

#[test]
fn a_reset_discards_what_is_held_and_starts_positions_anew() {
    let telemetry = Telemetry::new(&spec(LEN), 0, 3, 21);
    let octets = telemetry.bits.pack();
    let mut sync = FrameSync::new(telemetry.spec.clone()).expect("a valid specification");
    sync.push(&octets[..LEN], &mut |_: Block<'_>| panic!("no block is whole"));
    sync.reset();
    assert_eq!(sync.state(), SyncState::Search);
    assert_eq!(sync.counters().bits_discarded, 8 * LEN as u64);
    let mut given = Vec::new();
    sync.push(&octets, &mut |block: Block<'_>| given.push(Given::from(block)));
    sync.finish(&mut |block: Block<'_>| given.push(Given::from(block)));
    assert_eq!(given.iter().map(|block| block.stream_bit).collect::<Vec<_>>(), [0, 832, 1664]);
    let counters = sync.counters();
    assert_eq!(counters.bits_in, 8 * (LEN + octets.len()) as u64);
    assert_eq!(counters.bits_in, counters.blocks * 832 + counters.bits_discarded);
}

#[test]
fn noise_gives_no_block_and_is_discarded() {
    let octets = Noise::new(22).octets(200_000);
    let (given, sync) = synchronise(&spec(LEN), &octets);
    assert_eq!(given, []);
    assert_eq!(sync.counters().bits_discarded, 1_600_000);
}

// REQ: FEP-SYNC-012
#[test]
fn an_impossible_specification_is_refused_with_the_parameter_and_its_limits() {
    let refused = |change: fn(&mut SyncSpec)| {
        let mut spec = spec(LEN);
        change(&mut spec);
        let error = spec.validate().expect_err("an impossible specification");
        assert_eq!(FrameSync::new(spec).err(), Some(error));
        error
    };
    assert_eq!(refused(|spec| spec.block_len = 0), SyncSpecError::BlockLen(0));
    assert_eq!(
        refused(|spec| spec.search_bit_errors = 5),
        SyncSpecError::SearchBitErrors { errors: 5, max: 4, bits: 32 }
    );
    assert_eq!(
        refused(|spec| spec.lock_bit_errors = 8),
        SyncSpecError::LockBitErrors { errors: 8, min: 1, max: 7, bits: 32 }
    );
    assert_eq!(
        refused(|spec| spec.lock_bit_errors = 0),
        SyncSpecError::LockBitErrors { errors: 0, min: 1, max: 7, bits: 32 }
    );
    assert_eq!(refused(|spec| spec.check_markers = 65), SyncSpecError::CheckMarkers(65));
    assert_eq!(refused(|spec| spec.flywheel_blocks = 65), SyncSpecError::FlywheelBlocks(65));
    assert_eq!(
        refused(|spec| {
            spec.block_len = 2;
            spec.slip_window_bits = 9;
        }),
        SyncSpecError::SlipWindow { window: 9, max: 8, block_len: 2 }
    );
    assert!(matches!(
        refused(|spec| spec.marker = Marker::new(&[0x55; 4]).expect("a marker")),
        SyncSpecError::AmbiguousMarker { shift: 1, distance: 0, .. }
    ));
}

// REQ: FEP-SYNC-012
#[test]
fn a_specification_is_read_from_configuration_and_written_back() {
    let json = r#"{"marker":"034776C7272895B0","block_len":256,"search_bit_errors":2,"lock_bit_errors":6,
        "check_markers":1,"flywheel_blocks":3,"slip_window_bits":8,"polarity":"auto"}"#;
    let read: SyncSpec = serde_json::from_str(json).expect("a specification");
    assert_eq!(read, SyncSpec::ccsds(Marker::CCSDS_64, 256));
    let written = serde_json::to_string(&read).expect("a specification");
    assert_eq!(serde_json::from_str::<SyncSpec>(&written).expect("its own output"), read);
    let marker = |hex: &str| Marker::try_from(hex.to_owned());
    assert_eq!(marker("1acffc"), Err(MarkerError::Length(3)));
    assert_eq!(marker("1acffc1"), Err(MarkerError::OddDigits(7)));
    assert_eq!(marker("1acffc1g"), Err(MarkerError::Digit(8)));
    assert_eq!(Marker::new(&[0; 25]), Err(MarkerError::Length(25)));
}

#[test]
fn defaults_for_the_markers_of_the_standard_are_valid() {
    for marker in [
        Marker::CCSDS_32,
        Marker::CCSDS_64,
        Marker::CCSDS_96,
        Marker::CCSDS_128,
        Marker::CCSDS_192,
        Marker::EMBEDDED_32,
    ] {
        for block_len in [1, 5, 1115, 65_536] {
            assert_eq!(SyncSpec::ccsds(marker, block_len).validate(), Ok(()), "{marker} {block_len}");
        }
    }
}

// REQ: FEP-CODING-001
#[test]
fn every_instruction_set_releases_the_same_blocks() {
    let mut telemetry = Telemetry::new(&spec(LEN), 613, 9, 23);
    telemetry.damage_marker(4, 12);
    telemetry.delete(telemetry.block_start(2) + 50, 90);
    telemetry.invert_from(telemetry.markers[6]);
    let octets = telemetry.bits.pack();
    let reference = synchronise(&telemetry.spec, &octets).0;
    for isa in Isa::available() {
        for search_bit_errors in [0, 1] {
            let spec = SyncSpec { search_bit_errors, ..telemetry.spec.clone() };
            let mut sync = FrameSync::new(spec).expect("a specification");
            sync = sync.with_isa(*isa).expect("an available set");
            let mut given = Vec::new();
            sync.push(&octets, &mut |block: Block<'_>| given.push(Given::from(block)));
            sync.finish(&mut |block: Block<'_>| given.push(Given::from(block)));
            assert_eq!(given, reference, "{isa}");
        }
    }
}
