//! The configuration: what is built in loads, and every mistake is reported with file, line, key and allowed values.

mod channels;

use fep_control::config::{self, CorePolicy};
use fep_mission::VcService;
use fep_net::TransportSpec;
use fep_record::Session;
use proptest::prelude::*;

fn errors(text: &str) -> Vec<String> {
    match config::load_text("site.toml", text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
    }
}

// REQ: FEP-CFG-001
#[test]
fn the_built_in_configuration_loads_and_names_the_eight_simulated_links() {
    let config = config::load(None).unwrap_or_else(|errors| panic!("{errors}"));
    let links: Vec<&str> = config.links.iter().map(|link| link.channel.name.as_str()).collect();
    assert_eq!(
        links,
        [
            "aqua/db",
            "cso/cso-1",
            "cso/cso-2",
            "cso/cso-2-payload",
            "metopb/ahrpt",
            "noaa20/hrd",
            "noaa21/hrd",
            "npp/hrd"
        ]
    );
    assert!(config.links.iter().all(|link| link.session == Session::Test), "simulated data never looks live");
    let ids: std::collections::BTreeSet<u16> = config.links.iter().map(|link| link.id).collect();
    assert_eq!(ids.len(), config.links.len(), "numbers are distinct");
}

// REQ: FEP-CFG-002
#[test]
fn the_managed_parameters_of_the_captures_are_those_of_the_vectors() {
    for (mission, channel, scid, interleave, frame_len, insert_zone, trailer) in [
        ("npp", "hrd", 157, 4, 892, 0, 0),
        ("noaa20", "hrd", 159, 4, 892, 0, 0),
        ("aqua", "db", 154, 4, 892, 0, 0),
        ("metopb", "ahrpt", 11, 4, 892, 2, 0),
        ("noaa21", "hrd", 177, 5, 1115, 9, 4),
    ] {
        let mission = fep_mission::load(mission).unwrap_or_else(|errors| panic!("{errors}"));
        let channel = &mission.channels[channel];
        assert_eq!((channel.scids().collect::<Vec<_>>(), channel.frame.frame_len), (vec![scid], frame_len));
        assert_eq!((channel.frame.insert_zone_len, channel.frame.trailer_len), (insert_zone, trailer));
        assert_eq!(channel.block_len(), 255 * interleave);
        assert!(channel.vcs.iter().any(|vc| vc.id == 63 && vc.service == VcService::Idle));
    }
}

// REQ: FEP-CFG-003
#[test]
fn every_mistake_is_reported_at_once_with_its_line_its_key_and_what_is_allowed() {
    let text = r#"
[daemon]
realtime_priorty = 50
lock_memory = "yes"
control_mode = "rw"
log = "loud"

[rings]
frames_desc_log2 = 99
packets_data_mib = 48

[link]
session = "LIVE"

[links.alpha]
channel = "npp/xband"
transport = { kind = "tcp_client", address = "station:4001" }

[links.beta]
channel = "npp/hrd"
transport = { kind = "tcp_client", adress = "127.0.0.1:4001" }
core = 3

[links.gamma]
channel = "npp/hrd"
transport = { kind = "udp", bind = "0.0.0.0:4001" }
core = 3
reconnect_min_ms = 9000

[links.Delta]
channel = "npp/hrd"
"#;
    let channels = "aqua/db, cso/cso-1, cso/cso-2, cso/cso-2-payload, lab/concatenated, lab/convolutional, lab/ldpc-1-2, lab/ldpc-c2, lab/ldpc-stream, lab/turbo-1-2, lab/turbo-1-3, lab/turbo-1-4, lab/turbo-1-6, metopb/ahrpt, noaa20/hrd, noaa21/hrd, npp/hrd";
    let keys = "control_group, control_mode, control_socket, cores, lock_memory, log, metrics_address, \
                realtime_priority, restart_max_ms, restart_min_ms, run_dir, stop_timeout_ms";
    let expected = [
        format!("site.toml:3:1: daemon.realtime_priorty: unknown key; did you mean realtime_priority? (allowed: {keys})"),
        "site.toml:4:15: daemon.lock_memory: expected true or false, found a string".to_owned(),
        "site.toml:5:16: daemon.control_mode: \"rw\" are no permissions (allowed: octal digits, \"0600\" to \"0777\", \
         the owner reading and writing)"
            .to_owned(),
        "site.toml:6:7: daemon.log: \"loud\" is not a choice (allowed: error, warn, info, debug, trace)".to_owned(),
        "site.toml:9:20: rings.frames_desc_log2: 99 is out of range (allowed: 4 to 28)".to_owned(),
        "site.toml:10:20: rings.packets_data_mib: 48 is no power of two (allowed: 1, 2, 4, 8, … 1048576)".to_owned(),
        "site.toml:13:11: link.session: \"LIVE\" is not a choice (allowed: OPS, TEST, REPLAY)".to_owned(),
        format!("site.toml:16:11: links.alpha.channel: no channel is called \"npp/xband\" (allowed: {channels})"),
        "site.toml:17:46: links.alpha.transport.address: \"station:4001\" is not an IP address with a port; write \
         \"192.0.2.7:4001\" or \"[2001:db8::7]:4001\" (names are not resolved)"
            .to_owned(),
        "site.toml:21:13: links.beta.transport.address: missing key (allowed: the station's address, \"IP:PORT\")".to_owned(),
        "site.toml:21:36: links.beta.transport.adress: unknown key; did you mean address? (allowed: address)".to_owned(),
        "site.toml:27:8: links.gamma.core: core 3 is taken by link \"beta\" (allowed: another core, \"auto\" or \
         \"none\")"
            .to_owned(),
        "site.toml:28:20: links.gamma.reconnect_min_ms: 9000 is not allowed (allowed: 1 to 5000 milliseconds \
         (reconnect_max_ms))"
            .to_owned(),
        "site.toml:30:1: links.Delta.transport: missing key (allowed: a table { kind = \"tcp_client\" | \"tcp_server\" | \
         \"udp\" | \"serial\" | \"file\" | \"stdin\", … })"
            .to_owned(),
        "site.toml:30:8: links.Delta: \"Delta\" is no name (1 to 19 of a-z, 0-9, - and _)".to_owned(),
    ];
    assert_eq!(errors(text).join("\n"), expected.join("\n"));
}

// REQ: FEP-CFG-310, FEP-CFG-311
#[test]
fn what_was_probably_meant_and_what_is_allowed_is_said_of_every_slip() {
    let refused = |text: &str| {
        let text = format!("[links.a]\nchannel = \"npp/hrd\"\ntransport = {{ kind = \"stdin\" }}\n{text}");
        config::load_text("x", &text).expect_err(&text).to_string()
    };
    for (text, said) in [
        (
            "framming = \"datagram_cadu\"\nreorder_wait_us = 5\n",
            "x:4:1: links.a.framming: unknown key; did you mean framing? (allowed: channel, ",
        ),
        (
            "[link.line]\nchannel = 1\n",
            "x:4:7: link.line: unknown key; did you mean [links.line]? (allowed: ",
        ),
        ("[daemn]\n", "x:4:2: daemn: unknown key; did you mean daemon? (allowed: "),
        ("[links.a]\nchannel = 1\n", "x:4:8: links.a: is written twice; the first is in line 1"),
        (
            "spin_us = \"x\"\n",
            "x:4:11: links.a.spin_us: expected an integer, found a string (allowed: 0 to 1000000 microseconds)",
        ),
        (
            "reorder_wait_us = \"20 ms\"\n",
            "x:4:19: links.a.reorder_wait_us: expected an integer, found a string (allowed: 0 to 1000000)",
        ),
        (
            "reorder_wait_us = 5\n",
            "x:4:19: links.a.reorder_wait_us: 5 has no effect: octets of a stream do not change places (allowed: 0, or framing = datagram_cadu or datagram_frame)",
        ),
        (
            "[links.b]\nchannel = \"npp/hdr\"\ntransport = { kind = \"file\", path = \"x\" }\n",
            "x:5:11: links.b.channel: no channel is called \"npp/hdr\"; did you mean \"npp/hrd\"? (allowed: ",
        ),
        (
            "[links.b]\nchannel = \"npp/hrd\"\ntransport = { kind = \"serial\", device = \"/dev/ttyS0\" }\n",
            "x:6:13: links.b.transport.baud: missing key (allowed: bit/s, 50 to 20000000)",
        ),
        (
            "[links.b]\nchannel = \"npp/hrd\"\ntransport = { kind = \"serial\", device = \"/dev/ttyS0\", baud = 115200000 }\n",
            "x:6:62: links.b.transport.baud: 115200000 is not allowed (allowed: 50 to 20000000 bit/s)",
        ),
        (
            "[links.b]\nchannel = \"npp/hrd\"\ntransport = { kind = \"tcp-server\", bind = \"127.0.0.1:1\" }\n",
            "x:6:22: links.b.transport.kind: \"tcp-server\" is not a choice (allowed: tcp_client, tcp_server, udp, serial, file, stdin)",
        ),
        (
            "[spacecraft.s]\nlinks = [\"a\"]\n",
            "x:5:9: spacecraft.s.links: 1 link is named (allowed: 2 to 63)",
        ),
    ] {
        let found = refused(text);
        assert!(found.starts_with(said) && found.lines().count() == 1, "{found}\n{said}");
    }
    // The default of every link holds for those of datagrams.
    let text =
        "[link]\nreorder_wait_us = 5\n[links.a]\nchannel = \"npp/hrd\"\ntransport = { kind = \"stdin\" }\n";
    assert!(config::load_text("x", text).is_ok());
}

// REQ: FEP-CFG-004
#[test]
fn one_own_link_takes_the_place_of_all_built_in_links_and_inherits_the_defaults() {
    let text = r#"
[link]
session = "OPS"
[links.kiruna]
channel = "cso/cso-1"
transport = { kind = "tcp_server", bind = "0.0.0.0:5001" }
core = 3
idle = "drop"
"#;
    let config = config::load_text("site.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.links.len(), 1);
    let link = config.link("kiruna").expect("the link");
    assert_eq!((link.session, link.core), (Session::Ops, CorePolicy::Fixed(3)));
    assert_eq!(link.idle, fep_downlink::IdlePolicy::Drop);
    assert_eq!(link.transport.reconnect_max_ms, 5000, "from the built-in [link]");
    assert!(matches!(link.transport.transport, TransportSpec::TcpServer(_)));
}

// REQ: FEP-CFG-003
#[test]
fn text_that_is_no_toml_is_refused_with_its_line() {
    for (text, line) in [("[daemon\n", 1), ("a = 1\na = 2\n", 2), ("[links]\nx = {\n", 2), ("\n\n\u{1}", 3)] {
        let errors = config::load_text("x.toml", text).expect_err(text).0;
        assert!(
            errors.iter().any(|error| error.file == "x.toml" && error.line == line),
            "{text:?}: {errors:?}"
        );
    }
}

// REQ: FEP-CFG-006
#[test]
fn two_links_cannot_receive_on_one_address_or_carry_one_number() {
    let text = r#"
[links.a]
channel = "npp/hrd"
transport = { kind = "udp", bind = "0.0.0.0:5001" }
id = 9
[links.b]
channel = "npp/hrd"
transport = { kind = "udp", bind = "0.0.0.0:5001" }
id = 9
framing = "datagram_cadu"
[links.c]
channel = "npp/hrd"
transport = { kind = "tcp_client", address = "127.0.0.1:5001" }
framing = "datagram_frame"
"#;
    assert_eq!(
        errors(text).join("\n"),
        "site.toml:8:13: links.b.transport: udp 0.0.0.0:5001 is received by link \"a\" too\n\
         site.toml:9:6: links.b.id: number 9 is that of link \"a\" too (allowed: another `id`, 1 to 65534)\n\
         site.toml:14:11: links.c.framing: only udp, or a protocol of units, keeps datagrams apart (allowed: stream)"
    );
}

// REQ: FEP-CFG-300
#[test]
fn links_that_would_take_one_address_line_or_standard_input_from_each_other_are_refused_with_both_names() {
    let text = |metrics: &str, first: &str, second: &str| {
        format!(
            "[daemon]\nmetrics_address = {metrics:?}\n\
             [links.a]\nchannel = \"npp/hrd\"\ntransport = {{ {first} }}\n\
             [links.b]\nchannel = \"npp/hrd\"\ntransport = {{ {second} }}\n"
        )
    };
    let udp = |bind: &str| format!("kind = \"udp\", bind = {bind:?}");
    let tcp = |bind: &str| format!("kind = \"tcp_server\", bind = {bind:?}");
    let group = |bind: &str| udp(bind) + ", multicast_group = \"239.0.0.1\"";
    let serial = |device: &str| format!("kind = \"serial\", device = {device:?}, baud = 9600");
    let stdin = || "kind = \"stdin\"".to_owned();
    let refused = [
        (text("", &stdin(), &stdin()), ["link \"a\"", "link \"b\"", "standard input"]),
        (
            text("", &udp("0.0.0.0:5001"), &udp("127.0.0.1:5001")),
            ["link \"a\"", "link \"b\"", "udp 0.0.0.0:5001"],
        ),
        (text("", &udp("127.0.0.1:5001"), &udp("[::]:5001")), ["link \"a\"", "link \"b\"", "udp [::]:5001"]),
        (text("", &group("0.0.0.0:5001"), &udp("127.0.0.1:5001")), ["link \"a\"", "link \"b\"", "overlaps"]),
        (
            text("", &tcp("127.0.0.1:5001"), &tcp("0.0.0.0:5001")),
            ["link \"a\"", "link \"b\"", "tcp 0.0.0.0:5001"],
        ),
        (
            text("127.0.0.1:5001", &tcp("0.0.0.0:5001"), &stdin()),
            ["link \"a\"", "daemon.metrics_address", "overlaps"],
        ),
        (
            text("", &serial("/dev/ttyS0"), &serial("/dev/./ttyS0")),
            ["link \"a\"", "link \"b\"", "/dev/ttyS0"],
        ),
    ];
    for (text, parts) in refused {
        let told = errors(&text).join("\n");
        assert!(parts.iter().all(|part| told.contains(part)), "{text}\n{told}");
    }
    let accepted = [
        text("", &udp("127.0.0.1:5001"), &udp("127.0.0.2:5001")),
        text("127.0.0.1:5001", &udp("0.0.0.0:5001"), &tcp("0.0.0.0:5002")),
        text("", &group("0.0.0.0:5001"), &group("0.0.0.0:5001")),
        text("", &udp("0.0.0.0:0"), &udp("0.0.0.0:0")),
        text("", &stdin(), &serial("/dev/ttyS0")),
    ];
    for text in accepted {
        config::load_text("site.toml", &text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    }
}

// REQ: FEP-CFG-103
#[test]
fn names_that_another_process_uses_or_that_are_too_long_are_refused() {
    let link = |name: &str| {
        format!(
            "[links.{name}]\nchannel = \"npp/hrd\"\ntransport = {{ kind = \"udp\", bind = \"0.0.0.0:1\" }}\n"
        )
    };
    for name in ["replay", "events", "recorder", "fepd"] {
        let reported = errors(&link(name)).join("\n");
        assert!(
            reported.contains("is reserved: another part of the front end has rings of this name"),
            "{reported}"
        );
    }
    assert!(config::load_text("x", &link(&"n".repeat(19))).is_ok());
    assert!(errors(&link(&"n".repeat(20)))[0].contains("is no name (1 to 19 of"));
}

// REQ: FEP-CFG-104
#[test]
fn a_spacecraft_merges_links_of_one_channel_and_session_and_mistakes_in_it_are_refused() {
    let link = |name: &str, channel: &str, session: &str, port: u16| {
        format!(
            "[links.{name}]\nchannel = \"{channel}\"\nsession = \"{session}\"\n\
             transport = {{ kind = \"tcp_client\", address = \"127.0.0.1:{port}\" }}\n"
        )
    };
    let links = link("a", "npp/hrd", "TEST", 1)
        + &link("b", "npp/hrd", "TEST", 2)
        + &link("c", "npp/hrd", "OPS", 3)
        + &link("d", "aqua/db", "TEST", 4);
    let good = format!("{links}[spacecraft.leo]\nlinks = [\"b\", \"a\"]\nwait_us = 5000\n");
    let config = config::load_text("site.toml", &good).unwrap_or_else(|errors| panic!("{errors}"));
    let leo = config.merged_spacecraft("leo").expect("the spacecraft");
    let names: Vec<&str> = leo.links.iter().map(|link| link.name.as_str()).collect();
    assert_eq!((names, leo.wait_us, leo.session, leo.in_order), (vec!["b", "a"], 5000, Session::Test, true));
    assert_eq!(config.link("a").expect("a").merged_by.as_deref(), Some("leo"));
    assert_eq!(config.link("c").expect("c").merged_by, None);
    for (spacecraft, reported) in [
        ("[spacecraft.leo]\nlinks = [\"a\"]\n", "leo.links: 1 link is named (allowed: 2 to 63)"),
        ("[spacecraft.leo]\n", "spacecraft.leo.links: missing key"),
        ("[spacecraft.leo]\nlinks = [\"a\", \"x\"]\n", "no link is called \"x\" (allowed: a, b, c, d)"),
        ("[spacecraft.leo]\nlinks = [\"a\", \"a\"]\n", "link \"a\" is named twice"),
        ("[spacecraft.leo]\nlinks = [\"a\", \"c\"]\n", "the links are of different sessions: TEST, OPS"),
        ("[spacecraft.leo]\nlinks = [\"a\", \"d\"]\n", "of different channels: npp/hrd, aqua/db"),
        ("[spacecraft.a]\nlinks = [\"a\", \"b\"]\n", "a link is called \"a\" too"),
        ("[spacecraft.replay]\nlinks = [\"a\", \"b\"]\n", "is reserved"),
        ("[spacecraft.leo]\nlinks = [\"a\", \"b\"]\nwait = 1\n", "spacecraft.leo.wait"),
        (
            "[spacecraft.leo]\nlinks = [\"a\", \"b\"]\n[spacecraft.geo]\nlinks = [\"b\", \"c\"]\n",
            "link \"b\" is merged by spacecraft",
        ),
    ] {
        let refused = errors(&format!("{links}{spacecraft}")).join("\n");
        assert!(refused.contains(reported), "{spacecraft}{refused}");
    }
}

// REQ: FEP-CFG-003
#[test]
fn a_link_with_a_mistake_is_reported_once_and_the_spacecraft_that_names_it_is_not_blamed() {
    let link = |name: &str, channel: &str, port: u16| {
        format!(
            "[links.{name}]\nchannel = \"{channel}\"\n\
             transport = {{ kind = \"tcp_client\", address = \"127.0.0.1:{port}\" }}\n"
        )
    };
    let links = link("a", "npp/hrd", 1) + &link("b", "npp/hrd", 2) + &link("c", "npp/hdr", 3);
    for (spacecraft, beside) in [
        ("[spacecraft.leo]\nlinks = [\"c\", \"b\"]\n", None),
        ("[spacecraft.leo]\nlinks = [\"a\", \"b\", \"c\"]\n", None),
        ("[spacecraft.leo]\nlinks = [\"c\", \"x\"]\n", Some("no link is called \"x\" (allowed: a, b, c)")),
        ("[spacecraft.c]\nlinks = [\"a\", \"b\"]\n", Some("a link is called \"c\" too")),
    ] {
        let found = errors(&format!("{links}{spacecraft}"));
        assert!(found[0].contains("links.c.channel: no channel is called \"npp/hdr\""), "{found:?}");
        match beside {
            None => assert_eq!(found.len(), 1, "{spacecraft}{found:?}"),
            Some(beside) => {
                assert!(found.len() == 2 && found[1].contains(beside), "{spacecraft}{found:?}");
            }
        }
    }
    let unnamed = format!(
        "{}[spacecraft.leo]\nlinks = [\"a\", \"B\"]\n",
        link("a", "npp/hrd", 1) + &link("B", "npp/hrd", 2)
    );
    let found = errors(&unnamed);
    assert!(found.len() == 1 && found[0].contains("\"B\" is no name"), "{found:?}");
}

#[test]
fn every_key_of_the_built_in_configuration_may_stand_in_ones_own_file() {
    let config =
        config::load_text("copy.toml", config::DEFAULT_TOML).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config, config::load(None).unwrap_or_else(|errors| panic!("{errors}")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    // REQ: FEP-CFG-003
    #[test]
    fn any_text_is_read_or_refused_with_lines(
        at in 0usize..config::DEFAULT_TOML.len(), len in 0usize..200, text in "[ -~\\n]{0,40}",
    ) {
        let mut start = at;
        while !config::DEFAULT_TOML.is_char_boundary(start) { start -= 1 }
        let mut end = (start + len).min(config::DEFAULT_TOML.len());
        while !config::DEFAULT_TOML.is_char_boundary(end) { end -= 1 }
        let mut damaged = config::DEFAULT_TOML.to_owned();
        damaged.replace_range(start..end.max(start), &text);
        if let Err(errors) = config::load_text("damaged.toml", &damaged) {
            let errors = errors.0;
            prop_assert!(!errors.is_empty());
            prop_assert!(errors.iter().all(|error| error.line >= 1 && error.column >= 1 && !error.message.is_empty()));
        }
    }
}

// REQ: FEP-CFG-351
#[test]
fn the_effective_configuration_reads_back_to_the_same_settings_from_any_directory() {
    let mission = fep_mission::MISSIONS.iter().find(|(name, _)| *name == "npp").expect("npp").1;
    let text = r#"
[daemon]
run_dir = "run"
realtime_priority = 7
cores = [1, 2]
control_mode = "0600"
metrics_address = "127.0.0.1:9190"
[rings]
red_mode = "0640"
frames_data_mib = 64
gates = ["recorder", "mine"]
[missions]
own = "sub/own.toml"
[link]
session = "OPS"
core = "none"
[links.a]
channel = "own/hrd"
transport = { kind = "file", path = "pass.dat", pace_bps = 1000 }
symbols = { bits = 4, coding = "offset_binary" }
core = 3
id = 77
[links.b]
channel = "npp/hrd"
transport = { kind = "tcp_server", bind = "[::1]:5001", allowed_peers = ["::1"] }
protocol = { kind = "length_prefixed", length_octets = 2, max_unit_octets = 2000 }
framing = "datagram_cadu"
idle_timeout_ms = 5
receive_buffers = 16
[links.c]
channel = "npp/hrd"
transport = { kind = "udp", bind = "127.0.0.1:5002", silence_ms = 7 }
framing = "datagram_frame"
enabled = false
[spacecraft.leo]
links = ["b", "c"]
wait_us = 3
"#;
    let dir = tempfile::tempdir().expect("a directory");
    let (file, elsewhere) = (dir.path().join("site.toml"), dir.path().join("other/shown.toml"));
    for sub in ["sub", "other"] {
        std::fs::create_dir(dir.path().join(sub)).expect("made");
    }
    std::fs::write(dir.path().join("sub/own.toml"), mission).expect("written");
    let reads_back = |text: &str| {
        std::fs::write(&file, text).expect("written");
        let meant = config::load(Some(&file)).unwrap_or_else(|errors| panic!("{errors}"));
        let shown = config::effective_toml(Some(&file)).unwrap_or_else(|errors| panic!("{errors}"));
        std::fs::write(&elsewhere, &shown).expect("written");
        let read = config::load(Some(&elsewhere)).unwrap_or_else(|errors| panic!("{errors}\n{shown}"));
        assert_eq!(read, meant, "{shown}");
        // Nothing is left to change: shown again it is the same.
        assert_eq!(config::effective_toml(Some(&elsewhere)), Ok(shown));
    };
    for text in [text, "", "[links]\n", config::DEFAULT_TOML, include_str!("../../../../config/lab.toml")] {
        reads_back(text);
    }
    // Of tables with names of one's own, too, every key is shown.
    std::fs::write(&file, text).expect("written");
    let shown = config::effective_toml(Some(&file)).unwrap_or_else(|errors| panic!("{errors}"));
    for default in [
        "window_frames = 8192",
        "takeover_silence_ms = 5000",
        "max_datagram_bytes = 9216",
        "endian = \"big\"",
        "kind = \"raw\"",
        "repeat = 1",
    ] {
        assert!(shown.contains(default), "{default} is not in {shown}");
    }
    let built_in = config::effective_toml(None).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config::load_text("shown.toml", &built_in), config::load(None));
    std::fs::write(&file, "[daemon]\nnosuch = 1\n").expect("written");
    assert!(
        config::effective_toml(Some(&file)).expect_err("a mistake").to_string().contains("daemon.nosuch")
    );
}

// REQ: FEP-CFG-350
#[test]
fn one_mistake_of_a_link_hides_no_other_of_it() {
    let found = errors(
        r#"
[links.UPPER]
channel = "npp/nosuch"
wait = "never"
max_wait_us = 0
spin_us = 2_000_000
receive_buffers = 3
keepalive_probes = 0
reconnect_min_ms = 900
reconnect_max_ms = 800
transport = { kind = "udp", bind = "nowhere", silense_ms = 1, max_datagram_bites = 1 }
[links.b]
channel = "npp/hrd"
transmit_units = 0
symbols = { bits = 3, coding = "gray" }
[links.c]
channel = "npp/hrd"
transport = { kind = "tcp_client", address = "0.0.0.0:1" }
half_open_timeout_ms = 3_600_001
[spacecraft.UPPER]
wait_us = -1
links = ["b", "nosuch"]
"#,
    );
    for start in [
        "site.toml:2:8: links.UPPER: ",
        "site.toml:3:11: links.UPPER.channel: ",
        "site.toml:4:8: links.UPPER.wait: ",
        "site.toml:5:15: links.UPPER.max_wait_us: 0 is not allowed",
        "site.toml:6:11: links.UPPER.spin_us: 2000000 is not allowed",
        "site.toml:7:19: links.UPPER.receive_buffers: 3 is not allowed",
        "site.toml:8:20: links.UPPER.keepalive_probes: 0 is not allowed",
        "site.toml:9:20: links.UPPER.reconnect_min_ms: 900 is not allowed",
        "site.toml:11:36: links.UPPER.transport.bind: ",
        "site.toml:11:47: links.UPPER.transport.silense_ms: unknown key",
        "site.toml:11:63: links.UPPER.transport.max_datagram_bites: unknown key",
        "site.toml:12:1: links.b.transport: missing key",
        "site.toml:14:18: links.b.transmit_units: 0 is not allowed",
        "site.toml:15:20: links.b.symbols.bits: ",
        "site.toml:15:32: links.b.symbols.coding: ",
        "site.toml:18:46: links.c.transport.address: 0.0.0.0:1 is not allowed",
        "site.toml:19:24: links.c.half_open_timeout_ms: 3600001 is not allowed",
        "site.toml:20:13: spacecraft.UPPER: ",
        "site.toml:21:11: spacecraft.UPPER.wait_us: ",
        "site.toml:22:15: spacecraft.UPPER.links[1]: ",
    ] {
        assert!(found.iter().any(|line| line.starts_with(start)), "{start} is not in {found:#?}");
    }
    assert_eq!(found.len(), 20, "{found:#?}");
}

// REQ: FEP-CFG-352
#[test]
fn an_address_of_this_host_is_written_bind_and_under_no_other_name() {
    let link = |key: &str, address: &str| {
        format!(
            "[links.a]\nchannel = \"npp/hrd\"\ntransport = {{ kind = \"tcp_server\", {key} = \"{address}\" }}\n"
        )
    };
    assert!(config::load_text("site.toml", &link("bind", "0.0.0.0:5001")).is_ok());
    let found = errors(&link("address", "0.0.0.0:5001")).join("\n");
    assert!(found.contains("links.a.transport.address: unknown key"), "{found}");
    let found = errors(&link("bind", "224.0.0.1:5001")).join("\n");
    assert!(found.contains("transport.bind: 224.0.0.1:5001 is not allowed"), "{found}");
}

// REQ: FEP-CFG-003
#[test]
fn red_rings_that_others_than_owner_and_group_could_open_are_refused() {
    for mode in ["0604", "0666", "0661", "0777"] {
        let found = errors(&format!("[rings]\nred_mode = {mode:?}\n"));
        let wanted = "site.toml:2:12: rings.red_mode: red rings are for their owner and their group alone \
                      (allowed: \"0600\" to \"0770\", the last digit 0)";
        assert_eq!(found, [wanted], "{mode}");
    }
    let black = config::load_text("site.toml", "[rings]\nred_mode = \"0660\"\nmode = \"0666\"\n");
    assert_eq!(black.expect("good").rings.red.mode, 0o660);
}
