//! Synchroniser, randomiser and checksums on one core, beside the `ccsds` and `crc` crates.

use std::hint::black_box;

use ccsds::framing::{DefaultDerandomizer, Derandomizer as _, read_synchronized_blocks};
use fep_coding::crc::{Crc16, Crc32};
use fep_coding::differential::{DifferentialDecoder, DifferentialEncoder, LineCode, SoftDifferentialDecoder};
use fep_coding::soft::{SoftBlock, SoftSync, SoftSyncSpec};
use fep_coding::{Block, Derandomizer, FrameSync, Isa, Marker, Randomizer, SyncSpec};

use crate::{Case, Measured, timing};

/// Codeblock of Reed-Solomon (255,223), I = 5.
const BLOCK_LEN: usize = 1275;
/// Frame of the same.
const FRAME_LEN: usize = 1115;
/// Octets pushed at a time: what a socket hands over.
const CHUNK_LEN: usize = 64 * 1024;
const BLOCKS: usize = 1000;
const GIGABIT: f64 = 1e9;

/// `sync/lock/...`: blocks that follow one another, on and off octet alignment; `sync/search/...`: no marker in sight;
/// `sync/worst/...`: what is most work; `differential/...`; `derandomise`; `crc16`, `crc32`.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("sync/lock/aligned", "ccsds", |budget_s| lock(0, budget_s)),
        case("sync/lock/shifted", "ccsds", |budget_s| lock(3, budget_s)),
        case("sync/search", "ccsds", |budget_s| search(0, budget_s)),
        case("sync/search/errors1", "", |budget_s| Measured { peer: None, ..search(1, budget_s) }),
        case("sync/search/errors3", "", |budget_s| Measured { peer: None, ..search(3, budget_s) }),
        case("differential/decode", "", |budget_s| differential(budget_s, false)),
        case("differential/encode", "", |budget_s| differential(budget_s, true)),
        Case { unit: "Gsymbol/s", ..case("differential/soft", "", soft_differential) },
        case("derandomise", "ccsds", derandomise),
        case("crc16", "crc", crc16),
        case("crc32", "crc", crc32),
    ];
    for (name, stream) in worst_streams() {
        cases.push(case(&format!("sync/worst/{name}"), "ccsds", move |budget_s| worst(&stream, budget_s)));
    }
    for (name, marker, is_noise) in [
        ("noise", Marker::CCSDS_64, true),
        ("markers", Marker::CCSDS_64, false),
        ("markers/192", Marker::CCSDS_192, false),
    ] {
        let name = format!("sync/worst/soft/{name}");
        let run = move |budget_s| worst_soft(marker, is_noise, budget_s);
        cases.push(Case { unit: "Gsymbol/s", ..case(&name, "", run) });
    }
    for isa in Isa::available() {
        let note = move || Measured { note: format!("on {isa}"), ..Measured::default() };
        cases.push(case(&format!("crc16/{isa}"), "", move |budget_s| {
            let crc = Crc16::with_isa(*isa).expect("an available set");
            Measured { ours: checksum_rate(budget_s, |frame| u64::from(crc.checksum(frame))), ..note() }
        }));
    }
    cases
}

fn case(name: &str, peer_name: &'static str, run: impl FnOnce(f64) -> Measured + 'static) -> Case {
    Case { name: name.to_owned(), unit: "Gbit/s", peer_name, run: Box::new(run) }
}

/// A cheap generator: contents need only look random.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Blocks behind their markers, the first one `shift` bits into the stream.
fn telemetry(shift: u32) -> Vec<u8> {
    let mut octets = Vec::new();
    for block in noise(BLOCKS * BLOCK_LEN).chunks_exact(BLOCK_LEN) {
        octets.extend_from_slice(Marker::CCSDS_32.as_bytes());
        octets.extend_from_slice(block);
    }
    let shifted = std::iter::once(0).chain(octets.iter().copied()).zip(octets.iter().copied());
    shifted.map(|(before, octet)| (u16::from_be_bytes([before, octet]) >> shift) as u8).collect()
}

fn lock(shift: u32, budget_s: f64) -> Measured {
    let stream = telemetry(shift);
    let bits = 8.0 * stream.len() as f64;
    let mut sync =
        FrameSync::new(SyncSpec::ccsds(Marker::CCSDS_32, BLOCK_LEN)).expect("a valid specification");
    let ours = timing::rate(budget_s, bits, || {
        let mut blocks = 0;
        let mut sink = |block: Block<'_>| {
            black_box(block.data);
            blocks += 1;
        };
        for chunk in stream.chunks(CHUNK_LEN) {
            sync.push(chunk, &mut sink);
        }
        sync.finish(&mut sink);
        assert!(blocks + 1 >= BLOCKS, "{blocks} blocks");
    });
    let peer = timing::rate(budget_s, bits, || {
        let blocks = read_synchronized_blocks(stream.as_slice(), BLOCK_LEN).map(black_box).count();
        assert!(blocks + 1 >= BLOCKS, "{blocks} blocks");
    });
    let note = format!("{CHUNK_LEN} octets a push, blocks of {BLOCK_LEN}, polarity found out");
    Measured { ours: ours / GIGABIT, peer: Some(peer / GIGABIT), note }
}

fn search(bit_errors: u32, budget_s: f64) -> Measured {
    let stream = noise(1 << 20);
    let bits = 8.0 * stream.len() as f64;
    let spec = SyncSpec {
        search_bit_errors: bit_errors,
        lock_bit_errors: 3,
        ..SyncSpec::ccsds(Marker::CCSDS_32, BLOCK_LEN)
    };
    let mut sync = FrameSync::new(spec).expect("a valid specification");
    let ours = timing::rate(budget_s, bits, || {
        for chunk in stream.chunks(CHUNK_LEN) {
            sync.push(chunk, &mut |block: Block<'_>| {
                black_box(block.data);
            });
        }
        sync.reset();
    });
    let peer = timing::rate(budget_s, bits, || {
        black_box(read_synchronized_blocks(stream.as_slice(), BLOCK_LEN).count());
    });
    let note = format!("noise, {bit_errors} bit errors allowed, both polarities (the peer: none, one)");
    Measured { ours: ours / GIGABIT, peer: Some(peer / GIGABIT), note }
}

/// Streams that are most work, by what they consist of. Of each place of the stream the synchroniser must ask whether a
/// chain of markers begins there, and where it breaks off.
fn worst_streams() -> Vec<(&'static str, Vec<u8>)> {
    const LEN: usize = 1 << 18;
    let marker = Marker::CCSDS_32.as_bytes();
    let mut near = marker.to_vec();
    near[3] ^= 0x11;
    let repeated = |pieces: &[&[u8]], gap_bits: fn(usize) -> usize| {
        let mut stream = vec![0; LEN + 64];
        let mut at = 0;
        for k in 0.. {
            for octet in pieces[k % pieces.len()] {
                let shifted = u16::from(*octet) << (8 - at % 8);
                stream[at / 8] |= (shifted >> 8) as u8;
                stream[at / 8 + 1] |= shifted as u8;
                at += 8;
            }
            at += gap_bits(k);
            if at >= 8 * LEN {
                break;
            }
        }
        stream.truncate(LEN);
        stream
    };
    // Periods full of markers (M) and of noise: what begins in one breaks off in another.
    let period = BLOCK_LEN + marker.len();
    let noise = noise(period);
    let stretches = |pattern: &str| {
        let full: Vec<u8> = marker.iter().copied().cycle().take(period).collect();
        let all = pattern.bytes().cycle().flat_map(|stretch| if stretch == b'M' { &full } else { &noise });
        all.copied().take(LEN).collect()
    };
    vec![
        ("markers", repeated(&[marker], |_| 0)),
        ("markers/every-offset", repeated(&[marker], |k| k % 9)),
        ("markers/one-apart", repeated(&[marker], |_| 1)),
        ("near-markers", repeated(&[&near], |_| 0)),
        ("near-and-real", repeated(&[marker, &near], |_| 0)),
        ("chains/mx", stretches("MX")),
        ("chains/mmx", stretches("MMX")),
        ("chains/mmxxxxx", stretches("MMXXXXX")),
    ]
}

fn worst(stream: &[u8], budget_s: f64) -> Measured {
    let bits = 8.0 * stream.len() as f64;
    let mut sync =
        FrameSync::new(SyncSpec::ccsds(Marker::CCSDS_32, BLOCK_LEN)).expect("a valid specification");
    let ours = timing::rate(budget_s, bits, || {
        let mut sink = |block: Block<'_>| {
            black_box(block.data);
        };
        for chunk in stream.chunks(CHUNK_LEN) {
            sync.push(chunk, &mut sink);
        }
        sync.finish(&mut sink);
    });
    let peer = timing::rate(budget_s, bits, || {
        black_box(read_synchronized_blocks(stream, BLOCK_LEN).count());
    });
    let note = format!("blocks of {BLOCK_LEN}, defaults (the peer: no check, no flywheel, no errors)");
    Measured { ours: ours / GIGABIT, peer: Some(peer / GIGABIT), note }
}

fn worst_soft(marker: Marker, is_noise: bool, budget_s: f64) -> Measured {
    const LEN: usize = 1 << 18;
    let bits = marker.as_bytes().iter().flat_map(|octet| (0..8).map(move |i| octet >> (7 - i) & 1));
    let symbols: Vec<i8> = if is_noise {
        noise(LEN).iter().map(|octet| *octet as i8).collect()
    } else {
        bits.map(|bit| if bit == 0 { 20 } else { -20 })
            .collect::<Vec<i8>>()
            .into_iter()
            .cycle()
            .take(LEN)
            .collect()
    };
    // Not a multiple of the marker, or the stream would be telemetry.
    let mut sync = SoftSync::new(SoftSyncSpec::ccsds(marker, 2075)).expect("a valid specification");
    let ours = timing::rate(budget_s, symbols.len() as f64, || {
        let mut sink = |block: SoftBlock<'_>| {
            black_box(block.data);
        };
        for chunk in symbols.chunks(CHUNK_LEN) {
            sync.push(chunk, &mut sink);
        }
        sync.finish(&mut sink);
    });
    Measured {
        ours: ours / GIGABIT,
        note: "blocks of 2075 symbols, defaults".to_owned(),
        ..Measured::default()
    }
}

fn differential(budget_s: f64, encode: bool) -> Measured {
    let octets = noise(CHUNK_LEN);
    let mut output = Vec::with_capacity(CHUNK_LEN);
    let (mut encoder, mut decoder) =
        (DifferentialEncoder::new(LineCode::NrzM), DifferentialDecoder::new(LineCode::NrzM));
    let ours = timing::rate(budget_s, 8.0 * octets.len() as f64, || {
        output.clear();
        if encode {
            encoder.push(black_box(&octets), &mut output);
        } else {
            decoder.push(black_box(&octets), &mut output);
        }
        black_box(&output);
    });
    Measured {
        ours: ours / GIGABIT,
        note: format!("NRZ-M, {CHUNK_LEN} octets a call"),
        ..Measured::default()
    }
}

fn soft_differential(budget_s: f64) -> Measured {
    let symbols: Vec<i8> = noise(CHUNK_LEN).iter().map(|octet| *octet as i8).collect();
    let mut output = Vec::with_capacity(CHUNK_LEN);
    let mut decoder = SoftDifferentialDecoder::new(LineCode::NrzM);
    let ours = timing::rate(budget_s, symbols.len() as f64, || {
        output.clear();
        decoder.push(black_box(&symbols), &mut output);
        black_box(&output);
    });
    Measured {
        ours: ours / GIGABIT,
        note: format!("NRZ-M, {CHUNK_LEN} symbols a call"),
        ..Measured::default()
    }
}

fn derandomise(budget_s: f64) -> Measured {
    let block = noise(BLOCK_LEN);
    let derandomizer = Derandomizer::new(Randomizer::Legacy255, BLOCK_LEN);
    let mut output = vec![0; BLOCK_LEN];
    let bits = 8.0 * BLOCK_LEN as f64;
    let ours =
        timing::rate(budget_s, bits, || derandomizer.apply_to(black_box(&block), black_box(&mut output)));
    let peer = timing::rate(budget_s, bits, || {
        black_box(DefaultDerandomizer.derandomize(black_box(&block)));
    });
    let note = "one block from buffer to buffer (the peer allocates its result)".to_owned();
    Measured { ours: ours / GIGABIT, peer: Some(peer / GIGABIT), note }
}

/// Frames a second, as bits.
fn checksum_rate(budget_s: f64, checksum: impl Fn(&[u8]) -> u64) -> f64 {
    let frame = noise(FRAME_LEN);
    timing::rate(budget_s, 8.0 * FRAME_LEN as f64, || {
        black_box(checksum(black_box(&frame)));
    }) / GIGABIT
}

fn crc16(budget_s: f64) -> Measured {
    let (ours, peer) = (Crc16::new(), crc::Crc::<u16, crc::Table<16>>::new(&crc::CRC_16_IBM_3740));
    Measured {
        ours: checksum_rate(budget_s, |frame| u64::from(ours.checksum(frame))),
        peer: Some(checksum_rate(budget_s, |frame| u64::from(peer.checksum(frame)))),
        note: format!("frames of {FRAME_LEN} octets; the peer with 16 tables"),
    }
}

fn crc32(budget_s: f64) -> Measured {
    const USLP: crc::Algorithm<u32> = crc::Algorithm {
        width: 32,
        poly: 0x00A0_0805,
        init: 0,
        refin: false,
        refout: false,
        xorout: 0,
        check: 0x5169_3C0C,
        residue: 0,
    };
    let (ours, peer) = (Crc32::new(), crc::Crc::<u32, crc::Table<16>>::new(&USLP));
    Measured {
        ours: checksum_rate(budget_s, |frame| u64::from(ours.checksum(frame))),
        peer: Some(checksum_rate(budget_s, |frame| u64::from(peer.checksum(frame)))),
        note: format!("frames of {FRAME_LEN} octets; the peer with 16 tables"),
    }
}
