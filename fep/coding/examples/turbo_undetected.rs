//! Measures how often a wrong frame of a turbo channel passes its FECF, by stop rule and Eb/N0: frames of 1784 bits that end
//! with their CRC-16, at rate 1/3, ten iterations at most.
//!
//! ```text
//! cargo run --release -p fep-coding --example turbo_undetected [codewords]
//! ```
//!
//! A frame is *wrong* when it is not the one that was sent; *accepted* when its CRC-16 holds all the same, which is what
//! the receiver goes by; *sure* when the decoder called it converged. Noise comes from a pool of normal values, entered at
//! a place of its own for every codeword.

use fep_coding::crc::crc16_fecf;
use fep_coding::soft::SoftVerdict;
use fep_coding::turbo::{TurboDecoder, TurboDecoding, TurboEncoder, TurboRate, TurboSpec, TurboStop};

const SPEC: TurboSpec = TurboSpec { information_bits: 1784, rate: TurboRate::R1_3 };
const BATCH: usize = 64;
const POOL: usize = 1 << 22;
/// `None` is noise without a signal.
const EB_N0_DB: [Option<f64>; 4] = [None, Some(-1.0), Some(0.0), Some(0.5)];
const STOPS: [TurboStop; 3] = [TurboStop::Never, TurboStop::Agreement, TurboStop::Fecf];

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }
}

fn main() {
    let codewords: usize = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1 << 20);
    let mut dice = Dice(1);
    let pool: Vec<f32> = std::iter::repeat_with(|| {
        let (radius, angle) = ((-2.0 * dice.uniform().ln()).sqrt(), std::f64::consts::TAU * dice.uniform());
        (radius * angle.cos()) as f32
    })
    .take(POOL)
    .collect();
    println!("{SPEC}, {codewords} codewords");
    println!(
        "| Eb/N0 | stop | wrong | wrong and accepted | of a million codewords | wrong and sure | iterations |"
    );
    println!("|---|---|---|---|---|---|---|");
    for eb_n0_db in EB_N0_DB {
        for stop in STOPS {
            measure(eb_n0_db, stop, codewords, &pool);
        }
    }
}

fn measure(eb_n0_db: Option<f64>, stop: TurboStop, codewords: usize, pool: &[f32]) {
    let decoding = TurboDecoding { iterations_max: 10, stop };
    let mut decoder = TurboDecoder::new(SPEC, decoding).expect("a code of the standard");
    let mut encoder = TurboEncoder::new(SPEC).expect("a code of the standard");
    let (bits, len) = (SPEC.codeword_bits(), SPEC.information_len());
    let rate = SPEC.information_bits as f64 / bits as f64;
    let (amplitude, deviation) = match eb_n0_db {
        Some(db) => (24.0, 24.0 * (1.0 / (2.0 * rate * 10_f64.powf(db / 10.0))).sqrt() as f32),
        None => (0.0, 30.0),
    };
    let (mut wrong, mut accepted, mut sure, mut iterations) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut dice = Dice(2);
    let mut sent = vec![0; BATCH * len];
    let mut symbols = vec![0; BATCH * bits];
    let mut decoded = vec![0; BATCH * len];
    let mut verdicts = [SoftVerdict::default(); BATCH];
    let mut codeword = vec![0; SPEC.codeword_len()];
    for _ in 0..codewords.div_ceil(BATCH) {
        for (frame, symbols) in sent.chunks_exact_mut(len).zip(symbols.chunks_exact_mut(bits)) {
            frame.iter_mut().for_each(|octet| *octet = dice.next() as u8);
            let fecf = crc16_fecf(&frame[..len - 2]);
            frame[len - 2..].copy_from_slice(&fecf.to_be_bytes());
            encoder.encode(frame, &mut codeword);
            let place = dice.next() as usize % (POOL - bits);
            for (i, (symbol, noise)) in symbols.iter_mut().zip(&pool[place..]).enumerate() {
                let signal = if codeword[i / 8] << (i % 8) & 0x80 == 0 { amplitude } else { -amplitude };
                *symbol = (signal + deviation * noise).round().clamp(-127.0, 127.0) as i8;
            }
        }
        decoder.decode_batch(&symbols, &mut decoded, &mut verdicts);
        for ((sent, decoded), verdict) in sent.chunks_exact(len).zip(decoded.chunks_exact(len)).zip(&verdicts)
        {
            iterations += u64::from(verdict.iterations);
            if sent != decoded {
                wrong += 1;
                accepted += u64::from(crc16_fecf(decoded) == 0);
                sure += u64::from(verdict.converged);
            }
        }
    }
    let at = eb_n0_db.map_or("noise alone".to_owned(), |db| format!("{db:.1} dB"));
    let stop = format!("{stop:?}").to_lowercase();
    let share = 1e6 * accepted as f64 / codewords as f64;
    let mean = iterations as f64 / codewords as f64;
    println!("| {at} | {stop} | {wrong} | {accepted} | {share:.1} | {sure} | {mean:.2} |");
}
