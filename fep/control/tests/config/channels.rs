//! Missions and their channels, codes and soft links: what is read, and every mistake with its place and what is allowed.

use fep_control::config;

use crate::errors;

// REQ: FEP-CFG-005
#[test]
fn a_mission_of_ones_own_is_read_by_path_and_its_mistakes_name_its_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let mission = dir.path().join("probe.toml");
    let good = fep_mission::MISSIONS.iter().find(|(name, _)| *name == "npp").expect("npp").1;
    std::fs::write(&mission, good.replace("frame_len = 892", "frame_len = 893")).expect("written");
    let site = dir.path().join("site.toml");
    let text = "[missions]\nprobe = \"probe.toml\"\n[links.one]\nchannel = \"probe/hrd\"\ntransport = { kind = \"stdin\" }\n";
    std::fs::write(&site, text).expect("written");
    let refused = config::load(Some(&site)).expect_err("RS I=4 carries 892 octets").to_string();
    assert_eq!(
        refused,
        format!(
            "{}:28:1: channel.hrd.code: Reed-Solomon carries frames of 892 octets, but frame_len is 893 \
             (frame_len = (255 - 2 x e - virtual_fill) x interleave)",
            mission.display()
        )
    );

    std::fs::write(&mission, good).expect("written");
    let config = config::load(Some(&site)).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.links[0].channel.spacecraft[0].scid, 157);
    assert!(fep_mission::load(mission.to_str().expect("a path")).is_ok());
}

// REQ: FEP-CFG-003
#[test]
fn mistakes_of_a_mission_are_all_reported_at_once() {
    let text = r#"
title = "Probe"
[spacecraft.probe]
scid = 1024
[channel.x]
spacecraft = "probe"
randomizer = "modern"
[channel.x.frame]
kind = "tm"
frame_len = 1115
fhec = true
[channel.x.sync]
marker = "1acf"
[channel.x.code]
code = "reed_solomon"
interleave = 6
[[channel.x.vc]]
id = 8
service = "m_pdu"
[[channel.x.vc]]
id = 1
service = "vca"
packets = true
[[channel.x.vc]]
id = 1
service = "packets"
"#;
    let errors =
        fep_mission::load_text("probe", "probe.toml", text).expect_err("full of mistakes").to_string();
    let expected = [
        "probe.toml:7:14: channel.x.randomizer: \"modern\" is not a choice (allowed: none, legacy, long)",
        "probe.toml:8:1: channel.x.frame: fhec does not exist in TM frames",
        "probe.toml:13:10: channel.x.sync.marker: ",
        "probe.toml:16:14: channel.x.code.interleave: \"6\" is not a choice (allowed: 1, 2, 3, 4, 5, 8)",
        "probe.toml:18:6: channel.x.vc[0].id: 8 is out of range (allowed: 0 to 7)",
        "probe.toml:19:11: channel.x.vc[0].service: \"m_pdu\" is not a choice (allowed: packets, vca, idle)",
        "probe.toml:23:11: channel.x.vc[1].packets: this service carries no packets (allowed: false)",
        "channel.x.vc[2]: virtual channel 1 is described twice",
    ];
    for expected in expected {
        assert!(errors.contains(expected), "missing {expected:?} in\n{errors}");
    }
}

fn lab_with(from: &str, to: &str) -> String {
    let text = fep_mission::MISSIONS.iter().find(|(name, _)| *name == "lab").expect("lab").1;
    assert!(text.contains(from), "{from}");
    let errors = fep_mission::load_text("lab", "lab.toml", &text.replacen(from, to, 1));
    errors.expect_err("a mistake").to_string()
}

// REQ: FEP-CFG-007
#[test]
fn mistakes_in_channel_codes_name_the_key_and_what_is_allowed() {
    for (from, to, reported) in [
        (
            "code = \"turbo\"",
            "code = \"tarbo\"",
            "code.code: \"tarbo\" is not a choice (allowed: none, reed_solomon, convolutional, concatenated, turbo, ldpc, ldpc_stream)",
        ),
        (
            "rate = \"1/3\"",
            "rate = \"1/5\"",
            "channel.turbo-1-3.code.rate: \"1/5\" is not a choice (allowed: 1/2, 1/3, 1/4, 1/6)",
        ),
        (
            "rate = \"1/6\"",
            "rate = \"1/6\"\niterations_max = 51",
            "channel.turbo-1-6.code.iterations_max: 51 is out of range (allowed: 1 to 50)",
        ),
        (
            "k = 7136\nrate = \"7/8\"",
            "k = 7136\nrate = \"7/9\"",
            "channel.ldpc-c2.code.rate: \"7/9\" is not a choice (allowed: 1/2, 2/3, 4/5, 7/8)",
        ),
        (
            "frame_len = 223\nfecf = \"crc16\"",
            "frame_len = 224\nfecf = \"crc16\"",
            "channel.turbo-1-3.code: information_bits = 1792: 1784, 3568, 7136 or 8920 (CCSDS 131.0-B-5 6.3)",
        ),
        (
            "codewords = 4",
            "codeword = 4",
            "channel.ldpc-stream.code.codeword: unknown key; did you mean codewords? (allowed: code, codewords, iterations_max, k, rate)",
        ),
        (
            "stop = \"fecf\"",
            "stop = \"crc\"",
            "channel.turbo-1-2.code.stop: \"crc\" is not a choice (allowed: never, agreement, fecf)",
        ),
        (
            "k = 7136",
            "k = 1024",
            "channel.ldpc-c2.code.rate: k = 1024: LDPC with rate = \"7/8\" has k = 7136 (CCSDS 131.0-B-5 7)",
        ),
        (
            "frame_len = 128",
            "frame_len = 129",
            "channel.ldpc-1-2.code: LDPC carries frames of 128 octets, but frame_len is 129 (frame_len = k / 8; frames of other lengths take code = \"ldpc_stream\")",
        ),
        (
            "codewords = 4",
            "codewords = 9",
            "channel.ldpc-stream.code.codewords: 9 is out of range (allowed: 1 to 8)",
        ),
        (
            "{ rate = \"3/4\" }",
            "{ rate = \"4/5\" }",
            "channel.convolutional.code.convolutional.rate: \"4/5\" is not a choice (allowed: 1/2, 2/3, 3/4, 5/6, 7/8)",
        ),
        (
            "{ rate = \"3/4\" }",
            "{ rate = \"3/4\", nod_sync = 1 }",
            "channel.convolutional.code.convolutional.nod_sync: unknown key; did you mean node_sync? (allowed: g2_first, invert_g2, latency_bits, node_sync, rate)",
        ),
        (
            "reed_solomon = { e = 16, interleave = 4 }",
            "",
            "channel.concatenated.code.reed_solomon: missing key (allowed: a table)",
        ),
        (
            "marker = \"25d5c0ce8990f6c9461bf79c\"",
            "marker = \"25d5c0ce8990f6c9461bf79c\"\nlock_bit_errors = 40",
            "channel.turbo-1-3.sync: lock_bit_errors = 40: from 18 to 36 with a marker of 96 bits",
        ),
    ] {
        let errors = lab_with(from, to);
        assert!(errors.contains(reported), "{to}: missing {reported:?} in\n{errors}");
        assert!(errors.starts_with("lab.toml:"), "{errors}");
    }
}

// REQ: FEP-CODING-101
#[test]
fn channels_whose_frames_nothing_checks_are_read_but_no_crc_stops_their_decoder() {
    let text = fep_mission::MISSIONS.iter().find(|(name, _)| *name == "lab").expect("lab").1;
    let unchecked = text.replace("fecf = \"crc16\"\n", "").replace("stop = \"fecf\"\n", "");
    assert!(!unchecked.contains("fecf"), "{unchecked}");
    let mission = fep_mission::load_text("lab", "lab.toml", &unchecked).unwrap_or_else(|e| panic!("{e}"));
    let verified = |name: &str| {
        let channel = &mission.channels[name];
        channel.code.verifies_frames(!channel.frame.fecf.is_empty())
    };
    assert!(!verified("turbo-1-3") && !verified("convolutional"));
    assert!(verified("ldpc-c2") && verified("concatenated"));
    let errors = lab_with("fecf = \"crc16\"\n\n[channel.turbo-1-2.sync]", "\n[channel.turbo-1-2.sync]");
    assert!(
        errors.contains(
            "code.stop: the frame has no CRC-16 that could stop the decoder (allowed: never, agreement)"
        ),
        "{errors}"
    );
}

// REQ: FEP-CFG-008
#[test]
fn mistakes_in_soft_links_name_the_key_and_what_is_allowed() {
    let text = r#"
[links.a]
channel = "lab/ldpc-1-2"
transport = { kind = "stdin" }
symbols = { bits = 3 }
[links.b]
channel = "lab/ldpc-1-2"
transport = { kind = "stdin" }
symbols = { bits = 1, coding = "offset_binary" }
decode_wait_us = 1000001
[links.c]
channel = "lab/concatenated"
transport = { kind = "udp", bind = "127.0.0.1:5001" }
framing = "datagram_cadu"
decode_threads = 2
[links.d]
channel = "npp/hrd"
transport = { kind = "stdin" }
symbols = { bits = 4, order = "high" }
decode_threads = 65
"#;
    let reported = errors(text).join("\n");
    for expected in [
        "site.toml:5:20: links.a.symbols.bits: bits = 3: soft symbols have 1, 4, 8, 16 or 32 bits",
        "site.toml:9:11: links.b.symbols: coding: symbols of 1 bit are only a sign; leave the key out",
        "site.toml:10:18: links.b.decode_wait_us: 1000001 is out of range (allowed: 0 to 1000000)",
        "site.toml:14:11: links.c.framing: symbols come in a stream: their blocks are found by their marker (allowed: stream)",
        "site.toml:19:23: links.d.symbols.order: unknown key (allowed: bits",
        "site.toml:20:18: links.d.decode_threads: 65 is out of range (allowed: 0 to 64)",
    ] {
        assert!(reported.contains(expected), "missing {expected:?} in\n{reported}");
    }
}

// REQ: FEP-CFG-008
#[test]
fn the_links_of_the_laboratory_are_valid() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/lab.toml");
    let config = config::load(Some(std::path::Path::new(path))).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.links.len(), 6);
    let link = config.link("turbo-1-3").expect("the link");
    assert_eq!(link.symbols.map(|format| format.bits.count()), Some(8));
    assert_eq!((link.decoding.threads, link.decoding.batch, link.decoding.wait_us), (1, 0, 0));
    let sync = link.channel.soft_sync.as_ref().expect("its marker stands in the symbols");
    assert_eq!((sync.block_symbols, sync.search_bit_errors, sync.lock_bit_errors), (5364, 18, 26));
    assert!(config.link("concatenated").expect("the link").channel.soft_sync.is_none());
}
