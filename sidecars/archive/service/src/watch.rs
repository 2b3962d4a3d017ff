//! Looking after the catalogue while the service runs: whether its database is still there, whether the audit trail is whole,
//! and the signed head of it every day.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fep_audit::SignedHead;
use fep_catalogue::{AuditWatch, Catalogue, SegmentId, Tail};
use fep_kit::Stop;
use fep_kit::health::Health;
use fep_kit::metrics::Metrics;
use fep_segments::roots;
use prometheus::IntGaugeVec;

use crate::service::{Service, now_tai_ns};

/// How often the database is asked for its health.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// A database that does not answer for so long is ill. The pool itself would wait longer for a server that comes back.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How often what was added to the audit trail is verified.
const VERIFY_EVERY: Duration = Duration::from_secs(10);
/// How often all of it is.
const VERIFY_ALL_EVERY: Duration = Duration::from_secs(3600);
/// How often it is looked whether the head of the day is signed.
const SIGN_EVERY: Duration = Duration::from_secs(60);
/// Heads are for whoever may read the roots.
const HEAD_MODE: u32 = 0o640;
/// The longest file of a head that is read.
const HEAD_OCTETS_MAX: u64 = 64 << 10;

/// What to do about a catalogue that cannot be opened or has gone.
pub(crate) const HINT: &str = "restore a backup into an empty place (fep-archive --restore-from URL); or move the database \
     away and start: segments, gaps and contacts are made from the segments again, but what people decided (gap states, \
     holds, orders, the audit trail) is in backups alone";

/// Watches until `stop`.
pub(crate) async fn run(service: Arc<Service>, stop: Stop) {
    let catalogue = service.archive.catalogue.clone();
    let heads = (!service.config.archive.audit_key.as_os_str().is_empty())
        .then(|| (service.config.audit_heads(), service.config.archive.audit_key.clone()));
    let mut trail = Trail::new();
    let mut signed = None;
    let mut index = Index::new(&service.metrics);
    while !stop.is_stopping() {
        service.authenticator.look_now();
        match service.authenticator.fault() {
            None => service.health.well("keys"),
            Some(fault) => service.health.ill("keys", fault),
        }
        index.look(&service.archive.tail, &service.health);
        let answers = ask(&catalogue, &service.health).await;
        if answers {
            trail.look(&catalogue, &service.health).await;
            if let Some((directory, key)) = &heads
                && signed.is_none_or(|at: Instant| at.elapsed() >= SIGN_EVERY)
            {
                signed = Some(Instant::now());
                match sign_today(&catalogue, directory, key).await {
                    Ok(()) => service.health.well("audit head"),
                    Err(problem) => service.health.warning("audit head", problem),
                }
            }
        }
        tokio::select! {
            () = stop.wait() => {}
            () = tokio::time::sleep(ASK_EVERY) => {}
        }
    }
}

/// Whether the database does its work, as health says afterwards.
async fn ask(catalogue: &Catalogue, health: &Health) -> bool {
    let problem = match tokio::time::timeout(ANSWER_WITHIN, catalogue.database().health()).await {
        Ok(Ok(_)) => {
            health.well("catalogue");
            return true;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the database did not answer within {} s", ANSWER_WITHIN.as_secs()),
    };
    health.ill("catalogue", format!("{problem}. When it does not come back: {HINT}"));
    false
}

/// What is recorded and not indexed.
struct Index {
    gauges: Option<[IntGaugeVec; 2]>,
    /// The first segment that waited when it was looked last.
    first: Option<SegmentId>,
}

impl Index {
    fn new(metrics: &Metrics) -> Index {
        let segments = metrics.gauges("unindexed_segments", "Sealed segments that are in no index yet.", &[]);
        let octets = metrics.gauges("unindexed_octets", "Octets of these segments.", &[]);
        let gauges = segments.and_then(|segments| Ok([segments, octets?]));
        if let Err(error) = &gauges {
            tracing::error!(%error, "what is not indexed has no metrics");
        }
        Index { gauges: gauges.ok(), first: None }
    }

    /// A segment that waits longer than from one look to the next is more than the one that was just sealed.
    fn look(&mut self, tail: &Tail, health: &Health) {
        let backlog = tail.backlog();
        let (segments, octets) = (backlog.segments.len(), backlog.octets());
        if let Some([of_segments, of_octets]) = &self.gauges {
            of_segments.with_label_values::<&str>(&[]).set(i64::try_from(segments).unwrap_or(i64::MAX));
            of_octets.with_label_values::<&str>(&[]).set(i64::try_from(octets).unwrap_or(i64::MAX));
        }
        let first = backlog.segments.keys().next().cloned();
        let waits = first.is_some() && (first == self.first || segments > 1);
        self.first = first;
        if !backlog.has_begun {
            health.warning("indexing", "not all that was recorded was looked at since the start: answers may not be whole, and say so");
        } else if waits {
            health.warning(
                "indexing",
                format!(
                    "{segments} sealed segments ({octets} octets) are not indexed yet: answers read them record by record, \
                     SQL says that they are missing"
                ),
            );
        } else {
            health.well("indexing");
        }
    }
}

/// The audit trail, as far as it was verified.
struct Trail {
    watch: AuditWatch,
    begun: Instant,
    looked: Option<Instant>,
    /// A problem stays until all of the trail was verified again without finding it.
    problem: Option<String>,
}

impl Trail {
    fn new() -> Trail {
        Trail { watch: AuditWatch::default(), begun: Instant::now(), looked: None, problem: None }
    }

    async fn look(&mut self, catalogue: &Catalogue, health: &Health) {
        if self.looked.is_some_and(|at| at.elapsed() < VERIFY_EVERY) {
            return;
        }
        self.looked = Some(Instant::now());
        let is_whole_pass = self.begun.elapsed() >= VERIFY_ALL_EVERY;
        if is_whole_pass {
            (self.watch, self.begun) = (AuditWatch::default(), Instant::now());
        }
        loop {
            match self.watch.step(catalogue).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    health.warning("audit trail", format!("the audit trail cannot be verified: {error}"));
                    return;
                }
            }
        }
        if is_whole_pass || self.watch.problem().is_some() {
            self.problem = self.watch.problem().map(str::to_owned);
        }
        match &self.problem {
            None => health.well("audit trail"),
            Some(problem) => health.ill(
                "audit trail",
                format!(
                    "the audit trail is broken: {problem}. Somebody changed the database past this program: keep a copy of \
                     it, and compare it with the signed heads and the last backup"
                ),
            ),
        }
    }
}

/// Writes the signed head of the trail of this day (UTC), unless it is there.
async fn sign_today(catalogue: &Catalogue, directory: &Path, key: &Path) -> Result<(), String> {
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let day = roots::day_of(u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX));
    let file = directory.join(format!("{day}.json"));
    if is_signed(&file)? {
        return Ok(());
    }
    let key_file: PathBuf = key.to_owned();
    let key = tokio::task::spawn_blocking(move || roots::signing_key(&key_file))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("the key that signs the audit trail (archive.audit_key): {error}"))?;
    let signed = catalogue.sign_audit_head(now_tai_ns(), &key).await.map_err(|error| error.to_string())?;
    write_head(&file, &signed)
}

/// Whether the head of a day is in its file. What else is there is not replaced: a root may name it.
fn is_signed(file: &Path) -> Result<bool, String> {
    let problem = |why: &dyn std::fmt::Display| {
        format!(
            "{} is no signed head of the audit trail: {why}; look who changed it, and move it away",
            file.display()
        )
    };
    let text = match fep_file::read_if_exists(file, HEAD_OCTETS_MAX) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(false),
        Err(error) => return Err(problem(&error)),
    };
    let signed: SignedHead = serde_json::from_slice(&text).map_err(|error| problem(&error))?;
    if signed.is_signed_with(&signed.public_key) {
        return Ok(true);
    }
    Err(problem(&"its signature does not hold"))
}

fn write_head(file: &Path, signed: &SignedHead) -> Result<(), String> {
    let problem = |error: &dyn std::fmt::Display| {
        format!("the signed head of the audit trail (archive.audit_heads): {error}")
    };
    let directory =
        file.parent().and_then(Path::to_str).ok_or_else(|| problem(&"its directory has no name"))?;
    crate::process::make_directory(directory).map_err(|error| problem(&format!("{directory}: {error}")))?;
    let text = serde_json::to_vec_pretty(signed).map_err(|error| problem(&error))?;
    match fep_file::create_new(file, HEAD_MODE, &text) {
        // Another process was faster.
        Ok(()) | Err(fep_file::FileError::Exists { .. }) => Ok(()),
        Err(error) => Err(problem(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fep_kit::health::State;

    async fn catalogue_in(directory: &Path) -> Catalogue {
        let url = format!("sqlite://{}/catalogue.sqlite3", directory.display());
        Catalogue::open(&url).await.expect("it opens")
    }

    // REQ: FEP-CAT-150
    #[tokio::test]
    async fn a_catalogue_whose_file_is_removed_or_replaced_makes_health_ill_with_what_to_do() {
        let directory = tempfile::tempdir().expect("a directory");
        let health = Health::new("x 1");
        let catalogue = catalogue_in(directory.path()).await;
        assert!(ask(&catalogue, &health).await);
        let file = directory.path().join("catalogue.sqlite3");
        let aside = directory.path().join("aside");
        std::fs::rename(&file, &aside).expect("renamed");
        assert!(!ask(&catalogue, &health).await);
        let part = health.report().parts["catalogue"].clone();
        assert!(part.state == State::Ill && part.reason.contains("--restore-from"), "{part:?}");
        std::fs::copy(&aside, &file).expect("copied");
        assert!(!ask(&catalogue, &health).await, "the same octets in another file");
        std::fs::rename(&aside, &file).expect("renamed");
        assert!(ask(&catalogue, &health).await);
        assert_eq!(health.report().parts["catalogue"].state, State::Well);
    }

    // REQ: FEP-CAT-151
    #[tokio::test]
    async fn a_broken_audit_trail_makes_health_ill_and_stays_so() {
        let directory = tempfile::tempdir().expect("a directory");
        let health = Health::new("x 1");
        let catalogue = catalogue_in(directory.path()).await;
        for subject in ["one", "two"] {
            catalogue.note(1, "ada", "note", subject, "").await.expect("noted");
        }
        let mut trail = Trail::new();
        trail.look(&catalogue, &health).await;
        assert_eq!(health.report().parts["audit trail"].state, State::Well);
        let sql = "DELETE FROM kit_audit WHERE number = 2";
        let mut writing = catalogue.database().begin("test").await.expect("begun");
        sqlx::query(sql).execute(&mut *writing).await.expect("deleted");
        writing.commit().await.expect("committed");
        for _ in 0..2 {
            trail.looked = None;
            trail.look(&catalogue, &health).await;
            assert_eq!(health.report().parts["audit trail"].state, State::Ill);
            // Somebody adds an entry again: what was found stays.
            catalogue.note(2, "eve", "note", "two", "").await.expect("noted");
        }
    }

    // REQ: FEP-CAT-152
    #[tokio::test]
    async fn the_head_of_a_day_is_signed_once_and_finds_a_trail_that_was_written_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let catalogue = catalogue_in(directory.path()).await;
        catalogue.note(1, "ada", "note", "one", "").await.expect("noted");
        let (heads, key) = (directory.path().join("heads"), directory.path().join("audit.key"));
        sign_today(&catalogue, &heads, &key).await.expect("signed");
        catalogue.note(2, "ada", "note", "two", "").await.expect("noted");
        sign_today(&catalogue, &heads, &key).await.expect("signed already");
        let files: Vec<_> = std::fs::read_dir(&heads).expect("listed").flatten().collect();
        assert_eq!(files.len(), 1);
        let text = std::fs::read(files[0].path()).expect("read");
        let head: SignedHead = serde_json::from_slice(&text).expect("a signed head");
        assert_eq!(head.head.number, 1);
        let public = roots::signing_key(&key).expect("the key").verifying_key().to_bytes();
        let verify = async || {
            let database = catalogue.database();
            fep_audit::verify(database, std::slice::from_ref(&head), Some(&public)).await.expect("verified")
        };
        assert!(verify().await.holds());
        // What is in the place of the head and is none is neither taken for it nor replaced.
        let place = files[0].path();
        for wrong in [text[..text.len() / 2].to_vec(), text.to_ascii_uppercase(), Vec::new()] {
            std::fs::write(&place, &wrong).expect("written");
            let problem = sign_today(&catalogue, &heads, &key).await.expect_err("no head");
            assert!(problem.contains("no signed head"), "{problem}");
            assert_eq!(std::fs::read(&place).expect("read"), wrong);
        }
        std::fs::write(&place, &text).expect("written");
        // Written anew as a whole, the chain holds in itself: the head tells.
        let mut writing = catalogue.database().begin("test").await.expect("begun");
        sqlx::query("DELETE FROM kit_audit").execute(&mut *writing).await.expect("deleted");
        writing.commit().await.expect("committed");
        catalogue.note(1, "ada", "note", "nothing", "").await.expect("noted");
        assert!(!verify().await.holds());
        assert_eq!(catalogue.audit_problem().await.expect("verified"), None, "the chain alone does not");
    }
}
