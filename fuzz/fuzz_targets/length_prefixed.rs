//! Any octets in any pieces on a connection of length-prefixed units, with units, keep-alives, time-outs and new connections in between:
//! the same units and the same fault as in one piece, nothing held beyond one unit, every token once.
#![no_main]

use arbitrary::Arbitrary;
use fep_net::protocol::{Input, LengthPrefixed, Protocol, ProtocolFault};
use fep_net::{Endian, LengthOf, LengthPrefixedSpec};
use fep_time::{Monotonic, Tai};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Case {
    wide: bool,
    whole: bool,
    little: bool,
    max_unit_octets: u16,
    keepalive_ms: u8,
    idle_timeout_ms: u8,
    octets: Vec<u8>,
    pieces: Vec<u8>,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Transmit(Vec<u8>),
    Poll(u8),
    Pass(u8),
    Input(Vec<u8>),
    Reconnect,
}

fn spec(case: &Case) -> LengthPrefixedSpec {
    LengthPrefixedSpec {
        length_octets: if case.wide { 4 } else { 2 },
        length_of: if case.whole { LengthOf::Whole } else { LengthOf::Payload },
        endian: if case.little { Endian::Little } else { Endian::Big },
        max_unit_octets: u32::from(case.max_unit_octets).clamp(1, 65_000),
        keepalive_ms: case.keepalive_ms.into(),
        idle_timeout_ms: case.idle_timeout_ms.into(),
    }
}

fn units(machine: &mut LengthPrefixed, octets: &[u8], units: &mut Vec<Vec<u8>>) -> Result<(), ProtocolFault> {
    let mut input = Input { octets, received: Tai(0), datagram: false };
    while let Some(unit) = machine.handle_input(Monotonic(0), &mut input)? {
        units.push(unit.octets.to_vec());
    }
    assert!(input.octets.is_empty());
    Ok(())
}

fn receive<'o>(
    spec: &LengthPrefixedSpec,
    pieces: impl Iterator<Item = &'o [u8]>,
) -> (Vec<Vec<u8>>, Option<ProtocolFault>) {
    let mut machine = LengthPrefixed::new(spec);
    machine.handle_connected(Monotonic(0));
    let mut found = Vec::new();
    for piece in pieces {
        if let Err(fault) = units(&mut machine, piece, &mut found) {
            return (found, Some(fault));
        }
    }
    (found, None)
}

fuzz_target!(|case: Case| {
    let spec = spec(&case);
    spec.validate().expect("made so");
    let (mut pieces, mut rest) = (Vec::new(), &case.octets[..]);
    for len in &case.pieces {
        let (piece, behind) = rest.split_at(usize::from(*len).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    assert_eq!(receive(&spec, pieces.into_iter()), receive(&spec, std::iter::once(&case.octets[..])));

    let mut machine = LengthPrefixed::new(&spec);
    let (mut now, mut token, mut left, mut taken) = (Monotonic(0), 0, Vec::new(), Vec::new());
    let mut broken = false;
    machine.handle_connected(now);
    for step in case.steps {
        match step {
            Step::Transmit(unit) => {
                if machine.handle_transmit(now, &unit, token).is_ok() {
                    assert!(!unit.is_empty() && unit.len() <= spec.max_unit_octets as usize);
                    taken.push(token);
                }
                token += 1;
            }
            Step::Poll(room) => {
                let room = usize::from(room) * 300;
                while let Some(transmit) = machine.poll_transmit(now, room) {
                    assert!(transmit.octets.len() <= room);
                    left.extend(transmit.token);
                }
            }
            Step::Pass(ms) => {
                now = now.plus_ns(i64::from(ms) * 1_000_000);
                broken |= !broken && machine.handle_timeout(now).is_err();
            }
            Step::Input(octets) if !broken => broken = units(&mut machine, &octets, &mut Vec::new()).is_err(),
            Step::Input(_) => {}
            Step::Reconnect => {
                machine.handle_disconnected(now);
                left.extend(std::iter::from_fn(|| machine.poll_failed()));
                assert_eq!(left, taken, "every token once, in order");
                machine.handle_connected(now);
                broken = false;
            }
        }
    }
});
