//! The LDPC codes: other programs' codewords, the parity checks, and a floating-point reference in noise.

use fep_coding::Isa;
use fep_coding::tc::ldpc::{LdpcVerdict, TcLdpc, TcLdpcDecoder, TcLdpcEncoder};
use proptest::prelude::*;

use crate::channel::{Noise, bits};
use crate::golden::{cases, octets};

fn codeword(code: TcLdpc, information: &[u8]) -> Vec<u8> {
    let mut codeword = information.to_vec();
    codeword.resize(code.codeword_len(), 0);
    let (information, parity) = codeword.split_at_mut(code.information_len());
    TcLdpcEncoder::new(code).parity(information, parity);
    codeword
}

// REQ: FEP-TC-018
// REQ: FEP-TC-019
#[test]
fn codewords_are_those_of_two_other_programs_and_their_damaged_ones_are_corrected() {
    let mut seen = 0;
    for case in cases("tc/ldpc_blocks.json") {
        let code = match case["code"].as_str() {
            Some("(128,64)") => TcLdpc::N128,
            Some("(512,256)") => TcLdpc::N512,
            _ => continue, // an experimental code that 231.0-B does not have
        };
        seen += 1;
        let (information, sent) = (octets(&case["info"]), octets(&case["codeword"]));
        assert_eq!(codeword(code, &information), sent);
        assert!(code.is_codeword(&sent));
        let flips = case["flipped_bits"].as_array().expect("bits").len();
        for isa in Isa::available() {
            let mut decoder = TcLdpcDecoder::with_isa(code, 50, *isa).expect("an available set");
            let mut decoded = vec![0; code.information_len()];
            let verdict = decoder.decode_hard(&octets(&case["received_hard"]), &mut decoded);
            let LdpcVerdict::Decoded { iterations, bits_corrected } = verdict else {
                panic!("{code} with {flips} wrong bits on {isa}: failed")
            };
            assert_eq!((decoded, usize::from(bits_corrected)), (information.clone(), flips));
            assert_eq!(iterations == 0, flips == 0);
        }
    }
    assert_eq!(seen, 24);
}

// REQ: FEP-TC-018
#[test]
fn every_row_of_the_generator_fulfils_every_parity_check_and_no_other_word_near_it_does() {
    for code in TcLdpc::ALL {
        for bit in 0..8 * code.information_len() {
            let mut information = vec![0; code.information_len()];
            information[bit / 8] = 0x80 >> (bit % 8);
            let mut word = codeword(code, &information);
            assert!(code.is_codeword(&word), "{code} row {bit}");
            word[bit % code.codeword_len()] ^= 4;
            assert!(!code.is_codeword(&word), "{code} row {bit}, damaged");
        }
    }
}

// REQ: FEP-TC-019
#[test]
fn what_is_beyond_correction_is_given_as_received() {
    for code in TcLdpc::ALL {
        let noise = Noise(9).octets(code.codeword_len());
        let mut decoded = vec![0; code.information_len()];
        let verdict = TcLdpcDecoder::new(code, 20).decode_hard(&noise, &mut decoded);
        assert_eq!(verdict, LdpcVerdict::Failed);
        assert_eq!(decoded, noise[..code.information_len()]);
    }
}

/// Soft symbols of 8 bits of a codeword in Gaussian noise, as sent over BPSK with `es_n0` (a ratio of energies); the
/// second form is what a floating-point receiver sees: log-likelihood ratios.
fn noisy(noise: &mut Noise, codeword: &[u8], es_n0: f64) -> (Vec<i8>, Vec<f64>) {
    let sigma = (0.5 / es_n0).sqrt();
    let sent = bits(codeword);
    let received = sent.iter().map(|bit| 1.0 - 2.0 * f64::from(*bit) + sigma * noise.gauss());
    received.map(|value| ((value * 32.0).round().clamp(-127.0, 127.0) as i8, 4.0 * es_n0 * value)).unzip()
}

/// Sum-product, flooding, in double precision, by the definition: which checks and bits belong together is asked of
/// `is_codeword` itself.
struct SumProduct {
    checks: Vec<Vec<usize>>,
}

impl SumProduct {
    fn new(code: TcLdpc) -> SumProduct {
        // The parity checks as sets of bits, from the standard's table of circulants.
        let (m, rows): (usize, [&str; 4]) = match code {
            TcLdpc::N128 => (
                16,
                [
                    "0,7 | 2 | 14 | 6 | - | 0 | 13 | 0",
                    "6 | 0,15 | 0 | 1 | 0 | - | 0 | 7",
                    "4 | 1 | 0,15 | 14 | 11 | 0 | - | 3",
                    "0 | 1 | 9 | 0,13 | 14 | 1 | 0 | -",
                ],
            ),
            TcLdpc::N512 => (
                64,
                [
                    "0,63 | 30 | 50 | 25 | - | 43 | 62 | 0",
                    "56 | 0,61 | 50 | 23 | 0 | - | 37 | 26",
                    "16 | 0 | 0,55 | 27 | 56 | 0 | - | 43",
                    "35 | 56 | 62 | 0,11 | 58 | 3 | 0 | -",
                ],
            ),
        };
        let mut checks = Vec::new();
        for row in rows {
            for i in 0..m {
                let shifts = row.split('|').enumerate().flat_map(|(column, shifts)| {
                    shifts
                        .trim()
                        .split(',')
                        .filter_map(move |shift| Some((column, shift.parse::<usize>().ok()?)))
                });
                checks.push(shifts.map(|(column, shift)| column * m + (i + shift) % m).collect());
            }
        }
        SumProduct { checks }
    }

    fn decode(&self, channel: &[f64], iterations: usize) -> Option<Vec<u8>> {
        let mut messages: Vec<Vec<f64>> = self.checks.iter().map(|bits| vec![0.0; bits.len()]).collect();
        for _ in 0..=iterations {
            let mut total = channel.to_vec();
            for (bits, messages) in self.checks.iter().zip(&messages) {
                bits.iter().zip(messages).for_each(|(bit, message)| total[*bit] += message);
            }
            let decided: Vec<u8> = total.iter().map(|value| u8::from(*value < 0.0)).collect();
            if self.checks.iter().all(|bits| bits.iter().fold(0, |sum, bit| sum ^ decided[*bit]) == 0) {
                return Some(decided);
            }
            for (bits, messages) in self.checks.iter().zip(&mut messages) {
                let tanh: Vec<f64> = bits
                    .iter()
                    .zip(&*messages)
                    .map(|(bit, message)| ((total[*bit] - message) / 2.0).tanh())
                    .collect();
                for (e, message) in messages.iter_mut().enumerate() {
                    let others: f64 = tanh
                        .iter()
                        .enumerate()
                        .filter(|(other, _)| *other != e)
                        .map(|(_, value)| value)
                        .product();
                    *message = 2.0 * others.clamp(-1.0 + 1e-12, 1.0 - 1e-12).atanh();
                }
            }
        }
        None
    }
}

/// Codewords of `trials` that were not decoded to what was sent, by us with `ours_db` and by the reference with
/// `reference_db` (Es/N0), in the same noise.
fn failures(code: TcLdpc, trials: usize, ours_db: f64, reference_db: f64) -> (usize, usize) {
    let reference = SumProduct::new(code);
    let mut decoder = TcLdpcDecoder::new(code, 50);
    let (mut ours, mut theirs) = (0, 0);
    for trial in 0..trials {
        let information = Noise(trial as u64).octets(code.information_len());
        let sent = codeword(code, &information);
        let ratio = |db: f64| 10f64.powf(db / 10.0);
        let (symbols, _) = noisy(&mut Noise(1_000_000 + trial as u64), &sent, ratio(ours_db));
        let (_, likelihoods) = noisy(&mut Noise(1_000_000 + trial as u64), &sent, ratio(reference_db));
        let mut decoded = vec![0; code.information_len()];
        let verdict = decoder.decode(&symbols, &mut decoded);
        ours += usize::from(!verdict.is_decoded() || decoded != information);
        theirs += usize::from(reference.decode(&likelihoods, 50) != Some(bits(&sent)));
    }
    (ours, theirs)
}

// REQ: FEP-TC-020
#[test]
fn the_fixed_point_decoder_is_within_a_tenth_of_a_decibel_of_sum_product() {
    for (code, es_n0_db, trials) in [
        (TcLdpc::N128, 0.0, 3000),
        (TcLdpc::N128, 0.75, 4000),
        (TcLdpc::N512, -1.0, 1000),
        (TcLdpc::N512, -0.5, 1500),
    ] {
        let (ours, reference) = failures(code, trials, es_n0_db + 0.1, es_n0_db);
        println!("{code} at {es_n0_db} dB: {ours} (0.1 dB better), reference {reference} of {trials}");
        // Both see the same noise, so the difference varies less than either count does.
        let allowance = 2.0 * (reference as f64).sqrt();
        assert!(reference > 10, "{code} at {es_n0_db} dB: {reference} failures say too little");
        assert!(
            (ours as f64) <= reference as f64 + allowance,
            "{code} at {es_n0_db} dB: {ours} failures, reference {reference}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // REQ: FEP-TC-021
    #[test]
    fn every_instruction_set_decodes_alone_and_in_batches_to_the_same(
        n512: bool, count in 1usize..11, es_n0_db in -4.0f64..4.0, seed: u64, limit in 1u8..30,
    ) {
        let code = if n512 { TcLdpc::N512 } else { TcLdpc::N128 };
        let (len, symbols_each) = (code.information_len(), code.codeword_bits());
        let mut noise = Noise(seed);
        let mut symbols = Vec::new();
        for _ in 0..count {
            let sent = codeword(code, &noise.octets(len));
            symbols.extend(noisy(&mut noise, &sent, 10f64.powf(es_n0_db / 10.0)).0);
        }
        let mut scalar = TcLdpcDecoder::with_isa(code, limit, Isa::Scalar).expect("always there");
        let mut expected = vec![0; count * len];
        let verdicts: Vec<LdpcVerdict> = expected
            .chunks_exact_mut(len)
            .zip(symbols.chunks_exact(symbols_each))
            .map(|(out, symbols)| scalar.decode(symbols, out))
            .collect();
        for isa in Isa::available() {
            let mut decoder = TcLdpcDecoder::with_isa(code, limit, *isa).expect("an available set");
            let mut decoded = vec![0; count * len];
            let mut batch = vec![LdpcVerdict::Failed; count];
            decoder.decode_batch(&symbols, &mut decoded, &mut batch);
            prop_assert_eq!(&batch, &verdicts, "{}", isa);
            prop_assert_eq!(&decoded, &expected, "{}", isa);
        }
    }

    // REQ: FEP-TC-019
    #[test]
    fn symbols_of_any_strength_decode_to_a_codeword_or_fail(
        n512: bool, seed: u64, extreme in prop::collection::vec((any::<u16>(), any::<i8>()), 0..200),
    ) {
        let code = if n512 { TcLdpc::N512 } else { TcLdpc::N128 };
        let mut noise = Noise(seed);
        let sent = codeword(code, &noise.octets(code.information_len()));
        let mut symbols: Vec<i8> = bits(&sent).iter().map(|bit| if *bit == 0 { 127 } else { -128 }).collect();
        for (place, symbol) in extreme {
            let place = usize::from(place) % symbols.len();
            symbols[place] = symbol;
        }
        let mut decoded = vec![0; code.information_len()];
        let verdict = TcLdpcDecoder::new(code, 200).decode(&symbols, &mut decoded);
        let hard: Vec<bool> = symbols.iter().map(|symbol| *symbol < 0).collect();
        if let LdpcVerdict::Decoded { bits_corrected, .. } = verdict {
            let word = bits(&codeword(code, &decoded));
            let wrong = word.iter().zip(&hard).filter(|(bit, hard)| (**bit == 1) != **hard).count();
            prop_assert_eq!(wrong, usize::from(bits_corrected));
        } else {
            let received: Vec<bool> = bits(&decoded).iter().map(|bit| *bit == 1).collect();
            prop_assert_eq!(&received[..], &hard[..received.len()]);
        }
    }
}
