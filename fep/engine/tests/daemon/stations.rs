//! Stations that connect and do not do what they should.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use fep_control::api::LinkStatus;
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
        match TcpStream::connect(address) {
            Ok(mut stream) => assert!(is_shut(&mut stream)),
            // On a slow machine the refusal is there before the connection is reported.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
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

/// Starts a link that cannot be opened: event and status name its transport and the cause.
fn in_vain(transport: &str, place: &str, cause: &str) {
    let dir = run_dir();
    let text = config(&[])
        + &format!(
            "[links.pay]\nchannel = \"{CHANNEL}\"\nreconnect_min_ms = 10\ntransport = {{ {transport} }}\n"
        );
    let fepd = Fepd::start(dir.path(), &write_config(dir.path(), &text));
    let failed = event(dir.path(), "connect_failed");
    assert_eq!((&failed["transport"], &failed["reason"]), (&place.into(), &cause.into()), "{failed}");
    assert!(failed["times"].as_u64() >= Some(1), "{failed}");
    let status: LinkStatus = fepd.get("/links/pay");
    assert_eq!((status.state.as_str(), status.connect_error.as_deref()), ("connecting", Some(cause)));
    fepd.stop();
}

// REQ: FEP-ENG-310
#[test]
fn a_link_whose_device_does_not_exist_says_so_in_an_event_and_in_its_status() {
    let cause = "opening the device: No such file or directory (os error 2)";
    let (device, place) = ("/nonexistent/ttyS7", "serial /nonexistent/ttyS7");
    in_vain(&format!("kind = \"serial\", device = \"{device}\", baud = 9600"), place, cause);
}

// REQ: FEP-ENG-310
#[test]
fn a_link_whose_station_refuses_says_so_until_the_station_listens() {
    let dir = run_dir();
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let text = config(&[])
        + &format!(
            "[links.pay]\nchannel = \"{CHANNEL}\"\nreconnect_min_ms = 10\nreconnect_max_ms = 20\n\
             transport = {{ kind = \"tcp_client\", address = \"{free}\" }}\n"
        );
    let fepd = Fepd::start(dir.path(), &write_config(dir.path(), &text));
    let failed = event(dir.path(), "connect_failed");
    assert_eq!(failed["reason"], "Connection refused (os error 111)");
    assert_eq!(failed["transport"], format!("tcp_client {free}"));
    let error = || fepd.get::<LinkStatus>("/links/pay").connect_error;
    assert_eq!(error().as_deref(), Some("Connection refused (os error 111)"));
    let station = TcpListener::bind(free).expect("the port is free again");
    let _connection = station.accept().expect("it connects");
    wait_for("the cause is gone", || error().is_none().then_some(()));
    fepd.stop();
}
