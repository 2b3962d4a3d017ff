//! Keeping what was recorded: moving it between tiers, looking whether it is still whole, deleting it when two persons said
//! so, and copies elsewhere.

mod backup;
mod disk;
mod retention;
mod scrub;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use backup::{BackupReport, RestoreReport};
pub use disk::{DiskLevel, DiskState, Watermarks};
pub use retention::{Due, RetentionRule};
pub use scrub::{ScrubFinding, ScrubReport};

use crate::ingest::segment_key;
use crate::model::{DeletionState, Segment, SegmentId, SegmentState, StoredObject, Tier};
use crate::packet_layout::PacketLayouts;
use crate::sql::Catalogue;
use crate::store::Store;
use crate::{Error, hex};

/// Keeps one archive.
#[derive(Debug, Clone)]
pub struct Keeper {
    archive: PathBuf,
    catalogue: Catalogue,
    store: Store,
    layouts: Arc<PacketLayouts>,
}

impl Keeper {
    /// Of the segments below `archive`. `layouts` must be those of the ingest: index files are made again with them.
    #[must_use]
    pub fn new(archive: &Path, catalogue: Catalogue, store: Store, layouts: PacketLayouts) -> Keeper {
        Keeper { archive: archive.to_owned(), catalogue, store, layouts: Arc::new(layouts) }
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
        self.remove_file(id).await
    }

    /// Brings the file of a segment back from the object store.
    ///
    /// # Errors
    /// No such segment, no copy; the store; the file.
    pub async fn recall_file(&self, id: &SegmentId) -> Result<PathBuf, Error> {
        let segment = self.usable(id).await?;
        let Some(object) = segment.object else {
            return Err(Error::refused(format!("recalling {id}"), "it has no copy in the object store"));
        };
        let path = self.file(id);
        self.store.get_file(&object, &path).await?;
        self.catalogue.set_segment_place(id, Tier::Both, Some(&object)).await?;
        Ok(path)
    }

    /// Carries out a deletion that a second person approved: each segment is marked, then its octets and index files go.
    /// Stopped on the way, it goes on where it was. Gives the number of segments deleted now.
    ///
    /// # Errors
    /// Not approved; a hold that came since; the database, the store, the disk.
    pub async fn carry_out(&self, deletion: &str, now_tai_ns: i64) -> Result<usize, Error> {
        let decided = self.catalogue.deletion(deletion).await?;
        if decided.state == DeletionState::Done {
            return Ok(0);
        }
        if decided.state != DeletionState::Approved {
            return Err(Error::refused(
                format!("carrying out {deletion}"),
                format!("it is {}; a second person has to approve it first", decided.state),
            ));
        }
        let mut deleted = 0;
        for id in &decided.segments {
            let segment =
                self.catalogue.segment(id).await?.ok_or_else(|| Error::not_found("segment", &id.0))?;
            if segment.state != SegmentState::Deleted {
                self.catalogue.mark_deleted(deletion, id, now_tai_ns).await?;
                deleted += 1;
            }
            self.remove_file(id).await?;
            let index = [&segment.frames_index, &segment.packets_index].into_iter().flatten();
            let keys = index.map(|file| &file.key).chain(segment.object.iter().map(|object| &object.key));
            for key in keys {
                self.store.delete(key).await?;
            }
        }
        self.catalogue.finish_deletion(deletion).await?;
        Ok(deleted)
    }

    /// A segment that is there and not deleted.
    async fn usable(&self, id: &SegmentId) -> Result<Segment, Error> {
        let segment = self.catalogue.segment(id).await?.ok_or_else(|| Error::not_found("segment", &id.0))?;
        if segment.state == SegmentState::Deleted {
            return Err(Error::refused(id.to_string(), "it was deleted"));
        }
        Ok(segment)
    }

    async fn remove_file(&self, id: &SegmentId) -> Result<(), Error> {
        let path = self.file(id);
        tokio::task::spawn_blocking(move || {
            if path.exists() {
                fep_segments::remove_sealed(&path)?;
            }
            Ok(())
        })
        .await?
    }

    /// What is wrong with the recorder's file of a segment; `None` when nothing is.
    async fn verified_file(&self, segment: &Segment) -> Result<Option<String>, Error> {
        let path = self.file(&segment.facts.id());
        let expected = segment.facts.content_sha256;
        tokio::task::spawn_blocking(move || {
            if !path.exists() {
                return Ok(Some("its file is missing".to_owned()));
            }
            let report = match fep_segments::verify(&path) {
                Ok(report) => report,
                Err(error) => return Ok(Some(error.to_string())),
            };
            let mut problems: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
            match report.footer {
                Some(footer) if footer.content_sha256 != expected => {
                    problems.push("its footer is not the one that the catalogue knows".to_owned());
                }
                _ => {}
            }
            Ok((!problems.is_empty()).then(|| problems.join("; ")))
        })
        .await?
    }
}
