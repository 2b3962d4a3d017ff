//! Decoding of many codewords, a few side by side, whatever the kernel: hard decisions first, then start, iterate, stop.

use super::LdpcSpec;
use super::hard::{HardDecisions, Words, corrected, pack_signs};
use super::quantisation::channel;
use super::spec::C2_VIRTUAL_ZEROS;
use crate::soft::SoftVerdict;

/// A kernel with the state of several words. Words never mix, so that one decodes to the same bits alone and in company.
pub(super) trait Kernel {
    /// Words that there is room for, at most [`ROOM_MAX`].
    fn room(&self) -> usize;
    /// Layers of the parity-check matrix.
    fn layers(&self) -> usize;
    /// Begins word `w` with what the channel says of all its bits.
    fn start(&mut self, w: usize, channel: &[i8]);
    /// Updates word `w` by a layer.
    fn update(&mut self, w: usize, layer: usize);
    /// Updates words `w` and `w + 1` by a layer, if the kernel has a way to do so that is faster than one by one; else
    /// does nothing and returns `false`.
    #[inline(always)]
    fn update_two(&mut self, _w: usize, _layer: usize) -> bool {
        false
    }
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
    pub(super) hard: &'a mut HardDecisions,
    /// Room for all bits of a word.
    pub(super) word: &'a mut [i8],
}

/// A word in a kernel: which block it is, and the iterations it has taken.
#[derive(Debug, Clone, Copy)]
struct Open {
    block: usize,
    iterations: u16,
}

/// Most words that a kernel has room for.
pub(super) const ROOM_MAX: usize = 4;

/// Decodes all blocks of `job`. A block whose hard decisions are a codeword is done without an iteration; the others
/// enter the kernel as room becomes free.
#[inline(always)]
pub(super) fn decode<W: Words>(kernel: &mut impl Kernel, words: W, job: Job<'_>) {
    let Job { spec, iterations_max, early_stop, symbols, information, verdicts, hard, word } = job;
    let (n, k) = (spec.codeword_bits(), spec.information_len());
    let mut blocks = symbols.chunks_exact(n).enumerate();
    let mut open: [Option<Open>; ROOM_MAX] = [None; ROOM_MAX];
    let open = &mut open[..kernel.room()];
    loop {
        for (w, slot) in open.iter_mut().enumerate() {
            while slot.is_none()
                && let Some((block, symbols)) = blocks.next()
            {
                let information = &mut information[block * k..][..k];
                match if early_stop { at_once(words, hard, symbols, information) } else { None } {
                    Some(verdict) => verdicts[block] = verdict,
                    None => {
                        channel(words, spec, symbols, word);
                        kernel.start(w, word);
                        *slot = Some(Open { block, iterations: 0 });
                    }
                }
            }
        }
        if open.iter().all(Option::is_none) {
            return;
        }
        iterate(kernel, open);
        for (w, slot) in open.iter_mut().enumerate() {
            let Some(Open { block, iterations }) = slot else { continue };
            *iterations += 1;
            let last = *iterations == iterations_max;
            let taken = Block {
                symbols: &symbols[*block * n..][..n],
                information: &mut information[*block * k..][..k],
            };
            if (early_stop || last) && kernel.is_codeword(w) {
                verdicts[*block] = take(kernel, w, words, *iterations, spec, taken, word);
                *slot = None;
            } else if last {
                pack_signs(words, taken.symbols, taken.information);
                verdicts[*block] =
                    SoftVerdict { converged: false, iterations: *iterations, symbols_corrected: 0 };
                *slot = None;
            }
        }
    }
}

/// Updates all words that are open by all layers: layer by layer, so that one's loads do not wait for its own stores.
#[inline(always)]
fn iterate(kernel: &mut impl Kernel, open: &[Option<Open>]) {
    // First word and words of each pair.
    let mut turns = [(0, 0); ROOM_MAX];
    let mut len = 0;
    for (pair, open) in open.chunks(2).enumerate().filter(|(_, open)| open.iter().any(Option::is_some)) {
        turns[len] = (2 * pair + usize::from(open[0].is_none()), open.iter().flatten().count());
        len += 1;
    }
    for layer in 0..kernel.layers() {
        for &(w, words) in &turns[..len] {
            if words < 2 || !kernel.update_two(w, layer) {
                // No closure: it would not be compiled for the instruction set.
                for w in w..w + words {
                    kernel.update(w, layer);
                }
            }
        }
    }
}

/// What was received of a block, and room for its information.
#[derive(Debug)]
struct Block<'a> {
    symbols: &'a [i8],
    information: &'a mut [u8],
}

/// Information and verdict of a block whose hard decisions settle it: a codeword as received, or nothing received.
#[inline(always)]
fn at_once<W: Words>(
    words: W,
    hard: &mut HardDecisions,
    symbols: &[i8],
    information: &mut [u8],
) -> Option<SoftVerdict> {
    hard.receive(words, symbols);
    if !hard.hold(words) {
        return None;
    }
    hard.write(information);
    // Nothing received is no codeword, although the checks of all zeros hold.
    let converged = !(hard.are_zeros() && symbols.iter().all(|symbol| *symbol == 0));
    Some(SoftVerdict { converged, iterations: 0, symbols_corrected: 0 })
}

/// Information and verdict of word `w`, whose checks hold after `iterations`.
#[inline(always)]
fn take<W: Words>(
    kernel: &impl Kernel,
    w: usize,
    words: W,
    iterations: u16,
    spec: LdpcSpec,
    Block { symbols, information }: Block<'_>,
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
    pack_signs(words, sent, information);
    SoftVerdict { converged: true, iterations, symbols_corrected: corrected(words, symbols, sent) }
}
