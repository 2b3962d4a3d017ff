//! Several stations of one spacecraft: they send the same frames at the same time, and lose others.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fep_sim::{
    ChannelSpec, Memory, Simulation, SourceSpec, Station, StationReport, StationSpec, TransportSpec,
};

fn example() -> Vec<StationSpec> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/merge-stations.toml");
    Simulation::read(std::path::Path::new(path)).unwrap_or_else(|error| panic!("{error}")).station
}

/// Which frames of the first `frames` arrive.
fn arrivals(mut spec: StationSpec, frames: u64) -> BTreeSet<u64> {
    let directory = tempfile::tempdir().expect("a directory");
    spec.transport = TransportSpec::File { path: directory.path().join("stream") };
    spec.rate_bps = None;
    spec.unconnected = Default::default();
    let SourceSpec::Spacecraft(downlink) = &mut spec.source else { panic!("a spacecraft") };
    downlink.frames = Some(frames);
    let running = Station::start_remembering(&spec, Memory::EveryArrival).expect("it starts");
    let (report, ledger) = running.join();
    assert_eq!((report.error, report.channel.cadus_in), (None, frames));
    ledger.arrivals().iter().copied().collect()
}

// REQ: FEP-SIM-320
#[test]
fn the_stations_of_the_example_of_a_merge_send_the_same_frames_and_lose_others() {
    const FRAMES: u64 = 3000;
    let stations = example();
    let [north, south] = <[StationSpec; 2]>::try_from(stations).expect("two stations");
    assert_eq!((&north.source, north.seed, north.rate_bps), (&south.source, south.seed, south.rate_bps));
    assert_eq!(
        (north.unconnected, south.unconnected),
        (fep_sim::Unconnected::Lose, fep_sim::Unconnected::Lose)
    );
    let [north, south] = [arrivals(north, FRAMES), arrivals(south, FRAMES)];
    let sent: BTreeSet<u64> = (0..FRAMES).collect();
    let lost_by = |heard: &BTreeSet<u64>| sent.difference(heard).count();
    let by_both = sent.iter().filter(|frame| !north.contains(frame) && !south.contains(frame)).count();
    assert!(lost_by(&north) > 30 && lost_by(&south) > 30, "{} {}", lost_by(&north), lost_by(&south));
    assert!(by_both * 5 < lost_by(&north).min(lost_by(&south)), "{by_both} are lost by both");
}

// REQ: FEP-SIM-320
#[test]
fn what_a_channel_loses_takes_its_time_so_that_the_streams_of_two_antennas_stay_aligned() {
    let started = Instant::now();
    let station = |channel| {
        let [mut spec, _] = <[StationSpec; 2]>::try_from(example()).expect("two stations");
        spec.channel = channel;
        spec.transport = TransportSpec::TcpServer { bind: ([127, 0, 0, 1], 0).into() };
        Station::start(&spec).expect("it starts")
    };
    // Three of four frames are lost.
    let lossy =
        station(ChannelSpec { drop_out_probability: 0.75, drop_out_cadus: 1, ..ChannelSpec::default() });
    let clear = station(ChannelSpec { burst_probability: 1e-9, burst_symbols: 1, ..ChannelSpec::default() });
    let sent = |report: &StationReport| report.channel.cadus_in;
    while sent(&clear.report()).min(sent(&lossy.report())) < 150 {
        assert!(started.elapsed() < Duration::from_secs(60), "they send");
        std::thread::sleep(Duration::from_millis(10));
    }
    let (lossy, clear) = (lossy.report(), clear.report());
    assert!(lossy.channel.lost > 50, "{lossy:?}");
    assert!(sent(&lossy) < 2 * sent(&clear), "{} of one, {} of the other", sent(&lossy), sent(&clear));
}

#[test]
fn the_path_of_a_file_is_relative_to_the_file_of_the_stations() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("stations.toml");
    let text = r#"
        [[station]]
        name = "a"
        source = { kind = "capture", file = "npp" }
        transport = { kind = "file", path = "out/a.cadu" }
    "#;
    std::fs::write(&file, text).expect("written");
    let simulation = Simulation::read(&file).unwrap_or_else(|error| panic!("{error}"));
    let path = directory.path().join("out/a.cadu");
    assert_eq!(simulation.station[0].transport, TransportSpec::File { path });
}
