use fep_net::{LinkSpec, ProtocolSpec, SendTo, TransportSpec, WaitMode};

fn parse(text: &str) -> Result<LinkSpec, String> {
    let spec: LinkSpec = toml::from_str(text).map_err(|error| error.to_string())?;
    spec.validate().map_err(|error| error.to_string())?;
    Ok(spec)
}

// REQ: FEP-NET-012
#[test]
fn every_kind_is_read_from_toml_with_its_defaults() {
    let kinds = [
        (
            r#"kind = "tcp_client", address = "127.0.0.1:4001""#,
            LinkSpec::tcp_client("127.0.0.1:4001".parse().unwrap()),
        ),
        (r#"kind = "tcp_server", bind = "[::1]:4001""#, LinkSpec::tcp_server("[::1]:4001".parse().unwrap())),
        (r#"kind = "udp", bind = "0.0.0.0:4001""#, LinkSpec::udp("0.0.0.0:4001".parse().unwrap())),
        (r#"kind = "serial", device = "/dev/ttyS0", baud = 115200"#, LinkSpec::serial("/dev/ttyS0", 115_200)),
        (r#"kind = "file", path = "a.cadu""#, LinkSpec::file("a.cadu")),
        (r#"kind = "stdin""#, LinkSpec::stdin()),
    ];
    for (text, expected) in kinds {
        let spec = parse(&format!("transport = {{ {text} }}")).unwrap();
        assert_eq!(spec, expected);
        assert!(text.contains(spec.transport.kind()));
        // What was written out is read back the same.
        assert_eq!(parse(&toml::to_string(&spec).unwrap()).unwrap(), expected);
    }
}

#[test]
fn options_are_read_from_toml() {
    let spec = parse(
        r#"
        wait = "adaptive"
        spin_us = 20
        idle_timeout_ms = 1500
        [transport]
        kind = "udp"
        bind = "0.0.0.0:4001"
        multicast_group = "239.1.2.3"
        multicast_interface = "eth1"
        "#,
    )
    .unwrap();
    assert_eq!((spec.wait, spec.spin_us, spec.idle_timeout_ms), (WaitMode::Adaptive, 20, Some(1500)));
    let TransportSpec::Udp(udp) = spec.transport else { panic!("not udp") };
    assert_eq!(udp.multicast_interface.as_deref(), Some("eth1"));
}

// REQ: FEP-NET-012
#[test]
fn a_malformed_specification_is_refused_with_the_field_and_what_is_allowed() {
    let client = r#"transport = { kind = "tcp_client", address = "127.0.0.1:4001" }"#;
    let cases = [
        (
            r#"transport = { kind = "tcp_client", address = "station:4001" }"#.to_string(),
            ["station:4001", "not resolved"],
        ),
        (
            r#"transport = { kind = "tcp_client", address = "127.0.0.1" }"#.to_string(),
            ["127.0.0.1", "with a port"],
        ),
        (
            r#"transport = { kind = "tcp_client", address = "127.0.0.1:0" }"#.to_string(),
            ["transport.address", "1 to 65535"],
        ),
        (
            r#"transport = { kind = "tcp_client", address = "0.0.0.0:1" }"#.to_string(),
            ["transport.address", "one host"],
        ),
        (r#"transport = { kind = "tcp_client", adress = "127.0.0.1:1" }"#.to_string(), ["adress", "address"]),
        (r#"transport = { kind = "carrier_pigeon" }"#.to_string(), ["carrier_pigeon", "tcp_client"]),
        (r#"transport = { kind = "stdin", path = "x" }"#.to_string(), ["path", "pace_bps"]),
        (r#"transport = { kind = "file", path = "" }"#.to_string(), ["transport.path", "regular file"]),
        (
            r#"transport = { kind = "file", path = "x", pace_bps = 0 }"#.to_string(),
            ["transport.pace_bps = 0", "1 to"],
        ),
        (
            r#"transport = { kind = "serial", device = "ttyS0", baud = 9600 }"#.to_string(),
            ["transport.device", "absolute"],
        ),
        (
            r#"transport = { kind = "serial", device = "/dev/x", baud = 1 }"#.to_string(),
            ["transport.baud = 1", "50 to"],
        ),
        (
            r#"transport = { kind = "udp", bind = "0.0.0.0:1", multicast_group = "10.0.0.1" }"#.to_string(),
            ["multicast_group", "224.0.0.0/4"],
        ),
        (
            r#"transport = { kind = "udp", bind = "0.0.0.0:1", multicast_group = "ff02::1" }"#.to_string(),
            ["multicast_group", "same IP version"],
        ),
        (
            r#"transport = { kind = "udp", bind = "0.0.0.0:1", multicast_interface = "eth0" }"#.to_string(),
            ["multicast_interface", "multicast_group"],
        ),
        (
            r#"transport = { kind = "udp", bind = "0.0.0.0:1", max_datagram_bytes = 65536 }"#.to_string(),
            ["max_datagram_bytes = 65536", "65535"],
        ),
        (
            r#"transport = { kind = "udp", bind = "0.0.0.0:1", multicast_group = "232.0.0.1", multicast_source = "10.0.0.1", multicast_interface = "eth1" }"#.to_string(),
            ["multicast_interface = eth1", "IPv4 address"],
        ),
        (format!("wait = \"sometimes\"\n{client}"), ["sometimes", "adaptive"]),
        (format!("max_wait_us = 0\n{client}"), ["max_wait_us = 0", "1 to 1000000"]),
        (format!("receive_buffers = 12\n{client}"), ["receive_buffers = 12", "power of two"]),
        (
            format!("receive_buffers = 32768\nreceive_buffer_bytes = 1048576\n{client}"),
            ["receive_buffers = 32768", "1 GiB"],
        ),
        (
            format!("reconnect_min_ms = 500\nreconnect_max_ms = 100\n{client}"),
            ["reconnect_min_ms = 500", "reconnect_max_ms"],
        ),
        (format!("keepalive_probes = 0\n{client}"), ["keepalive_probes = 0", "1 to 127"]),
        (format!("idle_timeout_ms = 0\n{client}"), ["idle_timeout_ms = 0", "1 to"]),
    ];
    for (text, words) in cases {
        let message = parse(&text).expect_err(&text);
        for word in words {
            assert!(message.contains(word), "\"{word}\" is not in: {message}");
        }
    }
}

// REQ: FEP-NET-012
#[test]
fn protocols_and_ways_to_send_are_read_from_toml_and_written_back() {
    let framed = r#"
        transport = { kind = "tcp_server", bind = "127.0.0.1:4001" }
        protocol = { kind = "length_prefixed", length_octets = 2, length_of = "whole", endian = "little", max_unit_octets = 1279, keepalive_ms = 1000, idle_timeout_ms = 3000 }
        "#;
    let spec = parse(framed).unwrap();
    let ProtocolSpec::LengthPrefixed(framing) = &spec.protocol else { panic!("{:?}", spec.protocol) };
    assert_eq!((framing.length_octets, framing.max_unit_octets, framing.keepalive_ms), (2, 1279, 1000));
    assert_eq!(parse(&toml::to_string(&spec).unwrap()).unwrap(), spec);
    let raw = parse("transport = { kind = \"stdin\" }\nprotocol = { kind = \"raw\" }").unwrap();
    assert_eq!(raw.protocol, ProtocolSpec::default());
    for (text, expected) in
        [("sender", SendTo::Sender), ("192.0.2.7:5", SendTo::Address("192.0.2.7:5".parse().unwrap()))]
    {
        let spec =
            parse(&format!("transport = {{ kind = \"udp\", bind = \"0.0.0.0:1\", send_to = \"{text}\" }}"))
                .unwrap();
        let TransportSpec::Udp(udp) = &spec.transport else { unreachable!() };
        assert_eq!(udp.send_to, Some(expected));
        assert_eq!(parse(&toml::to_string(&spec).unwrap()).unwrap(), spec);
    }
}

// REQ: FEP-NET-012, FEP-NET-113
#[test]
fn every_refusal_names_a_key_that_can_be_written() {
    const CLIENT: &str = r#"transport = { kind = "tcp_client", address = "127.0.0.1:1" }"#;
    const UDP: &str = r#"transport = { kind = "udp", bind = "0.0.0.0:1""#;
    const SERIAL: &str = r#"transport = { kind = "serial", device = "/dev/x", baud = 9600"#;
    const FRAMED: &str = r#"protocol = { kind = "length_prefixed""#;
    let with = |rest: &str| format!("{rest}\n{CLIENT}");
    let cases = [
        (with("max_wait_us = 0"), "max_wait_us"),
        (with("spin_us = 1000001"), "spin_us"),
        (with("receive_buffer_bytes = 1"), "receive_buffer_bytes"),
        (with("receive_buffers = 3"), "receive_buffers"),
        (with("receive_buffers = 1"), "receive_buffers"),
        (with("receive_buffers = 32768\nreceive_buffer_bytes = 1048576"), "receive_buffers"),
        (with("socket_buffer_bytes = 1"), "socket_buffer_bytes"),
        (with("reconnect_min_ms = 0"), "reconnect_min_ms"),
        (with("reconnect_max_ms = 0"), "reconnect_max_ms"),
        (with("connect_timeout_ms = 0"), "connect_timeout_ms"),
        (with("half_open_timeout_ms = 3600001"), "half_open_timeout_ms"),
        (with("keepalive_idle_s = 32768"), "keepalive_idle_s"),
        (with("keepalive_interval_s = 0"), "keepalive_interval_s"),
        (with("keepalive_probes = 0"), "keepalive_probes"),
        (with("idle_timeout_ms = 0"), "idle_timeout_ms"),
        (with("transmit_buffer_bytes = 1"), "transmit_buffer_bytes"),
        (with("transmit_units = 0"), "transmit_units"),
        (with(&format!("{FRAMED}, length_octets = 3 }}")), "protocol.length_octets"),
        (with(&format!("{FRAMED}, max_unit_octets = 0 }}")), "protocol.max_unit_octets"),
        (
            with(&format!("{FRAMED}, length_octets = 2, max_unit_octets = 65536 }}")),
            "protocol.max_unit_octets",
        ),
        (
            with(&format!("{FRAMED}, length_octets = 2, length_of = \"whole\", max_unit_octets = 65534 }}")),
            "protocol.max_unit_octets",
        ),
        (with(&format!("{FRAMED}, max_unit_octets = 1048576 }}")), "protocol.max_unit_octets"),
        (with(&format!("{FRAMED}, keepalive_ms = 3600001 }}")), "protocol.keepalive_ms"),
        (with(&format!("{FRAMED}, idle_timeout_ms = 86400001 }}")), "protocol.idle_timeout_ms"),
        (format!("{FRAMED} }}\n{UDP} }}"), "protocol.kind"),
        (r#"transport = { kind = "tcp_client", address = "127.0.0.1:0" }"#.into(), "transport.address"),
        (r#"transport = { kind = "tcp_client", address = "0.0.0.0:1" }"#.into(), "transport.address"),
        (r#"transport = { kind = "tcp_server", bind = "224.0.0.1:1" }"#.into(), "transport.bind"),
        (
            r#"transport = { kind = "tcp_server", bind = "0.0.0.0:1", takeover_silence_ms = 86400001 }"#
                .into(),
            "transport.takeover_silence_ms",
        ),
        (format!("{UDP}, max_datagram_bytes = 0 }}"), "transport.max_datagram_bytes"),
        (format!("{UDP}, silence_ms = 86400001 }}"), "transport.silence_ms"),
        (format!("{UDP}, send_to = \"0.0.0.0:7\" }}"), "transport.send_to"),
        (format!("{UDP}, send_to = \"[::1]:7\" }}"), "transport.send_to"),
        (format!("{UDP}, multicast_group = \"10.0.0.1\" }}"), "transport.multicast_group"),
        (format!("{UDP}, multicast_interface = \"eth0\" }}"), "transport.multicast_interface"),
        (format!("{UDP}, multicast_source = \"10.0.0.1\" }}"), "transport.multicast_source"),
        (r#"transport = { kind = "udp", bind = "224.0.0.1:1" }"#.into(), "transport.bind"),
        (r#"transport = { kind = "serial", device = "x", baud = 9600 }"#.into(), "transport.device"),
        (r#"transport = { kind = "serial", device = "/dev/x", baud = 1 }"#.into(), "transport.baud"),
        (format!("{SERIAL}, data_bits = 9 }}"), "transport.data_bits"),
        (format!("{SERIAL}, stop_bits = 3 }}"), "transport.stop_bits"),
        (r#"transport = { kind = "file", path = "" }"#.into(), "transport.path"),
        (r#"transport = { kind = "stdin", pace_bps = 0 }"#.into(), "transport.pace_bps"),
    ];
    for (text, field) in cases {
        let spec: LinkSpec = toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let error = spec.validate().expect_err(&text);
        assert_eq!(error.field, field, "{text}");
        assert!(error.to_string().starts_with(&format!("{field} = ")), "{error}");
        // The key is one of this table, as serde knows it: it has been written, or it can be.
        let mut table: toml::Table = text.parse().unwrap();
        let (outer, inner) =
            field.split_once('.').map_or((field, None), |(outer, inner)| (outer, Some(inner)));
        assert_eq!(error.key(), outer);
        let holder = match inner {
            Some(_) => table[outer].as_table_mut().unwrap(),
            None => &mut table,
        };
        holder.insert(inner.unwrap_or(outer).to_owned(), toml::Value::Boolean(true));
        let refused = toml::from_str::<LinkSpec>(&toml::to_string(&table).unwrap()).unwrap_err();
        assert!(!refused.to_string().contains("unknown field"), "{field} is no key: {refused}");
    }
}
