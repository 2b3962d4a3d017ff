//! Reads `[channel.NAME.code]` and `[channel.NAME.sync]`: the channel code and how its markers are found.

use fep_ccsds::{Fecf, FrameSpec};
use fep_coding::soft::SoftSyncSpec;
use fep_coding::spec::{Form, FrameShape, Key, Refusal, SyncDomain, Value, Values};
use fep_coding::{CodeSpec, Marker, Polarity, SyncSpec};
use fep_config::{Diagnostics, Section};

/// Reads the code, and checks that the frames fit it. Which codes exist, and their keys, the registry says.
pub(super) fn read_code(
    section: Section<'_>,
    frame: &Option<FrameSpec>,
    found: &mut Diagnostics,
) -> Option<CodeSpec> {
    let place = section.place();
    let codes: Vec<_> = CodeSpec::REGISTRY.iter().map(|entry| (entry.name, entry)).collect();
    let names = codes.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let entry = section.require("code", found, &names, |s, found| s.choice("code", &codes, found))?;
    let values = read_values(&section, entry.keys, found);
    let shape = FrameShape {
        frame_len: frame.as_ref().map(|frame| frame.frame_len),
        has_crc16: frame.as_ref().map(|frame| frame.fecf == Fecf::Crc16),
    };
    let code = match (entry.read)(&values, &shape) {
        Ok(code) => Some(code),
        // A key that is missing has been reported where it was looked for, a frame that is none where it was read.
        Err(Refusal::Missing(_)) => None,
        Err(Refusal::At { key, message, allowed }) => {
            if let Some(place) = section.place_of(key) {
                place.report(found, message, allowed);
            }
            None
        }
    };
    section.finish(found);
    let (code, place) = (code?, place?);
    let fits = match frame {
        Some(frame) => code.check_frame(frame.frame_len),
        None => code.validate(),
    };
    if let Err(error) = fits {
        place.report(found, error.to_string(), "");
        return None;
    }
    Some(code)
}

/// The values of the keys that a code lists. Mistakes are reported and left out.
fn read_values(section: &Section<'_>, keys: &'static [Key], found: &mut Diagnostics) -> Values {
    let mut values = Values::default();
    for key in keys {
        if key.required && !section.has(key.name) {
            section.missing(key.name, found, &key.allowed());
            continue;
        }
        let value = match key.form {
            Form::Choice(names) => {
                let choices: Vec<(&str, usize)> = names.iter().copied().zip(0..).collect();
                section.choice(key.name, &choices, found).map(Value::Choice)
            }
            Form::Integer { least, most } => {
                section.integer(key.name, least..=most, found).map(Value::Integer)
            }
            Form::Boolean => section.boolean(key.name, found).map(Value::Boolean),
            Form::Table(keys) => {
                let table = section.table(key.name, found);
                (!table.is_absent()).then(|| {
                    let values = read_values(&table, keys, found);
                    table.finish(found);
                    Value::Table(values)
                })
            }
        };
        if let Some(value) = value {
            values.set(key, value);
        }
    }
    values
}

/// How markers are found: among bits, and among symbols where the code has its marker there.
pub(super) struct Synchronisation {
    pub(super) bits: SyncSpec,
    pub(super) symbols: Option<SoftSyncSpec>,
}

/// Keys that stand for themselves in both kinds of synchroniser.
struct Keys {
    search: Option<u32>,
    lock: Option<u32>,
    check: Option<u32>,
    flywheel: Option<u32>,
    slip: Option<u32>,
    polarity: Option<Polarity>,
}

pub(super) fn read_sync(
    section: Section<'_>,
    code: Option<&CodeSpec>,
    found: &mut Diagnostics,
) -> Option<Synchronisation> {
    let marker = section
        .require("marker", found, "4 to 24 octets in hex", |s, found| s.string("marker", found))
        .and_then(|(hex, place)| match parse_hex(&hex).map(|octets| Marker::new(&octets)) {
            Some(Ok(marker)) => Some(marker),
            Some(Err(error)) => {
                place.report(found, error.to_string(), "4 to 24 octets in hex");
                None
            }
            None => {
                place.report(found, format!("{hex:?} is not hexadecimal"), "4 to 24 octets in hex");
                None
            }
        });
    let mut bits = |key, most| section.integer(key, 0..=most, found);
    let (search, lock) = (bits("search_bit_errors", 72u32), bits("lock_bit_errors", 72));
    let (check, flywheel) = (bits("check_markers", 16), bits("flywheel_blocks", 64));
    let slip = bits("slip_window_bits", 32);
    let polarities =
        [("normal", Polarity::Normal), ("inverted", Polarity::Inverted), ("auto", Polarity::Auto)];
    let polarity = section.choice("polarity", &polarities, found);
    let keys = Keys { search, lock, check, flywheel, slip, polarity };
    let place = section.place();
    section.finish(found);
    let (marker, code) = (marker?, code?);
    let synchronisation = keys.apply(marker, code);
    let valid = match &synchronisation.symbols {
        Some(symbols) => symbols.validate().map_err(|error| error.to_string()),
        None => synchronisation.bits.validate().map_err(|error| error.to_string()),
    };
    if let (Err(message), Some(place)) = (valid, place) {
        place.report(found, message, "");
        return None;
    }
    Some(synchronisation)
}

impl Keys {
    fn apply(&self, marker: Marker, code: &CodeSpec) -> Synchronisation {
        let mut bits = match code.slicing() {
            // Frames of a sliced stream have a marker of their own, which no key changes.
            Some(slicing) => SyncSpec::ccsds(slicing.frame_marker, slicing.frame_len),
            None => SyncSpec::ccsds(marker, code.block_len()),
        };
        if code.domain() == SyncDomain::Bits {
            bits.search_bit_errors = self.search.unwrap_or(bits.search_bit_errors);
            bits.lock_bit_errors = self.lock.unwrap_or(bits.lock_bit_errors);
            bits.check_markers = self.check.unwrap_or(bits.check_markers);
            bits.flywheel_blocks = self.flywheel.unwrap_or(bits.flywheel_blocks);
            bits.slip_window_bits = self.slip.unwrap_or(bits.slip_window_bits);
            bits.polarity = self.polarity.unwrap_or(bits.polarity);
            return Synchronisation { bits, symbols: None };
        }
        let mut symbols = SoftSyncSpec::ccsds(marker, code.block_symbols());
        symbols.search_bit_errors = self.search.unwrap_or(symbols.search_bit_errors);
        symbols.lock_bit_errors = self.lock.unwrap_or(symbols.lock_bit_errors);
        symbols.check_markers = self.check.unwrap_or(symbols.check_markers);
        symbols.flywheel_blocks = self.flywheel.unwrap_or(symbols.flywheel_blocks);
        symbols.slip_window_bits = self.slip.unwrap_or(symbols.slip_window_bits);
        symbols.polarity = self.polarity.unwrap_or(symbols.polarity);
        Synchronisation { bits, symbols: Some(symbols) }
    }
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
