//! The `ccsds` crate's whole pipeline: synchroniser, derandomiser, Reed-Solomon, frames, packets.
//!
//! It spreads its integrity checks over a thread pool; a case that compares one core with one core pins the process
//! first (threads inherit the affinity) and the pool is given a single thread.

use std::io::Cursor;

use ccsds::framing::{
    DefaultDerandomizer, DefaultReedSolomon, FrameDecoder, Synchronizer, decode_framed_packets,
};

/// What the crate must know of a channel.
#[derive(Debug, Clone, Copy)]
pub struct Channel {
    /// Reed-Solomon codewords a frame.
    pub interleave: u8,
    /// Octets between two markers.
    pub block_len: usize,
    /// Octets between the frame's header and its data field.
    pub insert_zone_len: usize,
    /// Octets behind the frame's data field.
    pub trailer_len: usize,
}

/// What it found in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Frames, idle ones included (which it does not Reed-Solomon decode).
    pub frames: usize,
    /// Packets, whole and in order.
    pub packets: usize,
}

/// Decodes a stream of CADUs to its packets.
pub fn decode(stream: Vec<u8>, channel: Channel) -> Found {
    let blocks = Synchronizer::new(Cursor::new(stream), channel.block_len).into_iter().filter_map(Result::ok);
    let mut frames = 0;
    let decoded = FrameDecoder::new()
        .with_derandomization(Box::new(DefaultDerandomizer))
        .with_integrity(Box::new(DefaultReedSolomon::new(channel.interleave)))
        .with_integrity_threads(1)
        .decode(blocks)
        .filter_map(Result::ok)
        .inspect(|_| frames += 1);
    let packets = decode_framed_packets(decoded, channel.insert_zone_len, channel.trailer_len).count();
    Found { frames, packets }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_a_marker_gives_nothing() {
        let channel = Channel { interleave: 4, block_len: 1020, insert_zone_len: 0, trailer_len: 0 };
        assert_eq!(decode(vec![0; 4096], channel), Found { frames: 0, packets: 0 });
    }
}
