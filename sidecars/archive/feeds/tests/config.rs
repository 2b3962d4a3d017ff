//! Mistakes in the configuration of feeds: each is told with file, line, column, key and what is allowed.

use fep_feeds::FeedsConfig;
use fep_kit::Document;

/// The message for a feed `f` of which these lines differ from a good one.
fn refusal(changes: &[(&str, &str)]) -> String {
    let mut lines = vec![
        ("sources", "[\"a.frames\"]"),
        ("session", "\"OPS\""),
        ("form", "\"framed\""),
        ("transport", "{ kind = \"tcp_server\", bind = \"127.0.0.1:0\" }"),
    ];
    for (key, value) in changes {
        match lines.iter_mut().find(|(known, _)| known == key) {
            Some(line) => line.1 = value,
            None => lines.push((key, value)),
        }
    }
    let body: String = lines
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    let document = Document::from_text("archive.toml", format!("[feeds.f]\n{body}")).expect("TOML");
    match FeedsConfig::read(&document) {
        Ok(_) => "nothing wrong".to_owned(),
        Err(errors) => errors.to_string(),
    }
}

// REQ: FEP-FEED-010
#[test]
fn every_mistake_is_told_with_its_line_its_key_and_what_is_allowed() {
    assert_eq!(refusal(&[]), "nothing wrong");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("sesion", "\"OPS\"")],
            "archive.toml:6:1: feeds.f.sesion: unknown key; did you mean session? (allowed: sources, session, form, transport, frame_len, start, filter, enabled, stalled_after_ms, alive_every_ms)",
        ),
        (
            &[("session", "\"LIVE\"")],
            "archive.toml:3:11: feeds.f.session: \"LIVE\" is not a choice (allowed: OPS, TEST, REPLAY)",
        ),
        (
            &[("sources", "[\"replay.x.frames\"]")],
            "archive.toml:2:1: feeds.f.sources: \"replay.x.frames\" holds replayed data, which never goes to a feed of another session (allowed: rings of live data, or session = \"REPLAY\")",
        ),
        (
            &[("sources", "[]")],
            "archive.toml:2:1: feeds.f.sources: no ring is named (allowed: one name or more)",
        ),
        (
            &[("sources", "[\"a.frames\", \"a.frames\"]")],
            "archive.toml:2:1: feeds.f.sources: \"a.frames\" is named twice (allowed: each ring once)",
        ),
        (
            &[("form", "\"raw\"")],
            "archive.toml:1:8: feeds.f.frame_len: a stream of raw frames needs their length (allowed: octets of a frame, or form = \"framed\")",
        ),
        (
            &[("form", "\"raw\""), ("frame_len", "1115"), ("sources", "[\"a.frames\", \"a.packets\"]")],
            "archive.toml:2:1: feeds.f.sources: frames and packets in one raw stream cannot be told apart (allowed: only frames, only packets, or form = \"framed\")",
        ),
        (
            &[("frame_len", "1115")],
            "archive.toml:6:1: feeds.f.frame_len: only raw feeds over TCP have one (allowed: nothing)",
        ),
        (
            &[("filter", "{ apids = [1] }")],
            "archive.toml:1:8: feeds.f.filter.apids: frames have no application process (allowed: sources that are all rings of packets)",
        ),
        (
            &[("transport", "{ kind = \"udp\", to = \"127.0.0.1:9\", pace_bps = 0 }")],
            "archive.toml:5:1: feeds.f.transport: pace_bps = 0: nothing would ever be sent (allowed: 1 or more)",
        ),
        (
            &[("transport", "{ kind = \"udp\", to = \"127.0.0.1:9\", datagram_max = 70000 }")],
            "archive.toml:5:1: feeds.f.transport: datagram_max = 70000: no datagram is so long (allowed: 1 to 65507)",
        ),
    ];
    for (changes, expected) in cases {
        let told = refusal(changes);
        // A key within an inline table is found at its own place or at that of its table.
        let same = told == *expected
            || told.split_once(": ").map(|(_, rest)| rest) == expected.split_once(": ").map(|(_, rest)| rest);
        assert!(same, "{told}\nexpected\n{expected}");
    }
    let document = Document::from_text("archive.toml", "[feeds.\"../x\"]\nsources = [\"a.frames\"]\nsession = \"OPS\"\nform = \"framed\"\ntransport = { kind = \"tcp_server\", bind = \"127.0.0.1:0\" }\n").expect("TOML");
    let told = FeedsConfig::read(&document).expect_err("no name of a directory").to_string();
    assert!(
        told.contains("no name of a feed (allowed: 1 to 31 of a-z 0-9 - _ . and no dot first)"),
        "{told}"
    );
}

#[test]
fn the_configuration_that_comes_with_the_project_is_valid() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../config/archive.toml");
    let document = Document::read(&path).expect("it is there");
    let config = FeedsConfig::read(&document).expect("it is valid");
    assert!(config.feeds.contains_key("yamcs-cso-1"), "docs/yamcs.md uses it");
}

/// What is wrong with a whole configuration.
fn mistakes(text: &str) -> String {
    let document = Document::from_text("archive.toml", text).expect("TOML");
    FeedsConfig::read(&document).map_or_else(|errors| errors.to_string(), |_| "nothing wrong".to_owned())
}

fn feed(sources: &str, form: &str, transport: &str) -> String {
    format!(
        "[feeds.f]\nsources = {sources}\nsession = \"OPS\"\nform = \"{form}\"\ntransport = {{ {transport} }}\n"
    )
}

const CLIENT: &str = "[feeding.clients.c]
token_sha256 = \"8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8\"
";

// REQ: FEP-FEED-403
#[test]
fn red_data_goes_only_where_the_configuration_says_so_and_never_beside_black() {
    let red = "[\"red/a.red.frames\"]";
    let udp = |to: &str| format!("kind = \"udp\", to = \"{to}\"");
    let server = "kind = \"tcp_server\", bind = \"127.0.0.1:0\"";
    let named = format!("{CLIENT}red = true\nfeeds = [\"f\"]\n");
    let allowed = "[feeding]\nred_receivers = [\"10.0.0.7\"]\n";
    for (text, expected) in [
        (
            feed(red, "framed", &udp("10.0.0.7:9")),
            "10.0.0.7 may not receive red data (allowed: the addresses of feeding.red_receivers)",
        ),
        (feed(red, "framed", &udp("127.0.0.1:9")), "127.0.0.1 may not receive red data"),
        (
            format!("{allowed}{}", feed(red, "framed", &udp("10.0.0.8:9"))),
            "10.0.0.8 may not receive red data",
        ),
        (
            feed(red, "framed", "kind = \"tcp_client\", address = \"10.0.0.7:9\""),
            "10.0.0.7 may not receive red data",
        ),
        (format!("{allowed}{}", feed(red, "framed", server)), "red data and no client is configured"),
        (
            feed("[\"a.frames\", \"red/a.frames\"]", "framed", server),
            "\"a.frames\" is black and others are red: one feed has one colour",
        ),
        (
            format!("{CLIENT}red = true\n{}", feed("[\"a.frames\"]", "framed", server)),
            "red data goes only to clients whose feeds are named",
        ),
    ] {
        let told = mistakes(&text);
        assert!(told.contains(expected), "{told}\nexpected\n{expected}");
    }
    for right in [
        format!("{allowed}{}", feed(red, "framed", &udp("10.0.0.7:9"))),
        format!("{allowed}{named}{}", feed(red, "framed", server)),
    ] {
        assert_eq!(mistakes(&right), "nothing wrong");
    }
}

// REQ: FEP-FEED-400
#[test]
fn a_feed_that_others_can_reach_needs_clients_or_peers() {
    let open = "kind = \"tcp_server\", bind = \"0.0.0.0:4101\"";
    let black = "[\"a.frames\"]";
    for (text, expected) in [
        (feed(black, "framed", open), "0.0.0.0:4101 can be reached by others and no client is configured"),
        (
            format!("{}frame_len = 100\n", feed(black, "raw", open)),
            "0.0.0.0:4101 can be reached by others, and a raw feed asks nobody who it is",
        ),
        (
            format!("{}{CLIENT}feeds = [\"g\"]\n", feed(black, "framed", open)),
            "there is no feed \"g\" (allowed: f)",
        ),
        (
            format!("{}{CLIENT}{}", feed(black, "framed", open), CLIENT.replace("clients.c", "clients.d")),
            "c has the same token: these would be one client",
        ),
        (
            "[feeding.clients.c]\ntoken_sha256 = \"zz\"\n".to_owned(),
            "feeding.clients.c.token_sha256: no SHA-256",
        ),
        ("[feeding.clients.\"../c\"]\ntoken_sha256 = \"zz\"\n".to_owned(), "no name of a client"),
        ("[feeding]\nnames_max = 0\n".to_owned(), "feeding.names_max: 0: no client could have a cursor"),
        (feed("[\"../../etc/passwd\"]", "framed", open), "\"../../etc/passwd\" is no name of a ring"),
    ] {
        let told = mistakes(&text);
        assert!(told.contains(expected), "{told}\nexpected\n{expected}");
    }
    let peers = format!("{open}, peers = [\"10.0.0.7\"]");
    for right in [
        format!("{}{CLIENT}", feed(black, "framed", open)),
        format!("{}frame_len = 100\n", feed(black, "raw", &peers)),
        feed(black, "framed", "kind = \"tcp_server\", bind = \"127.0.0.1:4101\""),
    ] {
        assert_eq!(mistakes(&right), "nothing wrong");
    }
}
