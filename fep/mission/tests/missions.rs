//! Mission files: several spacecraft on one physical channel, and what is refused.

use fep_mission::{SecondaryHeader, TimeField, UndeclaredApids, load_text};

const TWO: &str = r#"title = "two"
[spacecraft.a]
scid = 121
[spacecraft.b]
scid = 122
undeclared_apids = "reject"
apids = { 7 = "known" }
[spacecraft.twin]
scid = 121
[channel.link]
spacecraft = ["a", "b"]
randomizer = "none"
frame = { kind = "aos", frame_len = 60, fecf = "crc16" }
sync = { marker = "1acffc1d" }
code = { code = "none" }
[[channel.link.vc]]
id = 0
service = "m_pdu"
[[channel.link.vc]]
id = 0
spacecraft = "b"
service = "vca"
[[channel.link.vc]]
id = 63
spacecraft = "b"
service = "idle"
colour = "red"
"#;

// REQ: FEP-CHN-102
#[test]
fn a_channel_carries_several_spacecraft_and_each_has_virtual_channels_and_a_fill_channel() {
    let mission = load_text("two", "two.toml", TWO).unwrap_or_else(|errors| panic!("{errors}"));
    let channel = &mission.channels["link"];
    assert_eq!(channel.scids().collect::<Vec<_>>(), [121, 122]);
    assert_eq!(channel.spacecraft_names(), "a, b");
    let vcs: Vec<_> = channel.vcs.iter().map(|vc| (vc.spacecraft.as_str(), vc.scid, vc.id)).collect();
    assert_eq!(vcs, [("a", 121, 0), ("b", 122, 0), ("b", 122, 63), ("a", 121, 63)]);
    let policies: Vec<_> = channel.spacecraft.iter().map(|craft| craft.undeclared_apids).collect();
    assert_eq!(policies, [UndeclaredApids::Accept, UndeclaredApids::Reject]);
    assert!(channel.spacecraft[1].apids.contains(&7));
    let one = TWO
        .replace(r#"["a", "b"]"#, r#""a""#)
        .replace("spacecraft = \"b\"\n", "")
        .replace("id = 0\nservice = \"vca\"", "id = 1\nservice = \"vca\"");
    let mission = load_text("one", "one.toml", &one).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(mission.channels["link"].vcs.iter().all(|vc| vc.scid == 121), "one name needs no list");
}

// REQ: FEP-CHN-102
#[test]
fn mistakes_in_the_spacecraft_of_a_channel_are_reported_with_file_line_and_key() {
    for (from, to, line, expected) in [
        (r#"["a", "b"]"#, r#"["a", "c"]"#, 11, r#"channel.link.spacecraft[1]: no spacecraft is called "c""#),
        (
            r#"["a", "b"]"#,
            r#"["a", "a"]"#,
            11,
            r#"channel.link.spacecraft[1]: spacecraft "a" is named twice"#,
        ),
        (r#"["a", "b"]"#, "[]", 11, "channel.link.spacecraft: the list is empty"),
        (r#"["a", "b"]"#, "7", 11, "channel.link.spacecraft: expected a string, found an integer"),
        (
            r#"["a", "b"]"#,
            r#"["a", "twin"]"#,
            11,
            r#"channel.link.spacecraft[1]: spacecraft "twin" has scid 121 as "a": no header tells them apart"#,
        ),
        ("scid = 122", "scid = 300", 11, "channel.link.spacecraft[1]: its scid 300 does not fit"),
        (
            "id = 63\nspacecraft = \"b\"",
            "id = 63\nspacecraft = \"twin\"",
            25,
            r#"channel.link.vc[2].spacecraft: this channel does not carry a spacecraft "twin""#,
        ),
        (
            "id = 63\nspacecraft = \"b\"",
            "id = 0\nspacecraft = \"b\"",
            23,
            r#"channel.link.vc[2]: virtual channel 0 of spacecraft "b" is described twice"#,
        ),
        ("\"reject\"", "\"drop\"", 6, r#"spacecraft.b.undeclared_apids: "drop" is not a choice"#),
        (
            "fecf = \"crc16\"",
            "secondary_header_len = 8",
            13,
            "channel.link.frame: secondary_header_len does not exist in AOS frames",
        ),
    ] {
        let text = TWO.replace(from, to);
        assert_ne!(text, TWO, "{from}");
        let errors = load_text("two", "two.toml", &text).expect_err(expected);
        let found = errors.0.iter().any(|error| error.line == line && error.to_string().contains(expected));
        assert!(found, "line {line}: {expected}\n{errors}");
    }
}

// REQ: FEP-CHN-111
#[test]
fn a_mission_says_what_the_secondary_headers_of_packets_hold() {
    let said = TWO.replace(
        "apids = { 7 = \"known\" }",
        "packets.all = { kind = \"pus_c\", time = { code = \"cuc\", coarse_octets = 4, fine_octets = 3 } }\n\
         packets.apids.1025 = { kind = \"time\", time = { code = \"cds\", sub_millisecond_octets = 2 } }",
    );
    let mission = load_text("two", "two.toml", &said).unwrap_or_else(|errors| panic!("{errors}"));
    let packets = &mission.spacecraft["b"].packets;
    let cuc = TimeField::Cuc { coarse_octets: 4, fine_octets: 3, epoch_tai_s: 0, p_field: false };
    let cds = TimeField::Cds { long_day: false, sub_millisecond_octets: 2, epoch_day: 0, p_field: false };
    assert_eq!(packets.of(7), SecondaryHeader::PusC { time: Some(cuc) });
    assert_eq!(packets.of(1025), SecondaryHeader::Time { time: cds });
    assert!(mission.spacecraft["a"].packets.is_empty());
    for (from, to, expected) in [
        ("coarse_octets = 4", "coarse_octets = 9", "two.toml:7:"),
        (
            "sub_millisecond_octets = 2",
            "sub_millisecond_octets = 3",
            "sub_millisecond_octets is 3; CDS has 0, 2 or 4",
        ),
        ("apids.1025", "apids.4000", "4000 is not an APID"),
        ("\"pus_c\"", "\"pus_a\"", "spacecraft.b.packets"),
    ] {
        let errors = load_text("two", "two.toml", &said.replace(from, to)).expect_err(expected).to_string();
        assert!(errors.contains(expected), "{expected}\n{errors}");
    }
}

// REQ: FEP-CFG-310
#[test]
fn a_spacecraft_that_is_wrong_is_blamed_itself_and_no_channel_that_names_it() {
    let good = fep_mission::MISSIONS.iter().find(|(name, _)| *name == "npp").expect("npp").1;
    let refused =
        |text: &str| fep_mission::load_text("m", "m.toml", text).expect_err("a mistake").to_string();
    for wrong in ["scid = \"157\"", "scid = 0157", "scid = 157000", "scod = 157"] {
        let text = good.replace("scid = 157", wrong);
        assert_ne!(text, good);
        let said = refused(&text);
        assert!(!said.contains("no spacecraft is called"), "{said}");
        assert!(!said.contains("channel."), "{said}");
    }
    let said = refused(&good.replace("spacecraft = \"npp\"", "spacecraft = \"nqp\""));
    assert!(said.contains("no spacecraft is called \"nqp\"; did you mean \"npp\"? (allowed: npp)"), "{said}");
    let tm = good.replace("kind = \"aos\"", "kind = \"tm\"\nocf = \"present\"");
    let said = refused(&tm);
    assert!(
        said.contains("ocf is a key of AOS frames only: in TM frames a flag of the header says"),
        "{said}"
    );
}
