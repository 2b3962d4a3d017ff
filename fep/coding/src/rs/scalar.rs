//! The reference codec: portable, one codeword at a time, written to be read beside CCSDS 131.0-B-5 section 4.
//!
//! Every vector kernel is held against its answers, octet by octet. Tables of products keep it usable where no vector
//! kernel runs, without hiding the textbook.

use super::field::{self, EXP, LOG};
use super::{Basis, CODEWORD_LEN, CodewordVerdict, E_MAX, RsSpec, RsVerdict};

/// The most check symbols of a codeword.
const CHECK_MAX: usize = 2 * E_MAX;

/// Textbook codec: shift-register encoder; syndromes, Berlekamp-Massey, Chien search, Forney.
#[derive(Debug, Clone)]
pub(super) struct ScalarCodec {
    spec: RsSpec,
    /// By the register's feedback: its products with the coefficients of g(x), highest power first, without the leading
    /// one; zero beyond 2E.
    feedback: Box<[[u8; CHECK_MAX]; 256]>,
    /// By root: the products with it.
    times_root: Vec<[u8; 256]>,
    /// Smallest exponent of beta among the roots of g(x).
    first_root: usize,
}

/// Places (0 is the first symbol of the codeword, virtual fill included) and values of a codeword's errors.
struct Errors {
    list: [(u8, u8); E_MAX],
    count: usize,
}

impl ScalarCodec {
    pub(super) fn new(spec: RsSpec) -> ScalarCodec {
        let first_root = spec.e.first_root();
        let roots = (first_root..first_root + spec.e.check_symbols()).map(field::beta_power);
        // Lowest power first.
        let mut generator = vec![1u8];
        for root in roots.clone() {
            generator.push(0);
            for i in (0..generator.len()).rev() {
                let lower = if i == 0 { 0 } else { generator[i - 1] };
                generator[i] = lower ^ field::mul(root, generator[i]);
            }
        }
        let mut feedback = Box::new([[0; CHECK_MAX]; 256]);
        for (value, products) in feedback.iter_mut().enumerate() {
            for (product, coefficient) in products.iter_mut().zip(generator.iter().rev().skip(1)) {
                *product = field::mul(value as u8, *coefficient);
            }
        }
        let times_root =
            roots.map(|root| std::array::from_fn(|value| field::mul(root, value as u8))).collect();
        ScalarCodec { spec, feedback, times_root, first_root }
    }

    pub(super) fn encode(&self, frame: &[u8], check: &mut [u8]) {
        let interleave = self.spec.interleave as usize;
        for codeword in 0..interleave {
            // Virtual fill is zeros in front: it leaves the register at zero and is therefore skipped.
            let mut register = [0u8; CHECK_MAX + 1];
            for symbol in frame.iter().skip(codeword).step_by(interleave) {
                let feedback = self.element(*symbol) ^ register[0];
                let products = &self.feedback[feedback as usize];
                for stage in 0..CHECK_MAX {
                    register[stage] = register[stage + 1] ^ products[stage];
                }
            }
            for (position, symbol) in register[..self.spec.e.check_symbols()].iter().enumerate() {
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
        let mut syndromes = [0u8; CHECK_MAX];
        let syndromes = &mut syndromes[..self.spec.e.check_symbols()];
        self.compute_syndromes(&received, syndromes);
        if syndromes.iter().all(|syndrome| *syndrome == 0) {
            return CodewordVerdict::Clean;
        }
        let Some(errors) = self.locate(syndromes) else { return CodewordVerdict::Failed };
        for &(position, value) in &errors.list[..errors.count] {
            let position = position as usize;
            codeblock[(position - fill) * interleave + codeword] = self.octet(received[position] ^ value);
        }
        CodewordVerdict::Corrected(errors.count as u8)
    }

    /// Values of the received polynomial at the roots of g(x), by Horner's rule; the first symbol received is the
    /// coefficient of x^254.
    fn compute_syndromes(&self, received: &[u8; CODEWORD_LEN], syndromes: &mut [u8]) {
        for symbol in received {
            for (syndrome, times_root) in syndromes.iter_mut().zip(&self.times_root) {
                *syndrome = times_root[*syndrome as usize] ^ symbol;
            }
        }
    }

    /// The errors, or `None` if no set of at most E sent symbols explains the syndromes.
    fn locate(&self, syndromes: &[u8]) -> Option<Errors> {
        let (lambda, length) = berlekamp_massey(syndromes);
        if length > self.spec.e.correctable() {
            return None;
        }
        let lambda = &lambda[..=length];
        // Omega = S Lambda modulo x^2E; its degree is below the number of errors.
        let mut omega = [0u8; E_MAX];
        let omega = &mut omega[..length];
        for (m, coefficient) in omega.iter_mut().enumerate() {
            *coefficient = (0..=m).fold(0, |sum, i| sum ^ field::mul(lambda[i], syndromes[m - i]));
        }
        let mut errors = Errors { list: [(0, 0); E_MAX], count: 0 };
        for position in self.spec.virtual_fill as usize..CODEWORD_LEN {
            // The locator of position p is beta^(254-p); Lambda vanishes at its inverse.
            let inverse = position + 1;
            if evaluate(lambda, inverse) != 0 {
                continue;
            }
            let numerator =
                field::mul(evaluate(omega, inverse), field::beta_power(inverse * self.first_root));
            // x Lambda'(x): the odd terms of Lambda, since 2 = 0 in this field.
            let odd_terms = lambda.iter().enumerate().skip(1).step_by(2);
            let denominator =
                odd_terms.fold(0, |sum, (i, c)| sum ^ field::mul(*c, field::beta_power(i * inverse)));
            if denominator == 0 {
                // A double root.
                return None;
            }
            errors.list[errors.count] = (position as u8, field::div(numerator, denominator));
            errors.count += 1;
        }
        // Fewer roots than the degree: the others lie in the virtual fill, in an extension field, or coincide.
        (errors.count == length).then_some(errors)
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
fn berlekamp_massey(syndromes: &[u8]) -> ([u8; CHECK_MAX + 1], usize) {
    let mut lambda = [0u8; CHECK_MAX + 1];
    let mut previous = [0u8; CHECK_MAX + 1];
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
