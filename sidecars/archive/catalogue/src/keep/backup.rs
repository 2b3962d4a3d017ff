//! Copies of the whole archive elsewhere, and the way back.
//!
//! ```text
//! backup.json                    manifest: what belongs to the backup, with the SHA-256 of each
//! catalogue.jsonl                the catalogue, one row a line
//! segments/black/RING/...seg     segments
//! index/v1/...parquet            index files
//! rest/roots/..., rest/black/... signed roots, and what is left of deleted segments
//! ```
//!
//! The manifest is written last: a backup without one, or with an old one, is the old backup. A second backup to the same
//! place copies only what is new. Restoring checks every hash, puts the data back first and the catalogue last.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Keeper, PAGE};
use crate::Error;
use crate::ingest::segment_key;
use crate::model::{Segment, SegmentState, StoredObject, Tier};
use crate::sql::{Catalogue, SegmentFilter};
use crate::store::Store;

const MANIFEST: &str = "backup.json";
const DUMP: &str = "catalogue.jsonl";
const REST: &str = "rest";
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    made_tai_ns: i64,
    /// The dump and every file, by key.
    objects: Vec<StoredObject>,
    /// Segments that are missing in it, and why.
    missing: BTreeMap<String, String>,
}

/// What a backup did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BackupReport {
    /// Objects that belong to the backup.
    pub objects: u64,
    /// Objects copied now; the others were there.
    pub copied: u64,
    /// Octets copied now.
    pub octets: u64,
    /// Segments that are not in it, and why: nothing usable is left of them.
    pub missing: BTreeMap<String, String>,
}

/// What a restore did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RestoreReport {
    /// Files and objects put back.
    pub objects: u64,
    /// Octets of them.
    pub octets: u64,
    /// Rows of the catalogue.
    pub rows: u64,
}

impl Keeper {
    /// Copies catalogue, segments and index to `target`. `progress` is called after each segment.
    ///
    /// # Errors
    /// The database, either store, the disk. The backup that was there before is then still whole.
    pub async fn backup(
        &self,
        target: &Store,
        now_tai_ns: i64,
        mut progress: impl FnMut(&BackupReport),
    ) -> Result<BackupReport, Error> {
        let before: BTreeMap<String, StoredObject> = match target.size(MANIFEST).await? {
            None => BTreeMap::new(),
            Some(_) => {
                let manifest = read_manifest(target).await?;
                manifest.objects.into_iter().map(|object| (object.key.clone(), object)).collect()
            }
        };
        let mut copy = Copy { target, before, objects: Vec::new(), report: BackupReport::default() };
        // The dump first: every segment that it names is there afterwards, and newer ones do not matter.
        let dump = self.catalogue.dump().await?.join("\n");
        let mut after = None;
        loop {
            let ids = self.catalogue.segment_ids(&SegmentFilter::default(), after.as_ref(), PAGE).await?;
            let Some(last) = ids.last().cloned() else { break };
            for id in ids {
                let turn = self.turns.of(&id).await;
                // As it is now: it may have moved since it was listed.
                let Some(segment) = self.catalogue.segment(&id).await? else { continue };
                if segment.state == SegmentState::Deleted {
                    continue;
                }
                self.back_up(&segment, &mut copy).await?;
                drop(turn);
                progress(&copy.report);
            }
            after = Some(last);
        }
        let (archive, red) = (self.archive.clone(), self.catalogue.sees_red());
        for path in tokio::task::spawn_blocking(move || rest(&archive, red)).await?? {
            let key = format!("{REST}/{}", path.strip_prefix(&self.archive).unwrap_or(&path).display());
            copy.file(&key, &path).await?;
        }
        let dumped = target.put(DUMP, Bytes::from(dump)).await?;
        copy.objects.push(dumped);
        copy.report.objects = copy.objects.len() as u64;
        let manifest = Manifest {
            format: FORMAT,
            made_tai_ns: now_tai_ns,
            objects: copy.objects,
            missing: copy.report.missing.clone(),
        };
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| Error::Invalid { what: "manifest", problem: error.to_string() })?;
        target.put(MANIFEST, Bytes::from(text)).await?;
        let detail = format!("{} objects, {} copied now", copy.report.objects, copy.report.copied);
        self.catalogue.note(now_tai_ns, "catalogue", "backup", target.url(), &detail).await?;
        Ok(copy.report)
    }

    /// Copies one segment, from its file or from its copy, and its index files.
    async fn back_up(&self, segment: &Segment, copy: &mut Copy<'_>) -> Result<(), Error> {
        let id = segment.facts.id();
        let key = segment_key(&id);
        let problem = if segment.tier == Tier::Warm {
            Some("its file was given up for a copy".to_owned())
        } else if copy.has(&key, segment.facts.file_octets).await? {
            copy.keep(&key);
            None
        } else {
            let problem = self.verified_file(segment).await?;
            if problem.is_none() {
                copy.file(&key, &self.file(&id)).await?;
            }
            problem
        };
        match (problem, &segment.object) {
            (None, _) => {}
            (Some(problem), None) => copy.leave_out(&id.0, &format!("{problem}; there is no copy of it")),
            (Some(problem), Some(object)) => match copy.object(&self.store, object).await {
                Err(error @ Error::ObjectDiffers { .. }) => {
                    copy.leave_out(&id.0, &format!("{problem}; {error}"));
                }
                done => done?,
            },
        }
        for file in [&segment.frames_index, &segment.packets_index].into_iter().flatten() {
            let object = StoredObject { key: file.key.clone(), octets: file.octets, sha256: file.sha256 };
            copy.object(&self.store, &object).await?;
        }
        Ok(())
    }

    /// Puts a backup into an archive that is empty: the directory, the object store and the catalogue.
    ///
    /// # Errors
    /// No manifest, an object that is not what the manifest says, a catalogue that is not empty.
    pub async fn restore(
        source: &Store,
        archive: &Path,
        store: &Store,
        catalogue: &Catalogue,
        mut progress: impl FnMut(&RestoreReport),
    ) -> Result<RestoreReport, Error> {
        let manifest = read_manifest(source).await?;
        let mut report = RestoreReport::default();
        let mut dump = None;
        for object in &manifest.objects {
            let key = object.key.as_str();
            if key == DUMP {
                dump = Some(source.get_checked(object).await?);
            } else if let Some(path) = key.strip_prefix("segments/").or(key.strip_prefix("rest/")) {
                source.get_file(object, &below(archive, path)?).await?;
            } else {
                store.put_from(source, object).await?;
            }
            report.objects += 1;
            report.octets += object.octets;
            progress(&report);
        }
        let dump = dump.ok_or_else(|| Error::Invalid {
            what: "backup",
            problem: format!("its manifest does not name {DUMP}"),
        })?;
        let text = std::str::from_utf8(&dump)
            .map_err(|error| Error::Invalid { what: "dump", problem: error.to_string() })?;
        report.rows = catalogue.load(text.lines().filter(|line| !line.is_empty())).await?;
        // Every segment is a file now; copies in the object store that was lost are gone.
        catalogue.forget_objects().await?;
        Ok(report)
    }
}

struct Copy<'t> {
    target: &'t Store,
    /// Of the backup before.
    before: BTreeMap<String, StoredObject>,
    objects: Vec<StoredObject>,
    report: BackupReport,
}

impl Copy<'_> {
    /// Whether the backup before has an object of this length under this key, and the target still holds it.
    async fn has(&self, key: &str, octets: u64) -> Result<bool, Error> {
        let known = self.before.get(key).is_some_and(|object| object.octets == octets);
        Ok(known && self.target.size(key).await? == Some(octets))
    }

    fn keep(&mut self, key: &str) {
        self.objects.extend(self.before.get(key).cloned());
    }

    async fn file(&mut self, key: &str, path: &Path) -> Result<(), Error> {
        let copied = self.target.put_file(key, path).await?;
        self.note(copied);
        Ok(())
    }

    async fn object(&mut self, from: &Store, object: &StoredObject) -> Result<(), Error> {
        let known = self.before.get(&object.key).is_some_and(|before| before.sha256 == object.sha256);
        if known && self.has(&object.key, object.octets).await? {
            self.keep(&object.key);
            return Ok(());
        }
        self.target.put_from(from, object).await?;
        self.note(object.clone());
        Ok(())
    }

    fn note(&mut self, copied: StoredObject) {
        self.report.copied += 1;
        self.report.octets += copied.octets;
        self.objects.push(copied);
    }

    fn leave_out(&mut self, segment: &str, problem: &str) {
        self.report.missing.insert(segment.to_owned(), problem.to_owned());
    }
}

async fn read_manifest(store: &Store) -> Result<Manifest, Error> {
    let text = store.get(MANIFEST).await?;
    let invalid = |problem: String| Error::Invalid { what: "backup manifest", problem };
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
    if manifest.format != FORMAT {
        return Err(invalid(format!("it has format {}, this version reads {FORMAT}", manifest.format)));
    }
    Ok(manifest)
}

/// A path of the manifest below the archive; one that leads out of it is refused.
fn below(archive: &Path, path: &str) -> Result<PathBuf, Error> {
    let plain = Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if plain && !path.is_empty() {
        return Ok(archive.join(path));
    }
    Err(Error::Invalid { what: "backup manifest", problem: format!("\"{path}\" leads out of the archive") })
}

/// Signed roots, records of removal, and the footers that are left of deleted segments; of red segments only if `red`.
fn rest(archive: &Path, red: bool) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let folders = [("roots", "json"), ("black", "gone"), ("red", "gone")];
    for (folder, end) in folders.into_iter().filter(|(folder, _)| red || *folder != "red") {
        let mut folders = vec![archive.join(folder)];
        while let Some(folder) = folders.pop() {
            let entries = match std::fs::read_dir(&folder) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                entries => entries.map_err(Error::io("read", &folder))?,
            };
            for entry in entries {
                let path = entry.map_err(Error::io("read", &folder))?.path();
                if path.is_dir() {
                    if red || !path.ends_with("roots/removals/red") {
                        folders.push(path);
                    }
                } else if path.extension().is_some_and(|extension| extension == end) {
                    found.push(path);
                }
            }
        }
    }
    found.sort();
    Ok(found)
}
