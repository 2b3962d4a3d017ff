use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use fep_net::{EndReason, Link, LinkSpec, LinkState, NetError, Polled, ReceiveMode, Refusal, TransportSpec};

use crate::{Received, assert_balanced, loopback, pattern};

fn server(change: impl FnOnce(&mut LinkSpec)) -> Link {
    let mut spec = LinkSpec::tcp_server(loopback());
    change(&mut spec);
    Link::open(spec).unwrap()
}

/// A client link with short pauses, and the listener it will reach.
fn client(change: impl FnOnce(&mut LinkSpec)) -> (Link, TcpListener) {
    let station = TcpListener::bind(loopback()).unwrap();
    let mut spec = LinkSpec::tcp_client(station.local_addr().unwrap());
    (spec.reconnect_min_ms, spec.reconnect_max_ms) = (5, 50);
    change(&mut spec);
    (Link::open(spec).unwrap(), station)
}

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Sends `bytes` in odd pieces from a thread of its own.
fn send_in_odd_pieces(mut to: TcpStream, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let (mut rest, mut size) = (&bytes[..], 1);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            to.write_all(piece).unwrap();
            rest = after;
            size = (size * 7 + 13) % 99_991 + 1;
        }
    })
}

fn arrives_whole(multishot: bool, expected: ReceiveMode) {
    let sent = pattern(64 << 20);
    let mut link = server(|spec| spec.multishot = multishot);
    let station = TcpStream::connect(link.local_address().unwrap()).unwrap();
    let sender = send_in_odd_pieces(station, sent.clone());
    let mut received = Received::default();
    received.until(&mut link, |_, link| link.counters().disconnects == 1);
    sender.join().unwrap();
    assert_eq!(received.bytes.len(), sent.len());
    assert!(received.bytes == sent, "the octets differ");
    assert_eq!(received.starts, [0]);
    assert_eq!(link.receive_mode(), expected);
    assert_eq!(link.counters().bytes, sent.len() as u64);
    assert_eq!(link.counters().disconnects_by_peer, 1);
    assert_balanced(&link);
}

// REQ: FEP-NET-001
#[test]
fn every_octet_of_a_stream_in_odd_pieces_arrives_once_and_in_order() {
    arrives_whole(true, ReceiveMode::Multishot);
}

// REQ: FEP-NET-002
#[test]
fn without_multishot_every_octet_still_arrives_once_and_in_order() {
    arrives_whole(false, ReceiveMode::SingleShot);
}

// REQ: FEP-NET-001
#[test]
fn two_small_buffers_and_a_reader_that_pauses_lose_nothing() {
    let sent = pattern(1 << 20);
    let mut link = server(|spec| {
        (spec.receive_buffers, spec.receive_buffer_bytes) = (Some(2), 4096);
        spec.socket_buffer_bytes = Some(8192);
    });
    let station = TcpStream::connect(link.local_address().unwrap()).unwrap();
    let sender = send_in_odd_pieces(station, sent.clone());
    let mut received = Received::default();
    let mut turns = 0;
    while link.counters().disconnects == 0 {
        received.turn(&mut link);
        turns += 1;
        if turns % 64 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    sender.join().unwrap();
    assert!(received.bytes == sent, "the octets differ");
    assert!(link.counters().buffers_exhausted > 0, "{:?}", link.counters());
    assert!(received.sizes.iter().all(|size| *size <= 4096));
}

// REQ: FEP-NET-004
#[test]
fn a_client_comes_back_after_the_station_restarts() {
    let (mut link, station) = client(|_| ());
    let address = station.local_addr().unwrap();
    let mut received = Received::default();
    received.until(&mut link, |_, link| *link.state() == LinkState::Connected);
    let (mut stream, _) = station.accept().unwrap();
    stream.write_all(b"before").unwrap();
    drop((stream, station));
    received.until(&mut link, |received, link| {
        received.bytes == b"before" && link.counters().connect_refused > 0
    });
    assert_eq!(*link.state(), LinkState::Connecting);
    assert!(link.last_fault().unwrap().contains("refused"), "{:?}", link.last_fault());

    let station = TcpListener::bind(address).unwrap();
    received.until(&mut link, |_, link| link.counters().connections == 2);
    station.accept().unwrap().0.write_all(b"after").unwrap();
    received.until(&mut link, |received, _| received.bytes == b"beforeafter");
    assert_eq!(received.starts, [0, 6]);
    assert!(link.counters().reconnect_attempts >= 2);
    assert_balanced(&link);
}

// REQ: FEP-NET-004, FEP-NET-310
#[test]
fn a_station_that_refuses_is_asked_again_and_counted() {
    let (mut link, station) = client(|_| ());
    drop(station);
    let mut received = Received::default();
    received.until(&mut link, |_, link| link.counters().connect_refused >= 3);
    assert_eq!(received.connect_faults, ["Connection refused (os error 111)"; 3]);
    let counters = link.counters();
    assert!(counters.reconnect_attempts >= 2 && counters.connections == 0, "{counters:?}");
}

// REQ: FEP-NET-005
#[test]
fn an_attempt_that_nobody_answers_ends_at_the_connect_timeout() {
    // A full backlog makes the kernel ignore further attempts, as a silent host would.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&loopback().into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let _first = TcpStream::connect(address).unwrap();
    let mut spec = LinkSpec::tcp_client(address);
    (spec.connect_timeout_ms, spec.reconnect_min_ms, spec.reconnect_max_ms) = (20, 1, 5);
    let mut link = Link::open(spec).unwrap();
    let mut received = Received::default();
    received.until(&mut link, |_, link| link.counters().connect_timeouts >= 2);
    assert_eq!(received.connect_faults, ["no answer in 20 ms"; 2]);
    assert_eq!(*link.state(), LinkState::Connecting);
}

fn silent_peer_is_dropped(multishot: bool) {
    let (mut link, station) = client(|spec| {
        spec.idle_timeout_ms = Some(50);
        spec.multishot = multishot;
    });
    let mut received = Received::default();
    let mut kept = Vec::new();
    for round in 1..=3 {
        received.until(&mut link, |_, link| link.counters().connections == round);
        let (mut stream, _) = station.accept().unwrap();
        stream.write_all(b"x").unwrap();
        // The station stays, answers at TCP level, and says nothing more.
        kept.push(stream);
        received.until(&mut link, |_, link| link.counters().half_open == round);
    }
    assert_eq!(received.bytes, b"xxx");
    assert_eq!(received.starts, [0, 1, 2]);
    assert_balanced(&link);
}

// REQ: FEP-NET-006
#[test]
fn a_peer_that_goes_silent_is_dropped_as_half_open_and_reached_again() {
    silent_peer_is_dropped(true);
}

// REQ: FEP-NET-006
#[test]
fn a_peer_that_goes_silent_is_dropped_in_single_shot_mode_too() {
    silent_peer_is_dropped(false);
}

// REQ: FEP-NET-007
#[test]
fn a_reset_is_told_from_an_orderly_close() {
    let (mut link, station) = client(|_| ());
    let mut received = Received::default();
    received.until(&mut link, |_, link| link.counters().connections == 1);
    reset(station.accept().unwrap().0);
    received.until(&mut link, |_, link| link.counters().connections == 2);
    drop(station.accept().unwrap());
    received.until(&mut link, |_, link| link.counters().disconnects == 2);
    let counters = link.counters();
    assert_eq!((counters.resets, counters.disconnects_by_peer), (1, 1));
    assert_balanced(&link);
}

/// True once the other end has closed or reset.
fn is_shut(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    match stream.read(&mut [0]) {
        Ok(n) => n == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

// REQ: FEP-NET-008
#[test]
fn a_second_station_is_refused_and_counted_while_the_first_delivers() {
    let mut link = server(|_| ());
    let mut received = Received::default();
    let mut first = TcpStream::connect(link.local_address().unwrap()).unwrap();
    first.write_all(b"one").unwrap();
    received.until(&mut link, |received, _| received.bytes == b"one");
    let mut second = TcpStream::connect(link.local_address().unwrap()).unwrap();
    received.until(&mut link, |_, link| link.counters().refused == 1);
    assert!(is_shut(&mut second));
    // Who was refused, and for whom, goes to the sink.
    let [(peer, Refusal::Occupied { by, .. })] = received.refused[..] else {
        panic!("{:?}", received.refused);
    };
    assert_eq!(peer, Some(second.local_addr().unwrap()));
    assert_eq!((by, &received.peers[..]), (Some(first.local_addr().unwrap()), &[by][..]));
    first.write_all(b"two").unwrap();
    received.until(&mut link, |received, _| received.bytes == b"onetwo");
    assert_eq!(link.peer_address(), Some(first.local_addr().unwrap()));
    assert_eq!((link.counters().connections, link.counters().disconnects), (1, 0));
}

// REQ: FEP-NET-008
#[test]
fn a_silent_station_is_replaced_by_a_newcomer_and_counted_as_half_open() {
    let mut link = server(|spec| {
        let TransportSpec::TcpServer(tcp) = &mut spec.transport else { unreachable!() };
        tcp.takeover_silence_ms = 1;
    });
    let mut received = Received::default();
    let mut first = TcpStream::connect(link.local_address().unwrap()).unwrap();
    first.write_all(b"old").unwrap();
    received.until(&mut link, |received, _| received.bytes == b"old");
    std::thread::sleep(Duration::from_millis(5));
    let mut second = TcpStream::connect(link.local_address().unwrap()).unwrap();
    second.write_all(b"new").unwrap();
    received.until(&mut link, |received, _| received.bytes == b"oldnew");
    assert!(is_shut(&mut first));
    assert_eq!(received.starts, [0, 3]);
    assert_eq!(received.ends, [(3, EndReason::Replaced)]);
    assert_eq!((link.counters().half_open, link.counters().refused), (1, 0));
    assert_balanced(&link);
}

// REQ: FEP-NET-300
#[test]
fn a_server_drops_a_station_that_never_sends_and_takes_the_next_one() {
    let mut link = server(|spec| {
        let TransportSpec::TcpServer(tcp) = &mut spec.transport else { unreachable!() };
        // Nobody is replaced: only the idle time ends a silent connection.
        tcp.takeover_silence_ms = 0;
        spec.idle_timeout_ms = Some(50);
    });
    let address = link.local_address().unwrap();
    let mut received = Received::default();
    let mut silent = TcpStream::connect(address).unwrap();
    received.until(&mut link, |received, _| !received.ends.is_empty());
    assert_eq!(received.ends, [(0, EndReason::Idle)]);
    assert!(is_shut(&mut silent));
    TcpStream::connect(address).unwrap().write_all(b"next").unwrap();
    received.until(&mut link, |received, _| received.bytes == b"next");
    assert_balanced(&link);
}

// REQ: FEP-NET-008
#[test]
fn a_station_that_is_not_on_the_list_is_refused() {
    let mut link = server(|spec| {
        let TransportSpec::TcpServer(tcp) = &mut spec.transport else { unreachable!() };
        tcp.allowed_peers = vec!["127.0.0.9".parse().unwrap()];
    });
    let mut stranger = TcpStream::connect(link.local_address().unwrap()).unwrap();
    let mut received = Received::default();
    received.until(&mut link, |_, link| link.counters().refused == 1);
    assert!(is_shut(&mut stranger));
    assert_eq!(received.refused, [(Some(stranger.local_addr().unwrap()), Refusal::NotAllowed)]);
    assert_eq!((link.counters().connections, link.state()), (0, &LinkState::Listening));
}

#[test]
fn a_server_takes_the_next_station_when_the_first_has_left() {
    let mut link = server(|_| ());
    let mut received = Received::default();
    for round in 1..=20 {
        let mut station = TcpStream::connect(link.local_address().unwrap()).unwrap();
        station.write_all(&[round as u8; 100]).unwrap();
        drop(station);
        received.until(&mut link, |_, link| link.counters().disconnects == round);
    }
    assert_eq!(received.bytes.len(), 2000);
    assert_eq!(received.starts, (0..20).map(|round| round * 100).collect::<Vec<_>>());
    assert_balanced(&link);
}

// REQ: FEP-NET-007
#[test]
fn a_storm_of_short_connections_mixes_up_neither_octets_nor_causes() {
    for multishot in [true, false] {
        let mut link = server(|spec| spec.multishot = multishot);
        let mut received = Received::default();
        let mut sent = Vec::new();
        for round in 0..300u64 {
            let mut station = TcpStream::connect(link.local_address().unwrap()).unwrap();
            let octets = pattern((round * 7919 % 30_011) as usize);
            station.write_all(&octets).unwrap();
            let with_reset = round % 3 == 1;
            if with_reset || round % 2 == 0 {
                received.until(&mut link, |_, link| link.counters().connections == round + 1);
            }
            if with_reset {
                reset(station);
            } else {
                drop(station);
            }
            received.until(&mut link, |_, link| link.counters().disconnects == round + 1);
            sent.push((octets, with_reset, received.bytes.len()));
        }
        let mut from = 0;
        for (octets, with_reset, to) in sent {
            let got = &received.bytes[from..to];
            // A reset makes the kernel throw away what we had not read yet; an orderly close never does.
            assert!(
                if with_reset { octets.starts_with(got) } else { octets == got },
                "{} of {}",
                got.len(),
                octets.len()
            );
            from = to;
        }
        let counters = link.counters();
        assert_eq!((counters.connections, counters.discarded_bytes), (300, 0), "{counters:?}");
        assert_eq!((counters.resets, counters.disconnects_by_peer), (100, 200), "{counters:?}");
        assert_balanced(&link);
    }
}

// REQ: FEP-NET-011
#[test]
fn a_server_that_was_shut_down_listens_no_more() {
    let mut link = server(|_| ());
    let address = link.local_address().unwrap();
    Received::default().turn(&mut link);
    link.shutdown(&mut |_| ());
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(link.local_address(), None);
}

// REQ: FEP-NET-003
#[test]
fn polling_from_a_second_thread_fails_with_the_reason_and_harms_nothing() {
    let mut link = server(|_| ());
    let mut link = std::thread::spawn(move || {
        for _ in 0..3 {
            link.poll(&mut |_| ());
        }
        link
    })
    .join()
    .unwrap();
    assert_eq!(Received::default().turn(&mut link), Polled::Ended);
    assert!(
        matches!(link.state(), LinkState::Failed(reason) if reason.contains("thread")),
        "{:?}",
        link.state()
    );
}

// REQ: FEP-NET-011
#[test]
fn shutdown_closes_the_connection_and_ends_the_link() {
    let (mut link, station) = client(|_| ());
    let mut received = Received::default();
    received.until(&mut link, |_, link| *link.state() == LinkState::Connected);
    let (mut stream, _) = station.accept().unwrap();
    link.shutdown(&mut |event| received.take(event));
    assert_eq!(received.ends, [(0, EndReason::Us)]);
    assert_eq!(received.turn(&mut link), Polled::Ended);
    assert!(is_shut(&mut stream));
    assert_eq!((link.state(), link.counters().disconnects_by_us), (&LinkState::Ended, 1));
    assert_balanced(&link);
}

// REQ: FEP-NET-003
#[test]
fn a_link_dropped_in_the_middle_of_a_flood_lets_go_of_its_buffers_first() {
    for _ in 0..20 {
        let mut link = server(|_| ());
        let station = TcpStream::connect(link.local_address().unwrap()).unwrap();
        let sender = std::thread::spawn(move || {
            let mut station = station;
            while station.write_all(&[7; 10_000]).is_ok() {}
        });
        let mut received = Received::default();
        received.until(&mut link, |received, _| received.bytes.len() > 50_000);
        drop(link);
        sender.join().unwrap();
        assert!(received.bytes.iter().all(|octet| *octet == 7));
    }
}

// REQ: FEP-NET-012
#[test]
fn an_address_that_is_taken_is_an_error_that_names_it() {
    let taken = TcpListener::bind(loopback()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = Link::open(LinkSpec::tcp_server(address)).err().unwrap();
    assert!(matches!(error, NetError::Os { .. }));
    assert!(error.to_string().contains(&format!("address {address}")), "{error}");
    assert!(!error.is_permanent());
}

// REQ: FEP-NET-108
#[test]
fn only_an_error_that_cannot_heal_is_permanent() {
    let nowhere = "192.0.2.1:4001".parse().unwrap();
    let healing = [LinkSpec::tcp_server(nowhere), LinkSpec::udp(nowhere), LinkSpec::file("/nonexistent/x")];
    for spec in healing {
        let error = Link::open(spec).err().unwrap();
        assert!(!error.is_permanent(), "{error}");
    }
    let mut spec = LinkSpec::udp(loopback());
    spec.max_wait_us = 0;
    assert!(Link::open(spec).err().unwrap().is_permanent());
    // What was refused once is opened when its cause has gone.
    let taken = TcpListener::bind(loopback()).unwrap();
    let spec = LinkSpec::tcp_server(taken.local_addr().unwrap());
    assert!(Link::open(spec.clone()).is_err());
    drop(taken);
    let mut link = Link::open(spec).unwrap();
    TcpStream::connect(link.local_address().unwrap()).unwrap().write_all(b"x").unwrap();
    Received::default().until(&mut link, |received, _| received.bytes == b"x");
}

// REQ: FEP-NET-114
#[test]
fn the_end_of_a_connection_is_reported_in_the_turn_that_finds_it_after_the_last_octets() {
    for multishot in [true, false] {
        let mut link = server(|spec| spec.multishot = multishot);
        let mut received = Received::default();
        for round in 1..=20 {
            let mut station = TcpStream::connect(link.local_address().unwrap()).unwrap();
            station.write_all(&pattern(10_000)).unwrap();
            drop(station);
            received.until(&mut link, |received, link| {
                // `Received` asserts that octets lie between a connection and its end; here, that no turn hides one.
                let counters = link.counters();
                assert_eq!(counters.connections, received.starts.len() as u64);
                assert_eq!(counters.disconnects, received.ends.len() as u64);
                received.ends.len() == round
            });
            assert_eq!(received.ends[round - 1], (round * 10_000, EndReason::Peer));
        }
    }
}

#[test]
fn a_link_opened_by_one_thread_is_polled_by_another() {
    let (mut link, station) = client(|_| ());
    let sender = std::thread::spawn(move || station.accept().unwrap().0.write_all(b"hello").unwrap());
    let poller = std::thread::spawn(move || {
        let mut received = Received::default();
        received.until(&mut link, |received, _| received.bytes == b"hello");
    });
    sender.join().unwrap();
    poller.join().unwrap();
}
