//! Any specification, any stream cut anywhere, with resets and ends in between: no panic, every bit accounted for, blocks
//! of the right length in the order of their markers, and the same blocks however the stream is cut.
#![no_main]

use arbitrary::Arbitrary;
use fep_coding::{Block, FrameSync, Isa, Marker, Polarity, SyncCounters, SyncSpec};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Operation {
    Push(Vec<u8>),
    /// A marker, damaged, and a block of one repeated octet, moved by some bits: what chance would rarely make.
    Telemetry {
        blocks: u8,
        content: u8,
        shift: u8,
        damage: u8,
        inverted: bool,
    },
    Reset,
    Finish,
}

#[derive(Debug, Arbitrary)]
struct Input {
    marker: [u8; 24],
    marker_len: u8,
    standard: bool,
    block_len: u16,
    search_bit_errors: u8,
    lock_bit_errors: u8,
    check_markers: u8,
    flywheel_blocks: u8,
    slip_window_bits: u8,
    polarity: u8,
    scalar: bool,
    cut: u8,
    operations: Vec<Operation>,
}

/// What came out between two starts of the stream.
#[derive(Debug, Default, PartialEq)]
struct Given {
    blocks: Vec<(u64, bool, i8, u8, bool, Vec<u8>)>,
}

impl Given {
    fn take(&mut self, block: Block<'_>, block_len: usize) {
        assert_eq!(block.data.len(), block_len);
        if let Some(last) = self.blocks.last() {
            assert!(block.stream_bit > last.0, "markers out of order");
        }
        self.blocks.push((
            block.stream_bit,
            block.inverted,
            block.slip_bits,
            block.marker_bit_errors,
            block.flywheel,
            block.data.to_vec(),
        ));
    }
}

fn assert_balanced(counters: &SyncCounters, period: u64) {
    assert_eq!(
        counters.bits_in + counters.bits_shared,
        counters.blocks * period + counters.bits_discarded + counters.bits_held,
        "{counters:?}"
    );
    assert!(counters.flywheel_blocks <= counters.blocks);
    assert!([0, 1].contains(&(counters.lock_acquired - counters.lock_lost)));
}

fuzz_target!(|input: Input| {
    let marker = if input.standard {
        Marker::CCSDS_32
    } else {
        Marker::new(&input.marker[..4 + usize::from(input.marker_len) % 21]).expect("a length in range")
    };
    let spec = SyncSpec {
        marker,
        block_len: usize::from(input.block_len) % 300,
        search_bit_errors: u32::from(input.search_bit_errors) % 8,
        lock_bit_errors: u32::from(input.lock_bit_errors) % 16,
        check_markers: u32::from(input.check_markers) % 5,
        flywheel_blocks: u32::from(input.flywheel_blocks) % 6,
        slip_window_bits: u32::from(input.slip_window_bits) % 70,
        polarity: [Polarity::Auto, Polarity::Normal, Polarity::Inverted][usize::from(input.polarity) % 3],
    };
    let Ok(whole) = FrameSync::new(spec.clone()) else { return };
    let isa = if input.scalar { Isa::Scalar } else { Isa::best() };
    let mut whole = whole.with_isa(isa).expect("an available set");
    let mut cut = FrameSync::new(spec.clone()).expect("the same specification");
    let cut_len = usize::from(input.cut).max(1);
    let (mut given_whole, mut given_cut) = (Given::default(), Given::default());

    for operation in &input.operations {
        let octets = match operation {
            Operation::Reset => {
                whole.reset();
                cut.reset();
                (given_whole, given_cut) = (Given::default(), Given::default());
                continue;
            }
            Operation::Finish => {
                whole.finish(&mut |block| given_whole.take(block, spec.block_len));
                cut.finish(&mut |block| given_cut.take(block, spec.block_len));
                assert_eq!(given_whole, given_cut);
                assert_eq!(whole.counters(), cut.counters());
                assert_eq!(whole.counters().bits_held, 0);
                assert_balanced(whole.counters(), spec.period_bits());
                (given_whole, given_cut) = (Given::default(), Given::default());
                continue;
            }
            Operation::Push(octets) => octets.clone(),
            Operation::Telemetry { blocks, content, shift, damage, inverted } => {
                let mut octets = vec![0];
                for _ in 0..blocks % 8 {
                    let start = octets.len();
                    octets.extend_from_slice(spec.marker.as_bytes());
                    octets[start] ^= damage;
                    octets.extend(std::iter::repeat_n(*content, spec.block_len));
                }
                let flip = if *inverted { 0xFF } else { 0 };
                let shift = u32::from(shift % 8);
                let pairs = octets.windows(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                pairs.map(|pair| (pair >> shift) as u8 ^ flip).collect()
            }
        };
        whole.push(&octets, &mut |block| given_whole.take(block, spec.block_len));
        for piece in octets.chunks(cut_len) {
            cut.push(piece, &mut |block| given_cut.take(block, spec.block_len));
        }
        assert_eq!(given_whole, given_cut);
        assert_eq!(whole.counters(), cut.counters());
        assert_eq!(whole.state(), cut.state());
        assert_balanced(whole.counters(), spec.period_bits());
    }
});
