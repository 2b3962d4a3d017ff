//! Recordings of real satellites through the real programs, held to what other people's programs made of them
//! (`tests/golden/cadu`, every file names its generator).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fep_sim::{SourceSpec, Station, StationSpec, TransportSpec, captures};
use fep_tests::{Daemon, RunDirectory, Sidecar, program, tcp_link, wait_until};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Mission, and the name of recording and expected results.
const RECORDINGS: [(&str, &str); 6] = [
    ("npp", "npp.20241206T173815"),
    ("noaa20", "noaa20.20241206T162710"),
    ("aqua", "aqua.20241206T175646"),
    ("metopb", "metopb.20241206T152751"),
    ("npp", "npp_errors"),
    ("aqua", "aqua_errors"),
];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/cadu").join(name)
}

fn read_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The recording: damaged ones are small and lie here, whole ones come with the `ccsds` package.
fn recording(name: &str) -> PathBuf {
    let file = format!("{name}.dat");
    let here = golden(&file);
    if here.is_file() {
        here
    } else {
        captures::find_one(&file).expect("the captures are on this machine").path
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a number"))
}

/// Packets, octets and SHA-256 over all packets, by `SCID/VCID/APID`.
type Packets = BTreeMap<String, (u64, u64, String)>;

/// Figures of a recording, whoever counted them.
#[derive(Debug, PartialEq)]
struct Figures {
    received: u64,
    good: u64,
    corrected: u64,
    uncorrectable: u64,
    symbols_corrected: u64,
    /// Frames that decoded, by `SCID/VCID`.
    vcs: BTreeMap<String, u64>,
}

fn expected_figures(expected: &Value) -> Figures {
    let frames = &expected["rs_all_frames_rs2"];
    let vcs = frames["by_version:scid:vcid"].as_object().expect("an object");
    let vcs = vcs.iter().filter_map(|(key, counts)| {
        // Keys are version:scid:vcid; frames that did not decode stand under a word.
        let (_, vc) = key.split_once(':')?;
        Some((vc.replace(':', "/"), number(&counts["ok"]) + number(&counts["corrected"])))
    });
    Figures {
        received: number(&expected["sync"]["blocks"]),
        good: number(&frames["frames_ok"]),
        corrected: number(&frames["frames_corrected"]),
        uncorrectable: number(&frames["frames_uncorrectable"]),
        symbols_corrected: number(&frames["symbols_corrected"]),
        vcs: vcs.collect(),
    }
}

fn expected_packets(name: &str, expected: &Value) -> Packets {
    let reread = golden(&format!("{name}_packets.json"));
    if reread.is_file() {
        // The package that read the others stops at damage; these were read by a program of their own.
        let apids = read_json(&reread)["apids"].as_object().expect("an object").clone();
        return apids.iter().map(|(key, counts)| (key.clone(), packet_figures(counts, "sha256"))).collect();
    }
    let scid =
        expected_figures(expected).vcs.keys().next().expect("a channel").split('/').next().map(str::to_owned);
    let scid = scid.expect("SCID/VCID");
    let apids = expected["packets"]["per_vcid_apid"].as_array().expect("an array");
    apids
        .iter()
        .map(|counts| {
            (format!("{scid}/{}/{}", counts["vcid"], counts["apid"]), packet_figures(counts, "sha256_concat"))
        })
        .collect()
}

fn packet_figures(counts: &Value, hash: &str) -> (u64, u64, String) {
    let hash = counts[hash].as_str().unwrap_or_else(|| panic!("no {hash} in {counts}"));
    (number(&counts["packets"]), number(&counts["bytes"]), hash.to_owned())
}

fn figures(report: &Value) -> Figures {
    let frames = &report["frames"];
    let vcs = report["vcs"].as_object().expect("an object");
    Figures {
        received: number(&frames["received"]),
        good: number(&frames["good"]),
        corrected: number(&frames["corrected"]),
        uncorrectable: number(&frames["uncorrectable"]),
        symbols_corrected: number(&report["symbols_corrected"]),
        vcs: vcs.iter().map(|(vc, counts)| (vc.clone(), number(&counts["frames"]))).collect(),
    }
}

fn packets(report: &Value) -> Packets {
    let apids = report["apids"].as_object().expect("an object");
    apids.iter().map(|(key, counts)| (key.clone(), packet_figures(counts, "sha256"))).collect()
}

/// Gaps and frames lost by virtual channel: none but in the damaged recordings.
fn assert_lost(name: &str, report: &Value) {
    let reread = golden(&format!("{name}_packets.json"));
    let expected = if reread.is_file() { read_json(&reread) } else { Value::Null };
    for (vc, counts) in report["vcs"].as_object().expect("an object") {
        for figure in ["gaps", "lost"] {
            let expected = expected["vcs"][vc][figure].as_u64().unwrap_or(0);
            assert_eq!(number(&counts[figure]), expected, "{figure} of {vc} in {name}");
        }
    }
}

fn run_fepctl(arguments: &[&str]) -> Value {
    let output = Command::new(program("fepctl"))
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .expect("fepctl runs");
    assert!(output.status.success(), "fepctl {arguments:?}: {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("fepctl {arguments:?}: {error}"))
}

// REQ: FEP-SYS-001
#[test]
fn decoding_a_recording_gives_exactly_what_independent_programs_made_of_it() {
    for (mission, name) in RECORDINGS {
        let expected = read_json(&golden(&format!("{name}.json")));
        let path = recording(name);
        let path = path.to_str().expect("a path of this repository or of cargo");
        let report = run_fepctl(&["decode", "--mission", mission, "--json", path]);
        assert_eq!(figures(&report), expected_figures(&expected), "{name}");
        assert_eq!(packets(&report), expected_packets(name, &expected), "{name}");
        assert_lost(name, &report);
    }
}

// REQ: FEP-SYS-002
#[test]
fn live_from_a_station_through_fepd_and_its_rings_to_another_process_the_recordings_are_the_same() {
    let played: Vec<_> = RECORDINGS.iter().filter(|(_, name)| !name.ends_with("_errors")).collect();
    let directory = RunDirectory::new();
    let stations: Vec<Station> =
        played.iter().map(|(_, name)| Station::start(&station(name)).expect("it starts")).collect();
    let links = played.iter().zip(&stations).map(|((mission, _), station)| {
        let channel = format!("{mission}/{}", channel_of(mission));
        tcp_link(mission, &channel, station.address().expect("it listens"))
    });
    let config = directory.configure(&links.collect::<String>());
    let daemon = Daemon::start(&directory, &config);
    for (index, (mission, name)) in played.iter().enumerate() {
        let expected = read_json(&golden(&format!("{name}.json")));
        let want = expected_figures(&expected);
        let link = wait_until("the whole recording is received", || {
            let link = daemon.link(mission)?;
            let received = link.ledger.counts.received;
            if received == want.received && stations[index].is_ended() {
                Ok(link)
            } else {
                Err(format!("{received} frames"))
            }
        });
        assert!(link.ledger.is_balanced(), "{}", link.ledger);
        let rings = directory.rings();
        let rings = rings.to_str().expect("a path of ours");
        let follow = |ring: &str| {
            let ring = format!("{mission}.{ring}");
            run_fepctl(&[
                "ring",
                "follow",
                &ring,
                "--directory",
                rings,
                "--name",
                "check",
                "--until-idle",
                "500",
                "--json",
            ])
        };
        let frames = follow("frames");
        assert_eq!(figures(&frames), want, "{name}");
        assert_eq!(number(&frames["ledger"]["consumed"]), link.ledger.counts.published, "{name}");
        assert_eq!(number(&frames["ledger"]["lost_records"]), 0, "{name}");
        let packets_read = follow("packets");
        assert_eq!(packets(&packets_read), expected_packets(name, &expected), "{name}");
        assert_eq!(number(&packets_read["ledger"]["consumed"]), link.ledger.counts.packets, "{name}");
    }
    assert!(daemon.stop().success());
}

// REQ: FEP-SYS-020
#[test]
fn live_from_a_station_into_the_archive_and_out_again_the_packets_are_those_of_independent_programs() {
    let played = [("npp", "npp.20241206T173815"), ("aqua", "aqua.20241206T175646")];
    let directory = RunDirectory::new();
    let archive = tempfile::tempdir().expect("a directory on disk");
    let stations: Vec<Station> =
        played.iter().map(|(_, name)| Station::start(&station(name)).expect("it starts")).collect();
    let links = played.iter().zip(&stations).map(|((mission, _), station)| {
        let channel = format!("{mission}/{}", channel_of(mission));
        tcp_link(mission, &channel, station.address().expect("it listens"))
    });
    let config = directory.configure(&links.collect::<String>());
    let (config, sidecars) = (config, archive_config(&directory, archive.path()));
    // The recorder first: it is to see every record from the first on.
    let recorder = Sidecar::start("fep-recorder", &sidecars);
    let daemon = Daemon::start(&directory, &config);
    let service = Sidecar::start("fep-archive", &sidecars);
    let address = format!("unix:{}", directory.path().join("archive.sock").display());
    for (mission, name) in played {
        let expected = read_json(&golden(&format!("{name}.json")));
        let want = expected_figures(&expected);
        let wanted_packets = expected_packets(name, &expected);
        let count: u64 = wanted_packets.values().map(|(packets, ..)| packets).sum();
        let get = |unit: &str, format: &str, quality: &str, vcid: Option<&str>, out: &Path| {
            let ring = format!("{mission}.{unit}");
            let arguments = [
                "archive",
                "get",
                unit,
                "--archive",
                &address,
                "--ring",
                &ring,
                "--session",
                "test",
                "--quality",
                quality,
                "--format",
                format,
                "--force",
                "--out",
                out.to_str().expect("a path of ours"),
            ];
            let mut fepctl = Command::new(program("fepctl"));
            fepctl.args(arguments);
            if let Some(vcid) = vcid {
                fepctl.args(["--vcid", vcid]);
            }
            let done = fepctl.output().expect("fepctl runs");
            if !done.status.success() {
                return Err(String::from_utf8_lossy(&done.stderr).into_owned());
            }
            Ok(read_json(Path::new(&format!("{}.manifest.json", out.display()))))
        };
        let file = archive.path().join(format!("{mission}.pkt"));
        wait_until("every packet is in the archive", || {
            let manifest = get("packets", "packets", "good", None, &file)?;
            if number(&manifest["units"]) >= count {
                Ok(())
            } else {
                Err(format!("{} packets", manifest["units"]))
            }
        });
        // APIDs are told apart by the packets themselves, channels by asking for each.
        let mut found = Packets::new();
        for channel in
            wanted_packets.keys().filter_map(|key| key.rsplit_once('/')).map(|(channel, _)| channel)
        {
            if found.keys().any(|key| key.rsplit_once('/').is_some_and(|(seen, _)| seen == channel)) {
                continue;
            }
            let (_, vcid) = channel.split_once('/').expect("SCID/VCID");
            get("packets", "packets", "good", Some(vcid), &file).expect("packets of one channel");
            let exported = std::fs::read(&file).expect("it was written");
            found.extend(packets_by_apid(channel, &exported));
        }
        assert_eq!(found, wanted_packets, "{name}");
        let frames = get("frames", "frames", "any", None, &archive.path().join(format!("{mission}.tf")))
            .expect("frames");
        assert_eq!(number(&frames["units"]), want.received, "{name}");
    }
    assert!(daemon.stop().success());
    assert!(recorder.stop().success());
    assert!(service.stop().success());
    let verified = run_fepctl(&[
        "archive",
        "verify",
        "--json",
        archive.path().join("segments").to_str().expect("a path"),
    ]);
    assert_eq!(verified["sound"], true, "{verified}");
}

/// What packets one after the other are, by `channel/APID`.
fn packets_by_apid(channel: &str, mut octets: &[u8]) -> Packets {
    let mut by_apid: BTreeMap<u16, (u64, u64, Sha256)> = BTreeMap::new();
    while !octets.is_empty() {
        let len = usize::from(u16::from_be_bytes([octets[4], octets[5]])) + 7;
        let apid = u16::from_be_bytes([octets[0], octets[1]]) & 0x7FF;
        let (packet, rest) = octets.split_at(len);
        let counts = by_apid.entry(apid).or_insert_with(|| (0, 0, Sha256::new()));
        counts.0 += 1;
        counts.1 += len as u64;
        counts.2.update(packet);
        octets = rest;
    }
    by_apid
        .into_iter()
        .map(|(apid, (packets, octets, hash))| {
            (format!("{channel}/{apid}"), (packets, octets, hexadecimal(&hash.finalize())))
        })
        .collect()
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Recorder and archive below `archive`, for the rings of a daemon.
fn archive_config(directory: &RunDirectory, archive: &Path) -> PathBuf {
    std::fs::create_dir_all(archive.join("segments")).expect("a directory of ours");
    let text = format!(
        "[archive]\nsegments = \"{archive}/segments\"\nrings = \"{rings}\"\ndatabase = \"sqlite://{archive}/catalogue.sqlite3\"\n\
         audit_key = \"{archive}/audit.key\"\n\
         [store]\nurl = \"file://{archive}/store\"\n[http]\nlisten = [\"unix:{run}/archive.sock\"]\n\
         [recorder]\nrecord = [\"*.frames\", \"*.packets\"]\nroot_key = \"{archive}/root.key\"\n",
        archive = archive.display(),
        rings = directory.rings().display(),
        run = directory.path().display(),
    );
    let path = directory.path().join("archive.toml");
    std::fs::write(&path, text).expect("the directory is writable");
    path
}

/// A station that plays a recording once, as recorded, as fast as it is taken.
fn station(name: &str) -> StationSpec {
    StationSpec {
        name: name.to_owned(),
        source: SourceSpec::Capture { file: format!("{name}.dat"), repeat: false, pause_ms: 0 },
        transport: TransportSpec::TcpServer { bind: "127.0.0.1:0".parse().expect("an address") },
        rate_bps: None,
        channel: Default::default(),
        symbols: None,
        seed: 0,
        channel_seed: None,
        unconnected: Default::default(),
    }
}

fn channel_of(mission: &str) -> &'static str {
    match mission {
        "aqua" => "db",
        "metopb" => "ahrpt",
        _ => "hrd",
    }
}
