//! The reference codec: portable, one codeword at a time, written to be read beside CCSDS 131.0-B-5 section 4.
//!
//! Not fast, and not meant to be: every vector kernel is held against its answers, octet by octet.

use super::field::{self, EXP, LOG};
use super::{Basis, CODEWORD_LEN, CodewordVerdict, E_MAX, RsSpec, RsVerdict};

/// Textbook codec: shift-register encoder; syndromes, Berlekamp-Massey, Chien search, Forney.
#[derive(Debug, Clone)]
pub(super) struct ScalarCodec {
    spec: RsSpec,
    /// g(x) without its leading one, highest power first.
    generator: Vec<u8>,
    /// Smallest exponent of beta among the roots of g(x).
    first_root: usize,
}

impl ScalarCodec {
    pub(super) fn new(spec: RsSpec) -> ScalarCodec {
        let first_root = spec.e.first_root();
        let mut ascending = vec![1u8];
        for j in first_root..first_root + spec.e.check_symbols() {
            let root = field::beta_power(j);
            ascending.push(0);
            for i in (1..ascending.len()).rev() {
                ascending[i] = ascending[i - 1] ^ field::mul(root, ascending[i]);
            }
            ascending[0] = field::mul(root, ascending[0]);
        }
        let generator = ascending.iter().rev().skip(1).copied().collect();
        ScalarCodec { spec, generator, first_root }
    }

    pub(super) fn encode(&self, frame: &[u8], check: &mut [u8]) {
        let interleave = self.spec.interleave as usize;
        for codeword in 0..interleave {
            let mut remainder = vec![0u8; self.generator.len()];
            // Virtual fill is zeros in front: it leaves the register at zero and is therefore skipped.
            for symbol in frame.iter().skip(codeword).step_by(interleave) {
                let feedback = self.element(*symbol) ^ remainder[0];
                remainder.rotate_left(1);
                *remainder.last_mut().expect("the register holds 16 or 32 symbols") = 0;
                for (stage, coefficient) in remainder.iter_mut().zip(&self.generator) {
                    *stage ^= field::mul(feedback, *coefficient);
                }
            }
            for (position, symbol) in remainder.iter().enumerate() {
                check[position * interleave + codeword] = self.octet(*symbol);
            }
        }
    }

    /// See [`super::ReedSolomon::decode_batch`]; the lengths have been checked and the verdicts are all clean.
    pub(super) fn decode_batch(&self, codeblocks: &mut [u8], stride: usize, verdicts: &mut [RsVerdict]) {
        for (k, verdict) in verdicts.iter_mut().enumerate() {
            let codeblock = &mut codeblocks[k * stride..][..self.spec.codeblock_len()];
            for codeword in 0..self.spec.interleave as usize {
                verdict.count(self.decode_codeword(codeblock, codeword));
            }
        }
    }

    /// Decodes codeword number `codeword` of an interleaved codeblock in place.
    fn decode_codeword(&self, codeblock: &mut [u8], codeword: usize) -> CodewordVerdict {
        let interleave = self.spec.interleave as usize;
        let fill = self.spec.virtual_fill as usize;
        let mut received = [0u8; CODEWORD_LEN];
        for (symbol, wire) in
            received[fill..].iter_mut().zip(codeblock.iter().skip(codeword).step_by(interleave))
        {
            *symbol = self.element(*wire);
        }
        let syndromes = self.syndromes(&received);
        if syndromes.iter().all(|syndrome| *syndrome == 0) {
            return CodewordVerdict::Clean;
        }
        let Some(errors) = self.locate(&syndromes) else { return CodewordVerdict::Failed };
        for (position, value) in &errors {
            codeblock[(position - fill) * interleave + codeword] = self.octet(received[*position] ^ value);
        }
        CodewordVerdict::Corrected(errors.len() as u8)
    }

    /// Values of the received polynomial at the roots of g(x); the first symbol received is the coefficient of x^254.
    fn syndromes(&self, received: &[u8; CODEWORD_LEN]) -> Vec<u8> {
        (self.first_root..self.first_root + self.spec.e.check_symbols())
            .map(|j| {
                let root = field::beta_power(j);
                received.iter().fold(0, |sum, symbol| field::mul(sum, root) ^ symbol)
            })
            .collect()
    }

    /// Positions (0 is the first symbol of the codeword, virtual fill included) and values of the errors, or `None` if
    /// no set of at most E sent symbols explains the syndromes.
    fn locate(&self, syndromes: &[u8]) -> Option<Vec<(usize, u8)>> {
        let (lambda, length) = berlekamp_massey(syndromes);
        if length > self.spec.e.correctable() {
            return None;
        }
        // Omega = S Lambda modulo x^2E; its degree is below the number of errors.
        let omega: Vec<u8> = (0..length)
            .map(|m| (0..=m).fold(0, |sum, i| sum ^ field::mul(lambda[i], syndromes[m - i])))
            .collect();
        let mut errors = Vec::with_capacity(length);
        for position in self.spec.virtual_fill as usize..CODEWORD_LEN {
            // The locator of position p is beta^(254-p); Lambda vanishes at its inverse.
            let inverse = position + 1;
            if evaluate(&lambda[..=length], inverse) != 0 {
                continue;
            }
            let numerator =
                field::mul(evaluate(&omega, inverse), field::beta_power(inverse * self.first_root));
            // x Lambda'(x): the odd terms of Lambda, since 2 = 0 in this field. Not zero, as the roots are distinct.
            let denominator = lambda[..=length]
                .iter()
                .enumerate()
                .skip(1)
                .step_by(2)
                .fold(0, |sum, (i, c)| sum ^ field::mul(*c, field::beta_power(i * inverse)));
            if denominator == 0 {
                return None;
            }
            errors.push((position, field::div(numerator, denominator)));
        }
        // Fewer roots than the degree: the others lie in the virtual fill, in an extension field, or coincide.
        (errors.len() == length).then_some(errors)
    }

    fn element(&self, octet: u8) -> u8 {
        match self.spec.basis {
            Basis::Dual => field::FROM_DUAL[octet as usize],
            Basis::Conventional => octet,
        }
    }

    fn octet(&self, element: u8) -> u8 {
        match self.spec.basis {
            Basis::Dual => field::TO_DUAL[element as usize],
            Basis::Conventional => element,
        }
    }
}

/// The shortest feedback register that makes the syndromes: (Lambda, its length). A length above E says that there are
/// more errors than the code can carry; Lambda is then without meaning.
fn berlekamp_massey(syndromes: &[u8]) -> ([u8; 2 * E_MAX + 1], usize) {
    let mut lambda = [0u8; 2 * E_MAX + 1];
    let mut previous = [0u8; 2 * E_MAX + 1];
    (lambda[0], previous[0]) = (1, 1);
    let mut length = 0;
    let mut previous_discrepancy = 1;
    for r in 0..syndromes.len() {
        // previous <- x previous: it stays aligned with the syndrome at hand.
        previous.rotate_right(1);
        previous[0] = 0;
        let discrepancy = (0..=length.min(r)).fold(0, |sum, i| sum ^ field::mul(lambda[i], syndromes[r - i]));
        if discrepancy == 0 {
            continue;
        }
        let factor = field::div(discrepancy, previous_discrepancy);
        let before = lambda;
        for (coefficient, old) in lambda.iter_mut().zip(&previous) {
            *coefficient ^= field::mul(factor, *old);
        }
        if 2 * length <= r {
            length = r + 1 - length;
            previous = before;
            previous_discrepancy = discrepancy;
        }
    }
    (lambda, length)
}

/// The polynomial (lowest coefficient first) at beta^exponent.
fn evaluate(polynomial: &[u8], exponent: usize) -> u8 {
    polynomial.iter().enumerate().fold(0, |sum, (i, coefficient)| {
        if *coefficient == 0 {
            sum
        } else {
            sum ^ EXP[(LOG[*coefficient as usize] as usize + i * exponent) % 255]
        }
    })
}
