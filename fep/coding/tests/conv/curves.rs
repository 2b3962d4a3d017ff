//! Bit error rates in the waterfall, beside a plain floating-point Viterbi decoder with one endless trellis.

use fep_coding::Isa;
use fep_coding::conv::{ConvRate, ConvSpec};

use crate::channel::{Noise, bit_errors, decoded, encoded, sigma};

/// Maximum likelihood by the book: correlations of unquantised symbols, all of the stream's survivors kept. `symbols`
/// is the stream before puncturing, C1 and C2 of every bit, 0 where none was sent.
fn float_viterbi(symbols: &[f32]) -> Vec<u8> {
    let parity = |bits: u32| bits.count_ones() & 1 == 1;
    // 171 and 133 octal, the newest bit highest, as the standard prints them.
    let signs: Vec<[f32; 2]> = (0..128u32)
        .map(|register| [0o171, 0o133].map(|taps| if parity(register & taps) { -1.0 } else { 1.0 }))
        .collect();
    let mut metrics = [0f32; 64];
    let mut decisions = Vec::with_capacity(symbols.len() / 2);
    for pair in symbols.chunks_exact(2) {
        let mut next = [0f32; 64];
        let mut word = 0u64;
        for (state, next) in next.iter_mut().enumerate() {
            // The state is the last six bits, the newest highest; a register is a new bit and a state.
            let new = state >> 5;
            let reach = |lost: usize| {
                let before = (state << 1 & 0x3F) | lost;
                let [c1, c2] = signs[new << 6 | before];
                metrics[before] + pair[0] * c1 + pair[1] * c2
            };
            let (zero, one) = (reach(0), reach(1));
            *next = zero.max(one);
            word |= u64::from(one > zero) << state;
        }
        let most = next.iter().copied().fold(f32::MIN, f32::max);
        metrics = next.map(|metric| metric - most);
        decisions.push(word);
    }
    let mut state = (0..64).max_by(|a, b| metrics[*a].total_cmp(&metrics[*b])).expect("64 states");
    let mut data = vec![0u8; decisions.len() / 8];
    for (t, word) in decisions.iter().enumerate().rev() {
        if let Some(octet) = data.get_mut(t / 8) {
            *octet |= ((state >> 5) as u8) << (7 - t % 8);
        }
        state = (state << 1 & 0x3F) | (word >> state & 1) as usize;
    }
    data
}

/// Bit errors of the fast decoder at `eb_n0_db`, and of the floating-point one a tenth of a decibel below, with the
/// same noise; and bit errors of the fast one with windows as long as they can be.
fn errors(rate: ConvRate, eb_n0_db: f64, octets: usize, seed: u64) -> [u32; 3] {
    let spec = ConvSpec::ccsds(rate);
    let mut noise = Noise(seed);
    let data = noise.octets(octets);
    let sent = encoded(&spec, &data);
    let normal: Vec<f64> = sent.iter().map(|_| noise.gauss()).collect();
    let received = |eb_n0_db: f64| {
        let sigma = sigma(rate, eb_n0_db);
        sent.iter().zip(&normal).map(move |(symbol, normal)| f64::from(*symbol) + sigma * normal)
    };
    let quantised: Vec<i8> =
        received(eb_n0_db).map(|symbol| (40.0 * symbol).round().clamp(-127.0, 127.0) as i8).collect();
    let (fast, _) = decoded(&spec, Isa::best(), &quantised);
    let (long, _) = decoded(&ConvSpec { latency_bits: 4096, ..spec }, Isa::best(), &quantised);

    // Puncturing undone by the standard's table, written out.
    let (c1, c2) = match rate {
        ConvRate::R1_2 => ("1", "1"),
        ConvRate::R2_3 => ("10", "11"),
        ConvRate::R3_4 => ("101", "110"),
        ConvRate::R5_6 => ("10101", "11010"),
        ConvRate::R7_8 => ("1000101", "1111010"),
    };
    let g2 = if rate == ConvRate::R1_2 { -1.0 } else { 1.0 };
    let mut symbols = received(eb_n0_db - 0.1);
    let mut pairs = Vec::with_capacity(16 * octets);
    for bit in 0..8 * octets {
        for (pattern, sign) in [(c1, 1.0), (c2, g2)] {
            let is_sent = pattern.as_bytes()[bit % pattern.len()] == b'1';
            pairs.push(if is_sent { sign * symbols.next().expect("a symbol") as f32 } else { 0.0 });
        }
    }
    let float = float_viterbi(&pairs);
    [bit_errors(&fast, &data), bit_errors(&float, &data), bit_errors(&long, &data)]
}

// REQ: FEP-CONV-014
#[test]
fn rate_one_half_loses_less_than_a_tenth_of_a_decibel_against_floating_point() {
    for (eb_n0_db, octets) in [(2.0, 60_000), (2.75, 120_000), (3.5, 400_000)] {
        let [fast, float, long] = errors(ConvRate::R1_2, eb_n0_db, octets, 21);
        println!(
            "{eb_n0_db} dB: {fast} errors of {} bits; floating point 0.1 dB below: {float}; longest windows: {long}",
            8 * octets
        );
        assert!(float >= 100, "{eb_n0_db} dB: {float} errors are too few to compare");
        assert!(fast <= float, "{eb_n0_db} dB: {fast} errors, floating point 0.1 dB below makes {float}");
        assert!(fast <= long + long / 10, "{eb_n0_db} dB: {fast} errors, {long} in longest windows");
    }
}

// REQ: FEP-CONV-014
#[test]
fn punctured_rates_lose_less_than_a_tenth_of_a_decibel_against_floating_point() {
    for (rate, eb_n0_db) in
        [(ConvRate::R2_3, 3.0), (ConvRate::R3_4, 3.6), (ConvRate::R5_6, 4.2), (ConvRate::R7_8, 4.8)]
    {
        let [fast, float, long] = errors(rate, eb_n0_db, 120_000, 22);
        println!(
            "rate {rate}, {eb_n0_db} dB: {fast} errors; floating point 0.1 dB below: {float}; longest windows: {long}"
        );
        assert!(float >= 100, "rate {rate}: {float} errors are too few to compare");
        assert!(fast <= float, "rate {rate}: {fast} errors, floating point 0.1 dB below makes {float}");
        assert!(fast <= long + long / 10, "rate {rate}: {fast} errors, {long} in longest windows");
    }
}
