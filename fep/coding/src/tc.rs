//! Telecommand synchronisation and channel coding (231.0-B): from frame to CLTU and back, as a library without I/O.
//!
//! | what | build | recover | standard |
//! |---|---|---|---|
//! | BCH (63,56) codeblocks | [`bch::encode`] | [`bch::Bch`] | 231.0-B 3 |
//! | CLTU with BCH, hard bits | [`CltuBuilder`] | [`CltuReceiver`] | 231.0-B 3, 5 |
//! | LDPC (128,64) and (512,256) codewords | [`ldpc::TcLdpcEncoder`] | [`ldpc::TcLdpcDecoder`] | 231.0-B-4 4 |
//! | CLTU with LDPC, soft symbols | [`ldpc::LdpcCltuBuilder`] | [`ldpc::LdpcCltuReceiver`] | 231.0-B-4 4, 5 |
//! | what to send between CLTUs | [`plop::PlopSequencer`] | | 231.0-B 7, 8 |
//!
//! It knows no frame: the fill octets of the last codeblock come out with the frame, which the layer above cuts off by
//! the frame's own length. It does not judge frames either; a verdict says what decoding found in a codeblock.
//!
//! # Receivers
//!
//! Both receivers are fed with arbitrary pieces of a stream and give [`CltuEvent`]s that depend on the stream alone,
//! never on how it was cut:
//! * **Search**: every bit position is looked at for the start sequence and, by [`crate::Polarity`], its complement.
//! * **Decode**: codeblocks are decoded one behind the other. The first that is rejected, or one that is the tail
//!   sequence up to a tolerance, ends the CLTU.
//! * Then the search goes on at the tail's first bit, or *inside* what was rejected, and inside the codeblocks accepted
//!   before it that may have been none: a CLTU that was cut and followed by another does not take that one with it.
//!
//! ```
//! use fep_coding::tc::{CltuBuilder, CltuEvent, CltuReceiver, CltuSpec};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let spec = CltuSpec::sec();
//! let mut stream = vec![0x55; 16];
//! CltuBuilder::new(spec.randomized).build(b"telecommand", &mut stream)?;
//! stream[20] ^= 0x10; // a wrong bit
//!
//! let mut frames = Vec::new();
//! let mut receiver = CltuReceiver::new(spec)?;
//! for piece in stream.chunks(5) {
//!     receiver.push(piece, &mut |event| {
//!         if let CltuEvent::Frame(frame) = event {
//!             frames.push(frame.octets.to_vec());
//!         }
//!     });
//! }
//! assert_eq!(&frames[0][..11], b"telecommand");
//! assert_eq!(receiver.counters().codeblocks_corrected, 1);
//! # Ok(())
//! # }
//! ```

pub mod bch;
mod cltu;
pub mod ldpc;
mod ledger;
pub mod plop;
mod receiver;
mod search;

use serde::{Deserialize, Serialize};

pub use cltu::{CltuBuilder, CltuSpec, CltuSpecError, FrameLenError};
pub use receiver::CltuReceiver;

/// What comes before the codeblocks of a CLTU with BCH (231.0-B 5).
pub const START_SEQUENCE: [u8; 2] = [0xEB, 0x90];
/// What comes behind them: no codeword, and at least three bits away from every one.
pub const TAIL_SEQUENCE: [u8; 8] = [0xC5, 0xC5, 0xC5, 0xC5, 0xC5, 0xC5, 0xC5, 0x79];
/// What completes the last codeblock, and what idle and acquisition sequences are made of.
pub const FILL_OCTET: u8 = 0x55;
/// The longest frame put into one CLTU, octets (USLP; TC frames have at most 1024).
pub const FRAME_LEN_MAX: usize = 65_536;

/// What a receiver has to say, `V` being the verdict on one codeblock.
///
/// `Started`, then `Frame` if at least one codeblock was accepted, then `Ended`; the three are given together when the
/// CLTU has ended, but for `Started`, which is given at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CltuEvent<'a, V> {
    /// A start sequence was found.
    Started(CltuStart),
    /// The octets of all accepted codeblocks.
    Frame(CltuFrame<'a, V>),
    /// The CLTU is over.
    Ended {
        /// Why.
        reason: EndReason,
        /// Bit position (symbol position) behind its last bit: of the tail if there was one, else of the last codeblock
        /// accepted.
        stream_bit: u64,
    },
}

/// Where a CLTU starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CltuStart {
    /// Bit position of the first bit of the start sequence since the receiver was made or reset.
    pub stream_bit: u64,
    /// The stream is complemented; octets are given out complemented back.
    pub inverted: bool,
    /// Bits of the start sequence that were wrong.
    pub start_bit_errors: u8,
}

/// What a CLTU carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CltuFrame<'a, V> {
    /// The information of all accepted codeblocks, derandomised: the frame and up to one codeblock of fill.
    pub octets: &'a [u8],
    /// One verdict for every accepted codeblock.
    pub verdicts: &'a [V],
}

/// Why a CLTU ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The tail sequence, with so many wrong bits.
    Tail {
        /// Wrong bits of the tail.
        bit_errors: u8,
    },
    /// A codeblock that the decoder rejects and that is no tail.
    Rejected,
    /// As many codeblocks as a CLTU may have, and no tail.
    TooLong,
    /// The stream ended ([`CltuReceiver::finish`]).
    StreamEnd,
}

/// What has happened since a receiver was made; resets do not clear it.
///
/// Every bit (soft symbol) is accounted for: `bits_in + bits_shared = bits_in_cltus + bits_discarded + bits_held`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CltuCounters {
    /// CLTUs of which a frame was given out.
    pub cltus: u64,
    /// Start sequences behind which no codeblock was accepted.
    pub false_starts: u64,
    /// Codeblocks accepted.
    pub codeblocks: u64,
    /// Of these, corrected.
    pub codeblocks_corrected: u64,
    /// Codeblocks rejected that were no tail.
    pub codeblocks_rejected: u64,
    /// Tail sequences recognised.
    pub tails: u64,
    /// Wrong bits in start sequences.
    pub start_bit_errors: u64,
    /// Bits pushed.
    pub bits_in: u64,
    /// Bits of start sequences, accepted codeblocks and tails.
    pub bits_in_cltus: u64,
    /// Bits that belong to two CLTUs, because a start sequence was found inside codeblocks already accepted.
    pub bits_shared: u64,
    /// Bits that belong to no CLTU.
    pub bits_discarded: u64,
    /// Bits not yet decided upon.
    pub bits_held: u64,
}
