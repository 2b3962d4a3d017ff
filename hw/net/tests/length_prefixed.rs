//! The machine of length-prefixed units alone: octets and time are arguments, so every cut and every garbage can be tried.

use fep_net::protocol::{Input, LengthPrefixed, Protocol, ProtocolFault};
use fep_net::{Endian, LengthOf, LengthPrefixedSpec, TransmitRefused};
use fep_time::{Monotonic, Tai};
use proptest::prelude::*;

const MS: i64 = 1_000_000;

fn framings() -> impl Strategy<Value = LengthPrefixedSpec> {
    (any::<bool>(), any::<bool>(), any::<bool>(), 1u32..600).prop_map(
        |(wide, whole, little, max_unit_octets)| LengthPrefixedSpec {
            length_octets: if wide { 4 } else { 2 },
            length_of: if whole { LengthOf::Whole } else { LengthOf::Payload },
            endian: if little { Endian::Little } else { Endian::Big },
            max_unit_octets,
            ..LengthPrefixedSpec::default()
        },
    )
}

/// What a stream says: its units and where they begin, its keep-alives, and the length that cannot be.
type Said = (Vec<(usize, Vec<u8>)>, u64, Option<u32>);

/// The format written down a second time, as plainly as possible: all units of a stream, when the first octet of each lies in it,
/// keep-alives, and the length that cannot be, if there is one.
fn oracle(spec: &LengthPrefixedSpec, octets: &[u8]) -> Said {
    let (mut units, mut keepalives, mut at) = (Vec::new(), 0, 0);
    loop {
        let rest = &octets[at..];
        let (length, header) = match (spec.length_octets, spec.endian, rest) {
            (2, Endian::Big, [a, b, ..]) => (u32::from(u16::from_be_bytes([*a, *b])), 2),
            (2, Endian::Little, [a, b, ..]) => (u32::from(u16::from_le_bytes([*a, *b])), 2),
            (4, Endian::Big, [a, b, c, d, ..]) => (u32::from_be_bytes([*a, *b, *c, *d]), 4),
            (4, Endian::Little, [a, b, c, d, ..]) => (u32::from_le_bytes([*a, *b, *c, *d]), 4),
            _ => return (units, keepalives, None),
        };
        let payload = match spec.length_of {
            LengthOf::Payload => Some(length),
            LengthOf::Whole => length.checked_sub(header as u32),
        };
        let Some(payload) = payload.filter(|len| *len <= spec.max_unit_octets) else {
            return (units, keepalives, Some(length));
        };
        match rest.get(header..header + payload as usize) {
            None => return (units, keepalives, None),
            Some([]) => keepalives += 1,
            Some(unit) => units.push((at, unit.to_vec())),
        }
        at += header + payload as usize;
    }
}

/// Gives a stream to a machine in pieces; piece `n` arrives at TAI `n`.
fn receive(
    machine: &mut LengthPrefixed,
    octets: &[u8],
    cuts: &[usize],
) -> (Vec<(Tai, Vec<u8>)>, Option<ProtocolFault>) {
    let mut units = Vec::new();
    for (number, piece) in pieces(octets, cuts).into_iter().enumerate() {
        let mut input = Input { octets: piece, received: Tai(number as i64), datagram: false };
        loop {
            match machine.handle_input(Monotonic(0), &mut input) {
                Ok(Some(unit)) => units.push((unit.received, unit.octets.to_vec())),
                Ok(None) => break,
                Err(fault) => return (units, Some(fault)),
            }
        }
        assert!(input.octets.is_empty(), "all input is taken");
    }
    (units, None)
}

fn pieces<'o>(octets: &'o [u8], cuts: &[usize]) -> Vec<&'o [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), octets);
    for cut in cuts {
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

/// The piece in which an octet lies, as a time.
fn time_of(octets: &[u8], cuts: &[usize], at: usize) -> Tai {
    let mut end = 0;
    for (number, piece) in pieces(octets, cuts).into_iter().enumerate() {
        end += piece.len();
        if at < end {
            return Tai(number as i64);
        }
    }
    unreachable!("the octet is in no piece")
}

/// Everything a machine wants to send now.
fn sent(machine: &mut LengthPrefixed, now: Monotonic) -> Vec<(Vec<u8>, Option<u64>)> {
    let mut all = Vec::new();
    while let Some(transmit) = machine.poll_transmit(now, usize::MAX) {
        all.push((transmit.octets.to_vec(), transmit.token));
    }
    all
}

proptest! {
    // REQ: FEP-NET-110, FEP-NET-111
    #[test]
    fn any_stream_in_any_pieces_gives_the_units_of_the_format_with_the_time_of_their_first_octet(
        spec in framings(),
        octets in prop_oneof![
            // Garbage; mostly small values, so that many lengths are possible.
            prop::collection::vec(prop_oneof![3 => Just(0u8), 2 => 0u8..8, 1 => any::<u8>()], 0..400),
            prop::collection::vec(any::<u8>(), 0..100),
        ],
        cuts in prop::collection::vec(0usize..40, 0..30),
    ) {
        let mut machine = LengthPrefixed::new(&spec);
        machine.handle_connected(Monotonic(0));
        let (units, fault) = receive(&mut machine, &octets, &cuts);
        let (expected, keepalives, bad) = oracle(&spec, &octets);
        let expected: Vec<_> =
            expected.into_iter().map(|(at, unit)| (time_of(&octets, &cuts, at), unit)).collect();
        prop_assert_eq!(units, expected.clone());
        prop_assert_eq!(
            fault.map(|fault| match fault { ProtocolFault::BadLength { length, .. } => length, _ => 0 }),
            bad
        );
        let counters = machine.counters();
        prop_assert_eq!((counters.units, counters.keepalives_received), (expected.len() as u64, keepalives));
        prop_assert_eq!(counters.faults, u64::from(bad.is_some()));
    }

    // REQ: FEP-NET-110
    #[test]
    fn what_one_machine_sends_another_receives_whatever_the_pieces(
        spec in framings(),
        lens in prop::collection::vec(0u32..700, 0..20),
        cuts in prop::collection::vec(0usize..900, 0..20),
    ) {
        let mut machine = LengthPrefixed::new(&spec);
        machine.handle_connected(Monotonic(0));
        let (mut stream, mut units) = (Vec::new(), Vec::new());
        for (token, len) in lens.into_iter().enumerate() {
            let unit: Vec<u8> = (0..len).map(|at| (at as usize * 7 + token) as u8).collect();
            match machine.handle_transmit(Monotonic(0), &unit, token as u64) {
                Ok(()) => {
                    prop_assert!(len > 0 && len <= spec.max_unit_octets);
                    let frames = sent(&mut machine, Monotonic(0));
                    prop_assert_eq!(frames.len(), 1);
                    prop_assert_eq!(frames[0].1, Some(token as u64));
                    stream.extend_from_slice(&frames[0].0);
                    units.push(unit);
                }
                Err(TransmitRefused::Empty) => prop_assert_eq!(len, 0),
                Err(TransmitRefused::TooLong { max, .. }) => prop_assert!(len as usize > max),
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
        let mut other = LengthPrefixed::new(&spec);
        other.handle_connected(Monotonic(0));
        let (received, fault) = receive(&mut other, &stream, &cuts);
        prop_assert_eq!(fault, None);
        prop_assert_eq!(received.into_iter().map(|(_, unit)| unit).collect::<Vec<_>>(), units);
    }
}

// REQ: FEP-NET-110
#[test]
fn a_unit_that_lies_whole_in_its_piece_is_not_copied() {
    let mut machine = LengthPrefixed::new(&LengthPrefixedSpec::default());
    machine.handle_connected(Monotonic(0));
    let octets = [0, 0, 0, 3, 1, 2, 3];
    let mut input = Input { octets: &octets, received: Tai(7), datagram: false };
    let unit = machine.handle_input(Monotonic(0), &mut input).unwrap().unwrap();
    assert!(std::ptr::eq(unit.octets, &octets[4..]));
}

// REQ: FEP-NET-112
#[test]
fn keep_alives_leave_when_nothing_else_did_and_silence_ends_the_connection_when_it_is_due() {
    let spec = LengthPrefixedSpec { keepalive_ms: 10, idle_timeout_ms: 35, ..LengthPrefixedSpec::default() };
    let mut machine = LengthPrefixed::new(&spec);
    assert_eq!(machine.poll_timeout(), Monotonic::NEVER, "no connection, no timer");
    let at = |ms: i64| Monotonic(ms * MS);
    machine.handle_connected(at(0));
    assert_eq!(machine.poll_timeout(), at(10));
    assert!(sent(&mut machine, at(9)).is_empty());
    assert_eq!(sent(&mut machine, at(10)), [(vec![0, 0, 0, 0], None)]);
    assert_eq!(machine.poll_timeout(), at(20));
    // A unit takes the place of a keep-alive.
    machine.handle_transmit(at(15), b"x", 1).unwrap();
    assert_eq!(sent(&mut machine, at(15)), [(vec![0, 0, 0, 1, b'x'], Some(1))]);
    assert_eq!(machine.poll_timeout(), at(25));
    assert_eq!(machine.poll_transmit(at(25), 3), None, "no room");
    assert_eq!(sent(&mut machine, at(29)).len(), 1);
    // A keep-alive of the peer, cut in the middle, counts as arrival.
    receive(&mut machine, &[0, 0], &[]);
    let mut input = Input { octets: &[0, 0], received: Tai(0), datagram: false };
    assert_eq!(machine.handle_input(at(30), &mut input), Ok(None));
    assert_eq!(sent(&mut machine, at(64)).len(), 1);
    assert_eq!(machine.handle_timeout(at(64)), Ok(()));
    assert_eq!(machine.poll_timeout(), at(65));
    assert_eq!(machine.handle_timeout(at(65)), Err(ProtocolFault::Silent { idle_timeout_ms: 35 }));
    machine.handle_disconnected(at(65));
    assert_eq!(machine.poll_timeout(), Monotonic::NEVER);
    let counters = machine.counters();
    assert_eq!((counters.keepalives_sent, counters.keepalives_received, counters.faults), (3, 1, 1));
}

// REQ: FEP-NET-103
#[test]
fn a_unit_not_yet_sent_when_the_connection_ends_comes_out_as_failed_once() {
    let mut machine = LengthPrefixed::new(&LengthPrefixedSpec::default());
    assert_eq!(machine.handle_transmit(Monotonic(0), b"x", 4), Err(TransmitRefused::NotConnected));
    machine.handle_connected(Monotonic(0));
    machine.handle_transmit(Monotonic(0), b"x", 5).unwrap();
    assert!(matches!(machine.handle_transmit(Monotonic(0), b"y", 6), Err(TransmitRefused::Full { .. })));
    machine.handle_disconnected(Monotonic(0));
    assert_eq!((machine.poll_failed(), machine.poll_failed()), (Some(5), None));
    machine.handle_connected(Monotonic(0));
    assert!(sent(&mut machine, Monotonic(0)).is_empty(), "nothing is sent on the next connection");
}

// REQ: FEP-NET-110
#[test]
fn what_a_connection_left_unfinished_does_not_continue_in_the_next() {
    let mut machine = LengthPrefixed::new(&LengthPrefixedSpec::default());
    machine.handle_connected(Monotonic(0));
    assert!(receive(&mut machine, &[0, 0, 0, 9, 1, 2], &[3]).0.is_empty());
    machine.handle_disconnected(Monotonic(0));
    assert_eq!(machine.counters().discarded_octets, 6);
    machine.handle_connected(Monotonic(0));
    assert_eq!(receive(&mut machine, &[0, 0, 0, 1, 5], &[]).0, [(Tai(0), vec![5])]);
    machine.handle_disconnected(Monotonic(0));
    assert_eq!(machine.counters().discarded_octets, 6, "a delivered unit is not discarded");
}
