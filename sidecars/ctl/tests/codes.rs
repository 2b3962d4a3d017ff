//! `fepctl encode`, `decode` and `ber`: files of frames through every code and back, and curves.

mod support;

use std::path::Path;

use serde_json::Value;
use support::*;

/// Frames of a channel of `lab`, written by a simulated station's way: encoded nowhere yet.
fn frames(path: &Path, len: usize, count: usize, fecf: bool) -> Vec<u8> {
    let mut octets = Vec::new();
    for number in 0..count {
        // An AOS frame of spacecraft 99, virtual channel 0: idle data in an M_PDU.
        let mut frame =
            vec![0x40 | (99 >> 2), (99 & 3) << 6, 0, (number >> 8) as u8, number as u8, 0, 0x07, 0xFE];
        frame.extend((frame.len()..len - if fecf { 2 } else { 0 }).map(|at| (at * 7 + number) as u8));
        if fecf {
            let check = fep_coding::crc::crc16_fecf(&frame);
            frame.extend(check.to_be_bytes());
        }
        octets.extend(frame);
    }
    std::fs::write(path, &octets).expect("written");
    octets
}

/// A channel of plain frames for the mission `lab`.
const UNCODED: &str = "
[channel.uncoded]
spacecraft = \"lab\"
randomizer = \"none\"
[channel.uncoded.frame]
kind = \"aos\"
frame_len = 1115
fecf = \"crc16\"
[channel.uncoded.sync]
marker = \"1acffc1d\"
[channel.uncoded.code]
code = \"none\"
[[channel.uncoded.vc]]
id = 0
service = \"m_pdu\"
";

// REQ: FEP-CTL-015
#[test]
fn a_file_of_frames_is_encoded_and_decoded_again_with_every_code() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    for (channel, len, fecf, eb_n0) in [
        ("convolutional", 1115, true, "8"),
        ("concatenated", 892, false, "4.5"),
        ("turbo-1-2", 1115, true, "2.5"),
        ("turbo-1-3", 223, true, "2.5"),
        ("turbo-1-4", 446, true, "2.5"),
        ("turbo-1-6", 223, true, "2.5"),
        ("ldpc-1-2", 128, true, "5"),
        ("ldpc-c2", 892, true, "6"),
        ("ldpc-stream", 1115, true, "6"),
    ] {
        let count = 20;
        let sent = frames(&at("frames"), len, count, fecf);
        for (symbols, noise) in [(None, None), (Some("bits=8,coding=offset_binary"), Some(eb_n0))] {
            let (input, output, back) = (at("frames"), at("out"), at("back"));
            let mut encode = vec!["encode", "-m", "lab", "-c", channel];
            let paths = [input.to_str().expect("a path"), output.to_str().expect("a path")];
            encode.extend(paths);
            let mut decode = vec!["decode", "-m", "lab", "-c", channel, paths[1], "--json", "--frames"];
            decode.push(back.to_str().expect("a path"));
            if let Some(format) = symbols {
                encode.extend(["--symbols", format]);
                decode.extend(["--symbols", format]);
            }
            if let Some(db) = noise {
                encode.extend(["--eb-n0", db]);
            }
            let encoded = run(&encode);
            assert!(encoded.status.success(), "{channel}: {}", stderr(&encoded));
            let report = json(&run(&decode));
            let decoded = std::fs::read(&back).expect("written");
            // The first marker may be passed over in noise; behind the last frame nothing pushes a late decoder on.
            assert!(decoded.len() >= (count - 2) * len, "{channel} {symbols:?}: {report}");
            assert!(
                sent.windows(decoded.len()).any(|part| part == decoded),
                "{channel} {symbols:?}: {report}"
            );
            assert_eq!(report["frames"]["uncorrectable"], 0, "{channel} {symbols:?}: {report}");
        }
    }
}

// REQ: FEP-CTL-107
#[test]
fn frames_pass_a_line_code_there_and_back_whatever_the_polarity() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let lab =
        fep_mission::MISSIONS.iter().find(|(name, _)| *name == "lab").map(|(_, text)| *text).expect("lab");
    let decode = |mission: &Path, channel: &str, input: &Path| {
        let mut command = fepctl();
        command.args(["decode", "--json", "-c", channel, "-m"]).arg(mission).arg(input);
        command.arg("--frames").arg(at("back"));
        command.output().expect("starts")
    };
    for (channel, len, fecf) in
        [("uncoded", 1115, true), ("convolutional", 1115, true), ("concatenated", 892, false)]
    {
        let text = lab.to_owned() + UNCODED;
        let sent = frames(&at("frames"), len, 20, fecf);
        for line_code in ["nrz_m", "nrz_s"] {
            let key = format!("[channel.{channel}]\nline_code = \"{line_code}\"");
            let with_key = text.replace(&format!("[channel.{channel}]"), &key);
            assert_ne!(with_key, text, "lab has the channel {channel}");
            std::fs::write(at("own.toml"), with_key).expect("written");
            std::fs::write(at("plain.toml"), &text).expect("written");
            // The channel's own line code, and the same by the option.
            let mut octets = Vec::new();
            for (mission, option) in [("own.toml", &[][..]), ("plain.toml", &["--line-code", line_code])] {
                let mut command = fepctl();
                command.args(["encode", "-c", channel, "-m"]).arg(at(mission)).args(option);
                let encoded = command.arg(at("frames")).arg(at("out")).output().expect("starts");
                assert!(encoded.status.success(), "{channel}: {}", stderr(&encoded));
                octets.push(std::fs::read(at("out")).expect("written"));
            }
            assert_eq!(octets[0], octets[1], "{channel} {line_code}");
            // A demodulator that locked upside down.
            std::fs::write(at("inverted"), octets[0].iter().map(|octet| !octet).collect::<Vec<_>>())
                .expect("written");
            for input in ["out", "inverted"] {
                let report = json(&decode(&at("own.toml"), channel, &at(input)));
                let decoded = std::fs::read(at("back")).expect("written");
                // The first marker may be passed over; behind the last frame nothing pushes a late decoder on.
                assert!(decoded.len() >= 18 * len, "{channel} {line_code} {input}: {report}");
                assert!(
                    sent.windows(decoded.len()).any(|part| part == decoded),
                    "{channel} {line_code} {input}"
                );
            }
            let without = decode(&at("plain.toml"), channel, &at("out"));
            assert_eq!(without.status.code(), Some(4), "{channel} {line_code}: {}", stdout(&without));
        }
    }
    let refused = run(["encode", "-m", "lab", "-c", "turbo-1-2", "--line-code", "nrz_m", "in", "out"]);
    refuses(&refused, 2, &["--line-code nrz_m"]);
    refuses(&run(["encode", "-m", "lab", "--line-code", "nrz_x", "in", "out"]), 2, &["nrz_l, nrz_m, nrz_s"]);
}

// REQ: FEP-CTL-107
#[test]
fn a_simulated_station_sends_a_line_code_that_its_mission_undoes() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let lab =
        fep_mission::MISSIONS.iter().find(|(name, _)| *name == "lab").map(|(_, text)| *text).expect("lab");
    let text = format!("{lab}{UNCODED}")
        .replace("[channel.uncoded]", "[channel.uncoded]\nline_code = \"nrz_s\"")
        .replace("[channel.convolutional]", "[channel.convolutional]\nline_code = \"nrz_s\"");
    std::fs::write(at("own.toml"), text).expect("written");
    let convolutional = "code = \"convolutional\", frame_len = 1115, convolutional = { rate = \"3/4\" }";
    for (code, randomizer, channel, symbols) in [
        ("code = \"none\", frame_len = 1115", "none", "uncoded", ""),
        (convolutional, "legacy", "convolutional", "symbols = { format = { bits = 1 } }\n"),
    ] {
        let station = |transport: &str, more: &str| {
            format!(
                "[[station]]\nname = \"s\"\ntransport = {{ {transport} }}\n{symbols}{more}[station.source]\n\
                 kind = \"spacecraft\"\ncode = {{ {code} }}\nrandomizer = \"{randomizer}\"\nline_code = \"nrz_s\"\nframes = 50\n\
                 [station.source.spacecraft]\nscid = 99\nframe = {{ kind = \"aos\", frame_len = 1115, fecf = \"crc16\" }}\n\
                 vc = [{{ vcid = 0, weight = 1, packets = [{{ apid = 7, content = \"payload\", data_len = 90 }}] }}]\n"
            )
        };
        let file = format!("kind = \"file\", path = {:?}", at("sent"));
        std::fs::write(at("stations.toml"), station(&file, "")).expect("written");
        let mut command = fepctl();
        let played = command.args(["sim", "--stations"]).arg(at("stations.toml")).output().expect("starts");
        assert_eq!(played.status.code(), Some(0), "{}", stderr(&played));
        let mut command = fepctl();
        command.args(["decode", "--json", "-c", channel, "-m"]).arg(at("own.toml")).arg(at("sent"));
        let report = json(&command.output().expect("starts"));
        assert!(report["vcs"]["99/0"]["frames"].as_u64() >= Some(49), "{report}");
        // A line code has no place in datagrams, nor beside faults that are planned for bits.
        let refused = |text: String| {
            std::fs::write(at("wrong.toml"), text).expect("written");
            let mut command = fepctl();
            command.args(["sim", "--stations"]).arg(at("wrong.toml"));
            command.output().expect("starts")
        };
        if symbols.is_empty() {
            let udp = "kind = \"udp\", to = \"127.0.0.1:9\"";
            refuses(&refused(station(udp, "rate_bps = 1000\n")), 1, &["source.line_code"]);
            let faults = "channel = { bit_error_rate = 0.1 }\n";
            refuses(&refused(station(&file, faults)), 1, &["source.line_code"]);
        }
    }
}

// REQ: FEP-CTL-016
#[test]
fn a_curve_is_written_as_a_table_csv_json_and_a_plot() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let (csv, svg, reference) = (at("curve.csv"), at("curve.svg"), at("reference.csv"));
    std::fs::write(&reference, "eb_n0_db,fer\n1.0,0.5\n2.0,0.01\n").expect("written");
    let mut arguments = vec![
        "ber",
        "--code",
        "ldpc,k=1024,rate=1/2,iterations_max=20",
        "--eb-n0",
        "1:2:0.5",
        "--errors",
        "10",
    ];
    arguments.extend(["--frames", "600", "--threads", "2", "--json"]);
    arguments.extend(["--csv", csv.to_str().expect("a path"), "--svg", svg.to_str().expect("a path")]);
    arguments.extend(["--reference", reference.to_str().expect("a path")]);
    let curve: Value = json(&run(&arguments));
    let points = curve["points"].as_array().expect("points");
    assert_eq!(points.len(), 3);
    for point in points {
        let number = |key: &str| point[key].as_f64().unwrap_or_else(|| panic!("{key} of {point}"));
        assert!(number("fer_low") <= number("fer") && number("fer") <= number("fer_high"), "{point}");
        assert!(number("frames") >= 1.0 && number("iterations") >= 1.0, "{point}");
    }
    assert!(points[0]["fer"].as_f64() > points[2]["fer"].as_f64(), "{curve}");
    let text = std::fs::read_to_string(&csv).expect("written");
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.starts_with("eb_n0_db,fer,fer_low,fer_high,ber,frames"), "{text}");
    let picture = std::fs::read_to_string(&svg).expect("written");
    assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"), "{picture}");
    assert!(picture.matches("<polyline").count() >= 3 && picture.contains("uncoded BPSK"), "{picture}");
}
