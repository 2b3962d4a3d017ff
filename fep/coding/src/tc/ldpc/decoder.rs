//! The decoder: which kernel runs on how many codewords at once, and what its outcome means.

use serde::{Deserialize, Serialize};

use super::TcLdpc;
use super::kernel::{self, Outcome, WIDTH_MAX, Work};
#[cfg(target_arch = "x86_64")]
use super::x86;
use crate::isa::{Isa, IsaUnavailable};

/// The most iterations a decoder may be given.
pub const ITERATIONS_MAX: u8 = 200;
/// What a hard bit counts as a soft symbol.
const HARD_SYMBOL: i8 = 32;

/// What decoding found in one codeword.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LdpcVerdict {
    /// All parity checks hold.
    Decoded {
        /// Iterations it took; 0 when the symbols' signs were a codeword.
        iterations: u8,
        /// Symbols whose sign was wrong.
        bits_corrected: u16,
    },
    /// Some checks still fail after the last iteration: the information is given as received.
    Failed,
}

impl LdpcVerdict {
    /// Whether the information may be used.
    pub fn is_decoded(self) -> bool {
        self != LdpcVerdict::Failed
    }
}

/// The compilation of the kernels that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kernels {
    /// Invariant: available on this machine (`new` checks; the x86 calls rely on it).
    isa: Isa,
}

impl Kernels {
    pub(super) fn new(isa: Isa) -> Result<Kernels, IsaUnavailable> {
        Ok(Kernels { isa: isa.require()? })
    }

    pub(super) fn best() -> Kernels {
        Kernels { isa: Isa::best() }
    }

    fn decode<const M: usize, const LANES: usize>(
        self,
        code: TcLdpc,
        symbols: &[i8],
        iterations_max: u8,
        work: &mut Work<LANES>,
    ) -> Outcome {
        let layers = code.layers();
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512::decode::<M, LANES>(layers, symbols, iterations_max, work),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2::decode::<M, LANES>(layers, symbols, iterations_max, work),
            _ => kernel::decode::<M, LANES>(layers, symbols, iterations_max, work),
        }
    }

    pub(super) fn find_start(
        self,
        symbols: &[i8],
        from: usize,
        pattern: &[i8; 64],
        percent: u32,
    ) -> Option<usize> {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::avx512::find_start(symbols, from, pattern, percent),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::avx2::find_start(symbols, from, pattern, percent),
            _ => kernel::find_start(symbols, from, pattern, percent),
        }
    }
}

/// Decodes codewords of one of the codes from soft symbols (8 bits, positive is a 0) or hard bits.
///
/// Layered min-sum with messages of 16 bits, normalised by 3/4, that stops as soon as all parity checks hold. It decodes
/// to the same bits and iterations on every instruction set, and alone or in a batch.
#[derive(Debug, Clone)]
pub struct TcLdpcDecoder {
    code: TcLdpc,
    iterations_max: u8,
    kernels: Kernels,
    narrow: Work<16>,
    wide: Work<64>,
    hard_symbols: Vec<i8>,
}

impl TcLdpcDecoder {
    /// A decoder that gives up after `iterations_max` iterations (of which 1 to [`ITERATIONS_MAX`] are possible; values
    /// outside are brought inside), with the best kernels of this machine.
    pub fn new(code: TcLdpc, iterations_max: u8) -> TcLdpcDecoder {
        TcLdpcDecoder::with_kernels(code, iterations_max, Kernels::best())
    }

    /// The same with the kernels of `isa`.
    ///
    /// # Errors
    /// [`IsaUnavailable`] when this machine lacks it.
    pub fn with_isa(code: TcLdpc, iterations_max: u8, isa: Isa) -> Result<TcLdpcDecoder, IsaUnavailable> {
        Ok(TcLdpcDecoder::with_kernels(code, iterations_max, Kernels::new(isa)?))
    }

    fn with_kernels(code: TcLdpc, iterations_max: u8, kernels: Kernels) -> TcLdpcDecoder {
        TcLdpcDecoder {
            code,
            iterations_max: iterations_max.clamp(1, ITERATIONS_MAX),
            kernels,
            narrow: Work::new(),
            wide: Work::new(),
            hard_symbols: Vec::new(),
        }
    }

    /// Which code.
    pub fn code(&self) -> TcLdpc {
        self.code
    }

    /// Decodes one codeword into its information octets.
    ///
    /// # Panics
    /// When `symbols` is not one codeword or `information` not its information.
    pub fn decode(&mut self, symbols: &[i8], information: &mut [u8]) -> LdpcVerdict {
        let mut verdict = [LdpcVerdict::Failed];
        self.decode_batch(symbols, information, &mut verdict);
        verdict[0]
    }

    /// Decodes one codeword of hard bits into its information octets.
    ///
    /// # Panics
    /// When `codeword` is not one codeword or `information` not its information.
    pub fn decode_hard(&mut self, codeword: &[u8], information: &mut [u8]) -> LdpcVerdict {
        let mut symbols = std::mem::take(&mut self.hard_symbols);
        symbols.clear();
        append_hard(codeword, &mut symbols);
        let verdict = self.decode(&symbols, information);
        self.hard_symbols = symbols;
        verdict
    }

    /// Decodes as many codewords as there are verdicts, one behind the other in `symbols` and in `information`; of
    /// (128,64) four at a time.
    ///
    /// # Panics
    /// When the lengths do not match.
    pub fn decode_batch(&mut self, symbols: &[i8], information: &mut [u8], verdicts: &mut [LdpcVerdict]) {
        let (bits, len, count) = (self.code.codeword_bits(), self.code.information_len(), verdicts.len());
        assert!(
            symbols.len() == count * bits && information.len() == count * len,
            "{count} codewords of {}: {} symbols and {} octets",
            self.code,
            symbols.len(),
            information.len()
        );
        let mut next = 0;
        while next < count {
            let width = match self.code {
                TcLdpc::N128 if count - next >= WIDTH_MAX => WIDTH_MAX,
                _ => 1,
            };
            let symbols = &symbols[next * bits..][..width * bits];
            let (kernels, limit) = (self.kernels, self.iterations_max);
            let outcome = match (self.code, width) {
                (TcLdpc::N512, _) => kernels.decode::<64, 64>(self.code, symbols, limit, &mut self.wide),
                (TcLdpc::N128, 1) => kernels.decode::<16, 16>(self.code, symbols, limit, &mut self.narrow),
                (TcLdpc::N128, _) => kernels.decode::<16, 64>(self.code, symbols, limit, &mut self.wide),
            };
            for w in 0..width {
                let out = &mut information[(next + w) * len..][..len];
                verdicts[next + w] = self.take(&outcome, w, &symbols[w * bits..][..bits], out);
            }
            next += width;
        }
    }

    /// The information and verdict of codeword `w` of an outcome.
    fn take(&self, outcome: &Outcome, w: usize, symbols: &[i8], information: &mut [u8]) -> LdpcVerdict {
        let mut codeword = [0; 64];
        let codeword = &mut codeword[..self.code.codeword_len()];
        let Some(iterations) = outcome.iterations[w] else {
            harden(symbols, codeword);
            information.copy_from_slice(&codeword[..information.len()]);
            return LdpcVerdict::Failed;
        };
        match self.code {
            TcLdpc::N128 => {
                for (out, bits) in codeword.chunks_exact_mut(2).zip(outcome.bits) {
                    out.copy_from_slice(&((bits >> (16 * w)) as u16).reverse_bits().to_be_bytes());
                }
            }
            TcLdpc::N512 => {
                for (out, bits) in codeword.chunks_exact_mut(8).zip(outcome.bits) {
                    out.copy_from_slice(&bits.reverse_bits().to_be_bytes());
                }
            }
        }
        information.copy_from_slice(&codeword[..information.len()]);
        let mut received = [0; 64];
        harden(symbols, &mut received[..codeword.len()]);
        let wrong = |(a, b): (&u8, &u8)| (a ^ b).count_ones();
        let bits_corrected = codeword.iter().zip(&received).map(wrong).sum::<u32>() as u16;
        LdpcVerdict::Decoded { iterations, bits_corrected }
    }
}

/// Appends the bits of `octets` as soft symbols.
pub(super) fn append_hard(octets: &[u8], symbols: &mut Vec<i8>) {
    symbols.reserve(8 * octets.len());
    for octet in octets {
        symbols.extend((0..8).map(|i| if octet << i & 0x80 == 0 { HARD_SYMBOL } else { -HARD_SYMBOL }));
    }
}

/// The signs of `symbols`.
fn harden(symbols: &[i8], octets: &mut [u8]) {
    for (octet, symbols) in octets.iter_mut().zip(symbols.chunks_exact(8)) {
        *octet = symbols.iter().fold(0, |octet, symbol| octet << 1 | u8::from(*symbol < 0));
    }
}
