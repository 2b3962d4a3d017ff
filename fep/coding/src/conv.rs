//! The convolutional code of CCSDS 131.0-B-5 section 3: constraint length 7, rate 1/2, and its punctured rates 2/3,
//! 3/4, 5/6 and 7/8.
//!
//! A convolutional code works on the stream in front of the frame synchroniser. [`ConvEncoder`] makes channel symbols
//! of bits; [`ViterbiDecoder`] makes bits of soft symbols whose phase is known; [`ConvReceiver`] finds the phase, and on
//! quadrature modulations the rotation, by itself, watches them and finds them again.
//!
//! # The decoding algorithm
//! The stream of decoded bits is cut at fixed places into *windows* of some hundreds of bits. Every window is decoded by
//! itself from its own symbols, from [`ConvSpec::overlap_bits`] before it (to learn the state in which it starts) to as
//! many behind it (so that the survivor paths have merged when the trace back reaches it). The answer is a function of
//! the symbols alone: it depends neither on how the stream is cut into calls nor on the instruction set, and 64 windows
//! can be decoded side by side. The loss against one endless trellis is too small to be measured (see the tests).
//!
//! # Quantisation
//! Within each window the symbols are scaled by the window's mean magnitude to 31 levels (-15 to 15, the mean at 7), so
//! any scale of the demodulator does. Only an erasure becomes 0. Path metrics are then exact in octets: all states lie
//! within 180 of one another, and two steps add at most 60 before they are renormalised.
//!
//! # What the code does not show
//! The code is transparent: the complement of the symbols decodes to the complement of the bits. The polarity is for
//! the synchroniser behind to resolve, on its marker ([`crate::Polarity`]). At rate 5/6 mirrored axes of a quadrature
//! modulation give a codeword too ([`Quadrature::TurnsAndMirrors`]).
//!
//! ```
//! use fep_coding::conv::{ConvEncoder, ConvRate, ConvSpec, ViterbiDecoder};
//!
//! let spec = ConvSpec::ccsds(ConvRate::R3_4);
//! let data: Vec<u8> = (0..200).collect();
//! let mut symbols = Vec::new();
//! let mut encoder = ConvEncoder::new(&spec)?;
//! encoder.push_soft(&data, 50, &mut symbols);
//! encoder.finish_soft(50, &mut symbols);
//! for k in (0..symbols.len()).step_by(40) {
//!     symbols[k] = -symbols[k] / 2; // a bad channel
//! }
//!
//! let mut decoder = ViterbiDecoder::new(&spec)?;
//! let mut decoded = Vec::new();
//! for piece in symbols.chunks(77) {
//!     decoder.push(piece, &mut decoded);
//! }
//! decoder.finish(&mut decoded);
//! assert_eq!(decoded, data);
//! assert_eq!(decoder.counters().symbols_wrong as usize, symbols.len().div_ceil(40));
//! # Ok::<(), fep_coding::conv::ConvSpecError>(())
//! ```

mod decoder;
mod encoder;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod places;
mod probe;
mod raw;
mod receiver;
mod reference;
mod spec;
mod stream;
mod tie;
mod window;

pub use decoder::{SymbolErrors, ViterbiCounters, ViterbiDecoder};
pub use encoder::ConvEncoder;
pub use probe::{Axes, Hypothesis};
pub use receiver::{ConvCounters, ConvEvent, ConvReceiver};
pub use spec::{ConvRate, ConvRateUnknown, ConvSpec, ConvSpecError, NodeSync, Quadrature};
pub use stream::{RunBatches, WindowBatch};

/// Taps of G1 (171 octal): bit i weighs the bit that came i bits ago.
const G1: u8 = 0b100_1111;
/// Taps of G2 (133 octal), likewise.
const G2: u8 = 0b110_1101;
/// States of the encoder: its last six bits, the newest lowest.
const STATES: usize = 64;

/// The two symbols, C1 in bit 1 and C2 in bit 0, that the seven bits of `register` (newest lowest) give before any
/// inversion.
const fn outputs(register: u8) -> u8 {
    ((register & G1).count_ones() as u8 & 1) << 1 | (register & G2).count_ones() as u8 & 1
}
