//! Hostile clients of the control interface.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Command;

use fep_control::api::{LinkStatus, Status};

use crate::downlink::{CHANNEL, attach, downlink, read, write_config};
use crate::process::{Fepd, Station, config, run_dir, wait_for};

/// More clients than a process may have descriptors where nobody raised the limit.
const CLIENTS: usize = 2000;

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").count()
}

// REQ: FEP-ENG-302
#[test]
fn two_thousand_clients_that_ask_nothing_or_read_nothing_keep_nobody_out_and_disturb_no_link() {
    let dir = run_dir();
    let station = Station::new();
    let file = write_config(dir.path(), &config(&[("pay", CHANNEL, station.port())]));
    // With the limits of this process as they were.
    let fepd = Fepd::start(dir.path(), &file);
    let limit = format!("--nofile={}", CLIENTS + 1000);
    let own = std::process::id().to_string();
    assert!(Command::new("prlimit").args(["--pid", &own, &limit]).status().expect("prlimit").success());
    let mut connection = station.accept();
    let (cadus, _) = downlink(0..1000);
    let mut frames = attach(dir.path(), "pay.frames");
    connection.write_all(&cadus[..cadus.len() / 2]).expect("sent");
    assert_eq!(read(&mut frames, 500).len(), 500);
    let (memory, open) = (resident_kib(fepd.pid()), descriptors(fepd.pid()));
    let socket = dir.path().join("control.sock");
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = UnixStream::connect(&socket).expect("connected");
        // By turns: nothing, half a request, a header without an end, requests whose answers are not read. A write fails
        // when the client has been sent away already.
        let _ = match number % 4 {
            0 => Ok(()),
            1 => client.write_all(b"GET /status HT"),
            2 => client
                .write_all(b"GET /status HTTP/1.1\r\nHost: fepd\r\nX-Endless: ")
                .and_then(|()| client.set_nonblocking(true))
                .and_then(|()| client.write_all(&[b'x'; 100_000])),
            _ => client
                .set_nonblocking(true)
                .and_then(|()| client.write_all(&b"GET /metrics HTTP/1.1\r\nHost: fepd\r\n\r\n".repeat(500))),
        };
        clients.push(client);
        if number % 200 == 199 {
            assert_eq!(fepd.get::<LinkStatus>("/links/pay").state, "connected", "after {number} clients");
        }
    }
    // Octet by octet.
    for client in clients.iter_mut().skip(1).step_by(4) {
        let _ = client.write_all(b"T");
    }
    let status = fepd.get::<Status>("/status");
    assert_eq!(status.links[0].restarts, 0);
    assert!(descriptors(fepd.pid()) < open + 100, "{} of {open} before", descriptors(fepd.pid()));
    let more = resident_kib(fepd.pid()).saturating_sub(memory);
    assert!(more < 64 << 10, "{more} KiB more");
    connection.write_all(&cadus[cadus.len() / 2..]).expect("the connection is the same one");
    assert_eq!(read(&mut frames, 500).len(), 500);
    let link = wait_for("the counters", || {
        Some(fepd.get::<LinkStatus>("/links/pay")).filter(|link| link.ledger.counts.received == 1000)
    });
    assert_eq!((link.ledger.counts.good, link.ledger.counts.lost), (1000, 0));
    drop(clients);
    fepd.stop();
}
