//! Any bits in any pieces, with resets: the kernels give the scalar reference's levels and bits, decoding undoes encoding,
//! and soft bits have the signs of hard ones.
#![no_main]

use arbitrary::Arbitrary;
use fep_coding::Isa;
use fep_coding::differential::{DifferentialDecoder, DifferentialEncoder, LineCode, SoftDifferentialDecoder};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Operation {
    Octets(Vec<u8>),
    /// So many bits of the octets.
    Bits(Vec<u8>, u16),
    Symbols(Vec<i8>),
    Reset,
}

fuzz_target!(|input: (u8, Vec<Operation>)| {
    let code = LineCode::ALL[usize::from(input.0) % 3];
    let encoders = |isa| DifferentialEncoder::with_isa(code, isa).expect("an available set");
    let decoders = |isa| DifferentialDecoder::with_isa(code, isa).expect("an available set");
    let (mut encoder, mut encoder_reference) = (encoders(Isa::best()), encoders(Isa::Scalar));
    let (mut decoder, mut decoder_reference) = (decoders(Isa::best()), decoders(Isa::Scalar));
    let mut soft = SoftDifferentialDecoder::new(code);
    let mut last_symbol = 0;
    for operation in &input.1 {
        let (octets, count) = match operation {
            Operation::Octets(octets) => (octets, 8 * octets.len()),
            Operation::Bits(octets, count) => (octets, usize::from(*count).min(8 * octets.len())),
            Operation::Symbols(symbols) => {
                let mut bits = Vec::new();
                soft.push(symbols, &mut bits);
                assert_eq!(bits.len(), symbols.len());
                for (symbol, bit) in symbols.iter().zip(bits) {
                    let expected = match code {
                        LineCode::NrzL => *symbol < 0,
                        LineCode::NrzM => (*symbol < 0) != (last_symbol < 0),
                        LineCode::NrzS => (*symbol < 0) == (last_symbol < 0),
                    };
                    assert!(bit == 0 || (bit < 0) == expected);
                    last_symbol = *symbol;
                }
                continue;
            }
            Operation::Reset => {
                encoder.reset();
                encoder_reference.reset();
                decoder.reset();
                decoder_reference.reset();
                soft.reset();
                last_symbol = 0;
                continue;
            }
        };
        let (mut levels, mut reference) = (octets.clone(), octets.clone());
        encoder.apply_bits(&mut levels, count);
        encoder_reference.apply_bits(&mut reference, count);
        assert_eq!(levels, reference);
        let mut back = Vec::new();
        if count == 8 * octets.len() {
            decoder.push(&levels, &mut back);
        } else {
            back.extend_from_slice(&levels);
            decoder.apply_bits(&mut back, count);
        }
        decoder_reference.apply_bits(&mut reference, count);
        assert_eq!(back, reference);
        assert_eq!(&back, octets);
    }
});
