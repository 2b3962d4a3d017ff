//! `fepctl decode` against what programs of other people made of the same recordings.

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use support::*;

fn sha256(path: &Path) -> String {
    let bytes = std::fs::read(path).expect("an output file");
    Sha256::digest(&bytes).iter().map(|octet| format!("{octet:02x}")).collect()
}

fn decode(mission: &str, input: &Path) -> Value {
    json(&run([
        "decode".as_ref(),
        "--mission".as_ref(),
        mission.as_ref(),
        input.as_os_str(),
        "--json".as_ref(),
    ]))
}

/// Frame counts as the vector has them; `idle` are the good frames of virtual channel 63.
fn frames_of(vector: &Value) -> Value {
    let rs = &vector["rs_all_frames_rs2"];
    let channels = rs["by_version:scid:vcid"].as_object().expect("channels");
    let idle: u64 = channels
        .iter()
        .filter(|(name, _)| name.ends_with(":63"))
        .map(|(_, counts)| counts["ok"].as_u64().unwrap() + counts["corrected"].as_u64().unwrap())
        .sum();
    json!({
        "received": vector["sync"]["blocks"],
        "good": rs["frames_ok"],
        "corrected": rs["frames_corrected"],
        "uncorrectable": rs["frames_uncorrectable"],
        "idle": idle,
    })
}

/// Decoded frames per channel, as the vector has them.
fn frames_per_channel(vector: &Value) -> Map<String, Value> {
    let channels = vector["rs_all_frames_rs2"]["by_version:scid:vcid"].as_object().expect("channels");
    let named = channels.iter().filter_map(|(name, counts)| {
        let (_version, channel) = name.split_once(':')?;
        let frames = counts["ok"].as_u64()? + counts["corrected"].as_u64()?;
        Some((channel.replace(':', "/"), json!(frames)))
    });
    named.collect()
}

fn counted_per_channel(report: &Value) -> Map<String, Value> {
    let channels = report["vcs"].as_object().expect("channels");
    channels.iter().map(|(name, counts)| (name.clone(), counts["frames"].clone())).collect()
}

/// Packets per APID, as the vector has them.
fn packets_of(vector: &Value, scid: u16) -> Value {
    let rows = vector["packets"]["per_vcid_apid"].as_array().expect("rows");
    let named = rows.iter().map(|row| {
        let counts = json!({
            "packets": row["packets"],
            "bytes": row["bytes"],
            "gaps": row["seq_gaps"],
            "sha256": row["sha256_concat"],
        });
        (format!("{scid}/{}/{}", row["vcid"], row["apid"]), counts)
    });
    Value::Object(named.collect())
}

// REQ: FEP-CTL-001
// REQ: FEP-CTL-003
#[test]
fn the_captures_decode_to_exactly_the_counts_and_hashes_of_the_vectors() {
    let dir = tempfile::tempdir().expect("a directory");
    let (frames, packets) = (dir.path().join("frames"), dir.path().join("packets"));
    for (mission, scid, name) in [
        ("npp", 157, "npp.20241206T173815"),
        ("noaa20", 159, "noaa20.20241206T162710"),
        ("aqua", 154, "aqua.20241206T175646"),
        ("metopb", 11, "metopb.20241206T152751"),
    ] {
        let vector = golden_json(&format!("cadu/{name}.json"));
        let mut command = fepctl();
        command.args(["decode", "--json", "--mission", mission]).arg(capture(mission));
        command.arg("--frames").arg(&frames).arg("--packets").arg(&packets);
        let report = json(&command.output().expect("the program starts"));
        assert_eq!(report["frames"], frames_of(&vector), "{mission}");
        assert_eq!(report["symbols_corrected"], 0, "{mission}");
        assert_eq!(counted_per_channel(&report), frames_per_channel(&vector), "{mission}");
        // No counter of these recordings misses a frame; the fill channel repeats one count and misses none either.
        for (channel, counts) in report["vcs"].as_object().expect("channels") {
            assert_eq!((&counts["gaps"], &counts["lost"]), (&json!(0), &json!(0)), "{mission} {channel}");
        }
        assert_eq!(report["apids"], packets_of(&vector, scid), "{mission}");
        assert_eq!(
            json!(sha256(&frames)),
            vector["rs_all_frames_rs2"]["good_frames_concat_sha256"],
            "{mission}"
        );
        assert_eq!(
            json!(sha256(&packets)),
            vector["packets"]["all_packets_in_emission_order_sha256"],
            "{mission}"
        );
    }
}

// REQ: FEP-CTL-001
#[test]
fn captures_with_symbol_errors_are_corrected_where_the_code_can_and_counted_where_it_cannot() {
    let dir = tempfile::tempdir().expect("a directory");
    let frames = dir.path().join("frames");
    for (mission, scid, name, main_channel) in
        [("npp", 157, "npp_errors", "157/16"), ("aqua", 154, "aqua_errors", "154/30")]
    {
        let vector = golden_json(&format!("cadu/{name}.json"));
        let mut command = fepctl();
        command.args(["decode", "--json", "--mission", mission]).arg(golden(&format!("cadu/{name}.dat")));
        command.arg("--frames").arg(&frames);
        let report = json(&command.output().expect("the program starts"));
        assert_eq!(report["frames"], frames_of(&vector), "{mission}");
        assert_eq!(
            report["symbols_corrected"], vector["rs_all_frames_rs2"]["symbols_corrected"],
            "{mission}: also those in good codewords of frames that stay bad"
        );
        assert_eq!(counted_per_channel(&report), frames_per_channel(&vector), "{mission}");
        assert_eq!(
            json!(sha256(&frames)),
            vector["rs_all_frames_rs2"]["good_frames_concat_sha256"],
            "{mission}"
        );
        // Found by a Python program from the undamaged recording less the frames that are beyond correction.
        let packets = golden_json(&format!("cadu/{name}_packets.json"));
        let want = packets["apids"].as_object().expect("APIDs");
        let seen = report["apids"].as_object().expect("APIDs");
        assert_eq!(seen.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>(), "{mission}");
        for (apid, counts) in want {
            assert!(apid.starts_with(&format!("{scid}/")), "{apid}");
            for key in ["packets", "bytes", "sha256"] {
                assert_eq!(seen[apid][key], counts[key], "{mission} {apid} {key}");
            }
        }
        assert!(report["vcs"][main_channel]["lost"].as_u64() > Some(40), "{report}");
    }
    // All 42 frames beyond correction are of one channel, none at its ends, no two of them neighbours.
    let npp = decode("npp", &golden("cadu/npp_errors.dat"));
    assert_eq!(npp["vcs"], json!({"157/16": {"frames": 213, "gaps": 42, "lost": 42}}));
    let aqua = decode("aqua", &golden("cadu/aqua_errors.dat"));
    assert_eq!(aqua["vcs"]["154/35"], json!({"frames": 4, "gaps": 1, "lost": 3}));
    assert_eq!(aqua["apids"]["154/30/64"]["gaps"], 33);
}

// REQ: FEP-CTL-002
#[test]
fn the_json_object_has_the_keys_that_scripts_rely_on_and_no_other() {
    let report = decode("npp", &golden("cadu/npp_errors.dat"));
    let keys = |value: &Value| {
        let mut keys: Vec<String> = value.as_object().expect("an object").keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&report), ["apids", "frames", "refused", "symbols_corrected", "undeclared", "vcs"]);
    assert_eq!(keys(&report["frames"]), ["corrected", "good", "idle", "received", "uncorrectable"]);
    assert_eq!(keys(&report["vcs"]["157/16"]), ["frames", "gaps", "lost"]);
    assert_eq!(keys(&report["apids"]["157/16/804"]), ["bytes", "gaps", "packets", "sha256"]);
    let frames = |key: &str| report["frames"][key].as_u64().expect("a count");
    assert_eq!(frames("received"), frames("good") + frames("corrected") + frames("uncorrectable"));
}

#[test]
fn a_table_for_people_has_the_same_counts() {
    let output =
        run(["decode".into(), "--mission=npp".into(), golden("cadu/npp_errors.dat").into_os_string()]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(text.contains("received 255 = good 43 + corrected 170 + uncorrectable 42"), "{text}");
    assert!(text.contains("157/16/804"), "{text}");
}

// REQ: FEP-CTL-004
#[test]
fn standard_input_decodes_like_the_file() {
    let path = golden("cadu/npp_errors.dat");
    let bytes = std::fs::read(&path).expect("golden data");
    let output = run_with_input(&["decode", "-m", "npp", "-", "--json"], bytes);
    assert_eq!(json(&output), decode("npp", &path));
}

// REQ: FEP-CTL-004
#[test]
fn a_recording_cut_anywhere_gives_the_frames_before_the_cut() {
    let bytes = std::fs::read(golden("cadu/npp_errors.dat")).expect("golden data");
    // By the vector: the block after the first marker begins in octet 70 (from 1) at bit 6; blocks with their markers
    // are 8192 bits apart.
    let first_marker_bit = 69 * 8 + 6 - 32;
    let whole_frames = |len: usize| (8 * len).saturating_sub(first_marker_bit) / 8192;
    for len in [0, 1, 69, 1089, 1090, 2113, 2114, 100_000, 200_000] {
        let output = run_with_input(&["decode", "-m", "npp", "-", "--json"], bytes[..len].to_vec());
        let report = report_of(&output);
        let received = report["frames"]["received"].as_u64().expect("a count") as usize;
        assert_eq!(received, whole_frames(len), "{len} octets");
        let decoded =
            report["frames"]["good"].as_u64() > Some(0) || report["frames"]["corrected"].as_u64() > Some(0);
        assert_eq!(output.status.code(), Some(if decoded { 0 } else { 4 }), "{len} octets: {report}");
    }
}

// REQ: FEP-CTL-004
#[test]
fn what_holds_no_frame_is_reported_as_nothing_with_a_word_about_the_channel() {
    let nothing = json!({
        "frames": {"received": 0, "good": 0, "corrected": 0, "uncorrectable": 0, "idle": 0},
        "symbols_corrected": 0, "vcs": {}, "apids": {}, "undeclared": {},
        "refused": {"frames": 0, "reasons": {}, "channels": {}, "other_channels": 0},
    });
    let empty = run_with_input(&["decode", "-m", "npp", "-", "--json"], Vec::new());
    assert_eq!(report_of(&empty), nothing);
    refuses(&empty, 4, &["no frame in standard input", "is npp/hrd the right channel?"]);

    // Noise: a linear congruential generator, the same on every machine.
    let mut state = 1u64;
    let noise = (0..1_000_000).map(|_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    });
    let output = run_with_input(&["decode", "-m", "npp", "-", "--json"], noise.collect());
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let noise = report_of(&output);
    // A marker may stand in noise by chance; no code verifies what follows it.
    let frames = |key: &str| noise["frames"][key].as_u64().expect("a count");
    assert_eq!((frames("good"), frames("corrected")), (0, 0), "{noise}");
    assert_eq!((&noise["vcs"], &noise["apids"]), (&json!({}), &json!({})));
}

// REQ: FEP-CTL-004
// REQ: FEP-CTL-005
#[test]
fn input_and_output_that_cannot_be_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let run_in = |arguments: &[&str]| {
        fepctl().current_dir(dir.path()).args(arguments).stdin(Stdio::null()).output().expect("starts")
    };
    std::fs::write(dir.path().join("data"), [0x55; 5000]).expect("writable");
    refuses(&run_in(&["decode", "-m", "npp", "absent.dat"]), 1, &["cannot open absent.dat", "no such file"]);
    refuses(&run_in(&["decode", "-m", "npp", "."]), 1, &["it is a directory", "one recorded file"]);
    refuses(&run_in(&["decode", "-m", "nosuch", "data"]), 1, &["nosuch", "npp"]);
    refuses(&run_in(&["decode", "-m", "./absent.toml", "data"]), 1, &["./absent.toml"]);
    refuses(&run_in(&["decode", "-m", "cso", "data"]), 2, &["several channels", "cso-1", "cso-2"]);
    refuses(&run_in(&["decode", "-m", "npp", "-c", "xband", "data"]), 2, &["no channel \"xband\"", "hrd"]);
    refuses(
        &run_in(&["decode", "-m", "npp", "data", "--frames", "no/such/dir"]),
        1,
        &["cannot create no/such/dir"],
    );
    refuses(&run_in(&["decode", "-m", "npp", "data", "--frames", "data"]), 2, &["also the input"]);
    refuses(
        &run_in(&["decode", "-m", "npp", "data", "--frames", "out", "--packets", "out"]),
        2,
        &["--packets out is also the input or another output"],
    );
    assert_eq!(std::fs::read(dir.path().join("data")).expect("still there"), [0x55; 5000]);
    refuses(&run_in(&["decode", "-m", "npp"]), 2, &["<INPUT>"]);
    refuses(&run_in(&["decode", "data"]), 2, &["--mission"]);
}

#[test]
fn a_full_disk_is_reported_with_the_name_of_the_file() {
    let full = PathBuf::from("/dev/full");
    if !full.exists() {
        panic!("this system has no /dev/full, which Linux always has");
    }
    let mut command = fepctl();
    command.args(["decode", "-m", "npp"]).arg(golden("cadu/npp_errors.dat")).arg("--frames").arg(&full);
    refuses(&command.output().expect("starts"), 1, &["cannot write /dev/full", "no space left"]);
}

// REQ: FEP-CTL-009
#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = fepctl().arg("missions").stdout(writer).output().expect("starts");
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}
