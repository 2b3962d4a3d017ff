//! Any stream for the receivers of CLTUs, cut anywhere, with real CLTUs in it: no panic, every bit accounted for, the same
//! events however the stream is cut and whatever the instruction set, and what was sent undamaged at the end of it all
//! comes out.
#![no_main]

use arbitrary::Arbitrary;
use fep_coding::tc::bch::{BchMode, FillerRule};
use fep_coding::tc::ldpc::{LdpcCltuBuilder, LdpcCltuReceiver, LdpcCltuSpec, LdpcRandomization, TcLdpc};
use fep_coding::tc::{CltuBuilder, CltuCounters, CltuEvent, CltuReceiver, CltuSpec};
use fep_coding::{Isa, Polarity};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Operation {
    Push(Vec<u8>),
    /// A CLTU with bits wrong, cut and moved by some bits: what chance would rarely make.
    Cltu {
        frame: Vec<u8>,
        wrong: Vec<u16>,
        cut: u16,
        shift: u8,
        inverted: bool,
    },
    Reset,
    Finish,
}

#[derive(Debug, Arbitrary)]
struct Input {
    ldpc: bool,
    long_code: bool,
    sec: bool,
    filler: bool,
    start_bit_errors: u8,
    tail: u8,
    polarity: u8,
    randomized: bool,
    threshold: u8,
    codeblocks_max: u8,
    cut: u8,
    operations: Vec<Operation>,
}

impl Input {
    fn polarity(&self) -> Polarity {
        [Polarity::Auto, Polarity::Normal, Polarity::Inverted][usize::from(self.polarity) % 3]
    }
}

/// A receiver of either kind, its events as text.
enum Receiver {
    Bch(CltuReceiver),
    Ldpc(LdpcCltuReceiver),
}

impl Receiver {
    fn push(&mut self, octets: &[u8], events: &mut Vec<String>) {
        match self {
            Receiver::Bch(receiver) => receiver.push(octets, &mut |event| note(&event, events)),
            Receiver::Ldpc(receiver) => receiver.push_hard(octets, &mut |event| note(&event, events)),
        }
    }

    fn finish(&mut self, events: &mut Vec<String>) {
        match self {
            Receiver::Bch(receiver) => receiver.finish(&mut |event| note(&event, events)),
            Receiver::Ldpc(receiver) => receiver.finish(&mut |event| note(&event, events)),
        }
    }

    fn reset(&mut self) {
        match self {
            Receiver::Bch(receiver) => receiver.reset(),
            Receiver::Ldpc(receiver) => receiver.reset(),
        }
    }

    fn counters(&self) -> CltuCounters {
        match self {
            Receiver::Bch(receiver) => *receiver.counters(),
            Receiver::Ldpc(receiver) => *receiver.counters(),
        }
    }
}

fn note<V: std::fmt::Debug>(event: &CltuEvent<'_, V>, events: &mut Vec<String>) {
    events.push(format!("{event:?}"));
}

fn balanced(counters: &CltuCounters) {
    assert_eq!(
        counters.bits_in + counters.bits_shared,
        counters.bits_in_cltus + counters.bits_discarded + counters.bits_held,
        "{counters:?}"
    );
}

fuzz_target!(|input: Input| {
    let bch = CltuSpec {
        mode: if input.sec { BchMode::Sec } else { BchMode::Ted },
        filler: if input.filler { FillerRule::Ignored } else { FillerRule::InhibitsCorrection },
        start_bit_errors: u32::from(input.start_bit_errors) % 3,
        tail_bit_errors: u32::from(input.tail) % 3,
        polarity: input.polarity(),
        randomized: input.randomized,
        codeblocks_max: u32::from(input.codeblocks_max),
    };
    let code = if input.long_code { TcLdpc::N512 } else { TcLdpc::N128 };
    let ldpc = LdpcCltuSpec {
        tail: input.tail % 2 == 1,
        polarity: input.polarity(),
        randomization: if input.randomized { LdpcRandomization::Codewords } else { LdpcRandomization::Frame },
        threshold_percent: u32::from(input.threshold),
        iterations_max: input.start_bit_errors,
        codewords_max: u32::from(input.codeblocks_max),
        ..LdpcCltuSpec::new(code)
    };
    let build = |isa: Isa| {
        if input.ldpc {
            let receiver = LdpcCltuReceiver::new(ldpc).ok()?;
            Some(Receiver::Ldpc(receiver.with_isa(isa).expect("an available set")))
        } else {
            CltuReceiver::new(bch).ok().map(Receiver::Bch)
        }
    };
    let (Some(mut whole), Some(mut cut)) = (build(Isa::best()), build(Isa::Scalar)) else { return };
    let mut encode = |frame: &[u8], out: &mut Vec<u8>| {
        let built = if input.ldpc {
            LdpcCltuBuilder::new(&ldpc).expect("its receiver was built").build(frame, out)
        } else {
            CltuBuilder::new(bch.randomized).build(frame, out)
        };
        assert_eq!(built.is_err(), frame.is_empty());
    };
    let piece_len = usize::from(input.cut).max(1);
    let (mut of_whole, mut of_cut) = (Vec::new(), Vec::new());

    for operation in &input.operations {
        let octets = match operation {
            Operation::Reset => {
                whole.reset();
                cut.reset();
                continue;
            }
            Operation::Finish => {
                whole.finish(&mut of_whole);
                cut.finish(&mut of_cut);
                assert_eq!(whole.counters().bits_held, 0);
                Vec::new()
            }
            Operation::Push(octets) => octets.clone(),
            Operation::Cltu { frame, wrong, cut, shift, inverted } => {
                let mut octets = vec![0x55];
                encode(frame, &mut octets);
                for bit in wrong.iter().take(20) {
                    let bit = usize::from(*bit) % (8 * octets.len());
                    octets[bit / 8] ^= 0x80 >> (bit % 8);
                }
                octets.truncate(octets.len() - usize::from(*cut) % octets.len());
                let flip = if *inverted { 0xFF } else { 0 };
                let shift = u32::from(shift % 8);
                let pairs = octets.windows(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                pairs.map(|pair| (pair >> shift) as u8 ^ flip).collect()
            }
        };
        whole.push(&octets, &mut of_whole);
        for piece in octets.chunks(piece_len) {
            cut.push(piece, &mut of_cut);
        }
        assert_eq!(of_whole, of_cut);
        assert_eq!(whole.counters(), cut.counters());
        balanced(&whole.counters());
        of_whole.clear();
        of_cut.clear();
    }

    // Whatever came before: a CLTU behind enough idle octets is received.
    if input.polarity() == Polarity::Inverted || input.codeblocks_max < 2 {
        return;
    }
    whole.reset();
    let mut octets = vec![0x55; 80];
    encode(&[0x20, 0x73, 0x00, 0x06, 0x00], &mut octets);
    octets.extend([0x55; 80]);
    let before = whole.counters().cltus;
    whole.push(&octets, &mut of_whole);
    whole.finish(&mut of_whole);
    assert!(whole.counters().cltus > before, "{of_whole:?}");
});
