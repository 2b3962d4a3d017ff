//! Index files as they are read: held against what was stored, and made again from their segments where they are not that.
//!
//! Whoever meets a damaged index file gets its rows at once, made of the segment; the file itself is made again behind its
//! back, one at a time. Of a store that is a directory every file is hashed before it is read for the first time, as nothing in
//! it has a checksum of its own; a server answers for what it stores.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::Keeper;
use crate::Error;
use crate::hex;
use crate::ingest::{SegmentIndex, build_again, keep_index};
use crate::model::{IndexFile, SegmentId, SegmentState};

/// Files that are remembered as whole; with more, all are looked at again.
const WHOLE_MAX: usize = 1 << 17;
/// Damaged files that are remembered by name; more are counted.
const DAMAGED_MAX: usize = 256;
/// Octets that are hashed at a time.
const STEP: usize = 1 << 20;

/// Reads index files. Clones share what they know.
#[derive(Debug, Clone)]
pub struct Indexes {
    keeper: Keeper,
    state: Arc<Mutex<State>>,
    /// One file is made at a time.
    making: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// Files that were hashed, by key: which file it was.
    whole: HashMap<String, Identity>,
    damaged: BTreeMap<String, DamagedIndex>,
    found: u64,
    made: u64,
    last: Option<String>,
}

/// Device, inode, octets, and the times of the last change of contents and of anything.
type Identity = (u64, u64, u64, [i64; 4]);

/// An index file that is not what was stored, and is not made again yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedIndex {
    /// Whose index it is.
    pub segment: SegmentId,
    /// The file.
    pub file: IndexFile,
    /// What is wrong with it.
    pub problem: String,
    /// Why it could not be made again, once that was tried.
    pub not_made: Option<String>,
}

/// How index files were found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IndexFigures {
    /// Times that a damaged file was met.
    pub found: u64,
    /// Files made again.
    pub made: u64,
    /// Files that are still damaged.
    pub damaged: u64,
    /// The last one that was met, and what was wrong with it.
    pub last: Option<String>,
}

/// An index file that was made of its segment.
#[derive(Debug, Clone)]
pub struct MadeIndex {
    /// The Parquet file.
    pub octets: Bytes,
    /// What of the segment is damaged: its rows are missing.
    pub damage: Option<String>,
}

impl Indexes {
    pub(super) fn of(keeper: Keeper) -> Indexes {
        Indexes { keeper, state: Arc::default(), making: Arc::default() }
    }

    /// The file of an index, if the store is a directory. Blocking.
    ///
    /// # Errors
    /// It is not what was stored ([`Error::is_of_object`]); the disk.
    pub fn open(&self, index: &IndexFile) -> Option<Result<File, Error>> {
        let file = self.keeper.store.open_file(&index.key)?;
        Some(file.and_then(|file| self.held_against(file, index)))
    }

    fn held_against(&self, file: File, index: &IndexFile) -> Result<File, Error> {
        let path = std::path::Path::new(&index.key);
        let metadata = file.metadata().map_err(Error::io("look at", path))?;
        let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
        let identity = (metadata.dev(), metadata.ino(), metadata.len(), times);
        if self.lock().whole.get(&index.key) == Some(&identity) && metadata.len() == index.octets {
            return Ok(file);
        }
        let differs = |found: String| Error::ObjectDiffers {
            key: index.key.clone(),
            expected: hex::text(&index.sha256),
            found,
        };
        if metadata.len() != index.octets {
            let problem = format!("none: it has {} octets, {} were stored", metadata.len(), index.octets);
            return Err(differs(problem));
        }
        let mut hasher = Sha256::new();
        let (mut step, mut at) = (vec![0; STEP.min(index.octets as usize)], 0);
        while at < index.octets {
            let part = &mut step[..STEP.min((index.octets - at) as usize)];
            file.read_exact_at(part, at).map_err(Error::io("read", path))?;
            hasher.update(&*part);
            at += part.len() as u64;
        }
        let found: [u8; 32] = hasher.finalize().into();
        if found != index.sha256 {
            return Err(differs(hex::text(&found)));
        }
        let mut state = self.lock();
        if state.whole.len() >= WHOLE_MAX {
            state.whole.clear();
        }
        state.whole.insert(index.key.clone(), identity);
        Ok(file)
    }

    /// An index file made of its segment, because of this problem with the one that was stored. That one is made again meanwhile.
    ///
    /// # Errors
    /// No such segment, one that was deleted, one that cannot be read; the database.
    pub async fn make(
        &self,
        segment: &SegmentId,
        index: &IndexFile,
        problem: &str,
    ) -> Result<MadeIndex, Error> {
        self.note_damaged(segment, index, problem);
        let made = self.make_now(segment, index).await;
        if let Err(error) = &made {
            self.note_not_made(index, error);
        }
        made
    }

    async fn make_now(&self, id: &SegmentId, index: &IndexFile) -> Result<MadeIndex, Error> {
        let turn = Arc::clone(&self.making).lock_owned().await;
        // Somebody may have made it while we waited.
        let (of, stored) = (self.clone(), index.clone());
        let whole = tokio::task::spawn_blocking(move || of.read_whole(&stored)).await?;
        if let Some(octets) = whole {
            self.note_made(&index.key);
            return Ok(MadeIndex { octets, damage: None });
        }
        let Keeper { catalogue, .. } = &self.keeper;
        let segment = catalogue.segment(id).await?.filter(|segment| segment.state != SegmentState::Deleted);
        let segment = segment.ok_or_else(|| Error::not_found("segment", &id.0))?;
        let built = build_again(&self.keeper.places(), &segment).await?;
        let of_frames = segment.frames_index.as_ref().is_some_and(|frames| frames.key == index.key);
        let SegmentIndex { frames, packets, damage, .. } = &built;
        let wanted = if of_frames { frames } else { packets };
        let Some(wanted) = wanted else {
            return Err(Error::refused(format!("the index {}", index.key), "its segment has no rows for it"));
        };
        let made = MadeIndex { octets: Bytes::from(wanted.octets.clone()), damage: damage.clone() };
        if damage.is_some() {
            return Ok(made);
        }
        let (of, key) = (self.clone(), index.clone());
        tokio::spawn(async move {
            let _turn = turn;
            let Keeper { catalogue, store, .. } = &of.keeper;
            let kept = async {
                let (again, _) = keep_index(store, built).await?;
                let same = again.frames_index == segment.frames_index
                    && again.packets_index == segment.packets_index;
                // Another version of the libraries packs the same rows in other octets.
                if same { Ok(()) } else { catalogue.set_segment_index(&again).await }
            };
            match kept.await {
                Ok(()) => of.note_made(&key.key),
                Err(error) => of.note_not_made(&key, &error),
            }
        });
        Ok(made)
    }

    /// The octets of a file that is what was stored; `None` otherwise, and for servers.
    fn read_whole(&self, index: &IndexFile) -> Option<Bytes> {
        let file = self.open(index)?.ok()?;
        let mut octets = vec![0; index.octets as usize];
        file.read_exact_at(&mut octets, 0).ok()?;
        Some(octets.into())
    }

    /// Tries again to make those that could not be made.
    ///
    /// # Errors
    /// The database: it is tried the next time.
    pub async fn mend(&self) -> Result<(), Error> {
        for DamagedIndex { segment, file, not_made, .. } in self.damaged() {
            if not_made.is_none() {
                continue;
            }
            let known = self.keeper.catalogue.segment(&segment).await?;
            // A segment that is gone, or in quarantine, is not read by its index.
            if known.is_none_or(|known| known.state != SegmentState::Ok) {
                self.lock().damaged.remove(&file.key);
            } else if let Err(error) = self.make_now(&segment, &file).await {
                self.note_not_made(&file, &error);
            }
        }
        Ok(())
    }

    /// Files that are damaged and not made again yet.
    #[must_use]
    pub fn damaged(&self) -> Vec<DamagedIndex> {
        self.lock().damaged.values().cloned().collect()
    }

    /// How many there were.
    #[must_use]
    pub fn figures(&self) -> IndexFigures {
        let State { found, made, damaged, last, .. } = &*self.lock();
        IndexFigures { found: *found, made: *made, damaged: damaged.len() as u64, last: last.clone() }
    }

    fn note_damaged(&self, segment: &SegmentId, file: &IndexFile, problem: &str) {
        tracing::error!("index {}: {problem}: it is made again from segment {segment}", file.key);
        let mut state = self.lock();
        state.found += 1;
        state.last = Some(format!("{}: {problem}", file.key));
        state.whole.remove(&file.key);
        if state.damaged.len() < DAMAGED_MAX {
            let (segment, problem) = (segment.clone(), problem.to_owned());
            let found = DamagedIndex { segment, file: file.clone(), problem, not_made: None };
            state.damaged.insert(file.key.clone(), found);
        }
    }

    fn note_made(&self, key: &str) {
        let mut state = self.lock();
        if state.damaged.remove(key).is_some() {
            state.made += 1;
            drop(state);
            tracing::warn!("index {key} is made again");
        }
    }

    fn note_not_made(&self, index: &IndexFile, error: &Error) {
        tracing::error!(%error, "index {} cannot be made again now", index.key);
        if let Some(damaged) = self.lock().damaged.get_mut(&index.key) {
            damaged.not_made = Some(error.to_string());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counters and names: as good as before after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
