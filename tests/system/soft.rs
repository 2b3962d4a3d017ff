//! Links of soft symbols with real processes: a station on the air, fepd, rings, a consumer. Above the threshold of its
//! code every frame arrives; below it, the ledgers say exactly how many did not.

use std::collections::BTreeMap;
use std::time::Duration;

use fep_coding::soft::{PositiveMeans, SoftFormat, SymbolBits, SymbolCoding};
use fep_control::api::LinkStatus;
use fep_mission::ChannelConfig;
use fep_record::{BadReason, FrameFlags, FrameRecord};
use fep_sim::{
    Content, DownlinkSpec, FrameOracle, Modulation, PacketStreamSpec, SourceSpec, SpacecraftSpec, Station,
    StationSpec, SymbolSpec, TransportSpec, Unconnected, VcSpec,
};
use fep_tests::journal::Line;
use fep_tests::{Daemon, Follower, RunDirectory, wait_until};

const FORMAT: SoftFormat = SoftFormat {
    coding: SymbolCoding::OffsetBinary,
    positive: PositiveMeans::One,
    ..SoftFormat::new(SymbolBits::Eight)
};
/// The same, as a link's configuration says it.
const SYMBOLS: &str = r#"symbols = { bits = 8, coding = "offset_binary", positive = "one" }"#;

fn channel(name: &str) -> ChannelConfig {
    fep_mission::load("lab").unwrap_or_else(|errors| panic!("{errors}")).channels[name].clone()
}

fn station(name: &str, channel: &ChannelConfig, eb_n0_db: f64, frames: u64) -> (StationSpec, DownlinkSpec) {
    let packets = PacketStreamSpec {
        apid: 100,
        content: Content::Housekeeping,
        data_len: 60,
        data_len_max: Some(300),
        weight: 1,
    };
    let downlink = DownlinkSpec {
        spacecraft: SpacecraftSpec {
            scid: channel.spacecraft[0].scid,
            frame: channel.frame.clone(),
            clcw: false,
            vc: vec![VcSpec { vcid: 0, weight: 1, packets: vec![packets], idle_packets: 0 }],
            nominal_rate_bps: 1_000_000,
            epoch_tai_ns: 0,
        },
        code: channel.code,
        randomizer: channel.randomizer,
        line_code: channel.line_code,
        marker: None,
        frames: Some(frames),
    };
    let spec = StationSpec {
        name: name.to_owned(),
        source: SourceSpec::Spacecraft(Box::new(downlink.clone())),
        transport: TransportSpec::TcpServer { bind: "127.0.0.1:0".parse().expect("an address") },
        rate_bps: None,
        channel: Default::default(),
        symbols: Some(SymbolSpec {
            modulation: Modulation::Bpsk,
            eb_n0_db: Some(eb_n0_db),
            ..SymbolSpec::clear(FORMAT)
        }),
        seed: 7,
        channel_seed: None,
        unconnected: Unconnected::Hold,
    };
    (spec, downlink)
}

/// What became of the frames of one link: the numbers of the good ones, the bad ones by reason.
struct Received {
    good: Vec<u64>,
    corrected: u64,
    gaps_lost: u64,
    bad: BTreeMap<&'static str, u64>,
}

fn account(records: &[Line], oracle: &FrameOracle) -> Received {
    let mut received = Received { good: Vec::new(), corrected: 0, gaps_lost: 0, bad: BTreeMap::new() };
    for line in records {
        let Line::Record { flags, words, hash, .. } = line else {
            panic!("{line:?}: the consumer was lapped")
        };
        let record = FrameRecord::from_words(*flags, *words).expect("a record of this version");
        if record.reason != BadReason::None {
            let reason = if record.reason == BadReason::Uncorrectable {
                assert!(record.flags.contains(FrameFlags::UNCORRECTABLE));
                "uncorrectable"
            } else {
                assert_eq!(
                    record.reason,
                    BadReason::FecfFailed,
                    "nothing else can be wrong with these frames"
                );
                "fecf"
            };
            *received.bad.entry(reason).or_default() += 1;
            continue;
        }
        let identity = oracle.identify_hash(*hash).expect("no good frame was never sent");
        if let Some(last) = received.good.last() {
            assert!(identity.number > *last, "frame {} behind {last}", identity.number);
            let missing = identity.number - last - 1;
            assert_eq!(record.flags.contains(FrameFlags::GAP), missing > 0, "frame {}", identity.number);
            received.gaps_lost += missing;
        }
        received.corrected += u64::from(record.symbols_corrected > 0);
        received.good.push(identity.number);
    }
    received
}

// REQ: FEP-SYS-012
#[test]
fn above_threshold_every_frame_of_a_soft_link_arrives_and_below_it_the_ledgers_say_how_many_did_not() {
    // Link, channel, Eb/N0, frames, whether everything must arrive, keys of the link besides.
    let links: [(&str, &str, f64, u64, bool, &str); 5] = [
        ("conc", "concatenated", 4.5, 300, true, ""),
        ("ldpc", "ldpc-1-2", 4.5, 1000, true, "decode_threads = 2\n"),
        ("turbo", "turbo-1-3", 2.5, 300, true, "decode_wait_us = 500\ndecode_batch = 16\n"),
        ("stream", "ldpc-stream", 5.0, 300, true, ""),
        ("below", "ldpc-c2", 3.45, 400, false, ""),
    ];
    let directory = RunDirectory::new();
    let mut tables = String::new();
    let mut stations = Vec::new();
    for (name, channel_name, eb_n0_db, frames, ..) in links {
        let channel = channel(channel_name);
        let (spec, downlink) = station(name, &channel, eb_n0_db, frames);
        let running = Station::start(&spec).expect("a station");
        stations.push((running, downlink));
        let address = stations.last().and_then(|(station, _)| station.address()).expect("it listens");
        let keys = links.iter().find(|link| link.0 == name).expect("itself").5;
        tables.push_str(&format!(
            "[links.{name}]\nchannel = \"lab/{channel_name}\"\n{SYMBOLS}\n{keys}\
             transport = {{ kind = \"tcp_client\", address = \"{address}\" }}\n\n"
        ));
    }
    let config = directory.configure(&tables);
    let daemon = Daemon::start(&directory, &config);
    let followers: Vec<Follower> = links
        .iter()
        .map(|link| {
            Follower::start(&directory.rings(), &format!("{}.frames", link.0), "test", directory.path())
        })
        .collect();
    for (station, _) in &stations {
        wait_until("the station has sent everything", || {
            if station.is_ended() { Ok(()) } else { Err(format!("{:?}", station.report())) }
        });
    }
    for ((link, (station, downlink)), follower) in links.iter().zip(stations).zip(followers) {
        let (name, _, _, frames, all, _) = *link;
        let (report, sent) = station.join();
        assert_eq!(sent.counts().cadus_in, frames, "{name}");
        assert!(report.symbols.wrong > 0, "{name}: no noise");
        let octets = |status: &LinkStatus| {
            status
                .transport_counters
                .iter()
                .find(|count| count.name == "bytes")
                .map_or(0, |count| count.value)
        };
        let ledger = wait_until("the link has taken everything, and nothing moves any more", || {
            let status = daemon.link(name)?;
            std::thread::sleep(Duration::from_millis(200));
            let then = daemon.link(name)?;
            if octets(&then) == report.octets_sent && status.ledger == then.ledger {
                Ok(then.ledger)
            } else {
                Err(format!("{} of {} octets, {}", octets(&then), report.octets_sent, then.ledger))
            }
        });
        assert!(ledger.is_balanced(), "{name}: {ledger}");
        let counts = ledger.counts;
        let oracle = FrameOracle::new(downlink.spacecraft.clone(), 7, frames).expect("the same spacecraft");
        let received = account(&follower.finish(), &oracle);
        let good = received.good.len() as u64;
        let bad: u64 = received.bad.values().sum();
        assert_eq!(counts.received, good + bad, "{name}: {counts:?}");
        assert_eq!(counts.good + counts.corrected, good, "{name}: {counts:?}");
        assert_eq!(counts.uncorrectable, bad, "{name}: {counts:?}");
        assert_eq!(counts.lost, received.gaps_lost, "{name}: {counts:?}");
        let (first, last) = (received.good[0], received.good[received.good.len() - 1]);
        // Every frame that was sent is good, counted as lost in a gap, or lies before the first or behind the last.
        assert_eq!(good + counts.lost + first + (frames - 1 - last), frames, "{name}: {counts:?}");
        if all {
            assert_eq!((counts.lost, bad), (0, 0), "{name}: {counts:?}");
            // In noise the very first marker may be passed over.
            assert!(good + first == frames && first <= 1, "{name}: {good} of {frames}, from {first}");
            // Behind a convolutional code few frames are left to correct; but for noise there would be none.
            assert!(received.corrected > 0, "{name}: {} corrected", received.corrected);
        } else {
            assert!(
                bad > frames / 20 && good > frames / 20,
                "{name}: {good} good, {bad} bad: not at the threshold"
            );
        }
    }
    assert!(daemon.stop().success());
}
