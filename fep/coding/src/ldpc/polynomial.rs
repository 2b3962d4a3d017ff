//! Bit rows of a circulant as polynomials over GF(2) modulo x^Q - 1: what constructors need to make an encoder.
//!
//! Bit `i` of a row is the coefficient of xⁱ and lies in bit `i mod 64` of word `i / 64`. The circulant permutation of
//! shift s, whose check `i` looks at bit `i + s`, multiplies by x^(-s).

/// Words that `bits` bits take.
pub(super) const fn words(bits: usize) -> usize {
    bits.div_ceil(64)
}

/// `to[i] ^= from[(i + shift) mod Q]` for rows of Q bits, Q being 32 or a multiple of 64; `shift` is less than Q.
#[inline(always)]
pub(super) fn add_rotated(to: &mut [u64], from: &[u64], shift: usize, q: usize) {
    if q == 32 {
        to[0] ^= u64::from((from[0] as u32).rotate_right(shift as u32));
        return;
    }
    let (skip, bits) = (shift / 64, (shift % 64) as u32);
    let len = from.len();
    let (front, back) = to.split_at_mut(len - skip);
    let funnel = |low: u64, high: u64| if bits == 0 { low } else { low >> bits | high << (64 - bits) };
    for (i, word) in front.iter_mut().enumerate() {
        let high = if i + skip + 1 == len { from[0] } else { from[i + skip + 1] };
        *word ^= funnel(from[i + skip], high);
    }
    for (i, word) in back.iter_mut().enumerate() {
        *word ^= funnel(from[i], from[i + 1]);
    }
}

/// A polynomial modulo x^Q - 1 with Q = 32 or a power of two above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Polynomial {
    q: usize,
    words: Vec<u64>,
}

impl Polynomial {
    pub(super) fn zero(q: usize) -> Polynomial {
        Polynomial { q, words: vec![0; words(q)] }
    }

    /// Adds x^exponent, `exponent` being less than Q.
    pub(super) fn add_power(&mut self, exponent: usize) {
        self.words[exponent / 64] ^= 1 << (exponent % 64);
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    fn exponents(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.q).filter(|i| self.words[i / 64] >> (i % 64) & 1 == 1)
    }

    /// Adds `a b`.
    pub(super) fn add_product(&mut self, a: &Polynomial, b: &Polynomial) {
        for exponent in a.exponents() {
            add_rotated(&mut self.words, &b.words, (self.q - exponent) % self.q, self.q);
        }
    }

    fn product(&self, other: &Polynomial) -> Polynomial {
        let mut product = Polynomial::zero(self.q);
        product.add_product(self, other);
        product
    }

    fn square(&self) -> Polynomial {
        let mut square = Polynomial::zero(self.q);
        self.exponents().for_each(|exponent| square.add_power(2 * exponent % self.q));
        square
    }

    /// Whether there is an inverse: x^Q - 1 = (x + 1)^Q, so that all with an odd number of terms have one.
    fn is_unit(&self) -> bool {
        self.words.iter().map(|word| word.count_ones()).sum::<u32>() % 2 == 1
    }

    /// The inverse of a unit a: squaring log₂ Q times gives a(x^Q) = a(1) = 1, so that it is a^(Q - 1).
    fn inverse(&self) -> Polynomial {
        let mut power = self.clone();
        let mut inverse = Polynomial::zero(self.q);
        inverse.add_power(0);
        for _ in 0..self.q.trailing_zeros() {
            inverse = inverse.product(&power);
            power = power.square();
        }
        inverse
    }
}

/// A square matrix of polynomials.
pub(super) type Matrix = Vec<Vec<Polynomial>>;

/// The inverse, or `None` if there is none.
pub(super) fn inverse(mut matrix: Matrix) -> Option<Matrix> {
    let n = matrix.len();
    let q = matrix.first()?.first()?.q;
    let mut inverse: Matrix = (0..n)
        .map(|i| {
            let mut row = vec![Polynomial::zero(q); n];
            row[i].add_power(0);
            row
        })
        .collect();
    for pivot in 0..n {
        let row = (pivot..n).find(|row| matrix[*row][pivot].is_unit())?;
        matrix.swap(pivot, row);
        inverse.swap(pivot, row);
        let scale = matrix[pivot][pivot].inverse();
        for part in [&mut matrix, &mut inverse] {
            part[pivot].iter_mut().for_each(|element| *element = scale.product(element));
        }
        for row in (0..n).filter(|row| *row != pivot) {
            let factor = matrix[row][pivot].clone();
            for part in [&mut matrix, &mut inverse] {
                let above = part[pivot].clone();
                for (element, above) in part[row].iter_mut().zip(&above) {
                    element.add_product(&factor, above);
                }
            }
        }
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polynomial(q: usize, exponents: &[usize]) -> Polynomial {
        let mut polynomial = Polynomial::zero(q);
        exponents.iter().for_each(|exponent| polynomial.add_power(*exponent));
        polynomial
    }

    #[test]
    fn a_rotation_takes_every_bit_from_shift_places_further_on() {
        for q in [32, 64, 128, 512] {
            for shift in [0, 1, 17, 31, 63, 64, 65, 127, 300].into_iter().filter(|shift| *shift < q) {
                let from = polynomial(q, &[0, 3, 30, 31, q / 2, q - 1]);
                let mut to = Polynomial::zero(q);
                add_rotated(&mut to.words, &from.words, shift, q);
                let bit = |p: &Polynomial, i: usize| p.words[i / 64] >> (i % 64) & 1;
                assert!((0..q).all(|i| bit(&to, i) == bit(&from, (i + shift) % q)), "{q} {shift}");
            }
        }
    }

    #[test]
    fn the_inverse_of_a_matrix_times_the_matrix_is_the_identity() {
        for q in [32, 128] {
            let matrix = vec![
                vec![polynomial(q, &[0, 5]), polynomial(q, &[1, 2, 7])],
                vec![polynomial(q, &[31]), polynomial(q, &[4, 9])],
            ];
            let inverse = inverse(matrix.clone()).expect("its determinant has an odd number of terms");
            for (i, row) in inverse.iter().enumerate() {
                for j in 0..2 {
                    let mut element = Polynomial::zero(q);
                    row.iter().zip(&matrix).for_each(|(a, b)| element.add_product(a, &b[j]));
                    assert_eq!(element, polynomial(q, if i == j { &[0] } else { &[] }));
                }
            }
        }
        assert_eq!(inverse(vec![vec![polynomial(32, &[1, 2])]]), None);
    }
}
