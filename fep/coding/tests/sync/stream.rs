//! Streams of single bits to cut, damage and slip, and the collecting of what a synchroniser releases.

use fep_coding::{Block, FrameSync, Marker, SyncSpec};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

/// A block as it was released, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) data: Vec<u8>,
    pub(crate) marker_bit_errors: u8,
    pub(crate) inverted: bool,
    pub(crate) flywheel: bool,
    pub(crate) slip_bits: i8,
    pub(crate) stream_bit: u64,
}

impl From<Block<'_>> for Given {
    fn from(block: Block<'_>) -> Given {
        Given {
            data: block.data.to_vec(),
            marker_bit_errors: block.marker_bit_errors,
            inverted: block.inverted,
            flywheel: block.flywheel,
            slip_bits: block.slip_bits,
            stream_bit: block.stream_bit,
        }
    }
}

/// A stream, one bit an octet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bits(pub(crate) Vec<u8>);

impl Bits {
    pub(crate) fn push_octets(&mut self, octets: &[u8]) {
        self.0.extend(octets.iter().flat_map(|octet| (0..8).map(move |i| (octet >> (7 - i)) & 1)));
    }

    /// Packed, the last octet filled with zeros.
    pub(crate) fn pack(&self) -> Vec<u8> {
        self.0
            .chunks(8)
            .map(|bits| bits.iter().enumerate().fold(0, |octet, (i, bit)| octet | (bit << (7 - i))))
            .collect()
    }

    pub(crate) fn unpack(octets: &[u8]) -> Bits {
        let mut bits = Bits::default();
        bits.push_octets(octets);
        bits
    }
}

/// Repeatable random octets.
pub(crate) struct Noise(TestRng);

impl Noise {
    pub(crate) fn new(seed: u64) -> Noise {
        let mut key = [0x5A; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Noise(TestRng::from_seed(RngAlgorithm::ChaCha, &key))
    }

    pub(crate) fn octets(&mut self, len: usize) -> Vec<u8> {
        let mut octets = vec![0; len];
        self.0.fill_bytes(&mut octets);
        octets
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.0.next_u64() % limit as u64) as usize
    }
}

/// Blocks of random content behind their markers, with the place of each marker.
pub(crate) struct Telemetry {
    pub(crate) spec: SyncSpec,
    pub(crate) bits: Bits,
    pub(crate) markers: Vec<usize>,
    pub(crate) blocks: Vec<Vec<u8>>,
}

impl Telemetry {
    /// `count` blocks behind `lead_bits` random bits.
    pub(crate) fn new(spec: &SyncSpec, lead_bits: usize, count: usize, seed: u64) -> Telemetry {
        let mut noise = Noise::new(seed);
        let mut bits = Bits::unpack(&noise.octets(lead_bits.div_ceil(8)));
        bits.0.truncate(lead_bits);
        let mut telemetry = Telemetry { spec: spec.clone(), bits, markers: Vec::new(), blocks: Vec::new() };
        for _ in 0..count {
            let block = noise.octets(spec.block_len);
            telemetry.markers.push(telemetry.bits.0.len());
            telemetry.bits.push_octets(spec.marker.as_bytes());
            telemetry.bits.push_octets(&block);
            telemetry.blocks.push(block);
        }
        telemetry
    }

    pub(crate) fn block_start(&self, block: usize) -> usize {
        self.markers[block] + self.spec.marker.bits() as usize
    }

    /// Deletes bits in front of bit `at`.
    pub(crate) fn delete(&mut self, at: usize, count: usize) {
        self.bits.0.drain(at..at + count);
        self.markers.iter_mut().filter(|marker| **marker > at).for_each(|marker| *marker -= count);
    }

    /// Inserts random bits in front of bit `at`.
    pub(crate) fn insert(&mut self, at: usize, count: usize, seed: u64) {
        let mut noise = Noise::new(seed);
        let bits: Vec<u8> = (0..count).map(|_| noise.below(2) as u8).collect();
        self.bits.0.splice(at..at, bits);
        self.markers.iter_mut().filter(|marker| **marker >= at).for_each(|marker| *marker += count);
    }

    /// Complements everything from bit `at` on.
    pub(crate) fn invert_from(&mut self, at: usize) {
        self.bits.0[at..].iter_mut().for_each(|bit| *bit ^= 1);
    }

    /// Complements `count` bits of a marker, the first ones of a fixed spread.
    pub(crate) fn damage_marker(&mut self, block: usize, count: usize) {
        let bits = self.spec.marker.bits() as usize;
        for k in 0..count {
            self.bits.0[self.markers[block] + (5 + 7 * k) % bits] ^= 1;
        }
    }
}

pub(crate) fn spec(block_len: usize) -> SyncSpec {
    SyncSpec::ccsds(Marker::CCSDS_32, block_len)
}

/// Everything that comes out of `octets`, pushed at once, and of the end of the stream.
pub(crate) fn synchronise(spec: &SyncSpec, octets: &[u8]) -> (Vec<Given>, FrameSync) {
    synchronise_cut(spec, octets, &[octets.len()])
}

/// The same, pushed in pieces of the lengths given, in turn.
pub(crate) fn synchronise_cut(spec: &SyncSpec, octets: &[u8], cuts: &[usize]) -> (Vec<Given>, FrameSync) {
    let mut sync = FrameSync::new(spec.clone()).expect("a specification of the test");
    let mut given = Vec::new();
    let mut sink = |block: Block<'_>| given.push(Given::from(block));
    let mut rest = octets;
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at((*cut).clamp(1, rest.len()));
        sync.push(piece, &mut sink);
        rest = behind;
    }
    sync.finish(&mut sink);
    (given, sync)
}

/// The law of the ledger, recomputed from the blocks themselves.
pub(crate) fn assert_every_bit_is_accounted_for(
    spec: &SyncSpec,
    given: &[Given],
    sync: &FrameSync,
    octets: usize,
) {
    let counters = sync.counters();
    let period = spec.period_bits();
    assert_eq!(counters.bits_in, 8 * octets as u64);
    assert_eq!(counters.blocks, given.len() as u64);
    assert_eq!(
        counters.bits_in + counters.bits_shared,
        counters.blocks * period + counters.bits_discarded + counters.bits_held,
        "{counters:?}"
    );
    let in_order = given.windows(2).all(|pair| pair[0].stream_bit < pair[1].stream_bit);
    assert!(in_order, "each block once, in the order of markers");
    let mut covered = 0;
    let mut shared = 0;
    for block in given {
        assert_eq!(block.data.len(), spec.block_len);
        shared += u64::saturating_sub(covered, block.stream_bit);
        covered = block.stream_bit + period;
    }
    assert!(covered <= counters.bits_in);
    assert_eq!(counters.bits_shared, shared, "bits in two blocks");
    assert_eq!(counters.bits_held, 0, "nothing is held behind the end");
    assert_eq!(counters.flywheel_blocks, given.iter().filter(|block| block.flywheel).count() as u64);
    assert_eq!(counters.slips, given.iter().filter(|block| block.slip_bits != 0).count() as u64);
}
