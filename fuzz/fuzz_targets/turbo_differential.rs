//! Every instruction set gives the scalar reference's frames and verdicts, for any code, stop rule and soft symbols.
#![no_main]

use arbitrary::Arbitrary;
use fep_coding::Isa;
use fep_coding::soft::SoftVerdict;
use fep_coding::turbo::{
    INFORMATION_BITS, TurboDecoder, TurboDecoding, TurboEncoder, TurboRate, TurboSpec, TurboStop,
};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    length: u8,
    rate: u8,
    stop: u8,
    iterations: u8,
    codewords: u8,
    /// What a clean symbol is worth.
    strength: u8,
    frame: Vec<u8>,
    /// Added to the symbols, over and over.
    noise: Vec<i8>,
    /// Place (modulo the batch) and the symbol there.
    damage: Vec<(u32, i8)>,
}

fuzz_target!(|input: Input| {
    let spec = TurboSpec {
        information_bits: INFORMATION_BITS[usize::from(input.length) % 2],
        rate: TurboRate::ALL[usize::from(input.rate) % 4],
    };
    let stops = [TurboStop::Never, TurboStop::Agreement, TurboStop::Fecf];
    let decoding = TurboDecoding {
        iterations_max: 1 + input.iterations % 3,
        stop: stops[usize::from(input.stop) % stops.len()],
    };
    let count = 1 + usize::from(input.codewords) % 12;

    let mut frame = vec![0; spec.information_len()];
    for (octet, source) in frame.iter_mut().zip(input.frame.iter().cycle()) {
        *octet = *source;
    }
    let mut codeword = vec![0; spec.codeword_len()];
    TurboEncoder::new(spec).expect("a code of the standard").encode(&frame, &mut codeword);
    let strength = (input.strength % 128) as i8;
    let clean = |i: usize| if codeword[i / 8] << (i % 8) & 0x80 == 0 { strength } else { -strength };
    let mut noise = input.noise.iter().copied().cycle();
    let mut symbols: Vec<i8> = (0..count * spec.codeword_bits())
        .map(|i| clean(i % spec.codeword_bits()).saturating_add(noise.next().unwrap_or(0)))
        .collect();
    for (place, symbol) in &input.damage {
        let place = *place as usize % symbols.len();
        symbols[place] = *symbol;
    }

    let decode = |isa: Isa| {
        let mut decoder = TurboDecoder::with_isa(spec, decoding, isa).expect("valid, on an available set");
        let mut frames = vec![0; count * spec.information_len()];
        let mut verdicts = vec![SoftVerdict::default(); count];
        decoder.decode_batch(&symbols, &mut frames, &mut verdicts);
        (frames, verdicts)
    };
    let (frames, verdicts) = decode(Isa::Scalar);
    for &isa in Isa::available().iter().filter(|isa| **isa != Isa::Scalar) {
        let (given_frames, given) = decode(isa);
        assert_eq!(given, verdicts, "{spec}: {isa} judges differently");
        assert!(given_frames == frames, "{spec}: {isa} decodes differently");
    }
});
