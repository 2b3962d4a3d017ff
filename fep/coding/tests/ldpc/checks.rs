//! The parity checks of the reference, held to codewords of other programs: these were made without the crate, and come with
//! the bits that are not sent.

use std::collections::HashSet;

use fep_coding::ldpc::LdpcSpec;
use serde_json::Value;

use crate::golden::{cases, octets};
use crate::reference::{SumProduct, ar4ja};

fn bit(octets: &[u8], i: usize) -> bool {
    octets[i / 8] >> (7 - i % 8) & 1 == 1
}

/// The word of a case: virtual zeros, what was sent, what was not.
fn word(case: &Value, checks: &SumProduct) -> Vec<bool> {
    let sent = octets(&case["codeword"]);
    let mut word = vec![false; checks.zeros()];
    let punctured = case["punctured_M_bits"].as_str().map(|_| octets(&case["punctured_M_bits"]));
    match punctured {
        Some(punctured) => {
            word.extend((0..8 * sent.len()).map(|i| bit(&sent, i)));
            word.extend((0..8 * punctured.len()).map(|i| bit(&punctured, i)));
        }
        // Of C2: two bits of fill are no part of the word.
        None => word.extend((0..8158).map(|i| bit(&sent, i))),
    }
    assert_eq!(word.len(), checks.len());
    word
}

fn ar4ja_cases() -> Vec<(LdpcSpec, Value)> {
    let spec = |case: &Value| {
        let (k, rate) = (case["k"].as_u64().expect("k"), case["rate"].as_str().expect("a rate"));
        LdpcSpec::new(k as u32, rate).expect("a code")
    };
    let cases: Vec<_> = cases("coding/ldpc_ar4ja.json").into_iter().map(|case| (spec(&case), case)).collect();
    let codes: HashSet<LdpcSpec> = cases.iter().map(|(spec, _)| *spec).collect();
    assert_eq!(codes.len(), 9, "a codeword of every code");
    cases
}

// REQ: FEP-LDPC-002
#[test]
fn the_checks_of_the_standard_hold_for_the_codewords_of_other_programs() {
    let c2 = cases("coding/ldpc_c2.json").into_iter().map(|case| (LdpcSpec::C2, case));
    for (spec, case) in ar4ja_cases().into_iter().chain(c2) {
        let checks = SumProduct::new(spec);
        let word = word(&case, &checks);
        let failed =
            checks.checks().filter(|bits| bits.iter().fold(false, |sum, bit| sum ^ word[*bit as usize]));
        assert_eq!(failed.count(), 0, "{spec}");
    }
}

/// Together with the test above this holds the table entry by entry: the checks of a row quarter add up to zero, and
/// would not with another value of any of θ and φ in them.
// REQ: FEP-LDPC-002
#[test]
fn with_any_other_value_of_any_permutation_a_check_would_fail() {
    let mut held = HashSet::new();
    for (spec, case) in ar4ja_cases() {
        let word = word(&case, &SumProduct::new(spec));
        let (m, terms) = ar4ja(spec);
        let q = m / 4;
        for term in terms.iter().filter(|term| term.permutation > 0) {
            let of = |(quarter, first): (usize, usize)| {
                let block = &word[term.column * m + quarter * q..][..q];
                (0..q).map(move |i| block[(first + i) % q])
            };
            for j in 0..4 {
                let ours = term.quarter(m, j);
                let others = (0..4).flat_map(|quarter| (0..q).map(move |first| (quarter, first)));
                let same = others.filter(|other| of(*other).eq(of(ours))).collect::<Vec<_>>();
                assert_eq!(same, [ours], "{spec}, permutation {}", term.permutation);
                held.insert((term.permutation, m, j));
            }
        }
    }
    // 8 permutations of rate 1/2, 14 of rate 2/3 and 26 of rate 4/5, at three sizes each; M = 512 and 2048 serve two rates.
    assert_eq!(held.len(), 4 * (8 + 3 * 14 + 3 * 26));
}

// REQ: FEP-LDPC-002
#[test]
fn the_matrices_have_the_ones_of_the_standard_and_that_of_c2_no_cycle_of_four() {
    for spec in LdpcSpec::all() {
        let checks = SumProduct::new(spec);
        let ones: usize = checks.checks().map(<[u32]>::len).sum();
        let expected = match (spec, spec.rate_name()) {
            (LdpcSpec::C2, _) => 32 * 1022,
            (_, "1/2") => 15 * ar4ja(spec).0,
            (_, "2/3") => 23 * ar4ja(spec).0,
            (_, _) => 39 * ar4ja(spec).0,
        };
        assert_eq!(ones, expected, "{spec}");
        let mut pairs = HashSet::new();
        for bits in checks.checks() {
            for (i, a) in bits.iter().enumerate() {
                for b in &bits[..i] {
                    assert_ne!(a, b, "{spec}: a bit twice in a check");
                    // A geometry gives C2 this; AR4JA with small circulants does not have it.
                    let fresh = pairs.insert((a.min(b), a.max(b)));
                    assert!(fresh || spec != LdpcSpec::C2, "bits {a} and {b} meet in two checks");
                }
            }
        }
    }
}

// REQ: FEP-LDPC-002
#[test]
fn the_matrices_leave_as_many_bits_free_as_the_codes_have_information_bits() {
    for spec in LdpcSpec::all().filter(|spec| spec.information_bits() <= 1024 || *spec == LdpcSpec::C2) {
        let checks = SumProduct::new(spec);
        let mut rows: Vec<Vec<u64>> = checks
            .checks()
            .map(|bits| {
                let mut row = vec![0; checks.len().div_ceil(64)];
                bits.iter().for_each(|bit| row[*bit as usize / 64] ^= 1 << (bit % 64));
                row
            })
            .collect();
        let mut rank = 0;
        for column in 0..checks.len() {
            let has = |row: &Vec<u64>| row[column / 64] >> (column % 64) & 1 == 1;
            let Some(pivot) = (rank..rows.len()).find(|row| has(&rows[*row])) else { continue };
            rows.swap(rank, pivot);
            let (done, rest) = rows.split_at_mut(rank + 1);
            for row in rest.iter_mut().filter(|row| has(row)) {
                row.iter_mut().zip(&done[rank]).for_each(|(word, pivot)| *word ^= pivot);
            }
            rank += 1;
        }
        // The checks of C2 leave 7156 bits free, 18 of which are virtual zeros; the standard uses a subcode of 7154.
        let unused = if spec == LdpcSpec::C2 { 2 } else { 0 };
        assert_eq!(checks.len() - rank - checks.zeros(), spec.information_bits() + unused, "{spec}");
    }
}
