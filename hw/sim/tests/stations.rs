//! Stations over real sockets and files: what arrives is what was sent, and the report says how much that was.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use fep_sim::captures;
use fep_sim::{
    CaduLayout, Channel, ChannelSpec, DEFAULT_SIMULATION, Encoder, FrameOracle, Memory, Simulation, Source,
    SourceSpec, Spacecraft, Station, StationReport, StationSpec, StationState, TransportSpec,
};

/// Longest wait for octets that must come; only a failing test ever waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The station `name` of the built-in set, sending `frames` frames (or its capture once) to `transport` as fast as it can.
fn station(name: &str, frames: u64, transport: TransportSpec) -> StationSpec {
    let simulation = Simulation::parse(DEFAULT_SIMULATION, "built-in").expect("the built-in set is valid");
    let mut spec = simulation.station.into_iter().find(|spec| spec.name == name).expect("a built-in station");
    spec.transport = transport;
    spec.rate_bps = None;
    spec.unconnected = fep_sim::Unconnected::Hold;
    match &mut spec.source {
        SourceSpec::Capture { repeat, .. } => *repeat = false,
        SourceSpec::Spacecraft(downlink) => downlink.frames = Some(frames),
    }
    spec
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn tcp_server() -> TransportSpec {
    TransportSpec::TcpServer { bind: any_port() }
}

/// What the station `spec` sends, made without any station.
fn expected_stream(spec: &StationSpec) -> Vec<u8> {
    let SourceSpec::Spacecraft(downlink) = &spec.source else { panic!("a spacecraft's station") };
    let mut spacecraft = Spacecraft::new(downlink.spacecraft.clone(), spec.seed).expect("valid");
    let mut encoder = Encoder::new(downlink.marker(), &downlink.code, downlink.randomizer).expect("valid");
    let mut channel = Channel::new(
        spec.channel.clone(),
        encoder.layout(),
        fep_sim::Carriage::Stream,
        Memory::Totals,
        spec.seed,
    )
    .expect("valid");
    let mut stream = Vec::new();
    for _ in 0..downlink.frames.expect("so many frames") {
        let (mut frame, mut cadu) = (Vec::new(), Vec::new());
        spacecraft.next_frame(&mut frame);
        encoder.encode(&frame, &mut cadu);
        channel.push(&cadu, &mut |octets| stream.extend_from_slice(octets));
    }
    channel.finish(&mut |octets| stream.extend_from_slice(octets));
    stream
}

fn read_to_end(mut stream: TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).expect("the station ends its stream in good order");
    octets
}

fn assert_all_sent(report: &StationReport, cadus: u64, octets: usize) {
    assert_eq!(report.state, StationState::Ended, "{report:?}");
    assert_eq!((report.cadus_sent, report.octets_sent), (cadus, octets as u64), "{report:?}");
    assert_eq!((report.cadus_cut, report.cadus_unheard), (0, 0), "{report:?}");
}

// REQ: FEP-SIM-008
#[test]
fn a_listening_station_sends_the_seeded_stream_octet_for_octet_and_reports_its_faults() {
    let mut spec = station("cso-1", 2000, tcp_server());
    spec.channel.drop_out_probability = 0.01;
    spec.channel.burst_probability = 0.01;
    let running = Station::start_remembering(&spec, Memory::EveryArrival).expect("it starts");
    let received =
        read_to_end(TcpStream::connect(running.address().expect("it listens")).expect("connected"));
    let (report, ledger) = running.join();
    assert_eq!(received, expected_stream(&spec));
    assert_all_sent(&report, ledger.counts().cadus_out, received.len());
    assert_eq!(report.channel, *ledger.counts());
    assert_eq!(report.channel.cadus_in, 2000);
    assert!(report.channel.bit_errors > 0 && report.channel.lost > 0, "{report:?}");
    assert_eq!(ledger.arrivals().len() as u64, ledger.counts().cadus_out);
}

#[test]
fn a_connecting_station_tries_until_the_receiver_listens() {
    // A port that was free a moment ago and that nobody listens on.
    let address = TcpListener::bind(any_port()).expect("bound").local_addr().expect("bound");
    let spec = station("cso-2", 300, TransportSpec::TcpClient { address });
    let running = Station::start(&spec).expect("it starts");
    while running.report().state != StationState::Waiting {
        std::thread::yield_now();
    }
    let listener = TcpListener::bind(address).expect("bound again");
    let (stream, _) = listener.accept().expect("the station connects");
    let received = read_to_end(stream);
    assert_eq!(received, expected_stream(&spec));
    let (report, _) = running.join();
    assert_all_sent(&report, 300, received.len());
    assert_eq!(report.connections, 1);
}

fn receive_datagrams(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut buffer = vec![0; 65536];
    (0..count)
        .map(|_| {
            let len = socket.recv(&mut buffer).expect("a datagram");
            buffer[..len].to_vec()
        })
        .collect()
}

#[test]
fn a_datagram_holds_one_cadu_or_one_frame() {
    let socket = UdpSocket::bind(any_port()).expect("bound");
    let to = socket.local_addr().expect("bound");
    // Few enough that the receiver's buffer holds them all, so that nothing depends on who runs when.
    let mut spec =
        station("cso-2", 50, TransportSpec::Udp { to, interface: None, datagram: fep_sim::Datagram::Cadu });
    let running = Station::start(&spec).expect("it starts");
    let cadus = receive_datagrams(&socket, 50);
    assert!(cadus.iter().all(|cadu| cadu.len() == 1279));
    assert_eq!(cadus.concat(), expected_stream(&spec));
    assert_all_sent(&running.join().0, 50, 50 * 1279);

    spec.transport = TransportSpec::Udp { to, interface: None, datagram: fep_sim::Datagram::Frame };
    let running = Station::start(&spec).expect("it starts");
    let SourceSpec::Spacecraft(downlink) = &spec.source else { panic!("a spacecraft's station") };
    let oracle = FrameOracle::new(downlink.spacecraft.clone(), spec.seed, 50).expect("valid");
    for (number, frame) in receive_datagrams(&socket, 50).iter().enumerate() {
        let identity = oracle.identify(frame).expect("a frame of this spacecraft");
        assert_eq!(identity.number, number as u64);
    }
    assert_all_sent(&running.join().0, 50, 50 * 1115);
}

#[test]
fn a_multicast_group_receives_the_stream() {
    let group = Ipv4Addr::new(239, 255, 41, 9);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bound");
    if let Err(error) = socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST) {
        panic!("this machine cannot join a group on its loopback interface: {error}");
    }
    let to = SocketAddr::from((group, socket.local_addr().expect("bound").port()));
    let spec = station(
        "cso-2",
        20,
        TransportSpec::Udp { to, interface: Some(Ipv4Addr::LOCALHOST), datagram: fep_sim::Datagram::Cadu },
    );
    let running = Station::start(&spec).expect("it starts");
    assert_eq!(receive_datagrams(&socket, 20).concat(), expected_stream(&spec));
    assert_all_sent(&running.join().0, 20, 20 * 1279);
}

// REQ: FEP-SIM-010
#[test]
fn a_capture_is_sent_as_recorded_and_cut_into_cadus_where_datagrams_need_it() {
    let capture = captures::find_one("npp").expect("the captures are on this machine");
    let recorded = std::fs::read(&capture.path).expect("readable");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("npp.dat");
    let spec = station("npp", 0, TransportSpec::File { path: path.clone() });
    let (report, _) = Station::start(&spec).expect("it starts").join();
    assert_eq!(std::fs::read(&path).expect("written"), recorded);
    assert_all_sent(&report, 1024, recorded.len());
    assert_eq!(report.passes, 1);

    // The recording begins 69 octets and 6 bits before its first marker; it holds 1023 whole CADUs of 1024 octets.
    let spec = StationSpec {
        channel: ChannelSpec { drop_out_probability: 1e-9, drop_out_cadus: 1, ..ChannelSpec::default() },
        ..spec
    };
    let (report, _) = Station::start(&spec).expect("it starts").join();
    let cut = std::fs::read(&path).expect("written");
    assert_all_sent(&report, 1023, 1023 * 1024);
    assert!(cut.chunks(1024).all(|cadu| cadu[..4] == [0x1A, 0xCF, 0xFC, 0x1D]));
    let bits = |octets: &[u8], from: usize| {
        let at = from / 8;
        let word = u16::from_be_bytes([octets[at], octets[at + 1]]);
        (word >> (8 - from % 8)) as u8
    };
    let first_bit =
        (0..16_000).find(|bit| (0..4).all(|k| bits(&recorded, bit + 8 * k) == cut[k])).expect("a marker");
    assert!(
        (0..cut.len()).all(|k| bits(&recorded, first_bit + 8 * k) == cut[k]),
        "cut, but otherwise as recorded"
    );
}

#[test]
fn a_repeated_capture_begins_again_without_a_seam() {
    let capture = captures::find_one("aqua").expect("the captures are on this machine");
    let recorded = std::fs::read(&capture.path).expect("readable");
    let mut spec = station("aqua", 0, tcp_server());
    let SourceSpec::Capture { repeat, pause_ms, .. } = &mut spec.source else {
        panic!("a capture's station")
    };
    (*repeat, *pause_ms) = (true, 0);
    let running = Station::start(&spec).expect("it starts");
    let mut stream = TcpStream::connect(running.address().expect("it listens")).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut received = vec![0; recorded.len() * 5 / 2];
    stream.read_exact(&mut received).expect("it goes on and on");
    assert!(received.chunks(recorded.len()).all(|pass| pass == &recorded[..pass.len()]));
    running.stop();
    let (report, _) = running.join();
    assert_eq!(report.state, StationState::Ended);
    assert!(report.passes >= 2);
}

// REQ: FEP-SIM-011
#[test]
fn a_stuck_receiver_does_not_keep_a_station_from_stopping_and_a_newer_one_takes_its_place() {
    let spec = station("cso-2-payload", 1_000_000, tcp_server());
    let running = Station::start(&spec).expect("it starts");
    let address = running.address().expect("it listens");
    // Connected, never reading: the station fills what the system buffers and then cannot go on.
    let stuck = TcpStream::connect(address).expect("connected");
    let mut held_up = running.report().octets_sent;
    loop {
        std::thread::sleep(Duration::from_millis(300));
        let now = running.report().octets_sent;
        if now > 0 && now == held_up {
            break;
        }
        held_up = now;
    }
    let mut newer = TcpStream::connect(address).expect("connected");
    newer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut octets = vec![0; 1279 * 4];
    newer.read_exact(&mut octets).expect("the newer receiver is served");
    assert_eq!(octets[..4], [0x1A, 0xCF, 0xFC, 0x1D], "it starts with a whole CADU");
    let report = running.report();
    assert_eq!(report.connections, 2);
    assert!(report.cadus_cut > 0, "what the first receiver may have lost is reported: {report:?}");
    running.stop();
    assert_eq!(running.join().0.state, StationState::Ended);
    drop(stuck);
}

#[test]
fn a_receiver_that_comes_back_finds_the_spacecraft_where_it_was_held() {
    let mut spec = station("cso-2", 5000, tcp_server());
    spec.rate_bps = Some(200_000_000);
    let running = Station::start(&spec).expect("it starts");
    let address = running.address().expect("it listens");
    let mut first = TcpStream::connect(address).expect("connected");
    first.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut octets = vec![0; 1279 * 10];
    first.read_exact(&mut octets).expect("served");
    drop(first);
    let rest = read_to_end(TcpStream::connect(address).expect("connected"));
    let (report, _) = running.join();
    let whole = expected_stream(&spec);
    assert!(whole.ends_with(&rest), "nothing was skipped after the second connection");
    assert_eq!(rest.len() % 1279, 0, "it goes on with a whole CADU");
    assert_eq!(report.cadus_sent + report.cadus_cut, 5000, "{report:?}");
    assert_eq!((report.cadus_unheard, report.connections), (0, 2), "{report:?}");
}

#[test]
fn a_spacecraft_that_does_not_wait_is_counted_as_unheard() {
    let mut spec = station("cso-2", 200, tcp_server());
    spec.rate_bps = Some(100_000_000);
    spec.unconnected = fep_sim::Unconnected::Lose;
    let (report, _) = Station::start(&spec).expect("it starts").join();
    assert_eq!((report.cadus_sent, report.cadus_cut, report.cadus_unheard), (0, 0, 200), "{report:?}");
}

#[test]
fn prepared_octets_go_out_over_and_over_in_whole_cadus() {
    let layout = CaduLayout { marker_len: 4, codeblock_len: 1275, interleave: 5 };
    let octets: Vec<u8> = (0..1279 * 100).map(|index| (index % 251) as u8).collect();
    assert!(Source::prepared(octets[1..].into(), layout, true).is_err(), "no whole number of CADUs");
    let source = Source::prepared(octets.clone().into(), layout, true).expect("whole CADUs");
    let running = Station::start_source("bench", source, &tcp_server(), None).expect("it starts");
    let mut stream = TcpStream::connect(running.address().expect("it listens")).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut received = vec![0; octets.len() * 40];
    stream.read_exact(&mut received).expect("it goes on and on");
    assert!(received.chunks(octets.len()).all(|pass| pass == octets));
    running.stop();
    let (report, _) = running.join();
    assert!(report.octets_sent >= received.len() as u64 && report.passes >= 40, "{report:?}");
}

// REQ: FEP-SIM-012
#[test]
fn the_built_in_stations_are_those_that_the_missions_are_configured_for() {
    let simulation = Simulation::parse(DEFAULT_SIMULATION, "built-in").expect("valid");
    let names: Vec<&str> = simulation.station.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names, ["npp", "noaa20", "noaa21", "aqua", "metopb", "cso-1", "cso-2", "cso-2-payload"]);
    for (spec, port) in simulation.station.iter().zip(21001..) {
        let address = match &spec.transport {
            TransportSpec::TcpServer { bind } => *bind,
            TransportSpec::Udp { to, .. } => *to,
            other => panic!("{other:?}"),
        };
        assert_eq!(address, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        spec.validate().expect("it could start");
    }
}

#[test]
fn a_file_of_stations_that_makes_no_sense_is_refused_with_every_reason_and_its_place() {
    let refusal = |text: &str| Simulation::parse(text, "stations.toml").expect_err("refused").to_string();
    let unknown_key = DEFAULT_SIMULATION.replacen("rate_bps = ", "rate_bsp = ", 1);
    let message = refusal(&unknown_key);
    assert!(
        message.contains("stations.toml") && message.contains("rate_bsp") && message.contains("line"),
        "{message}"
    );
    let wrong = DEFAULT_SIMULATION
        .replace("scid = 162", "scid = 300")
        .replace("127.0.0.1:21002", "127.0.0.1:21001")
        .replace("name = \"metopb\"", "name = \"npp\"")
        .replace("burst_symbols = 120", "burst_symbols = 2000")
        .replace("npp.20241206T173815.dat", "voyager.dat");
    let message = refusal(&wrong);
    for part in [
        "station cso-2: source: spacecraft.scid = 300: a AOS frame holds 0 to 255",
        "stations \"npp\" and \"noaa20\" both listen on 127.0.0.1:21001",
        "two stations are called \"npp\"",
        "channel.burst_symbols = 2000: must lie between 1 and 1275",
        "no capture is called \"voyager.dat\"",
    ] {
        assert!(message.contains(part), "{part:?} is missing in {message:?}");
    }
    assert!(refusal("station = []").contains("no [[station]] is described"));
    let missing = Simulation::read(Path::new("no/such/file.toml")).expect_err("refused").to_string();
    assert!(missing.contains("no/such/file.toml"));
}
