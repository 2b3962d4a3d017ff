//! Any format of soft symbols, any octets in any pieces, with ends and resets: no panic, no symbol of -128, the same symbols
//! however the octets are cut, as many as there are, and octets packed again say the same where the format can.
#![no_main]

use arbitrary::Arbitrary;
use fep_coding::soft::{
    FirstSymbol, Packer, PositiveMeans, SoftFormat, SymbolBits, SymbolCoding, SymbolScale, Unpacker,
    WordOctets,
};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    bits: u8,
    coding: u8,
    least_first: bool,
    positive_one: bool,
    swap_iq: bool,
    words: u8,
    scale: Option<f32>,
    cut: u8,
    streams: Vec<Vec<u8>>,
}

fuzz_target!(|input: Input| {
    let bits =
        [SymbolBits::One, SymbolBits::Four, SymbolBits::Eight, SymbolBits::Sixteen, SymbolBits::ThirtyTwo];
    let codings = [
        SymbolCoding::TwosComplement,
        SymbolCoding::OffsetBinary,
        SymbolCoding::SignMagnitude,
        SymbolCoding::Float,
    ];
    let words = [WordOctets::One, WordOctets::Two, WordOctets::Four, WordOctets::Eight];
    let format = SoftFormat {
        bits: bits[usize::from(input.bits) % 5],
        coding: codings[usize::from(input.coding) % 4],
        first: if input.least_first { FirstSymbol::LeastSignificant } else { FirstSymbol::MostSignificant },
        positive: if input.positive_one { PositiveMeans::One } else { PositiveMeans::Zero },
        swap_iq: input.swap_iq,
        word_octets: words[usize::from(input.words) % 4],
        scale: input.scale.map_or(SymbolScale::Auto, SymbolScale::Given),
    };
    let Ok(mut whole) = Unpacker::new(format) else {
        assert!(Packer::new(format).is_err());
        return;
    };
    let mut cut = Unpacker::new(format).expect("the same format");
    let mut packer = Packer::new(format).expect("the same format");
    let unit_symbols = packer.unit_symbols();
    for octets in &input.streams {
        let (mut symbols, mut pieces) = (Vec::new(), Vec::new());
        whole.push(octets, &mut symbols);
        octets.chunks(usize::from(input.cut).max(1)).for_each(|piece| cut.push(piece, &mut pieces));
        assert_eq!(symbols, pieces);
        whole.finish(&mut symbols);
        cut.finish(&mut pieces);
        assert_eq!(symbols, pieces);
        assert!(symbols.iter().all(|symbol| *symbol != i8::MIN));
        assert_eq!(symbols.len(), 8 * octets.len() / format.bits.count() / unit_symbols * unit_symbols);
        if let Some(last) = (symbols.len() as u64).checked_sub(1) {
            assert!(whole.octet_of_symbol(last) < octets.len() as u64);
        }
        let mut packed = Vec::new();
        packer.push(&symbols, &mut packed);
        packer.finish(&mut packed);
        assert_eq!(8 * packed.len(), symbols.len() * format.bits.count());
        if format.bits == SymbolBits::Eight {
            let mut again = Vec::new();
            whole.push(&packed, &mut again);
            whole.finish(&mut again);
            assert_eq!(again, symbols);
        }
    }
});
