//! Symbols of 16 bits and of floating point, against octets written by hand and against the rules written down plainly.

use fep_coding::soft::{
    FirstSymbol, Packer, PositiveMeans, SoftFormat, SoftFormatError, SymbolBits, SymbolCoding, SymbolScale,
    Unpacker, WordOctets,
};
use proptest::prelude::*;

use crate::channel::Noise;

const SIXTEEN: SoftFormat = SoftFormat::new(SymbolBits::Sixteen);
const FLOAT: SoftFormat = SoftFormat::new(SymbolBits::ThirtyTwo);

fn unpack(format: SoftFormat, octets: &[u8], cut: usize) -> Vec<i8> {
    let mut symbols = Vec::new();
    let mut unpacker = Unpacker::new(format).expect("a format that is possible");
    octets.chunks(cut).for_each(|piece| unpacker.push(piece, &mut symbols));
    unpacker.finish(&mut symbols);
    symbols
}

// REQ: FEP-SOFT-102
#[test]
fn symbols_of_sixteen_bits_are_read_in_each_coding_and_order() {
    let full = SymbolScale::Given(32_767.0);
    let octets = [0x00, 0x00, 0x7F, 0xFF, 0x80, 0x00, 0x80, 0x01, 0xFF, 0x00, 0x40, 0x00];
    let read = |format: SoftFormat| unpack(SoftFormat { scale: full, ..format }, &octets, 5);
    assert_eq!(read(SIXTEEN), [0, 127, -127, -127, -1, 64]);
    assert_eq!(read(SoftFormat { coding: SymbolCoding::OffsetBinary, ..SIXTEEN }), [-127, 0, 0, 0, 126, -64]);
    assert_eq!(read(SoftFormat { coding: SymbolCoding::SignMagnitude, ..SIXTEEN }), [0, 127, 0, 0, -126, 64]);
    assert_eq!(read(SoftFormat { positive: PositiveMeans::One, ..SIXTEEN }), [0, -127, 127, 127, 1, -64]);
    assert_eq!(read(SoftFormat { swap_iq: true, ..SIXTEEN }), [127, 0, -127, -127, 64, -1]);
    let little = [0x00, 0x00, 0xFF, 0x7F, 0x00, 0x80, 0x01, 0x80];
    assert_eq!(unpack(SoftFormat { scale: full, ..SoftFormat::I16_LE }, &little, 3), [0, 127, -127, -127]);
    let swapped = SoftFormat { scale: full, swap_iq: true, ..SoftFormat::I16_LE };
    assert_eq!(unpack(swapped, &little, 1), [127, 0, -127, -127]);
    // Two symbols in a little-endian word of 32 bits.
    let words = SoftFormat { scale: full, word_octets: WordOctets::Four, ..SIXTEEN };
    assert_eq!(unpack(words, &[0x00, 0x40, 0xFF, 0x7F], 4), [127, 64]);
}

// REQ: FEP-SOFT-103
#[test]
fn floating_point_symbols_are_scaled_clipped_and_erased_where_they_are_no_numbers() {
    let values =
        [0.0, -0.0, 1.0, -1.0, 0.25, 1e-30, -3e38, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0 / 200.0];
    let expected = [0, 0, 127, -127, 32, 0, -127, 0, 0, 0, 1];
    let big: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
    let little: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let scale = SymbolScale::Given(1.0);
    assert_eq!(unpack(SoftFormat { scale, ..FLOAT }, &big, 7), expected);
    assert_eq!(unpack(SoftFormat { scale, ..SoftFormat::F32_LE }, &little, 3), expected);
    let negated: Vec<i8> = expected.iter().map(|symbol| -symbol).collect();
    let format = SoftFormat { scale, positive: PositiveMeans::One, ..SoftFormat::F32_LE };
    assert_eq!(unpack(format, &little, 100), negated);
    let swapped = unpack(SoftFormat { scale, swap_iq: true, ..SoftFormat::F32_LE }, &little[..40], 9);
    assert_eq!(swapped, [0, 0, -127, 127, 0, 32, 0, -127, 0, 0]);
}

// REQ: FEP-SOFT-104
#[test]
fn scales_and_codings_that_have_no_meaning_are_refused_with_the_key_and_what_is_allowed() {
    let refused = |format: SoftFormat| Unpacker::new(format).expect_err("impossible");
    let given = |scale| SymbolScale::Given(scale);
    for bits in [SymbolBits::One, SymbolBits::Four, SymbolBits::Eight] {
        let format = SoftFormat { scale: given(1.0), ..SoftFormat::new(bits) };
        assert_eq!(refused(format), SoftFormatError::ScaleOfFixed(u8::from(bits)));
    }
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-40] {
        let error = refused(SoftFormat { scale: given(scale), ..FLOAT });
        assert!(matches!(error, SoftFormatError::Scale(_)), "{scale}: {error}");
        assert!(error.to_string().contains("positive and finite"), "{error}");
    }
    let fixed = SoftFormat { coding: SymbolCoding::TwosComplement, ..FLOAT };
    assert_eq!(refused(fixed), SoftFormatError::CodingOfFloat(32));
    let float = SoftFormat { coding: SymbolCoding::Float, ..SIXTEEN };
    assert_eq!(refused(float), SoftFormatError::CodingOfFloat(16));
    assert_eq!(
        refused(SoftFormat { first: FirstSymbol::LeastSignificant, ..SIXTEEN }),
        SoftFormatError::FirstOfOne
    );

    let read = |text: &str| serde_json::from_str::<SoftFormat>(text).map_err(|error| error.to_string());
    assert_eq!(read(r#"{"bits": 16, "word_octets": 2}"#), Ok(SoftFormat::I16_LE));
    assert_eq!(
        read(r#"{"bits": 32, "coding": "float", "word_octets": 4, "scale": "auto"}"#),
        Ok(SoftFormat::F32_LE)
    );
    let scaled = SoftFormat { scale: given(2.5), ..SoftFormat::F32_LE };
    assert_eq!(read(r#"{"bits": 32, "coding": "float", "word_octets": 4, "scale": 2.5}"#), Ok(scaled));
    assert_eq!(read(&serde_json::to_string(&scaled).expect("a format")), Ok(scaled));
    assert_eq!(
        serde_json::to_value(SIXTEEN).expect("a format").get("scale"),
        None,
        "what is left out stays out"
    );
    assert!(read(r#"{"bits": 32, "scale": "loud"}"#).unwrap_err().contains("or \"auto\""));
    assert!(read(r#"{"bits": 24}"#).unwrap_err().contains("1, 4, 8, 16 or 32 bits"));
}

/// The automatic gain written down plainly over all values at once.
fn gained(values: &[f32]) -> Vec<i8> {
    let mut level: Option<f64> = None;
    let mut symbols = Vec::new();
    for stretch in values.chunks(256) {
        let present: Vec<f64> = stretch
            .iter()
            .map(|value| f64::from(value.abs()))
            .filter(|m| m.is_finite() && *m > 0.0)
            .collect();
        let mean = (!present.is_empty()).then(|| present.iter().sum::<f64>() / present.len() as f64);
        if level.is_none() {
            level = mean;
            symbols.extend(stretch.iter().map(|value| scaled(*value, level)));
            continue;
        }
        symbols.extend(stretch.iter().map(|value| scaled(*value, level)));
        if let (Some(before), Some(mean)) = (level, mean) {
            level = Some(before + (mean.min(4.0 * before) - before) / 4.0);
        }
    }
    symbols
}

fn scaled(value: f32, level: Option<f64>) -> i8 {
    let Some(level) = level else { return 0 };
    let product = value * (40.0 / level) as f32;
    match value.is_finite() && !product.is_nan() {
        true => product.clamp(-127.0, 127.0).round_ties_even() as i8,
        false => 0,
    }
}

fn any_wide() -> impl Strategy<Value = SoftFormat> {
    let coding = prop::sample::select(vec![
        SymbolCoding::TwosComplement,
        SymbolCoding::OffsetBinary,
        SymbolCoding::SignMagnitude,
        SymbolCoding::Float,
    ]);
    let words =
        prop::sample::select(vec![WordOctets::One, WordOctets::Two, WordOctets::Four, WordOctets::Eight]);
    (coding, any::<bool>(), any::<bool>(), words).prop_map(|(coding, one, swap_iq, word_octets)| SoftFormat {
        coding,
        positive: if one { PositiveMeans::One } else { PositiveMeans::Zero },
        swap_iq,
        word_octets,
        ..if coding == SymbolCoding::Float { FLOAT } else { SIXTEEN }
    })
}

/// The values that octets hold, found one by one.
fn values(format: &SoftFormat, octets: &[u8]) -> Vec<f32> {
    let word = format.word_octets.count();
    let mut straight = octets.to_vec();
    let whole = straight.len() / word * word;
    straight[..whole].chunks_mut(word).for_each(<[u8]>::reverse);
    let size = format.bits.count() / 8;
    let value = |octets: &[u8]| match format.coding {
        SymbolCoding::Float => f32::from_be_bytes(octets.try_into().expect("four octets")),
        coding => {
            let code = i32::from(u16::from_be_bytes(octets.try_into().expect("two octets")));
            let value = match coding {
                SymbolCoding::OffsetBinary => code - 32_768,
                SymbolCoding::SignMagnitude => (code & 0x7FFF) * if code > 0x7FFF { -1 } else { 1 },
                _ => {
                    if code > 0x7FFF {
                        code - 65_536
                    } else {
                        code
                    }
                }
            };
            value.max(-32_767) as f32
        }
    };
    let mut values: Vec<f32> = straight.chunks_exact(size).map(value).collect();
    if format.swap_iq {
        values.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
    }
    if format.positive == PositiveMeans::One {
        values.iter_mut().for_each(|value| *value = -*value);
    }
    values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    // REQ: FEP-SOFT-102
    // REQ: FEP-SOFT-103
    #[test]
    fn any_octets_in_any_pieces_become_the_symbols_of_the_rules(
        format in any_wide(), seed: u64, units in 0usize..300, cut in 1usize..700,
        scale in prop::option::of(1e-3f32..1e5), kind in 0..3,
    ) {
        let format = SoftFormat { scale: scale.map_or(SymbolScale::Auto, SymbolScale::Given), ..format };
        let mut noise = Noise(seed);
        // Anything; values of a receiver whose level moves; and these with what is no number in between.
        let octets: Vec<u8> = match (kind, format.coding) {
            (0, _) => noise.octets(8 * units),
            (_, SymbolCoding::Float) => (0..2 * units)
                .flat_map(|k| {
                    let level = (k as f64 / 200.0).sin().exp();
                    let value = if kind == 2 && noise.next().is_multiple_of(50) { f64::NAN } else { level * noise.gauss() };
                    (value as f32).to_le_bytes()
                })
                .collect(),
            _ => (0..4 * units).flat_map(|_| ((300.0 * noise.gauss()) as i16).to_le_bytes()).collect(),
        };
        let symbols = unpack(format, &octets, cut);
        let values = values(&format, &octets);
        let expected: Vec<i8> = match scale {
            Some(scale) => values.iter().map(|value| {
                let product = value * (127.0 / scale);
                if value.is_finite() { product.clamp(-127.0, 127.0).round_ties_even() as i8 } else { 0 }
            }).collect(),
            None => gained(&values),
        };
        prop_assert_eq!(symbols, expected);
    }

    // REQ: FEP-SOFT-102
    // REQ: FEP-SOFT-103
    #[test]
    fn what_is_packed_with_a_scale_is_unpacked_to_the_same_symbols(
        format in any_wide(), symbols in prop::collection::vec(any::<i8>(), 0..200),
        scale in 127.0f32..32_767.0, cut in 1usize..50,
    ) {
        let format = SoftFormat { scale: SymbolScale::Given(scale), ..format };
        let mut packer = Packer::new(format).unwrap();
        let mut octets = Vec::new();
        symbols.chunks(cut).for_each(|piece| packer.push(piece, &mut octets));
        packer.finish(&mut octets);
        let back = unpack(format, &octets, cut);
        let expected: Vec<i8> = symbols.iter().map(|symbol| (*symbol).max(-127)).collect();
        prop_assert_eq!(&back[..symbols.len()], &expected[..]);
        prop_assert!(back.len() < symbols.len() + packer.unit_symbols());
        let mut unpacker = Unpacker::new(format).unwrap();
        let mut changed = octets.clone();
        for octet in 0..octets.len() {
            changed[octet] ^= 0x40;
            let mut after = Vec::new();
            unpacker.reset();
            unpacker.push(&changed, &mut after);
            for (symbol, _) in after.iter().zip(&back).enumerate().filter(|(_, (after, back))| after != back) {
                let (at, size) = (unpacker.octet_of_symbol(symbol as u64), format.bits.count() as u64 / 8);
                prop_assert!(
                    octet as u64 / 8 == at / 8,
                    "octet {} changes symbol {} of {} octets at {}", octet, symbol, size, at
                );
            }
            changed[octet] ^= 0x40;
        }
    }
}

// REQ: FEP-SOFT-104
#[test]
fn the_automatic_gain_finds_any_level_and_an_absurd_value_does_not_mute_what_follows() {
    let mut noise = Noise(9);
    for level in [1e-30f32, 1e-3, 1.0, 7e4, 1e30] {
        let mut received: Vec<f32> = (0..20_000)
            .map(|k| level * (if k % 3 == 0 { 1.0 } else { -1.0 } + 0.2 * noise.gauss() as f32))
            .collect();
        received[6000] = f32::MAX;
        received[9000] = f32::NAN;
        let octets: Vec<u8> = received.iter().flat_map(|value| value.to_le_bytes()).collect();
        let symbols = unpack(SoftFormat::F32_LE, &octets, 4096);
        assert_eq!(symbols.len(), received.len());
        let mean = |symbols: &[i8]| {
            symbols.iter().map(|symbol| f64::from(symbol.unsigned_abs())).sum::<f64>() / symbols.len() as f64
        };
        assert!((39.0..41.0).contains(&mean(&symbols[..5000])), "{level}: {}", mean(&symbols[..5000]));
        // A fourfold step at most, gone within some stretches.
        assert!(mean(&symbols[6144..7000]) > 20.0, "{level}: {}", mean(&symbols[6144..7000]));
        assert!((39.0..41.0).contains(&mean(&symbols[10_000..])), "{level}: {}", mean(&symbols[10_000..]));
        assert_eq!((symbols[6000], symbols[9000]), (127, 0));
        let signs = symbols.iter().zip(&received).filter(|(symbol, value)| (**symbol < 0) == (**value < 0.0));
        assert!(signs.count() > 19_990, "{level}");
    }
    // A level that falls or rises a thousandfold is followed within twenty thousand symbols.
    for (before, after) in [(1.0f32, 1e-3), (1e-3, 1.0)] {
        let values = (0..60_000).map(|k| if k < 20_000 { before } else { after });
        let octets: Vec<u8> = values.flat_map(|value| value.to_le_bytes()).collect();
        let symbols = unpack(SoftFormat::F32_LE, &octets, 1000);
        assert!(symbols[40_000..].iter().all(|symbol| (39..=41).contains(symbol)));
    }
}

// REQ: FEP-SOFT-104
#[test]
fn silence_is_erased_until_something_comes_and_a_reset_begins_anew() {
    let octets: Vec<u8> = [0.0f32; 600]
        .iter()
        .chain(&[2.0; 400])
        .chain(&[f32::NAN; 100])
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let mut unpacker = Unpacker::new(SoftFormat::F32_LE).expect("a format");
    for _ in 0..2 {
        let mut symbols = Vec::new();
        unpacker.push(&octets, &mut symbols);
        unpacker.finish(&mut symbols);
        assert_eq!(symbols.len(), 1100);
        assert!(symbols[..600].iter().all(|symbol| *symbol == 0));
        assert!(symbols[600..1000].iter().all(|symbol| *symbol == 40));
        assert!(symbols[1000..].iter().all(|symbol| *symbol == 0));
        unpacker.push(&octets[2600..3001], &mut symbols);
        unpacker.reset();
    }
    // A stream shorter than a stretch comes out when it ends.
    let mut symbols = Vec::new();
    unpacker.push(&octets[2400..2800], &mut symbols);
    assert!(symbols.is_empty());
    unpacker.finish(&mut symbols);
    assert_eq!(symbols, [40; 100]);
}
