//! Stations that deliver soft symbols: the built-in laboratory, and what cannot be.

use fep_coding::soft::{SoftFormat, SymbolBits, Unpacker};
use fep_sim::awgn::{Awgn, es_n0_db};
use fep_sim::{Modulation, Simulation, Station, StationSpec, SymbolChannel, SymbolSpec, TransportSpec};

const EIGHT: SoftFormat = SoftFormat::new(SymbolBits::Eight);

fn lab() -> Simulation {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/lab-stations.toml");
    Simulation::read(std::path::Path::new(path)).unwrap_or_else(|error| panic!("{error}"))
}

fn to_file(mut spec: StationSpec, path: &std::path::Path) -> StationSpec {
    spec.transport = TransportSpec::File { path: path.to_owned() };
    spec.rate_bps = None;
    spec.unconnected = Default::default();
    let fep_sim::SourceSpec::Spacecraft(downlink) = &mut spec.source else { panic!("a spacecraft") };
    downlink.frames = Some(20);
    spec
}

// REQ: FEP-SIM-015
#[test]
fn every_station_of_the_laboratory_sends_symbols_and_the_same_again_with_the_same_seed() {
    let directory = tempfile::tempdir().expect("a directory");
    for spec in lab().station {
        let path = directory.path().join(&spec.name);
        let spec = to_file(spec, &path);
        let send = || {
            let (report, ledger) = Station::start(&spec).expect("it starts").join();
            assert_eq!(report.error, None);
            assert_eq!((ledger.counts().cadus_in, report.cadus_sent), (20, 20), "{}", spec.name);
            assert!(
                report.symbols.wrong > 0 && report.symbols.wrong < report.symbols.symbols / 3,
                "{report:?}"
            );
            (std::fs::read(&path).expect("written"), report.symbols)
        };
        let (octets, counts) = send();
        assert_eq!((octets.clone(), counts), send(), "{}", spec.name);
        let format = spec.symbols.expect("symbols").format;
        let mut symbols = Vec::new();
        Unpacker::new(format).expect("a format").push(&octets, &mut symbols);
        assert!(symbols.len() as u64 >= counts.symbols, "{}", spec.name);
    }
}

// REQ: FEP-SIM-016
#[test]
fn noise_has_the_power_that_was_asked_for_and_the_receiver_keeps_its_level() {
    for db in [-6.0, 0.0, 6.0] {
        let mut awgn = Awgn::new(Some(es_n0_db(db, 0.5)), &EIGHT, 1, 2);
        let mut symbols = vec![1; 400_000];
        awgn.receive(&mut symbols);
        let level = f64::from(awgn.level());
        let mean = symbols.iter().map(|s| f64::from(*s)).sum::<f64>() / symbols.len() as f64;
        let square = symbols.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / symbols.len() as f64;
        let sigma = (square - mean * mean).sqrt() / mean;
        // Es/N0 is 3 dB less than Eb/N0 at rate 1/2, and sigma^2 is N0/2 of Es = 1.
        let expected = (0.5 / 10f64.powf((db - 3.01) / 10.0)).sqrt();
        assert!((mean - level).abs() < 0.6, "{db} dB: mean {mean}, level {level}");
        assert!((sigma / expected - 1.0).abs() < 0.02, "{db} dB: sigma {sigma}, expected {expected}");
        assert!((square.sqrt() / (127.0 / 3.2) - 1.0).abs() < 0.02, "{db} dB: rms {}", square.sqrt());
    }
}

// REQ: FEP-SIM-017
#[test]
fn slips_bursts_and_turns_of_the_phase_are_what_the_counts_say() {
    let unpack = |octets: &[u8]| {
        let mut symbols = Vec::new();
        Unpacker::new(EIGHT).expect("a format").push(octets, &mut symbols);
        symbols
    };
    // A quarter turn makes I of Q: of (1, -1) come (1, 1), (-1, 1), (-1, -1) and (1, -1) again.
    let spec =
        SymbolSpec { modulation: Modulation::Qpsk, phase_flip_probability: 1.0, ..SymbolSpec::clear(EIGHT) };
    let mut channel = SymbolChannel::new(spec, 0.5, 4).expect("a channel");
    let mut octets = Vec::new();
    for _ in 0..30 {
        channel.push(&[1, -1].repeat(50), &mut octets);
    }
    assert_eq!(channel.counts().phase_flips, 30);
    let pairs: Vec<[bool; 2]> =
        unpack(&octets).chunks_exact(2).map(|pair| [pair[0] < 0, pair[1] < 0]).collect();
    for turned in [[false, true], [false, false], [true, false], [true, true]] {
        assert!(pairs.contains(&turned), "{turned:?}");
    }
    let turns = pairs.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!((28..=30).contains(&turns), "{turns} turns");

    let spec = SymbolSpec { slip_probability: 1.0, slip_symbols: 3, ..SymbolSpec::clear(EIGHT) };
    let mut channel = SymbolChannel::new(spec, 0.5, 4).expect("a channel");
    let (mut octets, mut lengths) = (Vec::new(), std::collections::BTreeSet::new());
    for _ in 0..60 {
        octets.clear();
        channel.push(&[1; 100], &mut octets);
        lengths.insert(octets.len());
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [97, 98, 99, 101, 102, 103]);
    assert_eq!(channel.counts().slips, 60);

    let spec = SymbolSpec { burst_probability: 1.0, burst_symbols: 400, ..SymbolSpec::clear(EIGHT) };
    let mut channel = SymbolChannel::new(spec, 0.5, 4).expect("a channel");
    octets.clear();
    for _ in 0..20 {
        channel.push(&[1; 1000], &mut octets);
    }
    let wrong = unpack(&octets).iter().filter(|symbol| **symbol < 0).count() as u64;
    assert_eq!((channel.counts().bursts, channel.counts().wrong), (20, wrong));
    assert!(wrong > 1000, "half of twenty bursts of 200 symbols on average: {wrong}");
}

// REQ: FEP-SIM-018
#[test]
fn stations_that_cannot_be_are_refused_with_the_reason() {
    let station = lab().station.into_iter().find(|spec| spec.name == "turbo-1-3").expect("the station");
    let refused = |spec: StationSpec| spec.validate().expect_err("impossible").to_string();
    let symbols = station.symbols.expect("symbols");
    let error = refused(StationSpec { symbols: None, ..station.clone() });
    assert!(error.contains("turbo is radiated as symbols"), "{error}");
    let error = refused(StationSpec {
        channel: fep_sim::ChannelSpec { bit_error_rate: 0.1, ..Default::default() },
        ..station.clone()
    });
    assert!(error.contains("keys of the table symbols"), "{error}");
    for (wrong, reported) in [
        (SymbolSpec { slip_probability: 1.5, ..symbols }, "slip_probability = 1.5: a probability"),
        (SymbolSpec { burst_probability: 0.5, ..symbols }, "burst_symbols = 0: must lie between 1 and"),
        (SymbolSpec { eb_n0_db: Some(f64::NAN), ..symbols }, "eb_n0_db = NaN"),
    ] {
        let error = refused(StationSpec { symbols: Some(wrong), ..station.clone() });
        assert!(error.contains(reported), "{error}");
    }
    let capture = fep_sim::SourceSpec::Capture { file: "npp".to_owned(), repeat: false, pause_ms: 0 };
    let spec = StationSpec { source: capture, ..station };
    // Where the recordings are missing, that is reported first.
    assert!(refused(spec).contains("capture"));
}
