//! Who may take a feed, and what is bounded.

mod support;

use std::io::Read;
use std::net::TcpStream;

use fep_record::Session;
use support::*;

/// SHA-256 of "alpha" and "beta" as coreutils compute them.
const CLIENTS: &str = "[feeding.clients.c]
token_sha256 = \"8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8\"
[feeding.clients.d]
token_sha256 = \"f44e64e75f3948e9f73f8dfa94721c4ce8cbb4f265c4790c702b2d41cfbf2753\"
feeds = [\"other\"]
";

fn hello(name: &str, more: &str) -> String {
    format!("{{\"say\":\"hello\",\"protocol\":1,\"client\":\"{name}\"{more}}}")
}

// REQ: FEP-FEED-400
#[test]
fn a_client_is_who_its_token_says_and_nobody_else_takes_its_name_or_moves_its_cursor() {
    let mut house = House::new(&["a.frames"]);
    house.frames("a.frames", 0..20, Session::Ops);
    let other = FRAMED.replace("feeds.f", "feeds.other");
    house.start(&format!("{FRAMED}{other}{CLIENTS}"));
    let address = house.address("f");
    let mut client =
        Client::connect(address, &hello("c", ",\"token\":\"alpha\",\"acknowledge\":true")).expect("known");
    assert_eq!(client.numbers(10), (0..10).collect::<Vec<_>>());
    let mut told = Vec::new();
    for (name, more) in [
        ("c", ""),
        ("c", ",\"token\":\"beta\""),
        ("c", ",\"token\":\"\""),
        ("stranger", ",\"token\":\"alpha\""),
    ] {
        let refused = Client::connect(address, &hello(name, &format!("{more},\"acknowledge\":true")));
        told.push(refused.err().expect("refused").replace(name, "NAME"));
    }
    told.dedup();
    assert_eq!(
        told,
        ["nobody of the name \"NAME\" has this token"],
        "a refusal does not tell which names exist"
    );
    let refused =
        Client::connect(address, &hello("d", ",\"token\":\"beta\"")).err().expect("another feed's client");
    assert_eq!(refused, "client \"d\" may not take the feed \"f\"");
    Client::connect(house.address("other"), &hello("d", ",\"token\":\"beta\"")).expect("its own feed");
    // The first one was not disturbed, and nobody acknowledged anything for it.
    assert_eq!(client.numbers(10), (10..20).collect::<Vec<_>>());
    let status = house.client("f", "c");
    assert_eq!((status.connections, status.sources[0].confirmed_seq), (1, 1));
    assert!(
        house.status("f").clients.iter().all(|client| client.name == "c"),
        "who was refused left nothing behind"
    );
}

// REQ: FEP-FEED-401
#[test]
fn names_and_their_cursors_are_bounded_and_those_that_were_here_stay_welcome() {
    let mut house = House::new(&["a.frames"]);
    house.feeding = "names_max = 2";
    house.start(FRAMED);
    for name in ["a", "b"] {
        Client::named(house.address("f"), name, "");
    }
    let refused = Client::connect(house.address("f"), &hello("x", "")).err().expect("one too many");
    assert_eq!(refused, "2 names have been here, which is as many as may be (feeding.names_max)");
    house.stop();
    house.start(FRAMED);
    Client::named(house.address("f"), "a", "");
    assert!(
        Client::connect(house.address("f"), &hello("x", "")).is_err(),
        "cursors count, not only this life's clients"
    );
    let cursors = std::fs::read_dir(house.dir.path().join("cursors/f")).expect("there").count();
    assert!(cursors <= 2, "{cursors}");
}

// REQ: FEP-FEED-401
#[test]
fn a_flood_of_connections_takes_no_more_threads_than_are_allowed_and_disturbs_nobody() {
    let mut house = House::new(&["a.frames"]);
    house.start(&FRAMED.replace("bind = \"127.0.0.1:0\"", "bind = \"127.0.0.1:0\", clients_max = 2"));
    let address = house.address("f");
    let mut client = Client::named(address, "c", "");
    let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    // Beyond those that are greeted a connection is closed at once: without a word, or refused with the reason.
    let mut last = silent.last().expect("a hundred");
    last.set_read_timeout(Some(LONG)).expect("a timeout");
    let mut said = Vec::new();
    match last.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    let said = String::from_utf8_lossy(&said);
    assert!(said.is_empty() || said.contains("2 clients are connected"), "{said}");
    house.frames("a.frames", 0..5, Session::Ops);
    assert_eq!(client.numbers(5), [0, 1, 2, 3, 4]);
}
