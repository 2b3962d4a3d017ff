//! Stations: links with a protocol, against peers that speak it by hand.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use fep_net::protocol::ProtocolFault;
use fep_net::{
    EndReason, Endian, Event, LengthOf, LengthPrefixedSpec, LinkSpec, LinkState, Polled, ProtocolSpec,
    Station, TransmitFault, TransmitRefused,
};

use crate::{PATIENCE, loopback, pattern};

/// What a station reported.
#[derive(Debug, Default)]
struct Reported {
    units: Vec<Vec<u8>>,
    connections: usize,
    ends: Vec<EndReason>,
    transmitted: Vec<u64>,
    failed: Vec<(u64, TransmitFault)>,
}

impl Reported {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Connected { .. } => self.connections += 1,
            Event::Chunk(chunk) => {
                assert!(chunk.unit);
                self.units.push(chunk.octets.to_vec());
            }
            Event::Silence { .. } | Event::Refused { .. } | Event::ConnectFailed { .. } => {}
            Event::Disconnected { reason, .. } => self.ends.push(reason),
            Event::Transmitted { token, .. } => self.transmitted.push(token),
            Event::TransmitFailed { token, fault, .. } => self.failed.push((token, fault)),
        }
    }

    fn until(&mut self, station: &mut Station, done: impl Fn(&Reported, &Station) -> bool) {
        let start = Instant::now();
        while !done(self, station) {
            station.poll(&mut |event| self.take(event));
            assert!(start.elapsed() < PATIENCE, "{self:?} {:?}", station.counters());
        }
    }
}

fn server(change: impl FnOnce(&mut LengthPrefixedSpec)) -> (Station, TcpStream) {
    let mut spec = LinkSpec::tcp_server(loopback());
    let mut framing = LengthPrefixedSpec::default();
    change(&mut framing);
    spec.protocol = ProtocolSpec::LengthPrefixed(framing);
    let station = Station::open(spec).unwrap();
    let peer = TcpStream::connect(station.link().local_address().unwrap()).unwrap();
    (station, peer)
}

// REQ: FEP-NET-110
#[test]
fn units_come_and_go_with_their_length_in_front() {
    let (mut station, mut peer) = server(|framing| {
        framing.length_octets = 2;
        framing.length_of = LengthOf::Whole;
        framing.endian = Endian::Little;
    });
    let mut reported = Reported::default();
    // By hand: lengths of 5 and 2 (a keep-alive) and 4, little-endian, themselves included, cut in the middle.
    peer.write_all(&[5, 0, b'a', b'b', b'c', 2, 0, 4]).unwrap();
    reported.until(&mut station, |reported, _| reported.units.len() == 1);
    peer.write_all(&[0, b'd', b'e']).unwrap();
    reported.until(&mut station, |reported, _| reported.units.len() == 2);
    assert_eq!(reported.units, [&b"abc"[..], b"de"]);
    let mut long = vec![0; 1000];
    long[999] = 9;
    station.transmit(b"xyz", 1).unwrap();
    station.transmit(&long, 2).unwrap();
    assert_eq!(station.transmit(b"", 3), Err(TransmitRefused::Empty));
    reported.until(&mut station, |reported, _| reported.transmitted == [1, 2]);
    let mut read = vec![0; 5 + 1002];
    peer.read_exact(&mut read).unwrap();
    assert_eq!(read[..7], [5, 0, b'x', b'y', b'z', (1002 % 256) as u8, 3]);
    assert_eq!(read[7..], long);
    let counters = *station.counters();
    assert_eq!((counters.units, counters.unit_octets, counters.keepalives_received), (2, 5, 1));
    // The peer leaves in the middle of a unit.
    peer.write_all(&[100, 0, b'f']).unwrap();
    drop(peer);
    reported.until(&mut station, |reported, _| !reported.ends.is_empty());
    assert_eq!(reported.units.len(), 2);
    assert_eq!((station.counters().protocol_discarded_octets, reported.ends[0]), (3, EndReason::Peer));
}

// REQ: FEP-NET-110, FEP-NET-101
#[test]
fn two_stations_exchange_units_of_all_sizes_under_back_pressure() {
    let framing = LengthPrefixedSpec { max_unit_octets: 70_000, ..LengthPrefixedSpec::default() };
    let open = |mut spec: LinkSpec| {
        spec.protocol = ProtocolSpec::LengthPrefixed(framing.clone());
        spec.transmit_buffer_bytes = 128 << 10;
        spec.transmit_units = 20;
        Station::open(spec).unwrap()
    };
    let mut server = open(LinkSpec::tcp_server(loopback()));
    let mut client = open(LinkSpec::tcp_client(server.link().local_address().unwrap()));
    let octets = pattern(8 << 20);
    let (mut units, mut rest, mut size) = (Vec::new(), &octets[..], 1);
    while !rest.is_empty() {
        let (unit, after) = rest.split_at(size.min(rest.len()));
        units.push(unit);
        rest = after;
        size = (size * 7 + 13) % 69_999 + 1;
    }
    let (mut at_server, mut at_client) = (Reported::default(), Reported::default());
    let (mut up, mut down) = (0, 0);
    let start = Instant::now();
    while at_server.units.len() < units.len() || at_client.units.len() < units.len() {
        while up < units.len() && client.transmit(units[up], up as u64).is_ok() {
            up += 1;
        }
        while down < units.len() && server.transmit(units[down], down as u64).is_ok() {
            down += 1;
        }
        client.poll(&mut |event| at_client.take(event));
        server.poll(&mut |event| at_server.take(event));
        assert!(start.elapsed() < PATIENCE, "{:?}", server.counters());
    }
    assert!(at_server.units == units && at_client.units == units, "the units differ");
    at_client.until(&mut client, |reported, _| reported.transmitted.len() == units.len());
    assert_eq!(at_client.transmitted, (0..units.len() as u64).collect::<Vec<_>>());
    assert!(client.counters().transmit_refused > 0, "there was back-pressure");
}

// REQ: FEP-NET-111
#[test]
fn a_length_that_cannot_be_ends_the_connection_with_the_reason_and_is_counted() {
    let (mut station, mut peer) = server(|framing| framing.max_unit_octets = 1000);
    let address = station.link().local_address().unwrap();
    let mut reported = Reported::default();
    peer.write_all(&[0, 0, 0, 2, 1, 2, 0, 0, 0x03, 0xe9, 7, 7, 7]).unwrap();
    reported.until(&mut station, |reported, _| !reported.ends.is_empty());
    let fault = ProtocolFault::BadLength { length: 1001, min: 0, max: 1000 };
    assert_eq!(reported.ends, [EndReason::Protocol(fault)]);
    assert_eq!(reported.units, [[1, 2]], "what came before it is delivered");
    let counters = *station.counters();
    assert_eq!((counters.protocol_faults, counters.disconnects_by_protocol), (1, 1));
    assert_eq!(counters.protocol_discarded_octets, 7);
    let text = station.last_fault().unwrap();
    assert!(text.contains("1001") && text.contains("max_unit_octets"), "{text}");
    // Closed for the peer as well, and the next one is welcome.
    peer.set_nonblocking(true).unwrap();
    let closed = |outcome: std::io::Result<usize>| match outcome {
        Ok(len) => len == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    };
    reported.until(&mut station, |_, _| closed((&peer).read(&mut [0])));
    let mut peer = TcpStream::connect(address).unwrap();
    peer.write_all(&[0, 0, 0, 1, 9]).unwrap();
    reported.until(&mut station, |reported, _| reported.units.len() == 2);
    assert_eq!((reported.connections, &reported.units[1][..]), (2, &[9][..]));
}

// REQ: FEP-NET-112
#[test]
fn keep_alives_are_sent_and_keep_a_silent_connection_while_a_mute_peer_is_dropped() {
    let (mut station, mut peer) = server(|framing| {
        framing.keepalive_ms = 5;
        framing.idle_timeout_ms = 200;
    });
    let mut reported = Reported::default();
    let mut zeros = [1; 4];
    for _ in 0..10 {
        // The peer answers each keep-alive with one.
        reported.until(&mut station, |_, station| station.counters().keepalives_sent > 0);
        peer.set_nonblocking(true).unwrap();
        let start = Instant::now();
        while peer.peek(&mut zeros).map_or(true, |len| len < 4) {
            station.poll(&mut |event| reported.take(event));
            assert!(start.elapsed() < PATIENCE);
        }
        peer.set_nonblocking(false).unwrap();
        peer.read_exact(&mut zeros).unwrap();
        assert_eq!(zeros, [0; 4]);
        peer.write_all(&zeros).unwrap();
    }
    assert!(station.counters().keepalives_received >= 9);
    // Now it says nothing more.
    reported.until(&mut station, |reported, _| !reported.ends.is_empty());
    assert_eq!(reported.ends, [EndReason::Protocol(ProtocolFault::Silent { idle_timeout_ms: 200 })]);
    assert!(reported.transmitted.is_empty(), "keep-alives are nobody's units");
}

// REQ: FEP-NET-103
#[test]
fn units_that_a_protocol_holds_fail_with_the_connection() {
    let (mut station, peer) = server(|framing| framing.max_unit_octets = 1_000_000);
    let mut reported = Reported::default();
    reported.until(&mut station, |reported, _| reported.connections == 1);
    let unit = pattern(900_000);
    let (mut taken, mut stalled) = (0, 0);
    while stalled < 30 {
        match station.transmit(&unit, taken) {
            Ok(()) => (taken, stalled) = (taken + 1, 0),
            Err(refused) => {
                assert!(matches!(refused, TransmitRefused::Full { .. }), "{refused}");
                stalled += 1;
                station.poll(&mut |event| reported.take(event));
            }
        }
    }
    drop(peer);
    reported.until(&mut station, |reported, _| !reported.ends.is_empty());
    let mut completed = reported.transmitted.clone();
    completed.extend(reported.failed.iter().map(|failed| failed.0));
    assert_eq!(completed, (0..taken).collect::<Vec<_>>(), "each token once, in order");
    assert!(reported.failed.len() >= 2, "one waits in the link and one in the protocol");
}

// REQ: FEP-NET-110
#[test]
fn a_recorded_stream_of_units_is_read_from_a_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[0, 0, 0, 1, 5, 0, 0, 0, 0, 0, 0, 0, 2, 6, 7, 0, 0]).unwrap();
    let mut spec = LinkSpec::file(file.path());
    spec.protocol = ProtocolSpec::LengthPrefixed(LengthPrefixedSpec::default());
    let mut station = Station::open(spec).unwrap();
    let mut reported = Reported::default();
    reported.until(&mut station, |_, station| *station.state() == LinkState::Ended);
    assert_eq!(reported.units, [&[5][..], &[6, 7]]);
    assert_eq!(reported.ends, [EndReason::EndOfData]);
    assert_eq!(station.counters().protocol_discarded_octets, 2);
    assert_eq!(station.transmit(b"x", 1), Err(TransmitRefused::ReceiveOnly("file")));
    assert_eq!(station.poll(&mut |_| ()), Polled::Ended);
}

// REQ: FEP-NET-105
#[test]
fn a_raw_station_is_its_link() {
    let mut station = Station::open(LinkSpec::tcp_server(loopback())).unwrap();
    let mut peer = TcpStream::connect(station.link().local_address().unwrap()).unwrap();
    peer.write_all(b"octets").unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    let (mut octets, mut order, start) = (Vec::new(), Vec::new(), Instant::now());
    while order.last() != Some(&"disconnected") {
        station.poll(&mut |event| match event {
            Event::Connected { .. } => order.push("connected"),
            Event::Chunk(chunk) => {
                assert!(!chunk.unit && !chunk.truncated);
                octets.extend_from_slice(chunk.octets);
            }
            Event::Disconnected { reason: EndReason::Peer, .. } => order.push("disconnected"),
            other => panic!("{other:?}"),
        });
        assert!(start.elapsed() < PATIENCE);
    }
    assert_eq!((&octets[..], &order[..]), (&b"octets"[..], &["connected", "disconnected"][..]));
}
