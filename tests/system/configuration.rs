//! Every configuration that comes with the programs is in order, as `fepctl config check` says by the programs' own checks.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fep_tests::program;

fn check(file: &Path, arguments: &[&str]) -> Output {
    let mut fepctl = Command::new(program("fepctl"));
    fepctl.args(["config", "check"]).arg(file).args(arguments).output().expect("fepctl runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

// REQ: FEP-CTL-189
#[test]
fn every_file_of_the_configuration_is_recognised_and_in_order() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let files = |directory: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).expect("a directory");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect()
    };
    let mut kinds = Vec::new();
    for file in files(&config).into_iter().chain(files(&config.join("missions"))) {
        let output = check(&file, &["--json"]);
        assert!(output.status.success(), "{}: {}", file.display(), text(&output));
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        kinds.push(answer["kind"].as_str().expect("a kind").to_owned());
    }
    for kind in ["daemon", "mission", "stations", "archive", "identity"] {
        assert!(kinds.iter().any(|found| found == kind), "{kind}: {kinds:?}");
    }
}

// REQ: FEP-CTL-189
#[test]
fn what_a_program_would_refuse_at_its_start_is_refused_with_its_name_and_its_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("some.toml");
    for (text_of_file, program, reason) in [
        ("[sql]\nqueries_max = \"many\"\n", "fep-archive", "sql.queries_max"),
        ("[recorder]\nsegment_mib = 0\n", "fep-recorder", "recorder.segment_mib"),
        ("[feeding]\nlisten = 7\n", "fep-feeds", "feeding.listen"),
        ("[service]\nlisten = 7\n", "fep-identity", "service"),
    ] {
        std::fs::write(&file, text_of_file).expect("a file");
        let output = check(&file, &[]);
        assert!(!output.status.success());
        let said = text(&output);
        assert!(said.contains(reason) && said.contains(&format!("refused by {program}")), "{said}");
    }
}
