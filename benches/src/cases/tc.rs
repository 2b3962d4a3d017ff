//! Telecommand coding, one core: BCH codeblocks and whole CLTUs, built and recovered. There is no peer that installs.
//!
//! BCH works octet by octet from tables, the same on every instruction set; of the receiver only the search differs.

use std::hint::black_box;

use fep_coding::Isa;
use fep_coding::tc::bch::{self, Bch, BchMode, BchVerdict, CODEBLOCK_LEN, FillerRule, INFORMATION_LEN};
use fep_coding::tc::ldpc::{LdpcCltuBuilder, LdpcCltuReceiver, LdpcCltuSpec, TcLdpc};
use fep_coding::tc::{CltuBuilder, CltuEvent, CltuReceiver, CltuSpec};

use crate::{Case, Measured, timing};

const GIGABIT: f64 = 1e9;
/// The longest TC frame (232.0-B 4.1).
const FRAME_LEN: usize = 1024;
/// CLTUs received in one go.
const CLTUS: usize = 64;

/// `tc/bch/...`, `tc/cltu/...`, and `tc/cltu_ldpc/...` on every instruction set.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("tc/bch/encode".to_owned(), bch_encode),
        case("tc/bch/decode/clean".to_owned(), |budget_s| bch_decode(false, budget_s)),
        case("tc/bch/decode/errors1".to_owned(), |budget_s| bch_decode(true, budget_s)),
        case("tc/cltu/build".to_owned(), cltu_build),
        case("tc/cltu/recover/clean".to_owned(), |budget_s| cltu_recover(0, false, budget_s)),
        case("tc/cltu/recover/unaligned".to_owned(), |budget_s| cltu_recover(3, false, budget_s)),
        case("tc/cltu/recover/errors1".to_owned(), |budget_s| cltu_recover(0, true, budget_s)),
        case("tc/cltu_ldpc/build".to_owned(), ldpc_build),
    ];
    for isa in Isa::available() {
        let name = format!("tc/cltu_ldpc/recover/{isa}");
        cases.push(case(name, move |budget_s| ldpc_recover(*isa, budget_s)));
    }
    cases
}

fn case(name: String, rate: impl Fn(f64) -> f64 + 'static) -> Case {
    let run = Box::new(move |budget_s: f64| Measured {
        ours: rate(budget_s) / GIGABIT,
        peer: None,
        note: String::new(),
    });
    Case { name, unit: "Gbit/s", peer_name: "", run }
}

fn frame() -> Vec<u8> {
    (0..FRAME_LEN).map(|i| (i * 151 + i / 7) as u8).collect()
}

fn bch_encode(budget_s: f64) -> f64 {
    let information = frame();
    let mut codeblocks = Vec::new();
    timing::rate(budget_s, 8.0 * FRAME_LEN as f64, || {
        codeblocks.clear();
        bch::encode_run(black_box(&information), &mut codeblocks);
        black_box(&codeblocks);
    })
}

fn bch_decode(wrong: bool, budget_s: f64) -> f64 {
    let mut codeblocks = Vec::new();
    bch::encode_run(&frame(), &mut codeblocks);
    if wrong {
        for (i, codeblock) in codeblocks.chunks_exact_mut(CODEBLOCK_LEN).enumerate() {
            codeblock[i % 7] ^= 1 << (i % 8);
        }
    }
    let count = codeblocks.len() / CODEBLOCK_LEN;
    let mut information = vec![0; count * INFORMATION_LEN];
    let mut verdicts = vec![BchVerdict::default(); count];
    let bch = Bch::new(BchMode::Sec, FillerRule::Ignored);
    let rate = timing::rate(budget_s, 8.0 * (count * INFORMATION_LEN) as f64, || {
        let accepted = bch.decode_run(black_box(&codeblocks), &mut information, &mut verdicts);
        assert_eq!(accepted, count);
    });
    assert_eq!(information[..FRAME_LEN], frame(), "work not done");
    rate
}

fn cltu_build(budget_s: f64) -> f64 {
    let (frame, mut builder, mut out) = (frame(), CltuBuilder::new(true), Vec::new());
    timing::rate(budget_s, 8.0 * FRAME_LEN as f64, || {
        out.clear();
        builder.build(black_box(&frame), &mut out).expect("a frame that fits");
    })
}

/// CLTUs one behind the other with idle octets between them, moved by some bits.
fn stream(mut build: impl FnMut(&[u8], &mut Vec<u8>), shift: u32, wrong: bool) -> Vec<u8> {
    let mut octets = vec![0x55; 8];
    for _ in 0..CLTUS {
        let start = octets.len() + 2;
        build(&frame(), &mut octets);
        if wrong {
            let end = octets.len() - CODEBLOCK_LEN;
            octets[start..end].chunks_mut(CODEBLOCK_LEN).for_each(|codeblock| codeblock[3] ^= 0x10);
        }
        octets.extend([0x55; 8]);
    }
    octets.push(0x55);
    let pairs = octets.windows(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    pairs.map(|pair| (pair >> shift) as u8).collect()
}

fn cltu_recover(shift: u32, wrong: bool, budget_s: f64) -> f64 {
    let mut builder = CltuBuilder::new(true);
    let octets = stream(|frame, out| builder.build(frame, out).expect("a frame that fits"), shift, wrong);
    let mut receiver = CltuReceiver::new(CltuSpec::sec()).expect("parameters of the standard");
    timing::rate(budget_s, 8.0 * (FRAME_LEN * CLTUS) as f64, || {
        let mut frames = 0;
        receiver.push(black_box(&octets), &mut |event| {
            frames +=
                usize::from(matches!(event, CltuEvent::Frame(frame) if frame.octets.len() >= FRAME_LEN));
        });
        assert_eq!(frames, CLTUS, "work not done");
    })
}

fn ldpc_build(budget_s: f64) -> f64 {
    let spec = LdpcCltuSpec::new(TcLdpc::N512);
    let mut builder = LdpcCltuBuilder::new(&spec).expect("parameters of the standard");
    let (frame, mut out) = (frame(), Vec::new());
    timing::rate(budget_s, 8.0 * FRAME_LEN as f64, || {
        out.clear();
        builder.build(black_box(&frame), &mut out).expect("a frame that fits");
    })
}

fn ldpc_recover(isa: Isa, budget_s: f64) -> f64 {
    let spec = LdpcCltuSpec::new(TcLdpc::N512);
    let mut builder = LdpcCltuBuilder::new(&spec).expect("parameters of the standard");
    let octets = stream(|frame, out| builder.build(frame, out).expect("a frame that fits"), 0, false);
    let receiver = LdpcCltuReceiver::new(spec).expect("parameters of the standard");
    let mut receiver = receiver.with_isa(isa).expect("an available set");
    timing::rate(budget_s, 8.0 * (FRAME_LEN * CLTUS) as f64, || {
        let mut frames = 0;
        receiver.push_hard(black_box(&octets), &mut |event| {
            frames += usize::from(matches!(event, CltuEvent::Frame(_)));
        });
        assert!(frames >= CLTUS - 1, "work not done");
    })
}
