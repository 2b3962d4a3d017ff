//! Every instruction set encodes and decodes as the scalar reference does, for any code and any soft symbols.
#![no_main]

use arbitrary::Arbitrary;
use fep_coding::isa::Isa;
use fep_coding::ldpc::{LdpcDecoder, LdpcEncoder, LdpcSpec};
use fep_coding::soft::SoftVerdict;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    code: u8,
    blocks: u8,
    iterations: u8,
    early_stop: bool,
    strength: u8,
    information: Vec<u8>,
    /// Place (modulo the batch) and the symbol there.
    damage: Vec<(u32, i8)>,
}

fuzz_target!(|input: Input| {
    // Large codes take the reference long: seven of ten are enough.
    let spec = LdpcSpec::all().nth(input.code as usize % 7).expect("ten codes");
    let (n, k) = (spec.codeword_bits(), spec.information_len());
    let count = 1 + input.blocks as usize % 6;
    let iterations = 1 + u16::from(input.iterations % 8);
    let information: Vec<u8> = input.information.iter().copied().chain([0]).cycle().take(k).collect();
    let mut codeword = vec![0; spec.codeword_len()];
    LdpcEncoder::with_isa(spec, Isa::Scalar).expect("always there").encode(&information, &mut codeword);
    assert!(spec.is_codeword(&codeword), "{spec}");
    let strength = 1 + (input.strength % 127) as i8;
    let bit = |i: usize| codeword[i / 8] >> (7 - i % 8) & 1;
    let mut symbols: Vec<i8> =
        (0..count * n).map(|i| if bit(i % n) == 0 { strength } else { -strength }).collect();
    for (place, symbol) in &input.damage {
        let place = *place as usize % symbols.len();
        symbols[place] = *symbol;
    }
    let decode = |isa: Isa| {
        let mut decoder = LdpcDecoder::with_isa(spec, iterations, isa).expect("an available set");
        decoder.set_early_stop(input.early_stop);
        let mut decoded = vec![0; count * k];
        let mut verdicts = vec![SoftVerdict::default(); count];
        decoder.decode_batch(&symbols, &mut decoded, &mut verdicts);
        (verdicts, decoded)
    };
    let expected = decode(Isa::Scalar);
    for &isa in Isa::available().iter().filter(|isa| **isa != Isa::Scalar) {
        let mut encoded = vec![0; spec.codeword_len()];
        LdpcEncoder::with_isa(spec, isa).expect("an available set").encode(&information, &mut encoded);
        assert!(encoded == codeword, "{spec}: {isa} encodes differently");
        assert!(decode(isa) == expected, "{spec}: {isa} decodes differently");
    }
});
