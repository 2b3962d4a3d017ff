//! Every instruction set gives the scalar reference's bits, counts and events, for any parameters, symbols and cuts.
#![no_main]

use arbitrary::Arbitrary;
use fep_coding::conv::{ConvRate, ConvReceiver, ConvSpec, NodeSync, Quadrature, ViterbiDecoder};
use fep_coding::isa::Isa;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    rate: u8,
    invert_g2: Option<bool>,
    g2_first: bool,
    latency: u16,
    turns: bool,
    cut: u16,
    /// Symbols, repeated as often as told.
    symbols: Vec<i8>,
    repeats: u8,
}

fuzz_target!(|input: Input| {
    let quadrature = if input.turns { Quadrature::Turns } else { Quadrature::Off };
    let spec = ConvSpec {
        rate: ConvRate::ALL[usize::from(input.rate) % 5],
        invert_g2: input.invert_g2,
        g2_first: input.g2_first,
        latency_bits: 224 + u32::from(input.latency) % 1000,
        node_sync: NodeSync { quadrature, probe_bits: 256, watch_bits: 256, ..NodeSync::default() },
    };
    let symbols = input.symbols.repeat(1 + usize::from(input.repeats) % 32);
    let symbols = &symbols[..symbols.len().min(1 << 15)];
    let cut = 1 + usize::from(input.cut);

    let decode = |isa: Isa, cut: usize| {
        let mut decoder = ViterbiDecoder::with_isa(&spec, isa).expect("valid parameters on an available set");
        let mut bits = Vec::new();
        symbols.chunks(cut).for_each(|piece| decoder.push(piece, &mut bits));
        (decoder.finish(&mut bits), bits, decoder.counters())
    };
    let receive = |isa: Isa, cut: usize| {
        let mut receiver = ConvReceiver::with_isa(&spec, isa).expect("valid parameters on an available set");
        let (mut bits, mut events) = (Vec::new(), Vec::new());
        symbols
            .chunks(cut)
            .for_each(|piece| receiver.push(piece, &mut bits, &mut |event| events.push(event)));
        let count = receiver.finish(&mut bits);
        let counters = receiver.counters();
        let accounted = counters.symbols_decoded + counters.symbols_discarded;
        assert_eq!(counters.symbols_in + counters.symbols_repeated, accounted);
        (count, bits, events, counters)
    };
    let expected = (decode(Isa::Scalar, usize::MAX), receive(Isa::Scalar, usize::MAX));
    for isa in Isa::available() {
        assert!((decode(*isa, cut), receive(*isa, cut)) == expected, "{spec:?}: {isa} decodes differently");
    }
});
