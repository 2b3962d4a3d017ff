//! Decoding of a few codewords side by side, whatever the kernel: start, iterate, stop, tell.

use super::LdpcSpec;
use super::quantisation::{channel, corrected, pack_signs};
use super::spec::C2_VIRTUAL_ZEROS;
use crate::soft::SoftVerdict;

/// A kernel with the state of several words. Words never mix, so that one decodes to the same bits alone and in company.
pub(super) trait Kernel {
    /// Words that there is room for.
    fn room(&self) -> usize;
    /// Layers of the parity-check matrix.
    fn layers(&self) -> usize;
    /// Begins word `w` with what the channel says of all its bits.
    fn start(&mut self, w: usize, channel: &[i8]);
    /// Updates word `w` by a layer.
    fn update(&mut self, w: usize, layer: usize);
    /// Updates words `w` and `w + 1` by a layer.
    fn update_two(&mut self, w: usize, layer: usize) { self.update(w, layer); self.update(w + 1, layer) }
    /// Whether all checks of word `w` hold.
    fn is_codeword(&self, w: usize) -> bool;
    /// What is believed of all bits of word `w`.
    fn beliefs(&self, w: usize, beliefs: &mut [i8]);
}

/// What is to be done: as many blocks as there are verdicts.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) spec: LdpcSpec,
    pub(super) iterations_max: u16,
    pub(super) early_stop: bool,
    pub(super) symbols: &'a [i8],
    pub(super) information: &'a mut [u8],
    pub(super) verdicts: &'a mut [SoftVerdict],
    /// Room for all bits of a word.
    pub(super) word: &'a mut [i8],
}

/// Decodes all blocks of `job`.
#[inline(always)]
pub(super) fn decode(kernel: &mut impl Kernel, job: Job<'_>) {
    let (n, k) = (job.spec.codeword_bits(), job.spec.information_len());
    let gang = kernel.room();
    let blocks = job.symbols.chunks(gang * n).zip(job.information.chunks_mut(gang * k));
    for ((symbols, information), verdicts) in blocks.zip(job.verdicts.chunks_mut(gang)) {
        decode_gang(
            kernel,
            Job { spec: job.spec, symbols, information, verdicts, word: &mut *job.word, ..job },
        );
    }
}

#[inline(always)]
fn decode_gang(kernel: &mut impl Kernel, job: Job<'_>) {
    let Job { spec, iterations_max, early_stop, symbols, information, verdicts, word } = job;
    let (n, k, count) = (spec.codeword_bits(), spec.information_len(), verdicts.len());
    for (w, symbols) in symbols.chunks_exact(n).enumerate() {
        channel(spec, symbols, word);
        kernel.start(w, word);
    }
    let mut open: u64 = (1 << count) - 1;
    for iteration in 0..=iterations_max {
        if early_stop || iteration == iterations_max {
            for w in 0..count {
                if open >> w & 1 == 1 && kernel.is_codeword(w) {
                    verdicts[w] = take(
                        kernel,
                        w,
                        iteration,
                        spec,
                        &symbols[w * n..][..n],
                        &mut information[w * k..][..k],
                        word,
                    );
                    open &= !(1 << w);
                }
            }
        }
        if open == 0 {
            return;
        }
        if iteration < iterations_max {
            for layer in 0..kernel.layers() {
                let mut w = 0;
                while w < count {
                    if open >> w & 3 == 3 { kernel.update_two(w, layer); w += 2; }
                    else { if open >> w & 1 == 1 { kernel.update(w, layer); } w += 1; }
                }
            }
        }
    }
    for w in (0..count).filter(|w| open >> w & 1 == 1) {
        verdicts[w] = SoftVerdict { converged: false, iterations: iterations_max, symbols_corrected: 0 };
        pack_signs(&symbols[w * n..][..n], &mut information[w * k..][..k]);
    }
}

/// Information and verdict of word `w`, whose checks hold after `iterations`.
#[inline(always)]
fn take(
    kernel: &impl Kernel,
    w: usize,
    iterations: u16,
    spec: LdpcSpec,
    symbols: &[i8],
    information: &mut [u8],
    word: &mut [i8],
) -> SoftVerdict {
    // Nothing received is no codeword, although the checks of all zeros hold.
    if symbols.iter().all(|symbol| *symbol == 0) {
        information.fill(0);
        return SoftVerdict { converged: false, iterations, symbols_corrected: 0 };
    }
    kernel.beliefs(w, word);
    let sent = match spec {
        LdpcSpec::C2 => &word[C2_VIRTUAL_ZEROS..],
        LdpcSpec::Ar4ja { .. } => &word[..symbols.len()],
    };
    pack_signs(sent, information);
    SoftVerdict { converged: true, iterations, symbols_corrected: corrected(symbols, sent) }
}
