use std::net::UdpSocket;

use fep_net::{
    Link, LinkSpec, Polled, ReceiveMode, SendTo, TransmitFault, TransmitRefused, TransportSpec, UdpSpec,
};

use crate::{Received, loopback};

fn open(change: impl FnOnce(&mut LinkSpec, &mut UdpSpec)) -> (Link, UdpSocket) {
    let mut spec = LinkSpec::udp(loopback());
    let TransportSpec::Udp(mut udp) = spec.transport.clone() else { unreachable!() };
    change(&mut spec, &mut udp);
    spec.transport = TransportSpec::Udp(udp);
    let link = Link::open(spec).unwrap();
    let sender = UdpSocket::bind(loopback()).unwrap();
    sender.connect(link.local_address().unwrap()).unwrap();
    (link, sender)
}

fn boundaries_are_kept(multishot: bool, expected: ReceiveMode) {
    let (mut link, sender) = open(|spec, _| spec.multishot = multishot);
    let mut received = Received::default();
    // Reordered and doubled by "the network"; one of them is empty.
    let datagrams = [&b"2"[..], b"1", b"1", b"", b"a longer one", b"3"];
    for datagram in datagrams {
        sender.send(datagram).unwrap();
    }
    received.until(&mut link, |received, _| received.sizes.len() == datagrams.len());
    assert_eq!(received.bytes, datagrams.concat());
    assert_eq!(received.sizes, datagrams.map(<[u8]>::len));
    assert_eq!((received.datagrams, received.truncated), (datagrams.len(), 0));
    assert_eq!(received.starts, [0]);
    assert_eq!(link.receive_mode(), expected);
}

// REQ: FEP-NET-014
#[test]
fn datagrams_arrive_one_by_one_as_the_network_ordered_and_doubled_them() {
    boundaries_are_kept(true, ReceiveMode::Multishot);
}

// REQ: FEP-NET-002
#[test]
fn datagrams_arrive_one_by_one_without_multishot_too() {
    boundaries_are_kept(false, ReceiveMode::SingleShot);
}

fn long_datagrams_are_marked(multishot: bool) {
    let (mut link, sender) = open(|spec, udp| {
        spec.multishot = multishot;
        udp.max_datagram_bytes = 1279;
    });
    let mut received = Received::default();
    for len in [1278, 1279, 1280, 9000, 7] {
        sender.send(&vec![5; len]).unwrap();
    }
    received.until(&mut link, |received, _| received.sizes.len() == 5);
    assert_eq!(received.sizes, [1278, 1279, 1279, 1279, 7]);
    assert_eq!(received.truncated, 2);
    assert_eq!(link.counters().truncated, 2);
}

// REQ: FEP-NET-014
#[test]
fn a_datagram_longer_than_allowed_is_handed_on_cut_marked_and_counted() {
    long_datagrams_are_marked(true);
    long_datagrams_are_marked(false);
}

fn flood_is_accounted(multishot: bool) {
    let (mut link, sender) = open(|spec, udp| {
        spec.multishot = multishot;
        spec.socket_buffer_bytes = Some(64 << 10);
        spec.receive_buffers = Some(16);
        udp.max_datagram_bytes = 2048;
    });
    let mut received = Received::default();
    received.turn(&mut link);
    let mut sent = 0;
    for burst in [5_000, 1, 20_000] {
        // Nobody polls while this happens: the socket buffer overflows.
        for _ in 0..burst {
            sender.send(&[9; 1279]).unwrap();
        }
        sent += burst;
        received.until(&mut link, |received, link| {
            received.sizes.len() as u64 + link.counters().kernel_drops >= sent
        });
        let counters = link.counters();
        assert_eq!(received.sizes.len() as u64 + counters.kernel_drops, sent, "{counters:?}");
        assert_eq!(counters.datagrams, received.sizes.len() as u64);
    }
    assert!(link.counters().kernel_drops > 1000, "{:?}", link.counters());
}

// REQ: FEP-NET-009
#[test]
fn sent_datagrams_are_those_received_plus_those_the_kernel_dropped() {
    flood_is_accounted(true);
}

// REQ: FEP-NET-009
#[test]
fn drops_are_exact_without_multishot_too() {
    flood_is_accounted(false);
}

// REQ: FEP-NET-010
#[test]
fn datagrams_carry_the_time_the_kernel_received_them_in_tai() {
    let (mut link, sender) = open(|_, _| ());
    let mut received = Received::default();
    // The kernel starts to stamp arrivals a little after the first socket of the host has asked for it.
    sender.send(b"early").unwrap();
    received.until(&mut link, |received, _| received.stamps.len() == 1);
    std::thread::sleep(std::time::Duration::from_millis(50));
    let before = fep_time::tai_now().0;
    sender.send(b"first").unwrap();
    let between = fep_time::tai_now().0;
    sender.send(b"second").unwrap();
    let after = fep_time::tai_now().0;
    received.until(&mut link, |received, _| received.stamps.len() == 3);
    // Stamped when sent over loopback, not when polled: only the kernel can have known.
    assert!(
        before <= received.stamps[1] && received.stamps[1] <= between,
        "{before} {:?} {between}",
        received.stamps
    );
    assert!(
        between <= received.stamps[2] && received.stamps[2] <= after,
        "{between} {:?} {after}",
        received.stamps
    );
}

// REQ: FEP-NET-015
#[test]
fn a_multicast_group_is_joined_on_the_interface_named() {
    for interface in ["127.0.0.1", "lo"] {
        let group = "239.255.77.1".parse().unwrap();
        let port = UdpSocket::bind(loopback()).unwrap().local_addr().unwrap().port();
        let (mut link, _) = open(|_, udp| {
            udp.bind = format!("0.0.0.0:{port}").parse().unwrap();
            (udp.multicast_group, udp.multicast_interface) = (Some(group), Some(interface.into()));
        });
        let sender = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        sender.set_multicast_if_v4(&"127.0.0.1".parse().unwrap()).unwrap();
        sender.set_multicast_loop_v4(true).unwrap();
        let to = |address: &str| format!("{address}:{port}").parse::<std::net::SocketAddr>().unwrap().into();
        sender.send_to(b"to another group", &to("239.255.77.2")).unwrap();
        sender.send_to(b"to the group", &to("239.255.77.1")).unwrap();
        let mut received = Received::default();
        received.until(&mut link, |received, _| !received.bytes.is_empty());
        assert_eq!(received.bytes, b"to the group");
    }
}

// REQ: FEP-NET-015
#[test]
fn source_specific_multicast_hears_only_the_sender_named() {
    let port = UdpSocket::bind(loopback()).unwrap().local_addr().unwrap().port();
    let (mut link, _) = open(|_, udp| {
        udp.bind = format!("0.0.0.0:{port}").parse().unwrap();
        udp.multicast_group = Some("232.77.0.1".parse().unwrap());
        udp.multicast_interface = Some("127.0.0.1".into());
        udp.multicast_source = Some("127.0.0.3".parse().unwrap());
    });
    for (sender, text) in [("127.0.0.2:0", "stranger"), ("127.0.0.3:0", "station")] {
        let socket = UdpSocket::bind(sender).unwrap();
        socket2::SockRef::from(&socket).set_multicast_if_v4(&"127.0.0.1".parse().unwrap()).unwrap();
        socket.send_to(text.as_bytes(), format!("232.77.0.1:{port}")).unwrap();
    }
    let mut received = Received::default();
    received.until(&mut link, |received, _| !received.bytes.is_empty());
    assert_eq!(received.bytes, b"station");
}

// REQ: FEP-NET-012
#[test]
fn an_interface_that_does_not_exist_is_an_error_that_names_it() {
    let mut spec = LinkSpec::udp("0.0.0.0:40999".parse().unwrap());
    let TransportSpec::Udp(udp) = &mut spec.transport else { unreachable!() };
    udp.multicast_group = Some("239.255.77.1".parse().unwrap());
    udp.multicast_interface = Some("antenna7".into());
    let error = Link::open(spec).err().unwrap().to_string();
    assert!(error.contains("antenna7") && error.contains("multicast_interface"), "{error}");
}

// REQ: FEP-NET-011
#[test]
fn a_quiet_socket_makes_turns_idle_and_shutdown_ends_them() {
    let (mut link, _sender) = open(|_, _| ());
    let mut received = Received::default();
    assert_eq!(received.turn(&mut link), Polled::Active, "the socket is reported");
    for _ in 0..5 {
        assert_eq!(received.turn(&mut link), Polled::Idle);
    }
    let address = link.local_address().unwrap();
    link.shutdown(&mut |event| received.take(event));
    UdpSocket::bind(address).expect("the address is free again");
    assert_eq!(received.turn(&mut link), Polled::Ended);
    assert_eq!(received.turn(&mut link), Polled::Ended);
}

fn units_are_datagrams(multishot: bool, to_sender: bool) {
    let station = UdpSocket::bind(loopback()).unwrap();
    let address = station.local_addr().unwrap();
    let (mut link, _) = open(|spec, udp| {
        spec.multishot = multishot;
        udp.send_to = Some(if to_sender { SendTo::Sender } else { SendTo::Address(address) });
    });
    let mut received = Received::default();
    received.turn(&mut link);
    if to_sender {
        assert_eq!(link.transmit(b"to whom?", 9), Err(TransmitRefused::NotConnected));
        station.send_to(b"hello", link.local_address().unwrap()).unwrap();
        received.until(&mut link, |received, _| received.bytes == b"hello");
    }
    assert_eq!(link.peer_address(), Some(address));
    let units = [&b"one"[..], b"", &[7; 9000], b"four"];
    for (token, unit) in units.iter().enumerate() {
        link.transmit(unit, token as u64).unwrap();
    }
    received.until(&mut link, |received, _| received.transmitted.len() == units.len());
    assert_eq!(received.transmitted, [0, 1, 2, 3]);
    let mut buffer = [0; 65_535];
    for unit in units {
        let (len, from) = station.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], from), (unit, link.local_address().unwrap()));
    }
    assert_eq!(link.counters().transmitted_bytes, 9007);
}

// REQ: FEP-NET-117
#[test]
fn units_are_sent_as_datagrams_to_the_address_configured() {
    units_are_datagrams(true, false);
    units_are_datagrams(false, false);
}

// REQ: FEP-NET-117
#[test]
fn units_are_sent_to_whoever_sent_last_once_somebody_has() {
    units_are_datagrams(true, true);
    units_are_datagrams(false, true);
}

// REQ: FEP-NET-117, FEP-NET-103
#[test]
fn a_datagram_the_system_refuses_fails_alone() {
    let station = UdpSocket::bind(loopback()).unwrap();
    let (mut link, _) = open(|_, udp| udp.send_to = Some(SendTo::Address(station.local_addr().unwrap())));
    let mut received = Received::default();
    received.turn(&mut link);
    link.transmit(b"first", 1).unwrap();
    link.transmit(&vec![0; 65_508], 2).unwrap();
    link.transmit(b"", 3).unwrap();
    link.transmit(b"last", 4).unwrap();
    received.until(&mut link, |received, _| received.transmitted.len() == 3);
    assert_eq!(received.transmitted, [1, 3, 4]);
    assert_eq!(received.failed, [(2, 0, TransmitFault::Os(90))]);
    let mut buffer = [0; 100];
    for sent in [&b"first"[..], b"", b"last"] {
        let len = station.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], sent);
    }
    assert!(received.ends.is_empty());
}

// REQ: FEP-NET-105
#[test]
fn a_datagram_link_without_send_to_refuses_to_transmit() {
    let (mut link, _) = open(|_, _| ());
    let refused = link.transmit(b"x", 1).unwrap_err();
    assert!(matches!(refused, TransmitRefused::ReceiveOnly(_)) && refused.to_string().contains("send_to"));
}

// REQ: FEP-NET-106
#[test]
fn silence_after_datagrams_is_reported_once_until_the_next_one() {
    let (mut link, sender) = open(|_, udp| udp.silence_ms = 30);
    let mut received = Received::default();
    // Before the first datagram there is nothing to be finished.
    let start = std::time::Instant::now();
    while start.elapsed() < std::time::Duration::from_millis(100) {
        received.turn(&mut link);
    }
    assert_eq!(received.silences, 0);
    for round in 1..=3 {
        sender.send(b"x").unwrap();
        received.until(&mut link, |received, _| received.silences == round);
        let start = std::time::Instant::now();
        while start.elapsed() < std::time::Duration::from_millis(100) {
            received.turn(&mut link);
        }
        assert_eq!((received.silences, received.bytes.len()), (round, round));
    }
    assert_eq!(link.counters().silences, 3);
    assert!(received.ends.is_empty(), "silence ends nothing");
}
