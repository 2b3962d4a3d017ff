//! Feeds in the whole system: a simulated station, `fepd`, the recorder, `fep-feeds` and its clients, all real processes.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::path::PathBuf;

use fep_feeds::status::FeedStatus;
use fep_record::FrameRecord;
use fep_sim::{FrameOracle, Spacecraft, Station, StationSpec, Unconnected};
use fep_tests::journal::{self, Line};
use fep_tests::{
    Daemon, Follower, Moments, RunDirectory, Sidecar, cso_2, downlink, get, kill_rounds, tcp_link, wait_until,
};

/// About 2000 frames a second.
const RATE_BPS: u64 = 20_000_000;

/// Frames of the downlink for each round of kills: it lasts about as long as the kills, and is several times what the ring
/// holds.
const FRAMES_A_ROUND: u64 = 400;

/// Lives between two kills.
const LIFE_MS: Range<u64> = 10..150;

/// cso-2 over a clear channel, so many frames; and how many of them each virtual channel has.
fn station(frames: u64) -> (StationSpec, FrameOracle, BTreeMap<u8, u64>) {
    let mut spec = cso_2(Some(RATE_BPS), Unconnected::Hold);
    spec.channel = fep_sim::ChannelSpec::default();
    let downlink = downlink(&mut spec);
    downlink.frames = Some(frames);
    let downlink = downlink.clone();
    let oracle = FrameOracle::new(downlink.spacecraft.clone(), spec.seed, frames).expect("valid");
    let mut spacecraft = Spacecraft::new(downlink.spacecraft.clone(), spec.seed).expect("valid");
    let mut counts: BTreeMap<u8, u64> = BTreeMap::new();
    let mut octets = Vec::new();
    for _ in 0..frames {
        octets.clear();
        *counts.entry(spacecraft.next_frame(&mut octets).gvcid.vcid).or_default() += 1;
    }
    (spec, oracle, counts)
}

/// An address that nobody uses: feeds must come back at the same one after a kill.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// Configuration of recorder and feeds. A small ring and small segments: all switches between them happen.
fn configure(directory: &RunDirectory, disk: &std::path::Path, address: SocketAddr) -> PathBuf {
    let text = format!(
        "[archive]\nrings = {:?}\nsegments = {:?}\nlog = \"warn\"\n\n\
         [recorder]\nrecord = [\"*.frames\"]\nsegment_mib = 8\nroot_key = \"\"\n\n\
         [feeding]\ncursors = {:?}\nlisten = \"unix:{}\"\n\n\
         [feeds.frames]\nsources = [\"cso-2.frames\"]\nsession = \"TEST\"\nform = \"framed\"\nstart = \"oldest\"\nanonymous = true\n\
         transport = {{ kind = \"tcp_server\", bind = \"{address}\" }}\nalive_every_ms = 100\n",
        directory.rings(),
        disk.join("segments"),
        disk.join("cursors"),
        directory.path().join("feeds.sock").display(),
    );
    let path = disk.join("archive.toml");
    std::fs::write(&path, text).expect("the directory is writable");
    path
}

fn status(directory: &RunDirectory) -> Result<FeedStatus, String> {
    let body = get(&directory.path().join("feeds.sock"), "/feeds/frames")?;
    serde_json::from_str(&body).map_err(|error| format!("{error} in {body}"))
}

/// Every frame of these virtual channels once and in order, octet for octet; `sent` tells how many there are of each.
fn check(name: &str, records: &[Line], oracle: &FrameOracle, sent: &BTreeMap<u8, u64>) {
    let mut next: BTreeMap<u8, u64> = BTreeMap::new();
    let mut last = None;
    for line in records {
        let Line::Record { seq, flags, words, hash, .. } = line else { panic!("{name}: {line:?}") };
        let identity =
            oracle.identify_hash(*hash).unwrap_or_else(|| panic!("{name}: record {seq} was never sent"));
        let record = FrameRecord::from_words(*flags, *words).expect("a record of this version");
        assert_eq!(record.gvcid, identity.gvcid, "{name}: record {seq}");
        assert!(last.is_none_or(|last| last < identity.number), "{name}: record {seq} is out of order");
        last = Some(identity.number);
        let expected = next.entry(identity.gvcid.vcid).or_default();
        assert_eq!(identity.vc_number, *expected, "{name}: record {seq}");
        *expected += 1;
    }
    assert_eq!(&next, sent, "{name}");
}

// REQ: FEP-FEED-011
// REQ: FEP-FEED-012
#[test]
fn every_frame_reaches_every_client_once_and_in_order_through_stalls_and_kills_of_clients_and_feeds() {
    let rounds = kill_rounds();
    let frames = rounds * FRAMES_A_ROUND;
    let mut moments = Moments::from_environment();
    let (spec, oracle, sent) = station(frames);
    let directory = RunDirectory::new();
    let disk = tempfile::tempdir().expect("a directory");
    let station = Station::start(&spec).expect("it starts");
    let link = tcp_link("cso-2", "cso/cso-2", station.address().expect("it listens"));
    let rings = "[rings]\nframes_desc_log2 = 12\nframes_data_mib = 8\npackets_desc_log2 = 12\npackets_data_mib = 8\n\n";
    let config = directory.configure(&format!("{rings}{link}"));
    let address = free_address();
    let archive = configure(&directory, disk.path(), address);
    // The recorder first, so that it misses nothing of the rings that fepd lays out.
    let recorder = Sidecar::start("fep-recorder", &archive);
    let mut feeds = Sidecar::start("fep-feeds", &archive);
    wait_until("the feed listens", || status(&directory));
    let steady = Follower::of_feed(address, "steady", "{}", disk.path());
    let stalled = Follower::of_feed(address, "stalled", "{}", disk.path());
    let mut killed = Follower::of_feed(address, "killed", "{}", disk.path());
    let housekeeping = Follower::of_feed(address, "housekeeping", "{\"vcs\":[0]}", disk.path());
    let daemon = Daemon::start(&directory, &config);

    let reached = |follower: &Follower, lines: u64| {
        wait_until("the client gets on", || {
            let have = follower.written();
            if have >= lines { Ok(()) } else { Err(format!("{have} of {lines}")) }
        });
    };
    reached(&stalled, 500);
    stalled.freeze();
    let (mut client_kills, mut feed_kills, mut lives_that_got_on) = (0, 0, 0);
    while client_kills < rounds || feed_kills < rounds {
        let before = killed.written();
        moments.sleep_ms(LIFE_MS);
        let victim = moments.below(3);
        if victim != 1 {
            killed.kill();
            client_kills += 1;
        }
        if victim != 0 {
            feeds.kill();
            feed_kills += 1;
            feeds.restart();
        }
        if victim != 1 {
            killed.restart();
        }
        lives_that_got_on += u64::from(killed.written() > before);
    }
    println!(
        "{client_kills} and {feed_kills} kills, {} frames by then; {lives_that_got_on} lives got on",
        killed.written()
    );
    assert!(
        lives_that_got_on > rounds / 10,
        "{lives_that_got_on}: these kills were in the middle of nothing"
    );
    reached(&steady, frames);
    // It stands where it was stopped, far behind the ring by now, and goes on from the archive.
    let frozen_at = stalled.written();
    assert!(frozen_at < frames / 2, "{frozen_at} of {frames} frames: it was to be far behind");
    stalled.thaw();
    reached(&stalled, frames);
    reached(&killed, frames);
    let all = wait_until("every client has everything", || {
        let status = status(&directory)?;
        let done = status.clients.len() == 4
            && status.clients.iter().all(|client| {
                client.on_the_way == 0 && client.sources.iter().all(|source| source.behind == Some(0))
            });
        if done { Ok(status) } else { Err(format!("{status:?}")) }
    });
    for client in &all.clients {
        let counts = &client.counts;
        let filtered: u64 = counts.filtered.values().sum();
        let lost: u64 = counts.lost.values().sum();
        assert_eq!(counts.followed, counts.sent + filtered + lost, "{client:?}");
        assert_eq!(lost, 0, "{client:?}");
    }
    for (name, follower) in [("steady", steady), ("stalled", stalled), ("killed", killed)] {
        let (records, gaps) = journal::settle(&follower.finish());
        assert!(gaps.is_empty(), "{name}");
        assert_eq!(records.len() as u64, frames, "{name}");
        check(name, &records, &oracle, &sent);
    }
    let mut records = housekeeping.finish();
    // Sequence numbers have holes where other virtual channels were; what came twice is the same.
    let before = records.len();
    records.sort_by_key(|line| match line {
        Line::Record { seq, .. } => *seq,
        Line::Gap { from_seq, .. } => *from_seq,
    });
    records.dedup();
    println!("{} of {before} lines of the filtered client came once", records.len());
    check("housekeeping", &records, &oracle, &BTreeMap::from([(0, sent[&0])]));
    let housekeeping = all.clients.iter().find(|client| client.name == "housekeeping").expect("it was there");
    assert!(housekeeping.counts.filtered["virtual_channel"] > 0);
    assert!(feeds.stop().success());
    assert!(daemon.stop().success());
    assert!(recorder.stop().success());
}
