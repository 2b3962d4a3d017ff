//! Synchronisation and channel coding of CCSDS telemetry (131.0-B-5), as a library: no I/O, no clock, no threads.
//!
//! | module | what it does | standard |
//! |---|---|---|
//! | [`sync`] | finds blocks in a stream of bits by their markers: any alignment, slips, inversions, flywheel | 131.0-B-5 9 |
//! | [`randomizer`] | takes the pseudo-random sequence off (or puts it on) | 131.0-B-5 10, 231.0-B 6 |
//! | [`rs`] | Reed-Solomon (255,223) and (255,239), interleaved, shortened | 131.0-B-5 4 |
//! | [`ldpc`] | LDPC C2 and AR4JA, whole codewords or sliced frames | 131.0-B-5 7, 8 |
//! | [`crc`] | CRC-16 and CRC-32 of frames | 132.0-B, 732.0-B, 732.1-B |
//! | [`fhec`] | header check of AOS frames, with correction | 732.0-B 4.1.2.6 |
//! | [`spec`] | which code a channel uses, and its decoder and encoder | |
//! | [`conv`] | convolutional code: encoder, Viterbi decoder, node synchronisation | 131.0-B-5 3 |
//! | [`differential`] | NRZ-M and NRZ-S, hard and soft | 131.0-B-5, line code |
//! | [`tc`] | telecommand: BCH, LDPC, CLTUs, PLOP | 231.0-B 3 to 8 |
//! | [`turbo`] | turbo codes: encoder, iterated soft decoder | 131.0-B-5 6 |
//! | [`bert`] | bit error rate tests: generator and checker | ITU-T O.150 |
//! | [`soft`] | soft symbols and the verdicts on them | |
//! | [`isa`] | which kernels run: chosen once, in a constructor | |
//!
//! What it is not: it knows no transfer frame, no virtual channel, no packet and no socket. Bytes go in, blocks and
//! verdicts come out.
//!
//! # Principles
//!
//! * **Verdicts are data.** A damaged block is a verdict with its counts. An `Err` means that the caller asked for
//!   something impossible, and says what, and what is possible.
//! * **Nothing is lost silently.** The synchroniser accounts for every bit; a codeword beyond correction is given back as
//!   it was received.
//! * **One answer.** Every kernel has a scalar reference, always compiled; all instruction sets give the same octets.
//! * **No allocation in the stream.** Constructors allocate; what runs for every block does not.
//!
//! # Example: from bits to frames
//!
//! Two frames are encoded, randomised and put behind their markers, the stream starts in the middle of an octet and
//! suffers errors; then it is received.
//!
//! ```
//! use fep_coding::rs::{Basis, RsE, RsSpec};
//! use fep_coding::{CodeSpec, Derandomizer, FrameSync, Isa, Marker, Randomizer, SyncSpec};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let code = CodeSpec::ReedSolomon(RsSpec {
//!     e: RsE::E16, interleave: 4, virtual_fill: 0, basis: Basis::Dual,
//! });
//! let (block_len, frame_len) = (code.block_len(), code.frame_len());
//! let randomizer = Derandomizer::new(Randomizer::Legacy255, block_len);
//!
//! // The spacecraft.
//! let frames = [vec![0x11; frame_len], vec![0x22; frame_len]];
//! let mut encoder = code.build_encoder(Isa::best())?;
//! let mut sent = vec![0xA5];
//! for frame in &frames {
//!     let mut block = vec![0; block_len];
//!     encoder.encode(frame, &mut block);
//!     randomizer.apply(&mut block);
//!     sent.extend_from_slice(Marker::CCSDS_32.as_bytes());
//!     sent.extend_from_slice(&block);
//! }
//! // The channel: three bits late, and a burst of eight wrong octets in each block.
//! let mut received: Vec<u8> = std::iter::once(0).chain(sent.iter().copied())
//!     .zip(sent.iter().copied())
//!     .map(|(before, octet)| before << 5 | octet >> 3)
//!     .chain([sent[sent.len() - 1] << 5])
//!     .collect();
//! for burst in [300, 1500] {
//!     received[burst..burst + 8].fill(0xFF);
//! }
//!
//! // The ground: whatever pieces the link delivers.
//! let mut sync = FrameSync::new(SyncSpec::ccsds(Marker::CCSDS_32, block_len))?;
//! let mut decoder = code.build(Isa::best())?;
//! let mut decoded = Vec::new();
//! let mut on_block = |block: fep_coding::Block<'_>| {
//!     let mut data = vec![0; block_len];
//!     randomizer.apply_to(block.data, &mut data);
//!     let mut verdict = [Default::default()];
//!     decoder.decode_batch(&mut data, block_len, &mut verdict);
//!     assert!(!verdict[0].is_uncorrectable() && verdict[0].symbols_corrected > 0);
//!     data.truncate(frame_len);
//!     decoded.push(data);
//! };
//! for piece in received.chunks(100) {
//!     sync.push(piece, &mut on_block);
//! }
//! sync.finish(&mut on_block);
//!
//! assert_eq!(decoded, frames);
//! assert_eq!(sync.counters().blocks, 2);
//! assert_eq!(sync.counters().bits_discarded, 8 + 3 + 5);
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

pub mod bert;
pub mod conv;
pub mod crc;
pub mod differential;
pub mod fhec;
pub mod isa;
mod kernels;
pub mod ldpc;
pub mod randomizer;
pub mod rs;
pub mod soft;
pub mod spec;
pub mod sync;
pub mod tc;
pub mod turbo;

pub use isa::Isa;
pub use randomizer::{Derandomizer, Randomizer};
pub use spec::{BlockDecoder, BlockEncoder, CodeSpec, CodeSpecError};
pub use sync::{Block, FrameSync, Marker, Polarity, SyncCounters, SyncSpec, SyncState};
