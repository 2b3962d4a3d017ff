//! Reads `[channel.NAME.code]` and `[channel.NAME.sync]`: the channel code and how its markers are found.

use fep_ccsds::{Fecf, FrameSpec};
use fep_coding::conv::{ConvRate, ConvSpec, NodeSync, Quadrature};
use fep_coding::ldpc::{CODEWORDS_MAX, ITERATIONS_MAX, LdpcSpec};
use fep_coding::rs::{Basis, RsE, RsSpec};
use fep_coding::soft::SoftSyncSpec;
use fep_coding::spec::{LdpcCode, LdpcStreamCode, SyncDomain, TurboCode};
use fep_coding::turbo::{INFORMATION_BITS, TurboRate, TurboStop};
use fep_coding::{CodeSpec, Marker, Polarity, SyncSpec};
use fep_config::{Diagnostics, Section};

/// Which code, by the key `code`.
#[derive(Clone, Copy)]
enum Kind {
    None,
    ReedSolomon,
    Convolutional,
    Concatenated,
    Turbo,
    Ldpc,
    LdpcStream,
}

const KINDS: [(&str, Kind); 7] = [
    ("none", Kind::None),
    ("reed_solomon", Kind::ReedSolomon),
    ("convolutional", Kind::Convolutional),
    ("concatenated", Kind::Concatenated),
    ("turbo", Kind::Turbo),
    ("ldpc", Kind::Ldpc),
    ("ldpc_stream", Kind::LdpcStream),
];

/// Reads the code, and holds it against the frame.
pub(super) fn read_code(
    section: Section<'_>,
    frame: &Option<FrameSpec>,
    found: &mut Diagnostics,
) -> Option<CodeSpec> {
    let place = section.place();
    let names = KINDS.map(|(name, _)| name).join(", ");
    let kind = section.require("code", found, &names, |s, found| s.choice("code", &KINDS, found))?;
    let frame_len = frame.as_ref().map(|frame| frame.frame_len);
    let code = match kind {
        Kind::None => frame_len.map(|frame_len| CodeSpec::None { frame_len }),
        Kind::ReedSolomon => Some(CodeSpec::ReedSolomon(read_reed_solomon(&section, found))),
        Kind::Convolutional => read_inner(&section, found).and_then(|convolutional| {
            frame_len.map(|frame_len| CodeSpec::Convolutional { frame_len, convolutional })
        }),
        Kind::Concatenated => {
            let convolutional = read_inner(&section, found);
            let table = section.require_table("reed_solomon", found);
            let reed_solomon = table.map(|table| {
                let reed_solomon = read_reed_solomon(&table, found);
                table.finish(found);
                reed_solomon
            });
            reed_solomon
                .zip(convolutional)
                .map(|(reed_solomon, convolutional)| CodeSpec::Concatenated { reed_solomon, convolutional })
        }
        Kind::Turbo => read_turbo(&section, frame, found),
        Kind::Ldpc => read_ldpc(&section, found)
            .map(|(ldpc, iterations_max)| CodeSpec::Ldpc(LdpcCode { ldpc, iterations_max })),
        Kind::LdpcStream => {
            let codewords = section.integer("codewords", 1..=CODEWORDS_MAX, found).unwrap_or(1);
            read_ldpc(&section, found).zip(frame_len).map(|((ldpc, iterations_max), frame_len)| {
                CodeSpec::LdpcStream(LdpcStreamCode { frame_len, ldpc, codewords, iterations_max })
            })
        }
    };
    section.finish(found);
    let (code, place) = (code?, place?);
    let fits = match frame {
        Some(frame) => code.check_frame(frame.frame_len, frame.fecf != Fecf::None),
        None => code.validate(),
    };
    if let Err(error) = fits {
        place.report(found, error.to_string(), "");
        return None;
    }
    Some(code)
}

fn read_reed_solomon(section: &Section<'_>, found: &mut Diagnostics) -> RsSpec {
    let interleaves = [("1", 1), ("2", 2), ("3", 3), ("4", 4), ("5", 5), ("8", 8)];
    let bases = [("dual", Basis::Dual), ("conventional", Basis::Conventional)];
    RsSpec {
        e: section.choice("e", &[("8", RsE::E8), ("16", RsE::E16)], found).unwrap_or(RsE::E16),
        interleave: section.choice("interleave", &interleaves, found).unwrap_or(1),
        virtual_fill: section.integer("virtual_fill", 0..=238u8, found).unwrap_or(0),
        basis: section.choice("basis", &bases, found).unwrap_or(Basis::Dual),
    }
}

fn read_inner(section: &Section<'_>, found: &mut Diagnostics) -> Option<ConvSpec> {
    let table = section.require_table("convolutional", found)?;
    let rates = ConvRate::ALL.map(|rate| (rate.name(), rate));
    let names = ConvRate::ALL.map(ConvRate::name).join(", ");
    let rate = table.require("rate", found, &names, |s, found| s.choice("rate", &rates, found));
    let invert_g2 = table.boolean("invert_g2", found);
    let g2_first = table.boolean("g2_first", found).unwrap_or(false);
    let latency_bits = table.integer("latency_bits", 64..=4096u32, found);
    let node_sync = read_node_sync(table.table("node_sync", found), found);
    table.finish(found);
    let defaults = ConvSpec::ccsds(rate?);
    let latency_bits = latency_bits.unwrap_or(defaults.latency_bits);
    Some(ConvSpec { invert_g2, g2_first, latency_bits, node_sync, ..defaults })
}

const QUADRATURES: [(&str, Quadrature); 3] = [
    ("off", Quadrature::Off),
    ("turns", Quadrature::Turns),
    ("turns_and_mirrors", Quadrature::TurnsAndMirrors),
];

fn read_node_sync(section: Section<'_>, found: &mut Diagnostics) -> NodeSync {
    let defaults = NodeSync::default();
    let node_sync = NodeSync {
        quadrature: section.choice("quadrature", &QUADRATURES, found).unwrap_or(defaults.quadrature),
        probe_bits: section.integer("probe_bits", 256..=65_536, found).unwrap_or(defaults.probe_bits),
        watch_bits: section.integer("watch_bits", 256..=1_048_576, found).unwrap_or(defaults.watch_bits),
        threshold_percent: section
            .integer("threshold_percent", 10..=95, found)
            .unwrap_or(defaults.threshold_percent),
    };
    section.finish(found);
    node_sync
}

fn read_turbo(section: &Section<'_>, frame: &Option<FrameSpec>, found: &mut Diagnostics) -> Option<CodeSpec> {
    let lengths = INFORMATION_BITS.map(|bits| (bits.to_string(), bits));
    let lengths: Vec<(&str, usize)> = lengths.iter().map(|(name, bits)| (name.as_str(), *bits)).collect();
    let information_bits = if section.has("information_bits") {
        section.choice("information_bits", &lengths, found)
    } else {
        frame.as_ref().map(|frame| 8 * frame.frame_len)
    };
    let names = TurboRate::ALL.map(|rate| rate.to_string());
    let rates: Vec<(&str, TurboRate)> = names.iter().map(String::as_str).zip(TurboRate::ALL).collect();
    let rate = section.require("rate", found, &names.join(", "), |s, found| s.choice("rate", &rates, found));
    let iterations_max = section.integer("iterations_max", 1..=fep_coding::turbo::ITERATIONS_MAX, found);
    let stops = [("never", TurboStop::Never), ("agreement", TurboStop::Agreement), ("fecf", TurboStop::Fecf)];
    let place = section.place_of("stop");
    let stop = section.choice("stop", &stops, found);
    if let (Some(TurboStop::Fecf), Some(frame), Some(place)) = (stop, frame, place)
        && frame.fecf != Fecf::Crc16
    {
        place.report(found, "the frame has no CRC-16 that could stop the decoder", "never, agreement");
    }
    let defaults = TurboCode::new(information_bits?, rate?);
    Some(CodeSpec::Turbo(TurboCode {
        iterations_max: iterations_max.unwrap_or(defaults.iterations_max),
        stop: stop.unwrap_or(defaults.stop),
        ..defaults
    }))
}

fn read_ldpc(section: &Section<'_>, found: &mut Diagnostics) -> Option<(LdpcSpec, u16)> {
    let sizes = [("1024", 1024), ("4096", 4096), ("16384", 16384), ("7136", 7136)];
    let k = section.require("k", found, "1024, 4096, 16384, 7136", |s, found| s.choice("k", &sizes, found));
    let rate = section.require("rate", found, "1/2, 2/3, 4/5, 7/8", |s, found| s.string("rate", found));
    let iterations_max = section.integer("iterations_max", 1..=ITERATIONS_MAX, found);
    let (rate, place) = rate?;
    match LdpcSpec::new(k?, &rate) {
        // Of an AR4JA code and of C2 alike.
        Ok(ldpc) => Some((ldpc, iterations_max.unwrap_or(ldpc.iterations_default()))),
        Err(error) => {
            place.report(found, error.to_string(), "");
            None
        }
    }
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
        let mut bits = match code {
            // Frames of a sliced stream have a marker of their own, which no key changes.
            CodeSpec::LdpcStream(stream) => SyncSpec::ccsds(Marker::CCSDS_32, stream.frame_len),
            _ => SyncSpec::ccsds(marker, code.block_len()),
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
