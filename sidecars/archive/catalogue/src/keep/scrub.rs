//! Looking whether everything is still what was recorded, and putting right what a good copy allows.

use serde::{Deserialize, Serialize};

use super::{Keeper, PAGE, SERVICE};
use crate::Error;
use crate::durable::{Readers, make_directories_for, sync};
use crate::ingest::index_again;
use crate::model::{IndexFile, Segment, SegmentId, SegmentState, StoredObject, Tier};
use crate::sql::SegmentFilter;

/// One thing that was not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubFinding {
    /// Segment concerned.
    pub segment: SegmentId,
    /// Its file, its copy in the object store, or the key of an index file.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// Whether it is right again, from a good copy.
    pub repaired: bool,
}

/// What a scrub found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ScrubReport {
    /// Segments looked at.
    pub segments: u64,
    /// Octets read of files and objects.
    pub octets: u64,
    /// What was wrong.
    pub findings: Vec<ScrubFinding>,
    /// Segments that went into quarantine: no good copy is left.
    pub quarantined: Vec<SegmentId>,
    /// Segments that came out of it.
    pub released: Vec<SegmentId>,
}

impl Keeper {
    /// Reads segments (those of `filter`), their copies and their index files again, compares every hash, repairs from good
    /// copies, and puts what cannot be repaired into quarantine. `progress` is called after each segment. Segments may move or
    /// be deleted meanwhile.
    ///
    /// # Errors
    /// The database; the store when it does not answer at all; [`Error::Stopped`]. What is damaged is no error.
    pub async fn scrub(
        &self,
        filter: &SegmentFilter,
        now_tai_ns: i64,
        mut progress: impl FnMut(&ScrubReport),
    ) -> Result<ScrubReport, Error> {
        let mut report = ScrubReport::default();
        let mut after = None;
        loop {
            let ids = self.catalogue.segment_ids(filter, after.as_ref(), PAGE).await?;
            let Some(last) = ids.last().cloned() else { break };
            for id in ids {
                self.go_on()?;
                let turn = self.turns.of(&id).await;
                // As it is now, and stays while it is our turn: since it was listed it may have moved or been deleted.
                let Some(segment) = self.catalogue.segment(&id).await? else { continue };
                if segment.state == SegmentState::Deleted {
                    continue;
                }
                self.scrub_segment(&segment, &mut report).await?;
                drop(turn);
                report.segments += 1;
                progress(&report);
            }
            after = Some(last);
        }
        let detail = format!(
            "{} segments, {} octets, {} findings, {} put into quarantine",
            report.segments,
            report.octets,
            report.findings.len(),
            report.quarantined.len()
        );
        self.catalogue.note(now_tai_ns, SERVICE, "scrub", "archive", &detail).await?;
        Ok(report)
    }

    async fn scrub_segment(&self, segment: &Segment, report: &mut ScrubReport) -> Result<(), Error> {
        let id = segment.facts.id();
        let wants_file = segment.tier != Tier::Warm;
        let mut file_problem = None;
        if wants_file {
            file_problem = self.verified_file(segment).await?;
            report.octets += segment.facts.file_octets;
        }
        let mut object_problem = None;
        if let Some(object) = &segment.object {
            object_problem = self.object_problem(object).await?;
            report.octets += object.octets;
        }
        let good_file = wants_file && file_problem.is_none();
        let good_object = segment.object.is_some() && object_problem.is_none();
        let path = self.file(&id);
        if let Some(problem) = &file_problem {
            let mut repaired = false;
            if let (true, Some(object)) = (good_object, &segment.object) {
                self.set_aside(&id).await?;
                self.store.get_file(object, &path).await?;
                repaired = self.verified_file(segment).await?.is_none();
            }
            let place = path.display().to_string();
            report.findings.push(ScrubFinding {
                segment: id.clone(),
                place,
                problem: problem.clone(),
                repaired,
            });
        }
        if let (Some(problem), Some(object)) = (&object_problem, &segment.object) {
            let mut repaired = false;
            if good_file {
                let again = self.store.put_file(&object.key, &path).await?;
                self.catalogue.set_segment_place(&id, segment.tier, Some(&again)).await?;
                repaired = true;
            }
            let place = object.key.clone();
            report.findings.push(ScrubFinding {
                segment: id.clone(),
                place,
                problem: problem.clone(),
                repaired,
            });
        }
        if segment.tier == Tier::Warm && good_object {
            // A move that was killed after the catalogue had it, or a recall before, left its file behind; one by an older
            // version left no word of it.
            self.mark_stored(&id, true).await?;
            self.remove_file(&id, None).await?;
        }
        let usable = good_file || good_object;
        match (usable, segment.state) {
            (false, SegmentState::Ok) => {
                let problems =
                    [file_problem, object_problem].into_iter().flatten().collect::<Vec<_>>().join("; ");
                self.catalogue.set_segment_state(&id, SegmentState::Quarantined, &problems).await?;
                report.quarantined.push(id.clone());
            }
            (true, SegmentState::Quarantined) => {
                self.catalogue.set_segment_state(&id, SegmentState::Ok, "").await?;
                report.released.push(id.clone());
            }
            _ => {}
        }
        let index = [&segment.frames_index, &segment.packets_index].into_iter().flatten();
        for file in index {
            self.scrub_index(segment, file, usable, report).await?;
        }
        Ok(())
    }

    async fn scrub_index(
        &self,
        segment: &Segment,
        file: &IndexFile,
        usable: bool,
        report: &mut ScrubReport,
    ) -> Result<(), Error> {
        let mut expected = file.object();
        report.octets += file.octets;
        let Some(problem) = self.object_problem(&expected).await? else { return Ok(()) };
        if usable {
            let again = index_again(&self.places(), segment).await?;
            let mut made = [again.frames_index, again.packets_index].into_iter().flatten();
            if let Some(made) = made.find(|made| made.key == file.key) {
                expected = made.object();
            }
        }
        let repaired = usable && self.object_problem(&expected).await?.is_none();
        report.findings.push(ScrubFinding {
            segment: segment.facts.id(),
            place: file.key.clone(),
            problem,
            repaired,
        });
        Ok(())
    }

    /// What is wrong with an object; `None` when nothing is.
    async fn object_problem(&self, expected: &StoredObject) -> Result<Option<String>, Error> {
        match self.store.look_at(&expected.key).await {
            Ok(found) => {
                Ok((found != *expected).then(|| "its SHA-256 is not the one that was stored".to_owned()))
            }
            Err(Error::Store { source: object_store::Error::NotFound { .. }, .. }) => {
                Ok(Some("it is missing".to_owned()))
            }
            Err(error) if error.is_of_object() => Ok(Some(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Keeps a damaged file beside the archive's tree, for whoever wants to look into it.
    async fn set_aside(&self, id: &SegmentId) -> Result<(), Error> {
        let key = format!("quarantine/{id}.seg");
        let (from, to) = (self.file(id), self.archive.join(&key));
        tokio::task::spawn_blocking(move || {
            if !from.exists() {
                return Ok(());
            }
            let readers = Readers::of_key(&key);
            readers.narrow(&from)?;
            make_directories_for(&to, readers)?;
            std::fs::rename(&from, &to).map_err(Error::io("set aside", &from))?;
            // The damaged file must not be back under its name after a power cut, beside the good one or instead of it.
            for path in [&to, &from] {
                path.parent().map_or(Ok(()), sync)?;
            }
            Ok(())
        })
        .await?
    }
}
