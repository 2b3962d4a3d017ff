//! The OpenAPI document against what the service answers, by schemathesis, a program made by others.

mod served;
#[path = "../../catalogue/tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use fep_identity::{Role, Scope};
use served::Served;
use support::{MS, Recorder, START, tm_frame};

// REQ: FEP-ARC-174
#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_answer_that_the_document_does_not_describe() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let installed = root.join("target/tools/openapi/bin/python");
    let python = std::env::var_os("FEP_OPENAPI_PYTHON").map_or(installed, PathBuf::from);
    if !python.exists() {
        println!("skipped: schemathesis is not installed; `make tools` does that");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let frames: Vec<_> = (0..40)
        .filter(|count| !(10..20).contains(count))
        .map(|count| tm_frame(1, 0, count, START + count as i64 * MS))
        .collect();
    Recorder::new(&directory.path().join("segments"), "one.frames").frames(&frames);
    let served = Served::start(directory, "", 1).await;
    let ticket = served.ticket_of(&Role::ALL, vec![Scope::ALL]);
    let url = format!("http://{}", served.tcp());
    let output = tokio::task::spawn_blocking(move || {
        Command::new(&python)
            .arg(root.join("tests/openapi/check.py"))
            .args(["--url", &url, "--max-time", "40", "--max-examples", "5"])
            // It does not end; and SQL is answered by a program that is built apart.
            .args(["--exclude-path", "/v1/tail", "--exclude-path", "/v1/sql"])
            // The document does not describe times, lists of numbers and names as narrowly as they are checked: what it allows
            // may be refused with 400. Everything else is held to it.
            .args(["--exclude-check", "positive_data_acceptance"])
            .env("FEP_TICKET", ticket)
            .output()
    })
    .await
    .unwrap()
    .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
