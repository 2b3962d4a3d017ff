//! What `fepctl decode` says of frames and packets that the mission does not describe, and with which exit code it ends.

mod support;

use std::path::{Path, PathBuf};

use serde_json::json;
use support::*;

/// A mission of uncoded TM frames of 100 octets with a FECF.
fn mission(dir: &Path, name: &str, scid: u16, vcs: &[u8], spacecraft_keys: &str) -> PathBuf {
    let mut text = format!(
        "title = \"test\"\n[spacecraft.sat]\nscid = {scid}\n{spacecraft_keys}\n[channel.tm]\nspacecraft = \"sat\"\n\
         randomizer = \"none\"\n[channel.tm.frame]\nkind = \"tm\"\nframe_len = 100\nfecf = \"crc16\"\n\
         [channel.tm.sync]\nmarker = \"1acffc1d\"\n[channel.tm.code]\ncode = \"none\"\n"
    );
    for vc in vcs {
        text.push_str(&format!("[[channel.tm.vc]]\nid = {vc}\nservice = \"packets\"\n"));
    }
    let path = dir.join(format!("{name}.toml"));
    std::fs::write(&path, text).expect("written");
    path
}

/// TM frames (132.0-B-3 4.1) of one virtual channel, each with one packet (133.0-B-2 4.1.3) of one of these APIDs in turn.
fn frames(path: &Path, scid: u16, vcid: u8, count: u8, apids: &[u16]) {
    let mut octets = Vec::new();
    for number in 0..count {
        let mut frame = vec![(scid >> 4) as u8, (scid << 4) as u8 | vcid << 1, number, number, 0x18, 0x00];
        let apid = apids[usize::from(number) % apids.len()];
        // Packet: version 0, telemetry, APID; unsegmented; 86 octets of data.
        frame.extend([(apid >> 8) as u8, apid as u8, 0xC0, number, 0, 85]);
        frame.resize(98, number);
        let check = fep_coding::crc::crc16_fecf(&frame);
        frame.extend(check.to_be_bytes());
        octets.extend(frame);
    }
    std::fs::write(path, &octets).expect("written");
}

/// Thirty frames of spacecraft 99, virtual channel 3, as CADUs; the APIDs are 10, 11 and 12 in turn.
fn recording(dir: &Path) -> PathBuf {
    let (input, output) = (dir.join("frames"), dir.join("pass.dat"));
    frames(&input, 99, 3, 30, &[10, 11, 12]);
    let own = mission(dir, "own", 99, &[3], "");
    let encoded =
        run(["encode".as_ref(), "-m".as_ref(), own.as_os_str(), input.as_os_str(), output.as_os_str()]);
    assert!(encoded.status.success(), "{}", stderr(&encoded));
    output
}

fn decode(mission: &Path, input: &Path, more: &[&str]) -> std::process::Output {
    let mut command = fepctl();
    command.args(["decode", "-m"]).arg(mission).arg(input).args(more);
    command.output().expect("the program starts")
}

// REQ: FEP-CTL-101
#[test]
fn frames_of_another_spacecraft_or_virtual_channel_are_reported_and_end_with_code_four() {
    let dir = tempfile::tempdir().expect("a directory");
    let input = recording(dir.path());
    for (name, scid, vc, reason) in [("craft", 98, 3, "unknown_spacecraft"), ("channel", 99, 4, "unknown_vc")]
    {
        let mission = mission(dir.path(), name, scid, &[vc], "");
        let output = decode(&mission, &input, &["--json"]);
        refuses(&output, 4, &["30 of 30 decoded frames were refused", "99/3 (30)", "--explore"]);
        let report = report_of(&output);
        assert_eq!(
            report["refused"],
            json!({
                "frames": 30, "reasons": {reason: 30}, "other_channels": 0,
                "channels": {"99/3": {"frames": 30, "reason": reason}},
            }),
            "{report}"
        );
        assert_eq!((&report["vcs"], &report["frames"]["good"]), (&json!({}), &json!(30)));
        let text = stdout(&decode(&mission, &input, &[]));
        let words = reason.replace('_', " ");
        assert!(
            text.contains(&format!("Refused      30 of the good and corrected frames: {words} 30")),
            "{text}"
        );
        assert!(text.lines().any(|line| line.starts_with("99/3 ") && line.ends_with(&words)), "{text}");
    }
    let right = decode(&dir.path().join("own.toml"), &input, &["--json"]);
    let report = json(&right);
    assert_eq!((&report["refused"]["frames"], &report["vcs"]["99/3"]["frames"]), (&json!(0), &json!(30)));
}

// REQ: FEP-CTL-101
#[test]
fn an_unknown_satellite_is_explored_without_listing_its_channels() {
    let dir = tempfile::tempdir().expect("a directory");
    let input = recording(dir.path());
    let other = mission(dir.path(), "other", 98, &[0], "");
    let own = json(&decode(&dir.path().join("own.toml"), &input, &["--json"]));
    let explored = json(&decode(&other, &input, &["--json", "--explore"]));
    for part in ["frames", "vcs", "apids", "refused"] {
        assert_eq!(explored[part], own[part], "{part}");
    }
    assert_eq!(explored["explored"], json!(["99/3"]));
    assert!(own.get("explored").is_none(), "{own}");
    let text = stdout(&decode(&other, &input, &["--explore"]));
    let line = text.lines().find(|line| line.starts_with("99/3 ")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.ends_with("not in the mission"), "{line}");
}

// REQ: FEP-CTL-101
#[test]
fn packets_that_the_mission_does_not_name_are_shown_as_its_policy_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let input = recording(dir.path());
    let apids = |policy: &str| format!("undeclared_apids = \"{policy}\"\napids = {{ 10 = \"ten\" }}");
    for (policy, undeclared, packets) in [
        ("accept", json!({}), 30),
        (
            "report",
            json!({"99/3": {"policy": "report", "apids": {"11": 10, "12": 10}, "other_apids": 0}}),
            30,
        ),
        (
            "reject",
            json!({"99/3": {"policy": "reject", "apids": {"11": 10, "12": 10}, "other_apids": 0}}),
            10,
        ),
    ] {
        let mission = mission(dir.path(), policy, 99, &[3], &apids(policy));
        let report = json(&decode(&mission, &input, &["--json"]));
        assert_eq!(report["undeclared"], undeclared, "{policy}");
        let counted = report["apids"].as_object().expect("APIDs").values();
        let counted: u64 = counted.map(|apid| apid["packets"].as_u64().expect("a count")).sum();
        assert_eq!(counted, packets, "{policy}: {report}");
    }
    let text = stdout(&decode(&dir.path().join("reject.toml"), &input, &[]));
    assert!(text.contains("not named by the mission, rejected") && text.contains("99/3/12 "), "{text}");
}
