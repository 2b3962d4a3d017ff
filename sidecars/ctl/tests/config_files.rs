//! `fepctl config check` over every kind of file: what it checks itself, and what it has the programs check that read it.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::*;

/// A directory with fepctl and programs of a test's own beside it, each of which writes down how it was started.
struct Set {
    dir: tempfile::TempDir,
}

impl Set {
    fn new() -> Set {
        let dir = tempfile::tempdir().expect("a directory");
        let own = Path::new(env!("CARGO_BIN_EXE_fepctl"));
        if std::fs::hard_link(own, dir.path().join("fepctl")).is_err() {
            std::fs::copy(own, dir.path().join("fepctl")).expect("a copy");
        }
        Set { dir }
    }

    /// Written by another process: a file that this one has open for writing cannot be started by anybody.
    fn with(self, program: &str, script: &str) -> Set {
        let text = format!("#!/bin/sh\necho \"{program} $*\" >> \"${{0%/*}}/asked\"\n{script}\n");
        let file = self.dir.path().join(program);
        let mut command = Command::new("sh");
        command.args(["-c", "printf '%s' \"$1\" > \"$2\" && chmod 700 \"$2\"", "sh", &text]).arg(&file);
        assert!(command.status().expect("a shell").success());
        self
    }

    fn check(&self, file: &Path, more: &[&str]) -> Output {
        let mut command = Command::new(self.dir.path().join("fepctl"));
        command.args(["config", "check"]).arg(file).args(more).stdin(Stdio::null());
        // What else is installed on this machine is not meant.
        command.env("PATH", "/bin:/usr/bin");
        command.output().expect("the program starts")
    }

    /// How programs were started since the last look.
    fn asked(&self) -> Vec<String> {
        let file = self.dir.path().join("asked");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let _ = std::fs::remove_file(&file);
        text.lines().map(str::to_owned).collect()
    }
}

/// Every TOML file below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|ext| ext == "toml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

// REQ: FEP-CTL-173
#[test]
fn every_file_in_config_is_checked_as_what_it_is_by_who_reads_it() {
    const GOOD: &str = "echo the configuration is good";
    let set = ["fep-recorder", "fep-archive", "fep-feeds", "fep-identity"]
        .into_iter()
        .fold(Set::new(), |set, program| set.with(program, GOOD));
    let kinds = BTreeMap::from([
        ("archive.toml", ("archive", &["fep-recorder", "fep-archive", "fep-feeds"][..])),
        ("default.toml", ("daemon", &[])),
        ("identity.toml", ("identity", &["fep-identity"])),
        ("lab-stations.toml", ("stations", &[])),
        ("lab.toml", ("daemon", &[])),
        ("merge-stations.toml", ("stations", &[])),
        ("merge.toml", ("daemon", &[])),
        ("simulation.toml", ("stations", &[])),
    ]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
    let mut seen = Vec::new();
    for file in files(&folder) {
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
        let is_mission = file.parent().is_some_and(|parent| parent.ends_with("missions"));
        let (kind, readers) = match kinds.get(name) {
            _ if is_mission => ("mission", &[][..]),
            Some(known) => *known,
            None => panic!("{name}: who reads it, and does `fepctl config check` know?"),
        };
        let output = set.check(&file, &[]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}{}", stdout(&output), stderr(&output));
        let expected: Vec<String> =
            readers.iter().map(|program| format!("{program} --config {} --check", file.display())).collect();
        assert_eq!(set.asked(), expected, "{name}");
        for program in readers {
            assert!(stdout(&output).contains(&format!("{program}: the configuration is good")), "{name}");
        }
        let answer = json(&set.check(&file, &["--json"]));
        assert_eq!(answer["kind"], kind, "{name}");
        assert_eq!(answer["checks"].as_array().map_or(0, Vec::len), readers.len(), "{answer}");
        assert_eq!(set.asked(), expected, "{name}");
        seen.push(name.to_owned());
    }
    assert!(kinds.keys().all(|name| seen.iter().any(|seen| seen == name)), "{seen:?}");
}

// REQ: FEP-CTL-173
#[test]
fn what_a_program_refuses_is_shown_in_its_words_and_the_check_fails() {
    let set = Set::new()
        .with(
            "fep-recorder",
            "echo 'fep-recorder: the configuration is refused:\nx.toml:2:1: recorder.no' >&2; exit 1",
        )
        .with("fep-archive", "echo the configuration is good");
    let file = set.dir.path().join("site.toml");
    std::fs::write(&file, "[recorder]\nno = 1\n[http]\n").expect("writable");
    let output = set.check(&file, &[]);
    let text = stdout(&output);
    let shown = "fep-recorder: the configuration is refused:\nx.toml:2:1: recorder.no\nfep-archive: the configuration is good\n";
    assert_eq!(text, shown);
    refuses(
        &output,
        1,
        &["site.toml is refused by fep-recorder, read as a configuration of recorder, archive and feeds"],
    );
    let checks = report_of(&set.check(&file, &["--json"]))["checks"].clone();
    assert_eq!((&checks[0]["state"], &checks[1]["state"]), (&"refused".into(), &"good".into()), "{checks}");
    assert_eq!(checks[0]["text"], "the configuration is refused:\nx.toml:2:1: recorder.no");

    // What it is read as can be said, and what it looks like is reported.
    let set = set.with("fep-identity", "echo 'fep-identity: the configuration is refused:' >&2; exit 1");
    let output = set.check(&file, &["--kind", "identity"]);
    refuses(
        &output,
        1,
        &["refused by fep-identity", "it looks like a configuration of recorder", "--kind archive"],
    );
}

// REQ: FEP-CTL-173
#[test]
fn where_a_program_is_not_installed_the_answer_names_it_and_no_other() {
    let set = Set::new();
    let file = set.dir.path().join("site.toml");
    for (text, programs) in [
        ("[recorder]\nsegment_mib = 1\n", &["fep-recorder"][..]),
        ("[feeds.one]\nform = \"raw\"\n", &["fep-feeds"]),
        ("[identity]\nissuer = \"x\"\n", &["fep-identity"]),
        ("[[http.doors]]\nlisten = \"unix:/x\"\n", &["fep-identity"]),
        ("[archive]\n[http]\nlisten = []\n[identity]\nkeys = \"/x\"\n", &["fep-archive"]),
        ("[archive]\nlog = \"info\"\n", &["fep-recorder", "fep-archive"]),
    ] {
        std::fs::write(&file, text).expect("writable");
        let output = set.check(&file, &[]);
        refuses(&output, 1, &["site.toml is not checked"]);
        let said = stderr(&output);
        for program in ["fep-recorder", "fep-archive", "fep-feeds", "fep-identity"] {
            let check = format!("`{program} --config {} --check`", file.display());
            assert_eq!(said.contains(&check), programs.contains(&program), "{text}: {said}");
        }
    }
    refuses(&set.check(&set.dir.path().join("none"), &["--kind", "identity"]), 1, &["none: cannot be read"]);
}
