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
