//! Feeds among clients and disks that behave badly.

mod support;

use std::io::Read;
use std::process::Command;

use fep_record::Session;
use support::*;

fn hello(name: &str) -> String {
    format!("{{\"say\":\"hello\",\"protocol\":1,\"client\":\"{name}\",\"acknowledge\":true}}")
}

// REQ: FEP-FEED-168
#[test]
fn a_cursor_that_cannot_be_stored_stops_its_client_is_reported_and_goes_on_without_loss_when_it_can() {
    let mut house = House::new(&["a.frames"]);
    house.frames("a.frames", 0..10, Session::Ops);
    house.start(FRAMED);
    let mut client = Client::named(house.address("f"), "c", ",\"acknowledge\":true");
    assert_eq!(client.numbers(10), (0..10).collect::<Vec<_>>());
    client.acknowledge(10);
    house.until("it is taken", "f", |status| status.clients[0].sources[0].confirmed_seq == 11);
    let cursors = house.dir.path().join("cursors/f");
    let stored = || std::fs::read_to_string(cursors.join("c.json")).unwrap_or_default();
    let give_up = std::time::Instant::now() + LONG;
    while !stored().contains("\"next_seq\":11") {
        assert!(std::time::Instant::now() < give_up, "it is not stored: {}", stored());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // Where its directory was is a file: nothing can be written there, by whatever user.
    let aside = house.dir.path().join("aside");
    std::fs::rename(&cursors, &aside).expect("moved");
    std::fs::write(&cursors, "no directory").expect("written");
    house.frames("a.frames", 10..20, Session::Ops);
    assert_eq!(client.numbers(10), (10..20).collect::<Vec<_>>());
    client.acknowledge(20);
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).expect("it is closed");
    let status = house.until("it says why", "f", |status| status.clients[0].problem.is_some());
    assert!(status.clients[0].problem.as_deref().is_some_and(|why| why.contains("cannot be stored")));
    assert_eq!(status.problem, None, "the feed works for others");
    house.until_said("/health", "cursor cannot be stored");
    let refused = Client::connect(house.address("f"), &hello("c")).err().expect("not now");
    assert!(refused.contains("cannot be read"), "{refused}");
    std::fs::remove_file(&cursors).expect("removed");
    std::fs::rename(&aside, &cursors).expect("back");
    let mut again = Client::connect(house.address("f"), &hello("c")).expect("mended without a restart");
    for number in 10..20 {
        let (head, octets) = again.record();
        assert_eq!((octets, head.repeated), (payload(number), true));
    }
    again.acknowledge(10);
    house.until("it is taken", "f", |status| status.clients[0].sources[0].confirmed_seq == 21);
    drop(again);
    house.until("the problem is over", "f", |status| status.clients[0].problem.is_none());
    house.until_said("/health", "\"f\":{\"state\":\"well\"}");
}

// REQ: FEP-FEED-163
#[test]
fn a_pipe_or_a_link_in_the_place_of_a_cursor_holds_up_nobody_and_is_nobodys() {
    let mut house = House::new(&["a.frames"]);
    house.frames("a.frames", 0..5, Session::Ops);
    let cursors = house.dir.path().join("cursors/f");
    std::fs::create_dir_all(&cursors).expect("made");
    let pipe = cursors.join("pipe.json");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("it runs").success());
    std::os::unix::fs::symlink("/etc/hostname", cursors.join("link.json")).expect("linked");
    house.start(FRAMED);
    for name in ["pipe", "link"] {
        let refused = Client::connect(house.address("f"), &hello(name)).err().expect("refused");
        assert!(refused.starts_with(&format!("whose name \"{name}\" is cannot be read")), "{refused}");
    }
    let mut other = Client::connect(house.address("f"), &hello("other")).expect("another name");
    assert_eq!(other.numbers(5), [0, 1, 2, 3, 4]);
}

// REQ: FEP-FEED-164
#[test]
fn a_client_that_comes_again_a_thousand_times_leaves_neither_threads_nor_descriptors_behind() {
    let mut house = House::new(&["a.frames"]);
    house.frames("a.frames", 0..5, Session::Ops);
    house.start(FRAMED);
    let address = house.address("f");
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).expect("Linux").count();
    let take = || {
        // Its former connections may not all have ended yet: it tries again, as a client would.
        let mut client = loop {
            match Client::connect(address, &hello("c")) {
                Ok(client) => break client,
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        };
        assert_eq!(client.numbers(5), [0, 1, 2, 3, 4]);
    };
    take();
    let gone = |house: &House| house.until("it is gone", "f", |status| status.clients[0].peer.is_none());
    gone(&house);
    let (threads, descriptors) = (count("task"), count("fd"));
    for _ in 0..1000 {
        take();
    }
    let status = gone(&house);
    assert!(status.clients[0].connections >= 1001, "{status:?}");
    let give_up = std::time::Instant::now() + LONG;
    // Threads of other tests of this program come and go; a thousand would not.
    while count("task") > threads + 50 || count("fd") > descriptors + 50 {
        assert!(std::time::Instant::now() < give_up, "{} {}", count("task"), count("fd"));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(std::fs::read_dir(house.dir.path().join("cursors/f")).expect("listed").count(), 1);
}
