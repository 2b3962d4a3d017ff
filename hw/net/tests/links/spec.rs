use fep_net::{LinkSpec, TransportSpec, WaitMode};

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
        (
            r#"kind = "tcp_server", address = "[::1]:4001""#,
            LinkSpec::tcp_server("[::1]:4001".parse().unwrap()),
        ),
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
