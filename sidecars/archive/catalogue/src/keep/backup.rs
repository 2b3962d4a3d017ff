//! Copies of the whole archive elsewhere, and the way back.
//!
//! ```text
//! backup.json                          manifest: what belongs to the backup, with the SHA-256 of each
//! state/TIME/catalogue/...             the catalogue, as its database copied it, with a manifest of its own
//! state/TIME/configuration/...         the configuration, and the public key of the daily roots (root.pub)
//! segments/black/RING/...seg           segments
//! index/v1/...parquet                  index files
//! rest/roots/..., rest/black/...       signed roots, and what is left of deleted segments
//! ```
//!
//! The manifest is written last: a backup without one, or with an old one, is the old backup. A second backup to the same
//! place copies only what is new. What is there already is read again and held against its SHA-256 when that was not done for
//! a week. Restoring checks every hash, puts the data back first and the catalogue last.
//!
//! Private keys are not in it: whoever has the backup must not be able to sign.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fep_database::Options;
use fep_time::tai_now;
use serde::{Deserialize, Serialize};

use super::{Keeper, PAGE, SERVICE};
use crate::Error;
use crate::ingest::{index_again, segment_key};
use crate::model::{Segment, SegmentState, StoredObject, Tier};
use crate::sql::{Catalogue, SCHEMAS, SegmentFilter, load_earlier};
use crate::store::Store;

const MANIFEST: &str = "backup.json";
/// The catalogue in backups of form 1, one row a line.
const EARLIER_DUMP: &str = "catalogue.jsonl";
const STATE: &str = "state";
const REST: &str = "rest";
const FORMAT: u32 = 2;
const EARLIER_FORMAT: u32 = 1;
/// After how long an object of the backup is read again: a week.
const READ_AGAIN_NS: i64 = 7 * 86_400_000_000_000;
/// The longest manifest: about 1200 octets a segment, so that of more than a million segments has room.
const MANIFEST_OCTETS_MAX: u64 = 2 << 30;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    made_tai_ns: i64,
    /// Every file, by key.
    objects: Vec<StoredObject>,
    /// When each was read back last, by key.
    #[serde(default)]
    read_back_tai_ns: BTreeMap<String, i64>,
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
    /// Objects that were there, and were read again.
    pub read_again: u64,
    /// Objects that were there and were not what they had been: they were copied again.
    pub replaced: Vec<String>,
    /// What is not in it, and why: segments of which nothing usable is left, index files that could not be made again, and
    /// what stands in the place of a root.
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
    /// Orders that were not begun when the backup was made: they are refused, and have to be asked for again.
    pub orders_refused: u64,
}

impl Keeper {
    /// Copies catalogue, segments, index and configuration to `target`. `progress` is called after each segment.
    ///
    /// # Errors
    /// The database, either store, the disk; [`Error::Stopped`]. The backup that was there before is then still whole. A service
    /// without red data does not back up a catalogue that holds red rows: it would copy them.
    pub async fn backup(
        &self,
        target: &Store,
        now_tai_ns: i64,
        mut progress: impl FnMut(&BackupReport),
    ) -> Result<BackupReport, Error> {
        let _one_at_a_time = self.backing_up.lock().await;
        if self.catalogue.has_hidden_rows().await? {
            return Err(Error::refused(
                "backup",
                "the catalogue holds rows of red segments, and this service has no red data (http.serve_red = false): make \
                 the backup with the service that has, or give this one a catalogue of its own",
            ));
        }
        let (before, read_back) = match read_manifest(target).await? {
            None => (BTreeMap::new(), BTreeMap::new()),
            Some(manifest) => {
                let objects = manifest.objects.into_iter().map(|object| (object.key.clone(), object));
                (objects.collect(), manifest.read_back_tai_ns)
            }
        };
        let mut copy = Copy {
            target,
            now_tai_ns,
            before,
            read_back,
            objects: Vec::new(),
            report: BackupReport::default(),
        };
        // The catalogue first: every segment that it names is there afterwards, and newer ones do not matter.
        let state = format!("{STATE}/{now_tai_ns:020}");
        self.back_up_catalogue(&state, &mut copy).await?;
        let mut after = None;
        loop {
            let ids = self.catalogue.segment_ids(&SegmentFilter::default(), after.as_ref(), PAGE).await?;
            let Some(last) = ids.last().cloned() else { break };
            for id in ids {
                self.go_on()?;
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
        let (files, others) = tokio::task::spawn_blocking(move || rest(&archive, red)).await??;
        for path in others {
            copy.leave_out(&path.display().to_string(), "it is no regular file");
        }
        for path in files {
            let key = format!("{REST}/{}", path.strip_prefix(&self.archive).unwrap_or(&path).display());
            copy.file(&key, &path).await?;
        }
        for path in self.along.iter() {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            copy.file(&format!("{state}/configuration/{name}"), path).await?;
        }
        let archive = self.archive.clone();
        if let Some(key) = tokio::task::spawn_blocking(move || public_root_key(&archive)).await? {
            copy.octets(&format!("{state}/configuration/root.pub"), format!("{key}\n").into()).await?;
        }
        copy.report.objects = copy.objects.len() as u64;
        let named: std::collections::BTreeSet<&String> =
            copy.objects.iter().map(|object| &object.key).collect();
        copy.read_back.retain(|key, _| named.contains(key));
        let manifest = Manifest {
            format: FORMAT,
            made_tai_ns: now_tai_ns,
            objects: copy.objects,
            read_back_tai_ns: copy.read_back,
            missing: copy.report.missing.clone(),
        };
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| Error::Invalid { what: "manifest", problem: error.to_string() })?;
        if text.len() as u64 > MANIFEST_OCTETS_MAX {
            let problem =
                format!("it would have {} octets, at most {MANIFEST_OCTETS_MAX} are read", text.len());
            return Err(Error::Invalid { what: "manifest", problem });
        }
        target.put(MANIFEST, Bytes::from(text)).await?;
        // What no manifest names any more: the catalogue of the backup before, and of one that was killed.
        for key in target.list(STATE).await?.into_keys().filter(|key| !key.starts_with(&state)) {
            target.delete(&key).await?;
            // A directory store keeps empty directories; one that is not empty stays.
            let path = target.file(&key);
            let above = path.iter().flat_map(|path| path.ancestors().skip(1).take(2));
            above.take_while(|directory| std::fs::remove_dir(directory).is_ok()).for_each(drop);
        }
        target.delete(EARLIER_DUMP).await?;
        let detail = format!("{} objects, {} copied now", copy.report.objects, copy.report.copied);
        self.catalogue.note(now_tai_ns, SERVICE, "backup", target.url(), &detail).await?;
        Ok(copy.report)
    }

    /// Copies one moment of the catalogue by way of a directory beside the segments.
    async fn back_up_catalogue(&self, state: &str, copy: &mut Copy<'_>) -> Result<(), Error> {
        // Two services, with red data and without, may keep one archive.
        let name =
            if self.catalogue.sees_red() { ".catalogue-backup-all" } else { ".catalogue-backup-black" };
        let directory = Scratch::new(self.archive.join(name))?;
        let path = directory.0.join("copy");
        self.catalogue.database().backup(&path).await?;
        for file in files_of(&path)? {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            copy.file(&format!("{state}/catalogue/{name}"), &file).await?;
        }
        Ok(())
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
                Err(error) if error.is_of_object() => {
                    copy.leave_out(&id.0, &format!("{problem}; {error}"));
                }
                done => done?,
            },
        }
        for file in [&segment.frames_index, &segment.packets_index].into_iter().flatten() {
            let object = file.object();
            let mut copied = copy.object(&self.store, &object).await;
            if copied.as_ref().is_err_and(Error::is_of_object) {
                // It can be made of the segment; what is wrong with it is seen when it is read again.
                let made = index_again(&self.places(), segment).await;
                let made = made.map(|again| [again.frames_index, again.packets_index]).unwrap_or_default();
                if let Some(made) = made.into_iter().flatten().find(|made| made.key == file.key) {
                    let object = made.object();
                    copied = copy.object(&self.store, &object).await;
                }
            }
            match copied {
                Err(error) if error.is_of_object() => copy.leave_out(&file.key, &error.to_string()),
                copied => copied?,
            }
        }
        Ok(())
    }

    /// Puts a backup into an archive that is empty: the directory, the object store and the database. Orders that were not begun
    /// are refused, and jobs that had not ended are cancelled: what became of them after the backup is not known. The
    /// configuration comes to `restored-configuration` in the archive, for a person to look at.
    ///
    /// # Errors
    /// No manifest, an object that is not what the manifest says, a database that is not empty or not of the engine that was
    /// backed up.
    pub async fn restore(
        source: &Store,
        archive: &Path,
        store: &Store,
        database: &Options,
        mut progress: impl FnMut(&RestoreReport),
    ) -> Result<RestoreReport, Error> {
        let manifest = read_manifest(source).await?.ok_or_else(|| Error::Invalid {
            what: "backup",
            problem: format!("{}/{MANIFEST} does not exist: there is no finished backup", source.url()),
        })?;
        let mut report = RestoreReport::default();
        let directory = Scratch::new(archive.join(".catalogue-restore"))?;
        let mut has_catalogue = false;
        for object in &manifest.objects {
            let key = object.key.as_str();
            let state = key.strip_prefix("state/").and_then(|rest| rest.split_once('/'));
            if let Some((_, path)) = state {
                let to = match path.strip_prefix("configuration/") {
                    Some(name) => below(&archive.join("restored-configuration"), name)?,
                    None => below(&directory.0, path)?,
                };
                source.get_file(object, &to).await?;
                has_catalogue |= path.starts_with("catalogue/");
            } else if key == EARLIER_DUMP {
                source.get_file(object, &directory.0.join(EARLIER_DUMP)).await?;
                has_catalogue = true;
            } else if let Some(path) = key.strip_prefix("segments/").or(key.strip_prefix("rest/")) {
                source.get_file(object, &below(archive, path)?).await?;
            } else {
                store.put_from(source, object).await?;
            }
            report.objects += 1;
            report.octets += object.octets;
            progress(&report);
        }
        if !has_catalogue {
            let problem = "its manifest names no catalogue".to_owned();
            return Err(Error::Invalid { what: "backup", problem });
        }
        report.rows = if manifest.format == EARLIER_FORMAT {
            let path = directory.0.join(EARLIER_DUMP);
            let dump = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
            load_earlier(database, dump.lines().filter(|line| !line.is_empty())).await?
        } else {
            let manifest = fep_database::restore(&directory.0.join("catalogue"), database, &SCHEMAS).await?;
            manifest.tables.values().map(|table| table.rows.rows).sum()
        };
        let catalogue = Catalogue::open_with(database).await?;
        // Every segment is a file now; copies in the object store that was lost are gone.
        catalogue.forget_objects().await?;
        let now_tai_ns = tai_now().0;
        let note = "the archive was restored from a backup: ask again if it is still wanted";
        report.orders_refused = catalogue.refuse_open_orders(note, now_tai_ns).await? as u64;
        catalogue.cancel_jobs(now_tai_ns).await?;
        let detail = format!("{} objects, {} rows", report.objects, report.rows);
        catalogue.note(now_tai_ns, SERVICE, "restored from a backup", source.url(), &detail).await?;
        catalogue.close().await;
        Ok(report)
    }
}

struct Copy<'t> {
    target: &'t Store,
    now_tai_ns: i64,
    /// Of the backup before.
    before: BTreeMap<String, StoredObject>,
    /// When each object was read back last.
    read_back: BTreeMap<String, i64>,
    objects: Vec<StoredObject>,
    report: BackupReport,
}

impl Copy<'_> {
    /// Whether the backup before has an object of this length under this key, and the target still holds it: by its length, and
    /// by its SHA-256 where that was not looked at for a week.
    async fn has(&mut self, key: &str, octets: u64) -> Result<bool, Error> {
        let Some(known) = self.before.get(key).filter(|object| object.octets == octets) else {
            return Ok(false);
        };
        if self.target.size(key).await? == Some(octets) {
            let age_ns = self.read_back.get(key).map(|read_back| self.now_tai_ns.saturating_sub(*read_back));
            // A time in the future says nothing.
            if age_ns.is_some_and(|age_ns| (0..READ_AGAIN_NS).contains(&age_ns)) {
                return Ok(true);
            }
            self.report.read_again += 1;
            if self.target.look_at(key).await? == *known {
                self.read_back.insert(key.to_owned(), self.now_tai_ns);
                return Ok(true);
            }
        }
        tracing::error!("{}/{key} is not what was backed up: it is copied again", self.target.url());
        self.report.replaced.push(key.to_owned());
        Ok(false)
    }

    fn keep(&mut self, key: &str) {
        self.objects.extend(self.before.get(key).cloned());
    }

    async fn file(&mut self, key: &str, path: &Path) -> Result<(), Error> {
        let copied = self.target.put_file(key, path).await?;
        self.note(copied);
        Ok(())
    }

    async fn octets(&mut self, key: &str, octets: Bytes) -> Result<(), Error> {
        let copied = self.target.put(key, octets).await?;
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
        // Nothing counts as stored before it was read back.
        self.read_back.insert(copied.key.clone(), self.now_tai_ns);
        self.objects.push(copied);
    }

    fn leave_out(&mut self, segment: &str, problem: &str) {
        self.report.missing.insert(segment.to_owned(), problem.to_owned());
    }
}

/// The manifest of the backup in a store; `None` when there is none.
async fn read_manifest(store: &Store) -> Result<Option<Manifest>, Error> {
    let Some(text) = store.get_if_exists(MANIFEST, MANIFEST_OCTETS_MAX).await? else { return Ok(None) };
    let invalid = |problem: String| Error::Invalid { what: "backup manifest", problem };
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
    if ![EARLIER_FORMAT, FORMAT].contains(&manifest.format) {
        return Err(invalid(format!(
            "it has form {}, this release reads {EARLIER_FORMAT} and {FORMAT}: use the release that made it",
            manifest.format
        )));
    }
    Ok(Some(manifest))
}

/// A directory for what is on its way, which goes afterwards. One that a killed process left is removed first.
struct Scratch(PathBuf);

impl Scratch {
    fn new(path: PathBuf) -> Result<Scratch, Error> {
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &path)(error));
            }
            _ => {}
        }
        fep_file::create_directory(&path, 0o700)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind is removed by the next one.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn files_of(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(directory).map_err(Error::io("read", directory))?;
    let mut files = Vec::new();
    for entry in entries {
        files.push(entry.map_err(Error::io("read", directory))?.path());
    }
    files.sort();
    Ok(files)
}

/// The public key that the newest daily root names, 64 hexadecimal digits.
fn public_root_key(archive: &Path) -> Option<String> {
    let newest = fep_segments::roots::root_files(archive).ok()?.pop()?;
    fep_segments::roots::read_root(&newest).ok().map(|root| root.key)
}

/// A path of the manifest below the archive; one that leads out of it is refused.
fn below(archive: &Path, path: &str) -> Result<PathBuf, Error> {
    let plain = Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if plain && !path.is_empty() {
        return Ok(archive.join(path));
    }
    Err(Error::Invalid { what: "backup manifest", problem: format!("\"{path}\" leads out of the archive") })
}

/// Signed roots, records of removal, and the footers that are left of deleted segments; of red segments only if `red`. Then
/// what has such a name and is no regular file.
fn rest(archive: &Path, red: bool) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Error> {
    let (mut found, mut others) = (Vec::new(), Vec::new());
    let folders = [("roots", "json"), ("black", "gone"), ("red", "gone")];
    for (folder, end) in folders.into_iter().filter(|(folder, _)| red || *folder != "red") {
        let mut folders = vec![archive.join(folder)];
        while let Some(folder) = folders.pop() {
            let entries = match std::fs::read_dir(&folder) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                entries => entries.map_err(Error::io("read", &folder))?,
            };
            for entry in entries {
                let entry = entry.map_err(Error::io("read", &folder))?;
                // Of the entry itself: a link to a directory above would be walked for ever.
                let kind = entry.file_type().map_err(Error::io("look at", &folder))?;
                let path = entry.path();
                if kind.is_dir() {
                    if red || !path.ends_with("roots/removals/red") {
                        folders.push(path);
                    }
                } else if path.extension().is_some_and(|extension| extension == end) {
                    if kind.is_file() { &mut found } else { &mut others }.push(path);
                }
            }
        }
    }
    found.sort();
    others.sort();
    Ok((found, others))
}
