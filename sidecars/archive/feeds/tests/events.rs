//! What the feeds report: events in a ring of their own, which the recorder records and `fepctl events` shows.

mod support;

use std::time::Instant;

use fep_event_ring::{EventFollow, EventFollowSpec, EventItem};
use fep_feeds::FeedEvent;
use fep_record::Session;
use serde_json::Value;
use support::*;

/// Follows the events of a house from the first on.
fn follow(house: &House) -> EventFollow {
    EventFollow::open(EventFollowSpec {
        rings: house.dir.path().join("bus"),
        archive: None,
        cursors: None,
        consumer: "test".to_owned(),
        start: fep_segments::Start::Oldest,
        patience: std::time::Duration::ZERO,
    })
    .expect("rings")
}

/// The next event with this code.
fn next(follow: &mut EventFollow, code: FeedEvent) -> Value {
    let give_up = Instant::now() + LONG;
    loop {
        match follow.next_item() {
            Some(EventItem::Event(event)) if event.event.code == code as u16 => {
                assert_eq!(event.stream.ring, "feeds.events");
                return serde_json::from_slice(&event.payload).expect("JSON");
            }
            Some(_) => {}
            None => std::thread::sleep(std::time::Duration::from_millis(5)),
        }
        assert!(Instant::now() < give_up, "{code:?} is not reported");
    }
}

// REQ: FEP-FEED-170
#[test]
fn refusals_losses_lost_cursors_and_orders_are_events_that_say_what_to_do() {
    let mut house = House::new(&["a.frames"]);
    house.frames("a.frames", 0..10, Session::Ops);
    house.start(FRAMED);
    let mut events = follow(&house);
    let stranger =
        Client::connect(house.address("f"), "{\"say\":\"hello\",\"protocol\":1,\"client\":\"../x\"}");
    assert!(stranger.is_err());
    let event = next(&mut events, FeedEvent::ClientRefused);
    assert_eq!((&event["feed"], &event["times"]), (&"f".into(), &1.into()), "{event}");
    assert!(event["reason"].as_str().is_some_and(|why| why.contains("is no name")), "{event}");
    assert!(event["advice"].as_str().is_some_and(|what| what.contains("find out who tries")), "{event}");
    let mut client = Client::named(house.address("f"), "c", ",\"acknowledge\":true");
    assert_eq!(client.numbers(10), (0..10).collect::<Vec<_>>());
    client.acknowledge(10);
    house.until("it is taken", "f", |status| status.clients[0].sources[0].confirmed_seq == 11);
    house.try_request("POST", "/feeds/f/disable").expect("an answer");
    assert_eq!(next(&mut events, FeedEvent::FeedDisabled)["account"], "test");
    // The ring goes round several times while nobody records it.
    house.frames("a.frames", 10..20_000, Session::Ops);
    house.try_request("POST", "/feeds/f/enable").expect("an answer");
    next(&mut events, FeedEvent::FeedEnabled);
    let mut client = Client::named(house.address("f"), "c", ",\"acknowledge\":true");
    let (head, _) = client.record();
    let event = next(&mut events, FeedEvent::RecordsLost);
    assert_eq!(event["lost"], serde_json::json!({"source": head.seq - 11}), "{event}");
    drop(client);
    house.until("it is gone", "f", |status| status.clients[0].peer.is_none());
    std::fs::write(house.dir.path().join("cursors/f/c.json"), "{").expect("written");
    Client::named(house.address("f"), "c", "");
    let event = next(&mut events, FeedEvent::CursorLost);
    assert_eq!(event["client"], "c", "{event}");
}

// REQ: FEP-FEED-170
#[test]
fn a_client_that_takes_nothing_is_dropped_with_an_event_and_goes_on_where_it_stopped() {
    let mut house = House::new(&["a.frames"]);
    house.start(&format!("{FRAMED}stalled_after_ms = 300\n"));
    let mut events = follow(&house);
    let mut client = Client::named(house.address("f"), "slow", ",\"acknowledge\":true");
    let (mut published, give_up) = (0, Instant::now() + LONG);
    // Until sockets and buffers hold no more, and some time has gone by.
    while house.client("f", "slow").peer.is_some() {
        house.frames("a.frames", published..published + 500, Session::Ops);
        published += 500;
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert!(Instant::now() < give_up, "it is not dropped");
    }
    let event = next(&mut events, FeedEvent::ClientDropped);
    assert_eq!((&event["client"], &event["feed"]), (&"slow".into(), &"f".into()), "{event}");
    assert!(event["reason"].as_str().is_some_and(|why| why.contains("took nothing")), "{event}");
    let (first, _) = client.record();
    assert_eq!(first.seq, 1);
}

// REQ: FEP-FEED-171
#[test]
fn without_a_directory_of_rings_feeds_serve_all_the_same_and_report_when_there_is_one() {
    let mut house = House::new(&["a.frames"]);
    let bus = house.dir.path().join("bus");
    let aside = house.dir.path().join("aside");
    std::fs::rename(&bus, &aside).expect("moved");
    std::fs::write(&bus, "no directory").expect("written");
    house.start(FRAMED);
    assert!(Client::connect(house.address("f"), "{}").is_err());
    std::fs::remove_file(&bus).expect("removed");
    std::fs::rename(&aside, &bus).expect("back");
    let event = next(&mut follow(&house), FeedEvent::ClientRefused);
    assert_eq!(event["times"], 1, "{event}");
    Client::named(house.address("f"), "c", "");
}
