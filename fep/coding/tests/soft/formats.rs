//! Every format there is, against octets written by hand and against itself.

use fep_coding::Randomizer;
use fep_coding::soft::{
    FirstSymbol, LEVEL_1_BIT, LEVEL_4_BIT, Packer, PositiveMeans, SoftDerandomizer, SoftFormat,
    SoftFormatError, SymbolBits, SymbolCoding, Unpacker, WordOctets,
};
use proptest::prelude::*;

fn unpack(format: SoftFormat, octets: &[u8]) -> Vec<i8> {
    let mut symbols = Vec::new();
    Unpacker::new(format).expect("a format that is possible").push(octets, &mut symbols);
    symbols
}

fn steps(symbols: &[i8]) -> Vec<i8> {
    assert!(symbols.iter().all(|symbol| symbol % LEVEL_4_BIT == 0));
    symbols.iter().map(|symbol| symbol / LEVEL_4_BIT).collect()
}

const EIGHT: SoftFormat = SoftFormat::new(SymbolBits::Eight);
const FOUR: SoftFormat = SoftFormat::new(SymbolBits::Four);

// REQ: FEP-SOFT-001
#[test]
fn symbols_of_eight_bits_are_read_in_each_coding() {
    let octets = [0x00, 0x01, 0x7F, 0x80, 0x81, 0xFF];
    assert_eq!(unpack(EIGHT, &octets), [0, 1, 127, -127, -127, -1]);
    let offset = SoftFormat { coding: SymbolCoding::OffsetBinary, ..EIGHT };
    assert_eq!(unpack(offset, &octets), [-127, -127, -1, 0, 1, 127]);
    let sign = SoftFormat { coding: SymbolCoding::SignMagnitude, ..EIGHT };
    assert_eq!(unpack(sign, &octets), [0, 1, 127, 0, -1, -127]);
}

// REQ: FEP-SOFT-001
#[test]
fn symbols_of_four_bits_are_read_in_each_coding_and_order() {
    let octets = [0x07, 0x8F, 0x19];
    assert_eq!(steps(&unpack(FOUR, &octets)), [0, 7, -7, -1, 1, -7]);
    let low_first = SoftFormat { first: FirstSymbol::LeastSignificant, ..FOUR };
    assert_eq!(steps(&unpack(low_first, &octets)), [7, 0, -1, -7, -7, 1]);
    let offset = SoftFormat { coding: SymbolCoding::OffsetBinary, ..FOUR };
    assert_eq!(steps(&unpack(offset, &octets)), [-7, -1, 0, 7, -7, 1]);
    let sign = SoftFormat { coding: SymbolCoding::SignMagnitude, ..FOUR };
    assert_eq!(steps(&unpack(sign, &octets)), [0, 7, 0, -7, 1, -1]);
}

// REQ: FEP-SOFT-001
#[test]
fn hard_decisions_are_read_from_either_end() {
    let signs = |format| unpack(format, &[0b1100_0001]).iter().map(|s| s / LEVEL_1_BIT).collect::<Vec<_>>();
    assert_eq!(signs(SoftFormat::HARD), [-1, -1, 1, 1, 1, 1, 1, -1]);
    let low_first = SoftFormat { first: FirstSymbol::LeastSignificant, ..SoftFormat::HARD };
    assert_eq!(signs(low_first), [-1, 1, 1, 1, 1, 1, -1, -1]);
    let positive_one = SoftFormat { positive: PositiveMeans::One, ..SoftFormat::HARD };
    assert_eq!(signs(positive_one), [1, 1, -1, -1, -1, -1, -1, 1]);
}

// REQ: FEP-SOFT-002
#[test]
fn signs_pairs_and_words_are_turned_as_configured() {
    assert_eq!(unpack(SoftFormat { positive: PositiveMeans::One, ..EIGHT }, &[1, 0x80, 0xFB]), [-1, 127, 5]);
    assert_eq!(unpack(SoftFormat { swap_iq: true, ..EIGHT }, &[1, 2, 3, 4, 5]), [2, 1, 4, 3]);
    assert_eq!(steps(&unpack(SoftFormat { swap_iq: true, ..FOUR }, &[0x12, 0x34])), [2, 1, 4, 3]);
    let words = SoftFormat { word_octets: WordOctets::Four, ..EIGHT };
    assert_eq!(unpack(words, &[1, 2, 3, 4, 5, 6, 7, 8, 9]), [4, 3, 2, 1, 8, 7, 6, 5]);
    let both = SoftFormat { swap_iq: true, ..words };
    assert_eq!(unpack(both, &[1, 2, 3, 4, 5, 6, 7, 8]), [3, 4, 1, 2, 7, 8, 5, 6]);
    let words = SoftFormat { word_octets: WordOctets::Two, ..FOUR };
    assert_eq!(steps(&unpack(words, &[0x12, 0x34])), [3, 4, 1, 2]);
    let swapped = unpack(SoftFormat { swap_iq: true, ..SoftFormat::HARD }, &[0b1000_0001]);
    assert_eq!(swapped.iter().map(|s| s.signum()).collect::<Vec<_>>(), [1, -1, 1, 1, 1, 1, -1, 1]);
}

// REQ: FEP-SOFT-003
#[test]
fn a_key_without_a_meaning_is_refused() {
    let coded = SoftFormat { coding: SymbolCoding::OffsetBinary, ..SoftFormat::HARD };
    assert_eq!(Unpacker::new(coded).unwrap_err(), SoftFormatError::CodingOfOneBit);
    let ordered = SoftFormat { first: FirstSymbol::LeastSignificant, ..EIGHT };
    assert_eq!(Packer::new(ordered).unwrap_err(), SoftFormatError::FirstOfOne);
    let read = |text: &str| serde_json::from_str::<SoftFormat>(text).map_err(|error| error.to_string());
    assert_eq!(read(r#"{"bits": 8}"#), Ok(EIGHT));
    assert!(read(r#"{"bits": 3}"#).unwrap_err().contains("soft symbols have 1, 4, 8, 16 or 32 bits"));
    assert!(read(r#"{"bits": 4, "word_octets": 3}"#).unwrap_err().contains("1, 2, 4 or 8 octets"));
    assert!(read(r#"{"bits": 8, "sign": 1}"#).unwrap_err().contains("unknown field"));
}

fn any_format() -> impl Strategy<Value = SoftFormat> {
    let bits = prop::sample::select(vec![SymbolBits::One, SymbolBits::Four, SymbolBits::Eight]);
    let coding = prop::sample::select(vec![
        SymbolCoding::TwosComplement,
        SymbolCoding::OffsetBinary,
        SymbolCoding::SignMagnitude,
    ]);
    let words =
        prop::sample::select(vec![WordOctets::One, WordOctets::Two, WordOctets::Four, WordOctets::Eight]);
    (bits, coding, any::<bool>(), any::<bool>(), any::<bool>(), words).prop_map(
        |(bits, coding, low, one, swap_iq, word_octets)| SoftFormat {
            bits,
            coding: if bits == SymbolBits::One { SymbolCoding::TwosComplement } else { coding },
            first: if low && bits != SymbolBits::Eight {
                FirstSymbol::LeastSignificant
            } else {
                FirstSymbol::MostSignificant
            },
            positive: if one { PositiveMeans::One } else { PositiveMeans::Zero },
            swap_iq,
            word_octets,
            ..SoftFormat::new(bits)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    // REQ: FEP-SOFT-001
    // REQ: FEP-SOFT-004
    #[test]
    fn what_is_packed_is_unpacked_to_the_nearest_symbols_however_it_is_cut(
        format in any_format(),
        symbols in prop::collection::vec(any::<i8>(), 0..300),
        (cut_symbols, cut_octets) in (1usize..40, 1usize..20),
    ) {
        let mut packer = Packer::new(format).unwrap();
        let mut octets = Vec::new();
        for piece in symbols.chunks(cut_symbols) {
            packer.push(piece, &mut octets);
        }
        packer.finish(&mut octets);
        let mut unpacker = Unpacker::new(format).unwrap();
        let mut back = Vec::new();
        for piece in octets.chunks(cut_octets) {
            unpacker.push(piece, &mut back);
        }
        prop_assert!(back.len() >= symbols.len() && back.len() < symbols.len() + packer.unit_symbols());
        prop_assert_eq!(&unpack(format, &octets), &back, "cutting changes nothing");
        for (symbol, back) in symbols.iter().zip(&back) {
            let (symbol, back) = (i16::from(*symbol), i16::from(*back));
            match format.bits {
                SymbolBits::Sixteen | SymbolBits::ThirtyTwo => unreachable!("wide symbols have tests of their own"),
                SymbolBits::Eight => prop_assert_eq!(back, symbol.max(-127)),
                SymbolBits::Four => {
                    let most = i16::from(format.full_scale());
                    let nearest = symbol.clamp(-most, most);
                    prop_assert!((back - nearest).abs() <= i16::from(LEVEL_4_BIT) / 2, "{} -> {}", symbol, back);
                }
                SymbolBits::One => prop_assert_eq!(back < 0, symbol < 0),
            }
        }
    }

    // REQ: FEP-SOFT-101
    #[test]
    fn changing_an_octet_changes_the_symbols_that_lie_in_it_and_no_other(
        format in any_format(), octets in prop::collection::vec(any::<u8>(), 16), k in 0usize..16,
    ) {
        let mut unpacker = Unpacker::new(format).unwrap();
        let before = unpack(format, &octets);
        let mut changed = octets.clone();
        // Every symbol of the octet changes its sign, whatever the coding.
        changed[k] = !changed[k];
        let mut after = Vec::new();
        unpacker.push(&changed, &mut after);
        for (symbol, (before, after)) in before.iter().zip(&after).enumerate() {
            if before != after {
                prop_assert_eq!(unpacker.octet_of_symbol(symbol as u64), k as u64);
            } else if unpacker.octet_of_symbol(symbol as u64) == k as u64 {
                prop_assert_eq!((*before, *after), (0, 0), "only both zeros look the same");
            }
        }
    }

    // REQ: FEP-SOFT-005
    #[test]
    fn derandomised_symbols_have_the_signs_of_derandomised_bits(
        which in 0usize..4, octets in prop::collection::vec(any::<u8>(), 1..400), missing in 0usize..8,
    ) {
        let randomizer =
            [Randomizer::None, Randomizer::Legacy255, Randomizer::Long131071, Randomizer::Tc255][which];
        let mut symbols = unpack(SoftFormat::HARD, &octets);
        symbols.truncate(symbols.len() - missing);
        let mut bits = octets.clone();
        fep_coding::Derandomizer::new(randomizer, bits.len()).apply(&mut bits);
        let derandomizer = SoftDerandomizer::new(randomizer, symbols.len());
        let mut copied = vec![0; symbols.len()];
        derandomizer.apply_to(&symbols, &mut copied);
        derandomizer.apply(&mut symbols);
        prop_assert_eq!(&copied, &symbols);
        prop_assert_eq!(&symbols[..], &unpack(SoftFormat::HARD, &bits)[..symbols.len()]);
    }
}
