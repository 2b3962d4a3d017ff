//! Sending: every unit that was taken gets exactly one completion, in order, and no octet leaves twice.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use fep_net::{EndReason, Link, LinkSpec, LinkState, TransmitFault, TransmitRefused, TransmitRoom, WaitMode};

use crate::{PATIENCE, Received, assert_balanced, loopback, pattern};

/// A client link that is connected, and the station's end.
fn connected(change: impl FnOnce(&mut LinkSpec)) -> (Link, TcpStream, TcpListener, Received) {
    let listener = TcpListener::bind(loopback()).unwrap();
    let mut spec = LinkSpec::tcp_client(listener.local_addr().unwrap());
    (spec.reconnect_min_ms, spec.reconnect_max_ms) = (5, 50);
    // A station that does not read is what some of these tests are about.
    spec.half_open_timeout_ms = 0;
    change(&mut spec);
    let mut link = Link::open(spec).unwrap();
    let mut received = Received::default();
    received.until(&mut link, |_, link| *link.state() == LinkState::Connected);
    let (station, _) = listener.accept().unwrap();
    (link, station, listener, received)
}

/// Reads to the end from a thread of its own.
fn read_all(mut from: TcpStream) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut octets = Vec::new();
        // A reset ends it as well; what came before counts.
        let _ = from.read_to_end(&mut octets);
        octets
    })
}

/// Sends `units` in order as fast as they are taken; each one's token is its index.
fn send_all(link: &mut Link, received: &mut Received, units: &[&[u8]]) {
    let start = Instant::now();
    for (token, unit) in units.iter().enumerate() {
        while let Err(refused) = link.transmit(unit, token as u64) {
            assert!(matches!(refused, TransmitRefused::Full { .. }), "{refused}");
            received.turn(link);
            assert!(start.elapsed() < PATIENCE, "unit {token} is never taken: {:?}", link.counters());
        }
    }
    received.until(link, |received, _| received.transmitted.len() + received.failed.len() == units.len());
}

/// Cuts octets into units of odd sizes, some of them empty.
fn odd_units(octets: &[u8], longest: usize) -> Vec<&[u8]> {
    let (mut units, mut rest, mut size) = (Vec::new(), octets, 1);
    while !rest.is_empty() {
        if units.len() % 5 == 3 {
            units.push(&octets[..0]);
        }
        let (unit, after) = rest.split_at(size.min(rest.len()));
        units.push(unit);
        rest = after;
        size = (size * 7 + 13) % longest + 1;
    }
    units
}

/// Fills queue and sockets until the link refuses; returns how many units it took.
fn fill(link: &mut Link, received: &mut Received, unit: &[u8]) -> u64 {
    let (mut taken, mut stalled) = (0, 0);
    // The kernel's buffers grow while octets move: full means that nothing has moved for a while.
    while stalled < 30 && received.ends.is_empty() {
        match link.transmit(unit, taken) {
            Ok(()) => (taken, stalled) = (taken + 1, 0),
            Err(_) => {
                stalled += 1;
                received.turn(link);
            }
        }
    }
    taken
}

// REQ: FEP-NET-101
#[test]
fn units_of_odd_sizes_leave_once_and_in_order_and_are_completed_in_order() {
    let octets = pattern(32 << 20);
    let units = odd_units(&octets, 99_991);
    assert!(units.iter().any(|unit| unit.is_empty()));
    let (mut link, station, _listener, mut received) = connected(|spec| spec.transmit_units = 64);
    let station = read_all(station);
    send_all(&mut link, &mut received, &units);
    assert_eq!(received.transmitted, (0..units.len() as u64).collect::<Vec<_>>());
    let counters = *link.counters();
    assert_eq!(counters.transmitted_bytes, octets.len() as u64);
    assert_eq!((counters.transmitted_units, counters.transmit_failed), (units.len() as u64, 0));
    link.shutdown(&mut |event| received.take(event));
    assert!(station.join().unwrap() == octets, "the octets differ");
    assert_balanced(&link);
}

// REQ: FEP-NET-101, FEP-NET-001
#[test]
fn both_directions_of_a_connection_carry_octets_at_once() {
    let (down, up) = (pattern(16 << 20), pattern(8 << 20));
    let (mut link, station, _listener, mut received) = connected(|_| ());
    let mut to_link = station.try_clone().unwrap();
    let downlink = down.clone();
    let writer = std::thread::spawn(move || {
        to_link.write_all(&downlink).unwrap();
        to_link
    });
    let reader = read_all(station);
    send_all(&mut link, &mut received, &odd_units(&up, 5_003));
    received.until(&mut link, |received, _| received.bytes.len() >= down.len());
    assert!(received.bytes == down, "the octets received differ");
    assert!(received.failed.is_empty());
    drop(writer.join().unwrap());
    link.shutdown(&mut |event| received.take(event));
    assert!(reader.join().unwrap() == up, "the octets sent differ");
}

// REQ: FEP-NET-102
#[test]
fn a_station_that_never_reads_makes_the_link_refuse_and_nothing_grow() {
    let (mut link, mut station, _listener, mut received) = connected(|spec| {
        spec.transmit_buffer_bytes = 64 << 10;
        spec.transmit_units = 16;
    });
    let unit = pattern(5_000);
    let taken = fill(&mut link, &mut received, &unit);
    for token in 0..1_000 {
        let refused = link.transmit(&unit, token).unwrap_err();
        let TransmitRefused::Full { room } = refused else { panic!("{refused}") };
        assert_eq!(room, link.transmit_room());
        assert!(room.octets < unit.len() || room.units == 0, "{room:?}");
        assert!(refused.to_string().contains(&room.octets.to_string()), "{refused}");
        received.turn(&mut link);
    }
    assert!(link.counters().transmit_refused >= 1_000);
    assert!(taken - received.transmitted.len() as u64 <= 16);
    assert!(received.failed.is_empty());
    // It reads after all: everything that was taken arrives.
    let mut read = vec![0; taken as usize * unit.len()];
    let reader = std::thread::spawn(move || {
        station.read_exact(&mut read).unwrap();
        (read, station)
    });
    received.until(&mut link, |received, _| received.transmitted.len() as u64 == taken);
    let (read, _station) = reader.join().unwrap();
    assert!(read.chunks(unit.len()).all(|piece| piece == unit), "the octets differ");
    assert_eq!(link.transmit_room(), TransmitRoom { octets: 64 << 10, units: 16 });
}

// REQ: FEP-NET-103, FEP-NET-104
#[test]
fn what_was_sent_when_a_connection_ends_is_known_to_the_octet() {
    // We end it, while much waits and a unit is sent in part; then the station reads all that had left.
    let (mut link, station, _listener, mut received) = connected(|spec| {
        spec.idle_timeout_ms = Some(2_000);
        spec.transmit_buffer_bytes = 256 << 10;
    });
    let unit = pattern(30_011);
    let taken = fill(&mut link, &mut received, &unit);
    received.until(&mut link, |received, _| !received.ends.is_empty());
    assert_eq!(received.ends, [(0, EndReason::Idle)]);
    let tokens: Vec<u64> =
        received.transmitted.iter().copied().chain(received.failed.iter().map(|failed| failed.0)).collect();
    assert_eq!(tokens, (0..taken).collect::<Vec<_>>(), "each token once, in order");
    assert!(received.failed.len() > 1, "{} of {taken} failed", received.failed.len());
    let of_failed: usize = received.failed.iter().map(|failed| failed.1).sum();
    assert!(received.failed[1..].iter().all(|failed| failed.1 == 0), "only the first can have begun");
    assert!(received.failed.iter().all(|failed| failed.2 == TransmitFault::Ended(EndReason::Idle)));
    let sent = received.transmitted.len() * unit.len() + of_failed;
    assert_eq!(link.counters().transmitted_bytes, sent as u64);
    assert_eq!(link.counters().transmit_failed, received.failed.len() as u64);
    let read = read_all(station).join().unwrap();
    assert_eq!(read.len(), sent);
    assert!(read.chunks(unit.len()).all(|piece| unit.starts_with(piece)), "the octets differ");
    assert_balanced(&link);
}

// REQ: FEP-NET-103
#[test]
fn a_reset_in_the_middle_fails_what_waits_and_the_next_connection_starts_clean() {
    let (mut link, station, listener, mut received) = connected(|_| ());
    let old = pattern(100_003);
    let taken = fill(&mut link, &mut received, &old);
    socket2::SockRef::from(&station).set_linger(Some(Duration::ZERO)).unwrap();
    drop(station);
    received.until(&mut link, |received, _| received.starts.len() == 2);
    let completed = received.transmitted.len() + received.failed.len();
    assert_eq!(completed as u64, taken);
    assert!(!received.failed.is_empty());
    assert!(matches!(received.ends[..], [(0, EndReason::Reset)]), "{:?}", received.ends);
    let (station, _) = listener.accept().unwrap();
    let reader = read_all(station);
    link.transmit(b"new", 77).unwrap();
    received.until(&mut link, |received, _| received.transmitted.last() == Some(&77));
    link.shutdown(&mut |event| received.take(event));
    assert_eq!(reader.join().unwrap(), b"new", "nothing of the old connection is sent again");
    assert_balanced(&link);
}

// REQ: FEP-NET-103
#[test]
fn a_station_that_closes_its_own_direction_ends_the_connection_for_both() {
    let (mut link, station, _listener, mut received) = connected(|_| ());
    let unit = pattern(50_000);
    let taken = fill(&mut link, &mut received, &unit);
    (&station).write_all(b"last words").unwrap();
    station.shutdown(std::net::Shutdown::Write).unwrap();
    received.until(&mut link, |received, _| !received.ends.is_empty());
    assert_eq!(received.bytes, b"last words");
    assert_eq!(received.ends, [(10, EndReason::Peer)]);
    assert_eq!((received.transmitted.len() + received.failed.len()) as u64, taken);
}

// REQ: FEP-NET-103
#[test]
fn last_octets_of_a_station_that_reset_are_delivered_though_sending_to_it_failed_first() {
    for _ in 0..50 {
        let (mut link, mut station, _listener, mut received) = connected(|_| ());
        station.write_all(b"last words").unwrap();
        // Closing with unread octets resets: write first, so that ours are unread.
        link.transmit(b"unread", 1).unwrap();
        received.until(&mut link, |received, _| received.transmitted == [1]);
        drop(station);
        let _ = link.transmit(b"into the void", 2);
        received.until(&mut link, |received, _| !received.ends.is_empty());
        assert_eq!(received.bytes, b"last words");
    }
}

// REQ: FEP-NET-103
#[test]
fn without_a_connection_nothing_is_taken() {
    let mut link = Link::open(LinkSpec::tcp_server(loopback())).unwrap();
    assert_eq!(link.transmit(b"x", 1), Err(TransmitRefused::NotConnected));
    assert_eq!(link.transmit_room(), TransmitRoom::default());
    let mut received = Received::default();
    let station = TcpStream::connect(link.local_address().unwrap()).unwrap();
    received.until(&mut link, |_, link| *link.state() == LinkState::Connected);
    let longest = link.transmit_room().octets;
    let long = vec![0; longest + 1];
    let refused = TransmitRefused::TooLong { octets: longest + 1, max: longest };
    assert_eq!(link.transmit(&long, 2), Err(refused));
    drop(station);
    received.until(&mut link, |received, _| !received.ends.is_empty());
    assert_eq!(link.transmit(b"x", 3), Err(TransmitRefused::NotConnected));
    assert_eq!(link.counters().transmit_refused, 3);
    link.shutdown(&mut |event| received.take(event));
    assert_eq!(link.transmit(b"x", 4), Err(TransmitRefused::NotConnected));
    assert!(received.transmitted.is_empty() && received.failed.is_empty());
}

// REQ: FEP-NET-105
#[test]
fn files_and_standard_input_refuse_to_transmit_and_say_why() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for (spec, kind) in [(LinkSpec::file(file.path()), "file"), (LinkSpec::stdin(), "stdin")] {
        let mut link = Link::open(spec).unwrap();
        let refused = link.transmit(b"x", 1).unwrap_err();
        assert_eq!(refused, TransmitRefused::ReceiveOnly(kind));
        assert!(refused.to_string().contains(kind), "{refused}");
        assert_eq!(link.counters().transmit_refused, 1);
    }
}

// REQ: FEP-NET-103
#[test]
fn shutdown_completes_what_waits_before_it_reports_the_end() {
    let (mut link, _station, _listener, mut received) = connected(|_| ());
    let taken = fill(&mut link, &mut received, &pattern(70_000));
    link.shutdown(&mut |event| received.take(event));
    assert_eq!((received.transmitted.len() + received.failed.len()) as u64, taken);
    assert_eq!(received.ends, [(0, EndReason::Us)]);
}

// REQ: FEP-NET-003
#[test]
fn a_link_dropped_while_the_kernel_sends_waits_for_it_first() {
    for _ in 0..20 {
        let (mut link, station, _listener, mut received) = connected(|_| ());
        let octets = pattern(3 << 20);
        let mut sent = 0;
        for unit in octets.chunks(200_000) {
            sent += usize::from(link.transmit(unit, 0).is_ok());
        }
        received.turn(&mut link);
        assert!(sent > 0);
        drop(link);
        let read = read_all(station).join().unwrap();
        assert!(octets.starts_with(&read), "octets that were never queued");
    }
}

/// A little random generator: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A station that lives a number of short lives: reads some, pauses, closes or resets. Returns what each life read.
fn unsteady_station(listener: TcpListener, mut random: Random, lives: usize) -> Vec<Vec<u8>> {
    let life = |random: &mut Random| {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut octets, mut piece) = (Vec::new(), vec![0; 50_000]);
        for _ in 0..random.below(40) {
            if random.below(4) == 0 {
                let _ = stream.write_all(b"telemetry");
                std::thread::sleep(Duration::from_micros(random.below(500)));
            }
            let len = 1 + random.below(piece.len() as u64 - 1) as usize;
            match stream.read(&mut piece[..len]) {
                Ok(len) if len > 0 => octets.extend_from_slice(&piece[..len]),
                _ => break,
            }
        }
        if random.below(2) == 0 {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        octets
    };
    (0..lives).map(|_| life(&mut random)).collect()
}

// REQ: FEP-NET-103, FEP-NET-104
#[test]
fn whatever_a_station_does_every_token_completes_once_in_order_and_no_octet_leaves_twice() {
    const LIVES: usize = 30;
    for seed in 1..=6u64 {
        let listener = TcpListener::bind(loopback()).unwrap();
        let mut spec = LinkSpec::tcp_client(listener.local_addr().unwrap());
        (spec.reconnect_min_ms, spec.reconnect_max_ms) = (1, 2);
        (spec.transmit_buffer_bytes, spec.transmit_units) = (40_000, 50);
        spec.wait = [WaitMode::Wait, WaitMode::Busy, WaitMode::Adaptive][seed as usize % 3];
        spec.multishot = seed % 2 == 0;
        let station = {
            let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            std::thread::spawn(move || unsteady_station(listener, random, LIVES))
        };
        let mut link = Link::open(spec).unwrap();
        let (mut received, mut random) = (Received::default(), Random(seed + 1000));
        // What was taken in each connection, in order: token and octets.
        let mut taken: Vec<Vec<(u64, Vec<u8>)>> = Vec::new();
        let (start, mut token) = (Instant::now(), 0u64);
        while !station.is_finished() {
            received.turn(&mut link);
            assert!(start.elapsed() < PATIENCE, "{:?}", link.counters());
            taken.resize_with(received.starts.len(), Vec::new);
            for _ in 0..random.below(6) {
                // Every octet depends on the token, so that a repeated one shows.
                let unit: Vec<u8> =
                    (0..random.below(9_000)).map(|at| (token.wrapping_mul(31) + at * 7) as u8).collect();
                match link.transmit(&unit, token) {
                    Ok(()) => taken.last_mut().unwrap().push((token, unit)),
                    Err(TransmitRefused::Full { .. } | TransmitRefused::NotConnected) => continue,
                    Err(other) => panic!("{other}"),
                }
                token += 1;
            }
        }
        link.shutdown(&mut |event| received.take(event));
        let lives = station.join().unwrap();
        assert_eq!(lives.len(), LIVES);
        let mut completed = received.transmitted.clone();
        completed.extend(received.failed.iter().map(|failed| failed.0));
        completed.sort_unstable();
        assert_eq!(completed, (0..token).collect::<Vec<_>>(), "seed {seed}: each token once");
        assert!(received.transmitted.is_sorted(), "seed {seed}");
        for (connection, (read, taken)) in lives.iter().zip(&taken).enumerate() {
            let sent: Vec<u8> = taken.iter().flat_map(|(_, unit)| unit.iter().copied()).collect();
            assert!(
                sent.starts_with(read),
                "seed {seed}: connection {connection} read other octets than were taken for it"
            );
        }
        let of_failed: u64 = received.failed.iter().map(|failed| failed.1 as u64).sum();
        let of_sent: u64 = taken
            .iter()
            .flatten()
            .filter(|(token, _)| received.transmitted.binary_search(token).is_ok())
            .map(|(_, unit)| unit.len() as u64)
            .sum();
        assert_eq!(link.counters().transmitted_bytes, of_sent + of_failed, "seed {seed}");
        assert_balanced(&link);
    }
}

// REQ: FEP-NET-116
#[test]
fn a_waker_ends_the_sleep_of_the_polling_thread() {
    let (mut link, _station, _listener, mut received) = connected(|spec| {
        spec.wait = WaitMode::Wait;
        spec.max_wait_us = 1_000_000;
    });
    let waker = link.waker().unwrap();
    let (asks, asked) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || asked.iter().for_each(|()| waker.wake()));
    // Were a sleep not ended, this would take far beyond all patience.
    let start = Instant::now();
    for _ in 0..500 {
        asks.send(()).unwrap();
        received.turn(&mut link);
        assert!(start.elapsed() < PATIENCE, "wake-ups do not end sleeps");
    }
    drop(asks);
    thread.join().unwrap();
}
