//! The catalogue under a running service: jobs that outlive a process, a database that goes away.

mod served;
#[path = "../../catalogue/tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use fep_archive::jobs::{BACKUP, SCRUB};
use fep_catalogue::Catalogue;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use served::Served;
use support::{MS, Recorder, START, tm_frame};

const PATIENCE: Duration = Duration::from_secs(60);

fn recorded(directory: &Path) {
    let frames: Vec<_> = (0..40).map(|count| tm_frame(1, 0, count, START + count as i64 * MS)).collect();
    Recorder::new(&directory.join("segments"), "one.frames").frames(&frames);
}

/// Asks until the answer is as wished.
async fn until(served: &Served, path: &str, wished: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = served.ask_local(Method::GET, path, "").await.json();
        if wished(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "{path}: {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

// REQ: FEP-ARC-158
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_a_killed_process_left_running_is_done_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    recorded(directory.path());
    let url = format!("sqlite://{}/catalogue.sqlite3", directory.path().display());
    let catalogue = Catalogue::open(&url).await.unwrap();
    let job = catalogue.add_job(SCRUB, "{}", "anna", START).await.unwrap();
    // As a process does that dies then.
    let mut writing = catalogue.database().begin("taking a job").await.unwrap();
    let claimed = fep_jobs::claim(&mut writing, &[SCRUB], fep_time::Tai(START)).await.unwrap();
    writing.commit().await.unwrap();
    assert_eq!(claimed.map(|claimed| claimed.id), Some(job.id.clone()));
    catalogue.close().await;

    let place = directory.path().join("backup");
    let more = format!("[retention]\nbackups = [\"file://{}\"]\n", place.display());
    let served = Served::start(directory, &more, 1).await;
    let path = format!("/v1/jobs/{}", job.id);
    let done = until(&served, &path, |job| job["state"] == "done").await;
    assert_eq!((done["attempts"].as_u64(), done["kind"].as_str()), (Some(2), Some("scrub")), "{done}");
    assert_eq!(done["person"], "anna");
    let over = served.post_local(&format!("{path}/cancel"), json!({})).await;
    assert_eq!(over.status, StatusCode::CONFLICT, "{}", over.text());
    // A backup takes the configuration along, and its report is that of its end.
    let started = served.post_local("/v1/backup", json!({})).await;
    assert_eq!(started.status, StatusCode::OK, "{}", started.text());
    let path = format!("/v1/jobs/{}", started.json()["id"]);
    let done = until(&served, &path, |job| job["ended_tai_ns"].is_i64()).await;
    assert_eq!(
        (done["state"].as_str(), done["report"]["missing_in_all"].as_u64()),
        (Some("done"), Some(0)),
        "{done}"
    );
    let manifest = std::fs::read_to_string(place.join("backup.json")).unwrap();
    assert!(manifest.contains("configuration/archive.toml") && !manifest.contains(".key"), "{manifest}");
    let jobs = served.get("/v1/jobs").await.json();
    assert_eq!(jobs.as_array().map(Vec::len), Some(2));
    assert_eq!(BACKUP.strip_prefix("archive."), jobs[1]["kind"].as_str());
}

// REQ: FEP-CAT-150
#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_that_is_removed_under_the_service_makes_health_ill_and_a_damaged_one_is_refused_with_a_hint()
 {
    let directory = tempfile::tempdir().unwrap();
    recorded(directory.path());
    let served = Served::start(directory, "", 1).await;
    until(&served, "/health", |health| health["parts"]["audit trail"]["state"] == "well").await;
    until(&served, "/health", |health| health["parts"]["audit head"]["state"] == "well").await;
    let heads = served.root().join("segments/roots/audit");
    assert_eq!(std::fs::read_dir(heads).unwrap().count(), 1);
    let file = served.root().join("catalogue.sqlite3");
    std::fs::rename(&file, served.root().join("aside")).unwrap();
    let health = until(&served, "/health", |health| health["parts"]["catalogue"]["state"] == "ill").await;
    assert!(health["parts"]["catalogue"]["reason"].as_str().unwrap().contains("--restore-from"), "{health}");
    assert_eq!(served.get("/health").await.status, StatusCode::SERVICE_UNAVAILABLE);
    // What is no database at all is refused at a start, with what to do. The other one belongs to the process that runs.
    std::fs::write(served.root().join("damaged.sqlite3"), [0x55; 8192]).unwrap();
    let config = served.root().join("archive.toml");
    let other = std::fs::read_to_string(&config).unwrap().replace("archive.sock", "other.sock");
    let other = other.replace("catalogue.sqlite3", "damaged.sqlite3");
    std::fs::write(&config, other).unwrap();
    let started =
        std::process::Command::new(env!("CARGO_BIN_EXE_fep-archive")).arg("--config").arg(&config).output();
    let started = started.unwrap();
    let said = String::from_utf8_lossy(&started.stderr);
    assert!(!started.status.success() && said.contains("--restore-from"), "{said}");
}
