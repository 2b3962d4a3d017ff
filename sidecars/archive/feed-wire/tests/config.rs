//! Mistakes in the configuration of feeds: each is told with file, line, column, key and what is allowed.

use fep_config::Document;
use fep_feed_wire::FeedSections;

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
    match FeedSections::read(&document) {
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
            "archive.toml:6:1: feeds.f.sesion: unknown key; did you mean session? (allowed: sources, session, form, transport, frame_len, start, filter, anonymous, enabled, stalled_after_ms, alive_every_ms)",
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
    let told = FeedSections::read(&document).expect_err("no name of a directory").to_string();
    assert!(
        told.contains("no name of a feed (allowed: 1 to 31 of a-z 0-9 - _ . and no dot first)"),
        "{told}"
    );
}

#[test]
fn the_configuration_that_comes_with_the_project_is_valid() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../config/archive.toml");
    let document = Document::read(&path).expect("it is there");
    let config = FeedSections::read(&document).expect("it is valid");
    assert!(config.feeds.contains_key("yamcs-cso-1"), "docs/yamcs.md uses it");
}

/// What is wrong with a whole configuration.
fn mistakes(text: &str) -> String {
    let document = Document::from_text("archive.toml", text).expect("TOML");
    FeedSections::read(&document).map_or_else(|errors| errors.to_string(), |_| "nothing wrong".to_owned())
}

fn feed(sources: &str, form: &str, transport: &str) -> String {
    format!(
        "[feeds.f]\nsources = {sources}\nsession = \"OPS\"\nform = \"{form}\"\ntransport = {{ {transport} }}\n"
    )
}

/// A feed with one more line.
fn and(feed: &str, line: &str) -> String {
    format!("{feed}{line}\n")
}

// REQ: FEP-FEED-403
#[test]
fn red_data_goes_only_where_the_configuration_says_so_and_never_beside_black() {
    let red = "[\"red/a.red.frames\"]";
    let udp = |to: &str| format!("kind = \"udp\", to = \"{to}\"");
    let server = "kind = \"tcp_server\", bind = \"127.0.0.1:0\"";
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
        (
            format!("{allowed}{}", and(&feed(red, "framed", server), "anonymous = true")),
            "red data, and clients are not asked who they are",
        ),
        (
            feed("[\"a.frames\", \"red/a.frames\"]", "framed", server),
            "\"a.frames\" is black and others are red: one feed has one colour",
        ),
    ] {
        let told = mistakes(&text);
        assert!(told.contains(expected), "{told}\nexpected\n{expected}");
    }
    for right in [
        format!("{allowed}{}", feed(red, "framed", &udp("10.0.0.7:9"))),
        format!("{allowed}{}", feed(red, "framed", server)),
    ] {
        assert_eq!(mistakes(&right), "nothing wrong");
    }
}

// REQ: FEP-FEED-160
// REQ: FEP-FEED-400
#[test]
fn a_feed_that_others_can_reach_asks_who_they_are_over_tls_or_names_its_peers() {
    let open = "kind = \"tcp_server\", bind = \"0.0.0.0:4101\"";
    let tls = format!("{open}, certificate = \"/c.pem\", key = \"/k.pem\"");
    let local = "kind = \"tcp_server\", bind = \"127.0.0.1:4101\"";
    let black = "[\"a.frames\"]";
    for (text, expected) in [
        (
            feed(black, "framed", open),
            "0.0.0.0:4101 can be reached by others, who could read tickets and data on the way",
        ),
        (
            and(&feed(black, "framed", &tls), "anonymous = true"),
            "feeds.f.anonymous: 0.0.0.0:4101 can be reached by others, and clients are not asked",
        ),
        (
            and(&feed(black, "raw", local), "frame_len = 100\nanonymous = true"),
            "feeds.f.anonymous: only framed feeds that listen ask clients who they are",
        ),
        (
            feed(black, "framed", &format!("{local}, certificate = \"/c.pem\"")),
            "a certificate and its key go together",
        ),
        (
            feed(black, "framed", &format!("{local}, client_ca = \"/ca.pem\"")),
            "client_ca is for feeds with a certificate",
        ),
        (and(&feed(black, "raw", &tls), "frame_len = 100"), "a raw feed speaks no TLS"),
        (
            and(&feed(black, "raw", open), "frame_len = 100"),
            "0.0.0.0:4101 can be reached by others, and a raw feed asks nobody who it is",
        ),
        (
            "[feeding]\nnames_max = 0\n".to_owned(),
            "feeding.names_max: 0 is out of range (allowed: 1 to 100000)",
        ),
        (
            "[feeding]\nnames_of_one = 0\n".to_owned(),
            "feeding.names_of_one: 0 is out of range (allowed: 1 to 100000)",
        ),
        (feed("[\"../../etc/passwd\"]", "framed", open), "\"../../etc/passwd\" is no name of a ring"),
    ] {
        let told = mistakes(&text);
        assert!(told.contains(expected), "{told}\nexpected\n{expected}");
    }
    let peers = format!("{open}, peers = [\"10.0.0.7\"]");
    for right in [
        feed(black, "framed", &tls),
        feed(black, "framed", &format!("{tls}, client_ca = \"/ca.pem\"")),
        and(&feed(black, "raw", &peers), "frame_len = 100"),
        feed(black, "framed", local),
        and(&feed(black, "framed", local), "anonymous = true"),
    ] {
        assert_eq!(mistakes(&right), "nothing wrong");
    }
}

// REQ: FEP-FEED-161
#[test]
fn clients_with_tokens_in_the_file_are_refused_with_what_stands_in_their_place() {
    let text =
        "[archive]\nlog = \"info\"\n[feeding]\nnames_max = 3\n[feeding.clients.c]\ntoken_sha256 = \"zz\"\n";
    let told = mistakes(text);
    assert!(told.starts_with("archive.toml:5:"), "{told}");
    assert!(told.contains("feeding.clients: clients are not configured here any more"), "{told}");
    assert!(told.contains("[identity.peers.NAME]"), "{told}");
    assert_eq!(mistakes("[feeding]\nnames_max = 3\n"), "nothing wrong");
}

// REQ: FEP-FEED-150
#[test]
fn lists_and_numbers_that_no_feed_can_work_with_are_refused_with_what_is_allowed() {
    for (changes, expected) in [
        (("filter", "{ vcs = [0, 64] }"), "feeds.f.filter.vcs: 64 is no virtual channel (allowed: 0 to 63)"),
        (("filter", "{ vcs = [1, 1] }"), "feeds.f.filter.vcs: 1 is named twice (allowed: each once)"),
        (("filter", "{ spacecraft = [7, 7] }"), "feeds.f.filter.spacecraft: 7 is named twice"),
        (("filter", "{ vcs = [-1] }"), "feeds.f.filter.vcs[0]: -1 is out of range"),
        (("stalled_after_ms", "0"), "feeds.f.stalled_after_ms: 0 is out of range (allowed: 1 to 604800000)"),
        (("stalled_after_ms", "-5"), "feeds.f.stalled_after_ms: -5 is out of range"),
        (("alive_every_ms", "0"), "feeds.f.alive_every_ms: 0 is out of range (allowed: 10 to 3600000)"),
        (
            ("sources", "[\"a.frames\", \"black/a.frames\"]"),
            "feeds.f.sources: \"a.frames\" is named twice (allowed: each ring once)",
        ),
        (("sources", "[\"black/replay.a.frames\"]"), "holds replayed data, which never goes to a feed"),
        (("sources", "[\"../../etc/passwd\"]"), "\"../../etc/passwd\" is no name of a ring"),
        (("sources", "[\"red/../../etc/passwd\"]"), "\"red/../../etc/passwd\" is no name of a ring"),
    ] {
        let told = refusal(&[changes]);
        assert!(told.contains(expected), "{told}\nexpected\n{expected}");
    }
    let many: Vec<String> = (0..257).map(|ring| format!("\"r{ring}.frames\"")).collect();
    let told = refusal(&[("sources", &format!("[{}]", many.join(", ")))]);
    assert!(told.contains("feeds.f.sources: 257 rings (allowed: 1 to 256)"), "{told}");
    let server = |more: &str| format!("{{ kind = \"tcp_server\", bind = \"127.0.0.1:0\", {more} }}");
    let udp = |more: &str| format!("{{ kind = \"udp\", to = \"127.0.0.1:9\", {more} }}");
    for (transport, expected) in [
        (server("clients_max = 100000"), "clients_max = 100000: each is a thread (allowed: 1 to 1024)"),
        (server("peers = [\"0.0.0.0\"]"), "peers: 0.0.0.0 is no machine"),
        (server("peers = [\"10.0.0.7\", \"::ffff:10.0.0.7\"]"), "peers: 10.0.0.7 is named twice"),
        (udp("datagram_max = 64"), "datagram_max = 64: the head of a record fills it (allowed: 65 to 65507)"),
        (udp("pace_bps = -1"), "-1 is out of range"),
        (udp("bind = \"[::1]:0\""), "are of different versions of IP"),
        ("{ kind = \"udp\", to = \"127.0.0.1:0\" }".to_owned(), "to: 127.0.0.1:0 is nobody's address"),
        ("{ kind = \"udp\", to = \"0.0.0.0:9\" }".to_owned(), "to: 0.0.0.0:9 is nobody's address"),
        ("{ kind = \"udp\", to = \"mcs.example:9\" }".to_owned(), "feeds.f.transport"),
        ("{ kind = \"tcp_client\", address = \"239.1.1.1:9\" }".to_owned(), "is a group, which nobody can"),
    ] {
        let told = refusal(&[("transport", &transport)]);
        assert!(told.contains(expected), "{told}\nexpected\n{expected}");
    }
    let raw = [("form", "\"raw\""), ("transport", "{ kind = \"tcp_client\", address = \"127.0.0.1:9\" }")];
    for (changes, expected) in [
        (("frame_len", "0"), "feeds.f.frame_len: 0 is out of range (allowed: 1 to 65536)"),
        (("frame_len", "70000"), "feeds.f.frame_len: 70000 is out of range"),
    ] {
        let told = refusal(&[raw[0], raw[1], changes]);
        assert!(told.contains(expected), "{told}\nexpected\n{expected}");
    }
    for (text, expected) in [
        ("[feeding]\nnames_max = 1000000\n", "feeding.names_max: 1000000 is out of range"),
        ("[feeding]\npatience_ms = 999999999\n", "feeding.patience_ms: 999999999 is out of range"),
        ("[feeding]\ncursors = \"\"\n", "feeding.cursors: empty (allowed: the path of a directory)"),
        ("[feeding]\nname = \"../x\"\n", "feeding.name: no name of a process"),
        ("[feeding]\nred_receivers = [\"0.0.0.0\"]\n", "feeding.red_receivers: 0.0.0.0 is no machine"),
        ("[feeding]\nred_receivers = [\"10.0.0.7\", \"10.0.0.7\"]\n", "10.0.0.7 is named twice"),
    ] {
        let told = mistakes(text);
        assert!(
            told.starts_with("archive.toml:2:1") && told.contains(expected),
            "{told}\nexpected\n{expected}"
        );
    }
}

/// Two feeds, `a` and `b`, that differ in sources, session, form and transport.
fn two(one: [&str; 4], other: [&str; 4]) -> String {
    let feed = |name: &str, [sources, session, form, transport]: [&str; 4]| {
        format!(
            "[feeds.{name}]\nsources = [\"{sources}\"]\nsession = \"{session}\"\nform = \"{form}\"\n\
             transport = {{ {transport} }}\n"
        )
    };
    format!("{}{}", feed("a", one), feed("b", other))
}

// REQ: FEP-FEED-151
#[test]
fn two_feeds_never_have_one_door_however_it_is_written() {
    let server =
        |bind: &str| format!("kind = \"tcp_server\", bind = \"{bind}\", certificate = \"/c\", key = \"/k\"");
    let both = |one: &str, other: &str| {
        let (one, other) = (server(one), server(other));
        mistakes(&two(["x.frames", "OPS", "framed", &one], ["y.frames", "OPS", "framed", &other]))
    };
    for (one, other) in [
        ("127.0.0.1:4101", "127.0.0.1:4101"),
        ("127.0.0.1:4101", "0.0.0.0:4101"),
        ("0.0.0.0:4101", "127.0.0.1:4101"),
        ("[::]:4101", "127.0.0.1:4101"),
        ("[::ffff:127.0.0.1]:4101", "127.0.0.1:4101"),
        ("[::]:4101", "0.0.0.0:4101"),
    ] {
        let told = both(one, other);
        let expected = format!(
            "archive.toml:10:1: feeds.b.transport: {other} is the same door as {one} of feeds.a (allowed: a port of its own)"
        );
        assert_eq!(told, expected, "{one} {other}");
    }
    for (one, other) in [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("127.0.0.1:4101", "127.0.0.1:4102"),
        ("127.0.0.1:4101", "127.0.0.2:4101"),
    ] {
        assert_eq!(both(one, other), "nothing wrong", "{one} {other}");
    }
    let own = format!(
        "[feeding]\nlisten = \"127.0.0.1:4101\"\n{}",
        feed("[\"a.frames\"]", "framed", "kind = \"tcp_server\", bind = \"127.0.0.1:4101\"")
    );
    assert!(
        mistakes(&own).contains("is the same door as 127.0.0.1:4101 of feeding.listen"),
        "{}",
        mistakes(&own)
    );
    let into = two(
        ["x.frames", "OPS", "framed", "kind = \"tcp_server\", bind = \"127.0.0.1:4101\""],
        ["y.frames", "OPS", "framed", "kind = \"tcp_client\", address = \"127.0.0.1:4101\""],
    );
    assert!(mistakes(&into).contains("127.0.0.1:4101 is the door of feeds.a"), "{}", mistakes(&into));
    let udp = "kind = \"udp\", to = \"10.0.0.7:9\", bind = \"0.0.0.0:4101\"";
    let sent = two(["x.frames", "OPS", "raw", udp], ["y.frames", "OPS", "raw", udp]);
    assert!(
        mistakes(&sent).contains("0.0.0.0:4101 is the same door as 0.0.0.0:4101 of feeds.a"),
        "{}",
        mistakes(&sent)
    );
}

// REQ: FEP-FEED-151
#[test]
fn red_and_black_and_live_and_replayed_data_never_meet_at_one_receiver() {
    let udp = "kind = \"udp\", to = \"10.0.0.7:9\"";
    let written_otherwise = "kind = \"udp\", to = \"[::ffff:10.0.0.7]:9\"";
    let tcp = "kind = \"tcp_client\", address = \"10.0.0.7:9\"";
    let red = "[feeding]\nred_receivers = [\"10.0.0.7\"]\n";
    for (text, expected) in [
        (
            format!(
                "{red}{}",
                two(["x.frames", "OPS", "raw", udp], ["red/y.frames", "OPS", "raw", written_otherwise])
            ),
            "would receive red and black data mixed: feeds.a goes there too (allowed: a port for each)",
        ),
        (
            format!(
                "{red}{}",
                two(["red/x.frames", "OPS", "framed", tcp], ["y.frames", "OPS", "framed", tcp])
            ),
            "10.0.0.7:9 would receive red and black data mixed",
        ),
        (
            two(["x.frames", "OPS", "raw", udp], ["replay.y.frames", "REPLAY", "raw", udp]),
            "10.0.0.7:9 would receive data of two sessions mixed",
        ),
        (
            two(["x.frames", "OPS", "framed", udp], ["y.frames", "OPS", "framed", udp]),
            "10.0.0.7:9 would receive messages of two feeds mixed",
        ),
    ] {
        let told = mistakes(&text);
        assert!(told.contains(expected), "{told}\nexpected\n{expected}");
    }
    let yamcs = two(["x.frames", "OPS", "raw", udp], ["y.frames", "OPS", "raw", udp]);
    assert_eq!(mistakes(&yamcs), "nothing wrong", "frames say whose they are");
}
