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
