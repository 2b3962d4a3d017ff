//! The LDPC codes of telemetry (131.0-B-5 7): C2 (8160,7136) and the nine AR4JA codes, and the stream of sliced frames
//! (131.0-B-5 8).
//!
//! | | information bits k | sent bits n | circulants |
//! |---|---|---|---|
//! | C2, rate "7/8" | 7136 | 8160 | 511 |
//! | AR4JA 1/2 | 1024, 4096, 16384 | 2 k | k / 8 |
//! | AR4JA 2/3 | 1024, 4096, 16384 | 3 k / 2 | k / 16 |
//! | AR4JA 4/5 | 1024, 4096, 16384 | 5 k / 4 | k / 32 |
//!
//! All are systematic: a codeword is its information, then its parity. What lies between two markers is one codeword
//! ([`LdpcEncoder`], [`LdpcDecoder`]) or, with sliced frames, up to eight ([`LdpcStreamEncoder`], [`LdpcStreamDecoder`]).
//!
//! Decoding is layered min-sum in saturated 8-bit arithmetic; the scalar decoder is the reference that the vector
//! kernels equal bit for bit. Soft symbols are those of [`crate::soft`]; their scale does not matter.
//!
//! ```
//! use fep_coding::Isa;
//! use fep_coding::ldpc::{LdpcDecoder, LdpcEncoder, LdpcSpec};
//!
//! let spec = LdpcSpec::new(1024, "1/2")?;
//! let information = [0x5A; 128];
//! let mut codeword = vec![0; spec.codeword_bits() / 8];
//! codeword[..128].copy_from_slice(&information);
//! let (frame, parity) = codeword.split_at_mut(128);
//! LdpcEncoder::new(spec).parity(frame, parity);
//!
//! // As soft symbols: positive is a 0. A few are wrong, a few are missing.
//! let bit = |i: usize| codeword[i / 8] >> (7 - i % 8) & 1;
//! let mut symbols: Vec<i8> = (0..2048).map(|i| if bit(i) == 0 { 20 } else { -20 }).collect();
//! for i in (0..2048).step_by(50) {
//!     symbols[i] = -symbols[i] / 2;
//!     symbols[i + 7] = 0;
//! }
//! let mut decoded = [0; 128];
//! let verdict = LdpcDecoder::new(spec, 50).decode(&symbols, &mut decoded);
//! assert!(verdict.converged && verdict.symbols_corrected >= 41);
//! assert_eq!(decoded, information);
//! # Ok::<(), fep_coding::ldpc::LdpcSpecError>(())
//! ```

mod circulant;
mod code;
mod decoder;
mod encoder;
mod gang;
mod hard;
#[cfg(target_arch = "x86_64")]
mod layered;
mod polynomial;
mod quantisation;
mod scalar;
mod spec;
mod stream;
mod tables;

pub use decoder::{ITERATIONS_MAX, LdpcDecoder};
pub use encoder::LdpcEncoder;
pub use spec::{Ar4jaInformation, Ar4jaRate, LdpcSpec, LdpcSpecError};
pub use stream::{CODEWORDS_MAX, LdpcStreamDecoder, LdpcStreamEncoder, LdpcStreamSpec, LdpcStreamSpecError};
