//! Keeping what was recorded: moving it between tiers, looking whether it is still whole, deleting it when two persons said
//! so, and copies elsewhere.

mod backup;
mod disk;
mod indexes;
mod removal;
mod retention;
mod round;
mod scrub;
mod turns;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Mutex;

pub use backup::{BackupReport, RestoreReport};
pub use disk::{DiskLevel, DiskState, Watermarks};
pub use indexes::{DamagedIndex, IndexFigures, Indexes, MadeIndex};
pub use retention::{Due, RetentionRule};
pub use round::{Problem, Round};
pub use scrub::{ScrubFinding, ScrubReport};

use crate::durable::{Building, Readers};
use crate::ingest::{Places, segment_key};
use crate::model::{DeletionState, Segment, SegmentId, SegmentState, StoredObject, Tier};
use crate::packet_layout::PacketLayouts;
use crate::sql::Catalogue;
use crate::store::Store;
use crate::{Error, hex};

use removal::{Order, RemovalLog};
use turns::Turns;

/// Who does what no person does, in the audit trail.
const SERVICE: &str = "service:archive";
/// Segments that are listed at a time where all are gone through.
const PAGE: u32 = 1000;

/// Keeps one archive. Clones share their turns: of one segment, only one of them at a time moves, repairs, copies or deletes
/// anything.
#[derive(Debug, Clone)]
pub struct Keeper {
    archive: PathBuf,
    catalogue: Catalogue,
    store: Store,
    layouts: Arc<PacketLayouts>,
    turns: Turns,
    removals: Option<Arc<RemovalLog>>,
    /// Files that a backup takes along.
    along: Arc<[PathBuf]>,
    /// One backup at a time.
    backing_up: Arc<Mutex<()>>,
    stop: Arc<AtomicBool>,
}

impl Keeper {
    /// Of the segments below `archive`. `layouts` must be those of the ingest: index files are made again with them.
    #[must_use]
    pub fn new(archive: &Path, catalogue: Catalogue, store: Store, layouts: PacketLayouts) -> Keeper {
        Keeper {
            archive: archive.to_owned(),
            catalogue,
            store,
            layouts: Arc::new(layouts),
            turns: Turns::default(),
            removals: None,
            along: Arc::new([]),
            backing_up: Arc::default(),
            stop: Arc::default(),
        }
    }

    pub(crate) fn places(&self) -> Places {
        let Keeper { archive, catalogue, store, layouts, .. } = self;
        Places {
            archive: archive.clone(),
            store: store.clone(),
            catalogue: catalogue.clone(),
            layouts: Arc::clone(layouts),
        }
    }

    /// Signs a record of everything that is deleted, moved or brought back from now on, with the key in `key_file`
    /// ([`fep_segments::Removals`]). Without one, whoever verifies the archive finds what is missing unaccounted for.
    #[must_use]
    pub fn with_removal_key(self, key_file: &Path) -> Keeper {
        Keeper { removals: Some(Arc::new(RemovalLog::new(&self.archive, key_file))), ..self }
    }

    /// The same keeper, whose backups take these files along: the configuration. No private keys: whoever has the backup must
    /// not be able to sign.
    #[must_use]
    pub fn taking_along(&self, files: Vec<PathBuf>) -> Keeper {
        Keeper { along: files.into(), ..self.clone() }
    }

    /// The same keeper, whose scrubs and backups end with [`Error::Stopped`] before their next segment once `stop` is set.
    #[must_use]
    pub fn until(&self, stop: Arc<AtomicBool>) -> Keeper {
        Keeper { stop, ..self.clone() }
    }

    /// Whether the catalogue is new although the store has an index of segments: then one was lost, and with it what people
    /// decided. To be asked before anything is taken in.
    ///
    /// # Errors
    /// The database; the store.
    pub async fn has_lost_history(&self) -> Result<bool, Error> {
        Ok(self.catalogue.is_new().await? && !self.store.list("index").await?.is_empty())
    }

    /// For who reads index files of this archive; all who do share one.
    #[must_use]
    pub fn indexes(&self) -> Indexes {
        Indexes::of(self.clone())
    }

    fn go_on(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Stopped) } else { Ok(()) }
    }

    /// The recorder's file of a segment, whether or not it is there.
    #[must_use]
    pub fn file(&self, id: &SegmentId) -> PathBuf {
        self.archive.join(format!("{id}.seg"))
    }

    /// Copies a sealed segment into the object store. The catalogue says so only when the copy was read back.
    ///
    /// # Errors
    /// No such segment, one that cannot be used, a file that is not what the catalogue says; the store.
    pub async fn store_segment(&self, id: &SegmentId) -> Result<StoredObject, Error> {
        let _turn = self.turns.of(id).await;
        self.store_in_turn(id).await
    }

    async fn store_in_turn(&self, id: &SegmentId) -> Result<StoredObject, Error> {
        let segment = self.usable(id).await?;
        if let Some(object) = segment.object {
            return Ok(object);
        }
        let report = self.verified_file(&segment).await?;
        if let Some(problem) = report {
            return Err(Error::refused(format!("storing segment {id}"), problem));
        }
        let object = self.store.put_file(&segment_key(id), &self.file(id)).await?;
        self.catalogue.set_segment_place(id, Tier::Both, Some(&object)).await?;
        Ok(object)
    }

    /// Gives up the recorder's file of a segment whose copy in the object store was just read back once more. The footer
    /// page stays, so that the chain can still be checked.
    ///
    /// # Errors
    /// No such segment, no copy, or a copy that is not what was stored; the file.
    pub async fn release_file(&self, id: &SegmentId) -> Result<(), Error> {
        let _turn = self.turns.of(id).await;
        self.release_in_turn(id).await
    }

    async fn release_in_turn(&self, id: &SegmentId) -> Result<(), Error> {
        let segment = self.usable(id).await?;
        let Some(object) = segment.object else {
            return Err(Error::refused(
                format!("releasing the file of {id}"),
                "it has no copy in the object store",
            ));
        };
        let found = self.store.look_at(&object.key).await?;
        if found != object {
            return Err(Error::ObjectDiffers {
                key: object.key,
                expected: hex::text(&object.sha256),
                found: hex::text(&found.sha256),
            });
        }
        // First the catalogue: a reader that asks now goes to the object store, and one that has the file open keeps it.
        self.catalogue.set_segment_place(id, Tier::Warm, Some(&object)).await?;
        self.mark_stored(id, true).await?;
        self.remove_file(id, None).await
    }

    /// Brings the file of a segment back from the object store.
    ///
    /// # Errors
    /// No such segment, no copy; the store; the file.
    pub async fn recall_file(&self, id: &SegmentId) -> Result<PathBuf, Error> {
        let _turn = self.turns.of(id).await;
        let segment = self.usable(id).await?;
        let Some(object) = segment.object else {
            return Err(Error::refused(format!("recalling {id}"), "it has no copy in the object store"));
        };
        let path = self.file(id);
        self.store.get_file(&object, &path).await?;
        self.catalogue.set_segment_place(id, Tier::Both, Some(&object)).await?;
        self.mark_stored(id, false).await?;
        self.record_recall(id).await?;
        Ok(path)
    }

    /// Carries out a deletion that was approved: its segments are marked as deleted, all at once, then their octets and index
    /// files go. Stopped on the way, it goes on where it was. Gives the number of segments marked now.
    ///
    /// # Errors
    /// Not approved; a hold that came since; the database, the store, the disk.
    pub async fn carry_out(&self, deletion: &str, now_tai_ns: i64) -> Result<usize, Error> {
        let order = self.catalogue.deletion(deletion).await?;
        let marked = match order.state {
            DeletionState::Done => return Ok(0),
            DeletionState::Approved => self.catalogue.begin_deletion(deletion, now_tai_ns).await?,
            DeletionState::Executing => 0,
            state => {
                return Err(Error::refused(
                    format!("carrying out {deletion}"),
                    format!("it is {state}; what may be deleted is approved first"),
                ));
            }
        };
        for id in &order.segments {
            let _turn = self.turns.of(id).await;
            let segment =
                self.catalogue.segment(id).await?.ok_or_else(|| Error::not_found("segment", &id.0))?;
            self.remove_octets(&segment, Order::of(&order)).await?;
        }
        self.catalogue.finish_deletion(deletion, now_tai_ns).await?;
        Ok(marked)
    }

    /// Removes what is left of a deleted segment: its file, its index files, its copy.
    async fn remove_octets(&self, segment: &Segment, order: Order) -> Result<(), Error> {
        self.mark_stored(&segment.facts.id(), false).await?;
        self.remove_file(&segment.facts.id(), Some(order)).await?;
        let index = [&segment.frames_index, &segment.packets_index].into_iter().flatten();
        let keys = index.map(|file| &file.key).chain(segment.object.iter().map(|object| &object.key));
        for key in keys {
            self.store.delete(key).await?;
        }
        Ok(())
    }

    /// A segment that is there and not deleted.
    async fn usable(&self, id: &SegmentId) -> Result<Segment, Error> {
        let segment = self.catalogue.segment(id).await?.ok_or_else(|| Error::not_found("segment", &id.0))?;
        if segment.state == SegmentState::Deleted {
            return Err(Error::refused(id.to_string(), "it was deleted"));
        }
        Ok(segment)
    }

    /// Says beside what is left of a segment that its octets are in the object store, or that they are not any more: for programs
    /// that follow segments without knowing the catalogue.
    async fn mark_stored(&self, id: &SegmentId, is_stored: bool) -> Result<(), Error> {
        let (path, key) = (self.archive.join(format!("{id}.stored")), segment_key(id));
        tokio::task::spawn_blocking(move || {
            if is_stored {
                let text = format!("{key}\n");
                return Building::begin(&path, Readers::of_key(&key))?.write(text.as_bytes())?.finish();
            }
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", &path)(error)),
                _ => Ok(()),
            }
        })
        .await?
    }

    /// What is wrong with the recorder's file of a segment; `None` when nothing is.
    async fn verified_file(&self, segment: &Segment) -> Result<Option<String>, Error> {
        let path = self.file(&segment.facts.id());
        let facts = segment.facts.clone();
        tokio::task::spawn_blocking(move || {
            let octets = match std::fs::metadata(&path) {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Ok(Some("its file is missing".to_owned()));
                }
                Err(error) => return Ok(Some(Error::io("look at", &path)(error).to_string())),
            };
            let report = match fep_segments::verify(&path) {
                Ok(report) => report,
                Err(error) => return Ok(Some(error.to_string())),
            };
            let mut problems: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
            if octets != facts.file_octets {
                problems.push(format!("its file has {octets} octets, {} were recorded", facts.file_octets));
            }
            match report.footer {
                Some(footer) if footer.content_hash.octets == facts.content_sha256 => {}
                Some(_) => problems.push("its footer is not the one that the catalogue knows".to_owned()),
                None => {
                    problems.push("it has no footer that can be read: it was cut short or damaged".to_owned())
                }
            }
            Ok((!problems.is_empty()).then(|| problems.join("; ")))
        })
        .await?
    }
}
