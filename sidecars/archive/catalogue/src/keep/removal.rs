//! The places where octets of a segment go or come back, and the signed record that each of them leaves first.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fep_segments::{Act, Footer, Removal, Removals, SegmentReader, roots};
use fep_time::clock::unix_now_ns;

use super::Keeper;
use crate::Error;
use crate::model::{Deletion, SegmentId};

/// In whose name the service acts without an order: it moves segments by the retention rules.
const SERVICE: &str = "fep-archive";

/// The records of removal of one archive; the key is read when the first one is written.
#[derive(Debug)]
pub(super) struct RemovalLog {
    archive: PathBuf,
    key_file: PathBuf,
    opened: Mutex<Option<Removals>>,
}

impl RemovalLog {
    pub(super) fn new(archive: &Path, key_file: &Path) -> RemovalLog {
        RemovalLog { archive: archive.to_owned(), key_file: key_file.to_owned(), opened: Mutex::default() }
    }

    fn record(&self, act: Act, order: Option<&Order>, footer: Footer) -> Result<(), Error> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let removals = match &mut *opened {
            Some(removals) => removals,
            none => {
                let key = roots::signing_key(&self.key_file)?;
                let removals = Removals::new(&self.archive, key);
                let adopted = removals.adopt(unix_now_ns())?;
                if adopted > 0 {
                    tracing::warn!("{adopted} segments were removed before records of removal were kept");
                }
                none.insert(removals)
            }
        };
        let service = [SERVICE.to_owned()];
        removals.record(&Removal {
            act,
            at_unix_ns: unix_now_ns(),
            order: order.map(|order| order.id.as_str()),
            by: order.map_or(&service, |order| &order.persons),
            segments: &[footer],
        })?;
        Ok(())
    }
}

/// The order by which a segment is deleted.
#[derive(Debug)]
pub(super) struct Order {
    id: String,
    /// Who asked for it and who agreed.
    persons: Vec<String>,
}

impl Order {
    pub(super) fn of(deletion: &Deletion) -> Order {
        let approver = deletion.decided.iter().map(|(_, person)| person);
        let persons = std::iter::once(&deletion.requester).chain(approver).cloned().collect();
        Order { id: deletion.id.clone(), persons }
    }
}

impl Keeper {
    /// Removes the file of a segment if it exists, and leaves its footer page: by an order it was deleted, without one its
    /// octets are in the object store. The record of that is on disk first.
    pub(super) async fn remove_file(&self, id: &SegmentId, order: Option<Order>) -> Result<(), Error> {
        let (path, log) = (self.file(id), self.removals.clone());
        tokio::task::spawn_blocking(move || {
            if !path.exists() {
                return Ok(());
            }
            if let Some(log) = log {
                let act = if order.is_some() { Act::Deleted } else { Act::Moved };
                log.record(act, order.as_ref(), footer(&path)?)?;
            }
            fep_segments::remove_sealed(&path)?;
            Ok(())
        })
        .await?
    }

    /// Records that the file of a segment is back from the object store.
    pub(super) async fn record_recall(&self, id: &SegmentId) -> Result<(), Error> {
        let (path, log) = (self.file(id), self.removals.clone());
        let Some(log) = log else { return Ok(()) };
        tokio::task::spawn_blocking(move || log.record(Act::Recalled, None, footer(&path)?)).await?
    }
}

fn footer(path: &Path) -> Result<Footer, Error> {
    let reader = SegmentReader::open(path)?;
    let footer = reader.footer().cloned();
    footer.ok_or_else(|| {
        Error::refused(path.display().to_string(), "it is not sealed, or its footer is damaged")
    })
}
