//! Who may take a feed, and what is bounded.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use fep_bus::Colour;
use fep_identity::{Colours, NumericDate, PersonId, RoleSet, Scope, Sessions, Spacecraft};
use fep_kit::Document;
use fep_record::Session;
use support::*;

fn hello(name: &str, more: &str) -> String {
    format!("{{\"say\":\"hello\",\"protocol\":1,\"client\":\"{name}\"{more}}}")
}

fn with_ticket(house: &House, client: &str, account: &str) -> String {
    hello(client, &format!(",\"token\":\"{}\",\"acknowledge\":true", house.ticket(account)))
}

fn connect(house: &House, client: &str, account: &str) -> Result<Client, String> {
    Client::connect(house.address("f"), &with_ticket(house, client, account))
}

// REQ: FEP-FEED-160
// REQ: FEP-FEED-163
// REQ: FEP-FEED-400
#[test]
fn a_client_is_who_its_ticket_says_and_nobody_else_takes_its_name_or_moves_its_cursor() {
    let mut house = House::new(&["a.frames"]);
    house.account("anna", vec![Scope::ALL]);
    house.account("bert", vec![Scope::ALL]);
    house.frames("a.frames", 0..20, Session::Ops);
    house.start(&asking());
    let mut client = connect(&house, "c", "anna").expect("known");
    assert_eq!(client.numbers(10), (0..10).collect::<Vec<_>>());
    let ticket = house.ticket("bert");
    for (more, reason) in [
        (String::new(), "nothing shows who this is"),
        (",\"token\":\"\"".to_owned(), "this ticket is not accepted"),
        (format!(",\"token\":\"{}x\"", &ticket[..ticket.len() - 1]), "this ticket is not accepted"),
        (",\"token\":\"fep_0123456789abcdef_x\"".to_owned(), "an API token is not accepted here"),
        (format!(",\"token\":\"{ticket}\""), "the name \"c\" belongs to somebody else"),
    ] {
        let refused = Client::connect(house.address("f"), &hello("c", &more));
        assert_eq!(refused.err().as_deref(), Some(reason), "{more}");
    }
    // The first one was not disturbed, and nobody acknowledged anything for it.
    assert_eq!(client.numbers(10), (10..20).collect::<Vec<_>>());
    client.acknowledge(5);
    house.until("it is taken", "f", |status| status.clients[0].sources[0].confirmed_seq == 6);
    let status = house.client("f", "c");
    assert_eq!((status.connections, status.owner.as_deref()), (1, Some("local:anna")));
    assert!(house.status("f").clients.len() == 1, "who was refused left nothing behind");
    house.stop();
    house.start(&asking());
    let refused = connect(&house, "c", "bert").err();
    assert_eq!(refused.as_deref(), Some("the name \"c\" belongs to somebody else"), "after a restart");
    let mut again = connect(&house, "c", "anna").expect("its own");
    assert_eq!(again.numbers(15), (5..20).collect::<Vec<_>>());
}

// REQ: FEP-FEED-162
#[test]
fn red_data_goes_to_red_scopes_alone_and_a_client_gets_what_its_spacecraft_send_and_nothing_else() {
    let scope = |spacecraft: Spacecraft, colours: &[Colour]| Scope {
        spacecraft,
        colours: Colours::of(colours),
        sessions: Sessions::of(&[Session::Ops]),
    };
    let mut house = House::new(&["a.frames"]);
    house.account("black", vec![scope(Spacecraft::ALL, &[Colour::Black])]);
    house.account("red", vec![scope(Spacecraft::ALL, &[Colour::Red])]);
    house.account("one", vec![scope(Spacecraft::these([157]), &[Colour::Black])]);
    for number in 0..40 {
        let mut record = frame(number, Session::Ops);
        record.gvcid.scid = if number % 4 == 3 { 157 } else { 673 };
        house.publish("a.frames", record, &payload(number));
    }
    house.feeding = "red_receivers = [\"127.0.0.1\"]";
    let red = asking().replace("feeds.f", "feeds.red").replace("\"a.frames\"", "\"red/a.frames\"");
    let test = asking().replace("feeds.f", "feeds.test").replace("\"OPS\"", "\"TEST\"");
    house.start(&format!("{}{red}{test}", asking()));
    let takes = |feed: &str, account: &str| {
        Client::connect(house.address(feed), &with_ticket(&house, account, account))
    };
    for (feed, account) in [("red", "black"), ("red", "one"), ("f", "red"), ("test", "black")] {
        let refused = takes(feed, account).err();
        assert_eq!(refused, Some(format!("no scope of {account} reaches this feed")), "{feed}");
    }
    takes("red", "red").expect("red scope");
    let mut all = takes("f", "black").expect("black scope");
    assert_eq!(all.numbers(40), (0..40).collect::<Vec<_>>());
    let mut one = takes("f", "one").expect("one spacecraft");
    assert_eq!(one.numbers(10), (0..40).filter(|number| number % 4 == 3).collect::<Vec<_>>());
    let status = house.until("all are judged", "f", |status| {
        status.clients.iter().all(|client| client.counts.followed == 40)
    });
    let of_one = status.clients.iter().find(|client| client.name == "one").expect("it is here");
    assert_eq!(of_one.counts.filtered["spacecraft"], 30);
}

// REQ: FEP-FEED-165
#[test]
fn a_ticket_that_ends_or_is_revoked_ends_its_connection_and_the_next_goes_on_without_loss() {
    let mut house = House::with_tickets_of(10, &["a.frames"]);
    house.account("anna", vec![Scope::ALL]);
    house.account("bert", vec![Scope::ALL]);
    house.start(&asking());
    let mut ending = connect(&house, "a", "anna").expect("known");
    house.frames("a.frames", 0..10, Session::Ops);
    assert_eq!(ending.numbers(10), (0..10).collect::<Vec<_>>());
    ending.acknowledge(4);
    // What the feed says until its ticket has ended are signs of life.
    let mut rest = Vec::new();
    ending.stream.read_to_end(&mut rest).expect("it is closed");
    let why = |name: &str| house.client("f", name).last_end.unwrap_or_default();
    house.until("it has ended", "f", |status| status.clients[0].peer.is_none());
    assert!(why("a").contains("ticket has ended"), "{}", why("a"));
    let mut again = connect(&house, "a", "anna").expect("a new ticket");
    assert_eq!(again.numbers(6), (4..10).collect::<Vec<_>>());
    let mut revoked = connect(&house, "b", "bert").expect("known");
    let person = PersonId("local:bert".to_owned());
    house.identity.revoke_person(&person, NumericDate::now()).expect("revoked");
    revoked.stream.read_to_end(&mut rest).expect("it is closed");
    house.until("it has ended", "f", |status| {
        status.clients.iter().any(|client| client.name == "b" && client.peer.is_none())
    });
    assert!(why("b").contains("ended") || why("b").contains("revoked"), "{}", why("b"));
}

// REQ: FEP-FEED-164
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

// REQ: FEP-FEED-164
// REQ: FEP-FEED-401
#[test]
fn a_flood_of_silent_connections_takes_no_more_threads_than_are_allowed_and_no_place_of_a_client() {
    let mut house = House::new(&["a.frames"]);
    house.start(&FRAMED.replace("bind = \"127.0.0.1:0\"", "bind = \"127.0.0.1:0\", clients_max = 2"));
    let address = house.address("f");
    let mut client = Client::named(address, "c", "");
    let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    // Beyond those that are greeted a connection is closed at once, without a word.
    let mut last = silent.last().expect("a hundred");
    last.set_read_timeout(Some(LONG)).expect("a timeout");
    let mut said = Vec::new();
    match last.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    assert!(said.is_empty(), "{said:?}");
    // Another machine has a place, though so many stand at the door.
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    other.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).expect("bound");
    other.connect(&address.into()).expect("it listens");
    let mut other = Client::greet(other.into(), &hello("d", "")).expect("welcome");
    house.frames("a.frames", 0..5, Session::Ops);
    assert_eq!(client.numbers(5), [0, 1, 2, 3, 4]);
    assert_eq!(other.numbers(5), [0, 1, 2, 3, 4]);
}

// REQ: FEP-FEED-164
#[test]
fn a_client_that_never_stops_talking_holds_up_neither_itself_nor_the_end_of_the_process() {
    let mut house = House::new(&["a.frames"]);
    let raw = "[feeds.r]\nsources = [\"a.frames\"]\nsession = \"OPS\"\nform = \"raw\"\nframe_len = 100\n\
               start = \"oldest\"\ntransport = { kind = \"tcp_server\", bind = \"127.0.0.1:0\" }\n";
    house.start(raw);
    let address = house.address("r");
    let mut client = TcpStream::connect(address).expect("it listens");
    let mut talk = client.try_clone().expect("a second handle");
    let talking = std::thread::spawn(move || while talk.write_all(&[7; 65_536]).is_ok() {});
    house.frames("a.frames", 0..3, Session::Ops);
    client.set_read_timeout(Some(LONG)).expect("a timeout");
    let mut octets = [0; 100];
    for number in 0..3 {
        client.read_exact(&mut octets).expect("a frame");
        assert_eq!(&octets[..], &payload(number)[..]);
    }
    house.stop();
    talking.join().expect("its connection is closed");
    // The same on the way to a welcome: a greeting without an end.
    house.start(FRAMED);
    let mut endless = TcpStream::connect(house.address("f")).expect("it listens");
    let mut head = 1_000_000_u32.to_be_bytes().to_vec();
    head.extend([2, 0, 0, 0]);
    endless.write_all(&head).expect("it is taken");
    // It is refused as soon as its length is known.
    while endless.write_all(&[b' '; 4096]).is_ok() {}
}

// REQ: FEP-FEED-166
#[tokio::test]
async fn every_route_lets_in_exactly_those_it_declares() {
    let house = House::new(&["a.frames"]);
    let document = Document::from_text("test.toml", house.configuration(FRAMED)).expect("TOML");
    let config = fep_feeds::FeedsConfig::read(&document).expect("a configuration");
    let service = fep_feeds::service_for_test(&config).expect("a service");
    let ticket =
        |roles, scopes| house.identity.ticket_for_test(roles, scopes, NumericDate::now()).expect("a ticket");
    let matrix = fep_route::Matrix::of(&service, ticket).await;
    assert!(matrix.wrong.is_empty(), "{:#?}", matrix.wrong);
    assert!(matrix.calls > 200 && matrix.let_in > 30, "{} {}", matrix.calls, matrix.let_in);
}

// REQ: FEP-FEED-166
#[test]
fn status_asks_who_it_is_under_which_name_and_shows_nothing_that_the_caller_does_not_reach() {
    let mut house = House::new(&["a.frames"]);
    let black = Scope { colours: Colours::of(&[Colour::Black]), ..Scope::ALL };
    house.account("anna", vec![black]);
    house.feeding = "red_receivers = [\"127.0.0.1\"]";
    let red = asking().replace("feeds.f", "feeds.red").replace("\"a.frames\"", "\"red/a.frames\"");
    house.start(&format!("{FRAMED}{red}"));
    let socket = house.dir.path().join("feeds.sock");
    let ask = |line: &str, host: &str, bearer: &str| {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).expect("it listens");
        stream.set_read_timeout(Some(LONG)).expect("a timeout");
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: {bearer}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let bearer = format!("Bearer {}", house.ticket("anna"));
    let all = ask("GET /feeds", "localhost", &bearer);
    assert!(all.starts_with("HTTP/1.1 200") && all.contains("\"name\":\"f\""), "{all}");
    assert!(!all.contains("\"name\":\"red\""), "{all}");
    for (line, host, bearer, expected) in [
        ("GET /feeds/red", "localhost", bearer.as_str(), "404"),
        ("POST /feeds/f/disable", "localhost", &bearer, "403"),
        ("GET /feeds", "evil.example", &bearer, "421"),
        ("GET /feeds", "localhost", "Bearer a.b.c", "401"),
        ("GET /health", "evil.example", &bearer, "421"),
    ] {
        let answer = ask(line, host, bearer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{line} {host}: {answer}");
    }
}

// REQ: FEP-FEED-166
#[test]
fn schemathesis_finds_no_difference_between_the_document_and_the_answers() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let installed = root.join("target/tools/openapi/bin/python");
    let python = std::env::var_os("FEP_OPENAPI_PYTHON").map_or(installed, std::path::PathBuf::from);
    if !python.exists() {
        println!("skipped: schemathesis is not installed; `make tools` does that");
        return;
    }
    let mut house = House::new(&["a.frames"]);
    // Whoever calls without a ticket is nobody then.
    house.knows_own_user = false;
    house.start(FRAMED);
    let ticket = house.identity.ticket_for_test(RoleSet::ALL, vec![Scope::ALL], NumericDate::now());
    let output = std::process::Command::new(&python)
        .arg(root.join("tests/openapi/check.py"))
        .arg("--socket")
        .arg(house.dir.path().join("feeds.sock"))
        .env("FEP_TICKET", ticket.expect("a ticket"))
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
