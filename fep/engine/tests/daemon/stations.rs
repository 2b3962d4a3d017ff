//! Stations that connect and do not do what they should.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::Value;

use crate::downlink::{CHANNEL, attach, downlink, events, read, write_config};
use crate::process::{Fepd, config, run_dir, wait_for};

/// A link that listens, with what `transport` and `link` add; and its address.
fn listening(dir: &std::path::Path, transport: &str, link: &str) -> (Fepd, SocketAddr) {
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let text = config(&[])
        + &format!(
            "[links.pay]\nchannel = \"{CHANNEL}\"\n{link}\
             transport = {{ kind = \"tcp_server\", bind = \"{free}\"{transport} }}\n"
        );
    let file = write_config(dir, &text);
    (Fepd::start(dir, &file), free)
}

fn event(dir: &std::path::Path, name: &str) -> Value {
    wait_for(name, || events(dir).into_iter().find(|event| event["event"] == name))
}

fn is_shut(stream: &mut TcpStream) -> bool {
    !matches!(stream.read(&mut [0]), Ok(1..))
}

// REQ: FEP-NET-300
#[test]
fn who_is_refused_because_of_a_silent_station_is_reported_with_both_addresses() {
    let dir = run_dir();
    let (fepd, address) = listening(dir.path(), ", takeover_silence_ms = 0", "");
    let silent = TcpStream::connect(address).expect("connected");
    event(dir.path(), "connected");
    let mut second = TcpStream::connect(address).expect("connected, as far as the kernel says");
    assert!(is_shut(&mut second));
    let refused = event(dir.path(), "station_refused");
    let text = |stream: &TcpStream| stream.local_addr().expect("an address").to_string();
    assert_eq!(refused["peer"], text(&second));
    assert_eq!(refused["connected"], text(&silent));
    assert!(refused["silent_ms"].is_u64() && refused["times"] == 1, "{refused}");
    assert_eq!(event(dir.path(), "connected")["peer"], text(&silent));
    // A thousand more are few events.
    for _ in 0..1000 {
        assert!(is_shut(&mut TcpStream::connect(address).expect("connected")));
    }
    let all = wait_for("every refusal", || {
        let all: Vec<Value> =
            events(dir.path()).into_iter().filter(|event| event["event"] == "station_refused").collect();
        (all.iter().filter_map(|event| event["times"].as_u64()).sum::<u64>() == 1001).then_some(all)
    });
    assert!(all.len() < 500, "{} events", all.len());
    fepd.stop();
}

// REQ: FEP-NET-300
#[test]
fn a_station_that_never_sends_is_dropped_with_an_event_and_the_next_one_is_served() {
    let dir = run_dir();
    let (fepd, address) = listening(dir.path(), ", takeover_silence_ms = 0", "idle_timeout_ms = 200\n");
    let mut silent = TcpStream::connect(address).expect("connected");
    assert!(is_shut(&mut silent));
    let dropped = event(dir.path(), "disconnected");
    assert_eq!(dropped["peer"], silent.local_addr().expect("an address").to_string());
    assert_eq!(dropped["reason"], "no octet came for idle_timeout_ms");
    let mut station = TcpStream::connect(address).expect("connected");
    station.write_all(&downlink(0..20).0).expect("sent");
    assert_eq!(read(&mut attach(dir.path(), "pay.frames"), 20).len(), 20);
    fepd.stop();
}
