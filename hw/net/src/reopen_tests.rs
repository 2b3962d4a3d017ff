//! Sockets that fail after they have been opened. A failing interface is imitated by cancelling a request behind the link's back.

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::event::Event;
use crate::link::{Link, LinkState};
use crate::ring::Request;
use crate::spec::LinkSpec;

const PATIENCE: Duration = Duration::from_secs(60);
/// What is reported while somebody else has the address.
const IN_USE: &str = "failed: Address already in use (os error 98)";

/// What a link reported, in short.
fn until(link: &mut Link, seen: &mut Vec<String>, done: impl Fn(&Link, &[String]) -> bool) {
    let start = Instant::now();
    while !done(link, seen) {
        link.poll(&mut |event| {
            let short = match event {
                Event::Connected { .. } => "connected".into(),
                Event::ConnectFailed { cause, .. } => format!("failed: {cause}"),
                Event::Disconnected { reason, .. } => format!("disconnected: {reason:?}"),
                Event::Chunk(chunk) => String::from_utf8_lossy(chunk.octets).into_owned(),
                other => format!("{other:?}"),
            };
            // How many attempts fail is up to the machine.
            if !(short.starts_with("failed") && seen.last() == Some(&short)) {
                seen.push(short);
            }
        });
        assert!(start.elapsed() < PATIENCE, "{seen:?} {:?} {:?}", link.state(), link.last_fault());
    }
}

fn slow_to_return(mut spec: LinkSpec) -> LinkSpec {
    (spec.reconnect_min_ms, spec.reconnect_max_ms) = (200, 200);
    spec
}

fn datagram_socket_comes_back(multishot: bool) {
    let mut spec = slow_to_return(LinkSpec::udp("127.0.0.1:0".parse().unwrap()));
    spec.multishot = multishot;
    let mut link = Link::open(spec).unwrap();
    let address = link.local_address().unwrap();
    let mut seen = Vec::new();
    until(&mut link, &mut seen, |_, seen| seen.len() == 1);
    link.poll(&mut |_| ());
    let receive = if multishot { Request::ReceiveMulti } else { Request::ReceiveSingle };
    link.break_request(receive).unwrap();
    until(&mut link, &mut seen, |_, seen| seen.len() == 2);
    assert_eq!(seen, ["connected".to_owned(), format!("disconnected: Error({})", libc::ECANCELED)]);
    assert_eq!(*link.state(), LinkState::Connecting);
    // Somebody else takes the address: opening again fails, and is tried until it succeeds.
    let start = Instant::now();
    let other = loop {
        match UdpSocket::bind(address) {
            Ok(other) => break other,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
        link.poll(&mut |_| ());
    };
    until(&mut link, &mut seen, |link, _| {
        link.last_fault().is_some_and(|fault| fault.contains(&format!("bind {address}")))
    });
    drop(other);
    until(&mut link, &mut seen, |_, seen| seen.len() == 4);
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hello", address).unwrap();
    until(&mut link, &mut seen, |_, seen| seen.len() == 5);
    assert_eq!(seen[2..], [IN_USE, "connected", "hello"]);
    assert_eq!(link.counters().reopens, 1);
}

// REQ: FEP-NET-107, FEP-NET-310
#[test]
fn a_datagram_socket_that_fails_is_opened_again_at_the_same_address_until_that_succeeds() {
    datagram_socket_comes_back(true);
    datagram_socket_comes_back(false);
}

// REQ: FEP-NET-107, FEP-NET-310
#[test]
fn a_listener_that_fails_is_opened_again_at_the_same_address_until_that_succeeds() {
    let mut link = Link::open(slow_to_return(LinkSpec::tcp_server("127.0.0.1:0".parse().unwrap()))).unwrap();
    let address = link.local_address().unwrap();
    let mut seen = Vec::new();
    until(&mut link, &mut seen, |link, _| *link.state() == LinkState::Listening);
    link.poll(&mut |_| ());
    link.break_request(Request::Accept).unwrap();
    until(&mut link, &mut seen, |link, _| *link.state() == LinkState::Connecting);
    let start = Instant::now();
    let other = loop {
        match TcpListener::bind(address) {
            Ok(other) => break other,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
        link.poll(&mut |_| ());
    };
    until(&mut link, &mut seen, |link, _| {
        link.last_fault().is_some_and(|fault| fault.contains(&format!("address {address}")))
    });
    drop(other);
    until(&mut link, &mut seen, |link, _| link.counters().reopens == 1);
    TcpStream::connect(address).unwrap().write_all(b"hello").unwrap();
    until(&mut link, &mut seen, |_, seen| seen.len() == 4);
    assert_eq!(seen, [IN_USE, "connected", "hello", "disconnected: Peer"]);
}

// REQ: FEP-NET-107
#[test]
fn a_listener_that_fails_while_a_station_is_connected_leaves_the_station_alone() {
    let mut link = Link::open(slow_to_return(LinkSpec::tcp_server("127.0.0.1:0".parse().unwrap()))).unwrap();
    let address = link.local_address().unwrap();
    let mut station = TcpStream::connect(address).unwrap();
    let mut seen = Vec::new();
    until(&mut link, &mut seen, |_, seen| seen.len() == 1);
    link.poll(&mut |_| ());
    link.break_request(Request::Accept).unwrap();
    until(&mut link, &mut seen, |link, _| link.counters().receive_errors == 1);
    station.write_all(b"still here").unwrap();
    until(&mut link, &mut seen, |link, _| link.counters().reopens == 1);
    until(&mut link, &mut seen, |_, seen| seen.len() == 2);
    assert_eq!((seen[1].as_str(), link.state()), ("still here", &LinkState::Connected));
}
