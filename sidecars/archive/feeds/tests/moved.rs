//! Clients that are so far behind that their segments are in the object store, or on a disk that fails.

mod support;

use std::path::{Path, PathBuf};

use fep_bus::{Colour, Position, Tag};
use fep_feed_wire::control::{FromFeed, Waiting};
use fep_record::{KIND_FRAME, Session};
use fep_segments::{Chain, SegmentHeader, SegmentWriter, Stream};
use fep_time::Tai;
use support::*;

const SERIES: u64 = 9;

/// Sealed segments of ten frames each.
fn segments(archive: &Path, count: u64) -> Vec<PathBuf> {
    let mut next = Position { seq: 1, pos: 0, payload: 0 };
    let (mut chain, mut previous) = (Chain::default(), None);
    (0..count)
        .map(|segment| {
            let header = SegmentHeader {
                stream: Stream::new(Colour::Black, "a.frames"),
                schema: "ccsds.frame.v1".to_owned(),
                id: segment + 1,
                instance: 7,
                series: SERIES,
                base: next,
                created_unix_ns: 1,
                previous,
            };
            let mut writer = SegmentWriter::create(archive, header).expect("it can be written");
            for number in segment * 10..segment * 10 + 10 {
                let (flags, words) = frame(number, Session::Ops).to_words();
                let tag = Tag { kind: KIND_FRAME, flags, received: Tai(1), published: Tai(2), words };
                writer.record(tag, &payload(number)).expect("it fits");
            }
            next = writer.position();
            let (path, footer) = writer.seal(chain).expect("it can be sealed");
            (chain, previous) = (Chain(footer.chain), Some(footer.name()));
            path
        })
        .collect()
}

/// What is left of a segment that was moved: its footer, and the key of its object.
fn mark(path: &Path, key: &str) {
    fep_segments::remove_sealed(path).expect("it can be removed");
    std::fs::write(path.with_extension("stored"), format!("{key}\n")).expect("written");
}

fn put(store: &Path, key: &str, octets: &[u8]) {
    let object = store.join(key);
    std::fs::create_dir_all(object.parent().expect("a directory")).expect("made");
    std::fs::write(object, octets).expect("written");
}

fn with_store(store: &Path) -> String {
    format!("[store]\nurl = \"file://{}\"\n{FRAMED}alive_every_ms = 20\n", store.display())
}

/// A client that has the first segment and comes back.
fn back_again(house: &mut House, configuration: &str, meanwhile: impl FnOnce()) -> Client {
    house.start(configuration);
    let mut client = Client::named(house.address("f"), "c", ",\"acknowledge\":true");
    assert_eq!(client.numbers(10), (0..10).collect::<Vec<_>>());
    client.acknowledge(10);
    house.until("it is taken", "f", |status| {
        status.clients[0].sources.first().is_some_and(|source| source.confirmed_seq == 11)
    });
    house.stop();
    drop(client);
    meanwhile();
    house.start(configuration);
    Client::named(house.address("f"), "c", ",\"acknowledge\":true")
}

fn lost(client: &Client) -> Vec<(u64, u64, &'static str)> {
    let lost = client.controls.iter().filter_map(|said| match said {
        FromFeed::Lost { from_seq, to_seq, reason, .. } => Some((*from_seq, *to_seq, reason.name())),
        _ => None,
    });
    lost.collect()
}

/// The client is told that it waits for the second segment, and why is in status and health.
fn waits(house: &House, client: &mut Client, why: &str) {
    let expected = Waiting { source: 0, series: SERIES, from_seq: 11 };
    loop {
        match client.next() {
            Got::Control(FromFeed::Alive { waiting }) if waiting == [expected] => break,
            Got::Control(said) => assert!(!matches!(said, FromFeed::Lost { .. }), "{said:?}"),
            Got::Record(head, _) => panic!("{head:?} before what is waited for"),
        }
    }
    house.until("it waits", "f", |status| {
        let source = status.clients[0].sources.first();
        source.and_then(|source| source.waits_for.as_deref()).is_some_and(|told| told.contains(why))
    });
    house.until_said("/health", "client c waits in a.frames");
}

// REQ: FEP-FEED-402
#[test]
fn what_was_moved_to_the_object_store_is_served_from_there_and_what_was_deleted_is_lost() {
    let mut house = House::new(&[]);
    let store = house.dir.path().join("store");
    let paths = segments(&house.dir.path().join("segments"), 4);
    let mut client = back_again(&mut house, &with_store(&store), || {
        put(&store, "segments/black/a.seg", &std::fs::read(&paths[1]).expect("a segment"));
        mark(&paths[1], "segments/black/a.seg");
        fep_segments::remove_sealed(&paths[2]).expect("it can be removed");
    });
    assert_eq!(client.numbers(20), (10..20).chain(30..40).collect::<Vec<_>>());
    assert_eq!(lost(&client), [(21, 31, "source")]);
    let status = house.client("f", "c");
    assert_eq!(status.counts.lost["source"], 10);
    assert!(is_balanced(&status));
    let mut new = Client::named(house.address("f"), "new", "");
    assert_eq!(new.numbers(30), (0..20).chain(30..40).collect::<Vec<_>>(), "the oldest there is");
}

// REQ: FEP-FEED-402
#[test]
fn while_the_object_store_is_away_a_client_waits_and_nothing_is_reported_as_lost() {
    let mut house = House::new(&[]);
    let store = house.dir.path().join("store");
    let paths = segments(&house.dir.path().join("segments"), 3);
    let octets = std::fs::read(&paths[1]).expect("a segment");
    let other = std::fs::read(&paths[2]).expect("a segment");
    let mut client = back_again(&mut house, &with_store(&store), || mark(&paths[1], "segments/a.seg"));
    waits(&house, &mut client, "was moved to the object store (key segments/a.seg)");
    put(&store, "segments/a.seg", &other);
    waits(&house, &mut client, "holds another segment than its name says");
    put(&store, "segments/a.seg", &octets);
    assert_eq!(client.numbers(20), (10..30).collect::<Vec<_>>());
    assert_eq!(lost(&client), []);
    assert!(is_balanced(&house.client("f", "c")));
}

// REQ: FEP-FEED-402
#[test]
fn a_key_that_leads_out_of_the_store_and_a_store_that_no_directory_shows_are_waited_for() {
    for (key, url, why) in [
        ("../a.seg", "file://STORE", "no key of an object"),
        ("/a.seg", "file://STORE", "no key of an object"),
        ("segments/a.seg", "s3://bucket", "no directory is known"),
    ] {
        let mut house = House::new(&[]);
        let store = house.dir.path().join("store");
        let paths = segments(&house.dir.path().join("segments"), 3);
        let url = url.replace("STORE", &store.display().to_string());
        let configuration = format!("[store]\nurl = \"{url}\"\n{FRAMED}alive_every_ms = 20\n");
        let mut client = back_again(&mut house, &configuration, || {
            // It would be readable there.
            put(&store, "../a.seg", &std::fs::read(&paths[1]).expect("a segment"));
            mark(&paths[1], key);
        });
        waits(&house, &mut client, why);
    }
}

// REQ: FEP-FEED-154
#[test]
fn a_segment_that_the_disk_fails_to_read_for_a_moment_is_waited_for() {
    let mut house = House::new(&[]);
    let paths = segments(&house.dir.path().join("segments"), 3);
    let aside = house.dir.path().join("aside");
    let store = house.dir.path().join("store");
    let mut client = back_again(&mut house, &with_store(&store), || {
        std::fs::rename(&paths[1], &aside).expect("moved");
        // The system answers EIO to whoever reads this file at its beginning, where no memory is.
        let mut octet = [0];
        let memory = std::fs::File::open("/proc/self/mem").expect("Linux");
        let failed = std::io::Read::read(&mut &memory, &mut octet).expect_err("nothing is mapped there");
        assert_eq!(failed.raw_os_error(), Some(libc::EIO));
        std::os::unix::fs::symlink("/proc/self/mem", &paths[1]).expect("linked");
    });
    waits(&house, &mut client, "it is tried again");
    std::fs::rename(&aside, &paths[1]).expect("back");
    assert_eq!(client.numbers(20), (10..30).collect::<Vec<_>>());
    assert_eq!(lost(&client), []);
}
