//! Interfaces that vanish and cables that are pulled, in network namespaces of their own. It takes root and `unshare`, `ip` and
//! `nsenter`; where one of them is not to be had, the test says so and proves nothing.

use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};

use fep_net::{EndReason, Link, LinkSpec, LinkState, TransportSpec};

use crate::Received;

/// Set in the process that runs inside.
const INSIDE: &str = "FEP_TEST_IN_NETWORK_NAMESPACE";

fn runs(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Runs `ip` with these words.
fn ip(words: &str) -> bool {
    runs("ip", &words.split(' ').collect::<Vec<_>>())
}

/// Runs `test` in a network namespace of its own, which vanishes with its process: `name` is that of the test.
fn in_a_namespace(name: &str, test: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        assert!(ip("link set lo up"));
        return test();
    }
    if !runs("unshare", &["--net", "ip", "link", "add", "fep0", "type", "veth", "peer", "name", "fep1"]) {
        println!("{name}: skipped, no network namespace with a pair of interfaces can be made here (root?)");
        return;
    }
    let own = std::env::current_exe().expect("a path");
    let mut inside = Command::new("unshare");
    inside.arg("--net").arg(own).args(["--exact", name, "--nocapture"]).env(INSIDE, "1");
    assert!(inside.status().expect("unshare runs").success(), "inside the namespace");
}

fn make_interface() {
    assert!(ip("link add fep0 type veth peer name fep1"));
    assert!(ip("addr add 10.77.0.1/24 dev fep0"));
    assert!(ip("link set fep0 up") && ip("link set fep1 up"));
    assert!(ip("route add 239.0.0.0/8 dev fep0"));
}

fn multicast_comes_back() {
    // By name, by address, and by the route.
    for (port, interface) in [(5001, Some("fep0")), (5002, Some("10.77.0.1")), (5003, None)] {
        make_interface();
        let group = "239.255.77.1";
        let mut spec = LinkSpec::udp(format!("0.0.0.0:{port}").parse().unwrap());
        (spec.reconnect_min_ms, spec.reconnect_max_ms) = (5, 50);
        let TransportSpec::Udp(udp) = &mut spec.transport else { unreachable!() };
        udp.multicast_group = Some(group.parse().unwrap());
        udp.multicast_interface = interface.map(str::to_owned);
        let mut link = Link::open(spec).unwrap();
        let mut received = Received::default();
        let send = |octets: &[u8]| {
            let sender = UdpSocket::bind("10.77.0.1:0").unwrap();
            let own = "10.77.0.1".parse().unwrap();
            socket2::SockRef::from(&sender).set_multicast_if_v4(&own).unwrap();
            sender.send_to(octets, (group, port)).unwrap();
        };
        received.turn(&mut link);
        send(b"before");
        received.until(&mut link, |received, _| received.bytes == b"before");
        // Down and up again: nothing happens.
        assert!(ip("link set fep0 down") && ip("link set fep0 up") && ip("route add 239.0.0.0/8 dev fep0"));
        send(b" still");
        received.until(&mut link, |received, _| received.bytes == b"before still");
        assert_eq!((received.ends.len(), link.counters().reopens), (0, 0), "{interface:?}");
        // The interface goes, and another one comes under its name with its address.
        assert!(ip("link del fep0"));
        received.until(&mut link, |received, _| !received.ends.is_empty());
        assert!(matches!(received.ends[0].1, EndReason::Error(_)), "{:?}", received.ends);
        received.until(&mut link, |_, link| *link.state() == LinkState::Connecting);
        assert!(link.last_fault().is_some());
        make_interface();
        received.until(&mut link, |received, _| received.starts.len() > received.ends.len());
        send(b" again");
        received.until(&mut link, |received, _| received.bytes == b"before still again");
        assert!(link.counters().reopens >= 1);
        drop(link);
        assert!(ip("link del fep0"));
    }
}

// REQ: FEP-NET-301
#[test]
fn a_multicast_group_is_joined_again_when_its_interface_was_removed_and_comes_back() {
    in_a_namespace(
        "netns::a_multicast_group_is_joined_again_when_its_interface_was_removed_and_comes_back",
        multicast_comes_back,
    );
}

/// A process with a network namespace of its own; ended when dropped.
struct Elsewhere(Child);

impl Elsewhere {
    fn start() -> Elsewhere {
        Elsewhere(Command::new("unshare").args(["--net", "sleep", "300"]).spawn().expect("unshare runs"))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.0.id().to_string(), "-n"]).args(words);
        command
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cable_is_pulled() {
    let there = Elsewhere::start();
    assert!(ip("link add fep0 type veth peer name fep1"));
    assert!(ip("addr add 10.77.0.1/24 dev fep0") && ip("link set fep0 up"));
    // Until the other process has its namespace, the interface would stay in ours.
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let its = || std::fs::read_link(format!("/proc/{}/ns/net", there.0.id()));
    while its().is_ok_and(|its| its == own) {
        std::thread::yield_now();
    }
    assert!(ip(&format!("link set fep1 netns {}", there.0.id())));
    for words in ["ip addr add 10.77.0.2/24 dev fep1", "ip link set fep1 up"] {
        let words: Vec<&str> = words.split(' ').collect();
        assert!(there.command(&words).status().unwrap().success());
    }
    let mut spec = LinkSpec::tcp_server("10.77.0.1:5001".parse().unwrap());
    (spec.keepalive_idle_s, spec.keepalive_interval_s, spec.keepalive_probes) = (1, 1, 1);
    spec.half_open_timeout_ms = 1_000;
    let mut link = Link::open(spec).unwrap();
    let mut received = Received::default();
    let mut station = there
        .command(&["bash", "-c", "exec 3<>/dev/tcp/10.77.0.1/5001 && exec sleep 300"])
        .spawn()
        .expect("nsenter runs");
    received.until(&mut link, |received, _| !received.starts.is_empty());
    let peer: Option<SocketAddr> = received.peers[0];
    assert_eq!(peer.map(|peer| peer.ip()), Some("10.77.0.2".parse().unwrap()));
    assert!(there.command(&["ip", "link", "set", "fep1", "down"]).status().unwrap().success());
    received.until(&mut link, |received, _| !received.ends.is_empty());
    assert_eq!(received.ends, [(0, EndReason::HalfOpen)]);
    assert_eq!((link.counters().half_open, link.state()), (1, &LinkState::Listening));
    let _ = station.kill();
    let _ = station.wait();
}

// REQ: FEP-NET-006
#[test]
fn a_station_whose_cable_is_pulled_is_found_by_keep_alive_though_nothing_is_sent() {
    in_a_namespace(
        "netns::a_station_whose_cable_is_pulled_is_found_by_keep_alive_though_nothing_is_sent",
        cable_is_pulled,
    );
}
