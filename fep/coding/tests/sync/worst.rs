//! Inputs that are the most work for a synchroniser: full of markers, of markers that are nearly right, of chains that break
//! off. They come out as the naive oracle says, and large blocks, of which not all places are remembered, come out too.

use fep_coding::{Block, FrameSync, Marker, SyncSpec};

use crate::oracle;
use crate::stream::{
    Bits, Given, Noise, Telemetry, assert_every_bit_is_accounted_for, synchronise, synchronise_cut,
};

/// A stream of some thousand bits, by what it consists of.
fn streams(marker: Marker, block_len: usize) -> Vec<(String, Vec<u8>)> {
    let marker = marker.as_bytes();
    let complement: Vec<u8> = marker.iter().map(|octet| !octet).collect();
    let near = |errors: &[(usize, u8)]| {
        let mut near = marker.to_vec();
        errors.iter().for_each(|(octet, mask)| near[*octet] ^= mask);
        near
    };
    let octets = 900.max(5 * block_len);
    let noise = Noise::new(block_len as u64).octets(octets + 8);
    let repeated = |pieces: &[&[u8]], gap: fn(usize) -> usize| {
        let mut bits = Bits::default();
        for k in 0.. {
            bits.push_octets(pieces[k % pieces.len()]);
            bits.0.extend(std::iter::repeat_n(0, gap(k)));
            if bits.0.len() > 8 * octets {
                break;
            }
        }
        bits.pack()
    };
    let mut streams = vec![
        ("markers".to_owned(), repeated(&[marker], |_| 0)),
        ("complements".to_owned(), repeated(&[&complement], |_| 0)),
        ("markers and complements".to_owned(), repeated(&[marker, &complement], |_| 0)),
        ("markers at every offset".to_owned(), repeated(&[marker], |k| k % 9)),
        ("markers one bit apart".to_owned(), repeated(&[marker], |_| 1)),
        ("two errors".to_owned(), repeated(&[&near(&[(3, 0x11)])], |_| 0)),
        ("three errors".to_owned(), repeated(&[&near(&[(0, 0x20), (3, 0x11)]), marker], |k| k % 2)),
        ("right and wrong in turn".to_owned(), repeated(&[marker, &near(&[(1, 0x0F)])], |_| 0)),
    ];
    // Stretches of one period, full of markers or of noise: chains that are backed, and chains that break off.
    let period = (block_len + marker.len()) / marker.len() * marker.len();
    for pattern in ["MMX", "MX", "MXX", "MMXX", "MMXXXXX", "MXXXM", "MXXM", "MXMM"] {
        let mut stream = Vec::new();
        for stretch in pattern.bytes().cycle() {
            let place = stream.len();
            match stretch {
                b'M' => stream.extend(marker.iter().cycle().take(period)),
                _ => stream.extend(noise.iter().cycle().skip(place % 91).take(period)),
            }
            stream.extend(&noise[..block_len + marker.len() - period]);
            if stream.len() > octets {
                break;
            }
        }
        streams.push((pattern.to_owned(), stream));
    }
    streams
}

// REQ: FEP-SYNC-014
// REQ: FEP-SYNC-102
#[test]
fn the_hardest_inputs_come_out_as_the_naive_oracle_says_however_they_are_cut() {
    for (marker, block_len) in
        [(Marker::CCSDS_32, 16), (Marker::CCSDS_32, 61), (Marker::CCSDS_32, 300), (Marker::CCSDS_64, 90)]
    {
        for (name, stream) in streams(marker, block_len) {
            for (check_markers, flywheel_blocks, slip_window_bits, search_bit_errors) in
                [(1, 3, 8, 1), (0, 0, 0, 0), (3, 1, 8, 0), (1, 0, 3, 2), (2, 6, 8, 3)]
            {
                let spec = SyncSpec {
                    search_bit_errors,
                    lock_bit_errors: 3.max(search_bit_errors),
                    check_markers,
                    flywheel_blocks,
                    slip_window_bits,
                    ..SyncSpec::ccsds(marker, block_len)
                };
                let (whole, sync) = synchronise(&spec, &stream);
                let context = format!("{name}, {spec:?}");
                assert_every_bit_is_accounted_for(&spec, &whole, &sync, stream.len());
                assert!(whole == oracle::expected(&spec, &stream), "{context}");
                for cuts in [&[1][..], &[700, 3]] {
                    assert!(synchronise_cut(&spec, &stream, cuts).0 == whole, "{context}, cut in {cuts:?}");
                }
            }
        }
    }
}

// REQ: FEP-SYNC-102
#[test]
fn blocks_so_large_that_not_every_place_is_remembered_are_found_behind_slips_and_among_false_markers() {
    let spec = SyncSpec { check_markers: 1, ..SyncSpec::ccsds(Marker::CCSDS_32, 200_000) };
    let mut telemetry = Telemetry::new(&spec, 77, 6, 1);
    // A stretch of nothing but markers in two blocks, at the same place.
    let markers = Bits::unpack(&Marker::CCSDS_32.as_bytes().repeat(20_000)).0;
    for block in [1, 2] {
        let start = telemetry.block_start(block) + 500;
        telemetry.bits.0[start..start + markers.len()].copy_from_slice(&markers);
        let start = telemetry.block_start(block);
        telemetry.blocks[block] = Bits(telemetry.bits.0[start..start + 8 * spec.block_len].to_vec()).pack();
    }
    telemetry.delete(telemetry.block_start(3) + 1000, 500);
    let octets = telemetry.bits.pack();
    let (given, sync) = synchronise(&spec, &octets);
    assert_every_bit_is_accounted_for(&spec, &given, &sync, octets.len());
    for block in [0, 1, 2, 4, 5] {
        assert!(given.iter().any(|given| given.data == telemetry.blocks[block]), "block {block} is lost");
    }
    let (cut, _) = synchronise_cut(&spec, &octets, &[65_536]);
    assert!(cut == given, "cut in pieces");
}

// REQ: FEP-SYNC-102
#[test]
fn the_end_of_a_stream_full_of_markers_gives_each_block_once_and_in_order() {
    // Where the next marker is due there is none, but the stream ends before that is clear.
    let spec = SyncSpec::ccsds(Marker::CCSDS_32, 1598);
    let octets = Marker::CCSDS_32.as_bytes().repeat(1000);
    let mut sync = FrameSync::new(spec.clone()).expect("a valid specification");
    let mut given = Vec::new();
    sync.push(&octets, &mut |block: Block<'_>| given.push(Given::from(block)));
    sync.finish(&mut |block: Block<'_>| given.push(Given::from(block)));
    assert!(!given.is_empty() && given == oracle::expected(&spec, &octets));
    assert_every_bit_is_accounted_for(&spec, &given, &sync, octets.len());
}
