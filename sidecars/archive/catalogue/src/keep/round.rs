//! A round of keeping: approved deletions are carried out, segments whose time on the disk is over move to the object store.
//! What cannot be done is reported and holds up nothing else.

use super::{Keeper, RetentionRule};
use crate::Error;
use crate::model::SegmentId;

/// Problems that a round describes; more are counted.
const PROBLEMS_MAX: usize = 32;

/// One thing that could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The deletion, or the segment.
    pub what: String,
    /// Why not, and with it what to do.
    pub why: String,
}

/// What a round of keeping did, and what it could not do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Round {
    /// Segments deleted, with the deletion that says so.
    pub deleted: Vec<(String, usize)>,
    /// Segments whose file was given up for their copy.
    pub moved: Vec<SegmentId>,
    /// What could not be done, the first 32.
    pub problems: Vec<Problem>,
    /// How many there were.
    pub problem_count: usize,
}

impl Round {
    fn note(&mut self, what: &str, error: &Error) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { what: what.to_owned(), why: error.to_string() });
        }
    }
}

impl Keeper {
    /// Finishes deletions that a kill interrupted, carries out what was approved, then moves the segments whose class says so to the object store: copies, reads
    /// back, gives up the file. A deletion under a hold waits, a segment that cannot be moved stays; the others go on.
    ///
    /// # Errors
    /// The database or the store does not answer: what was done until then is done.
    pub async fn round(&self, rules: &[RetentionRule], now_tai_ns: i64) -> Result<Round, Error> {
        let mut round = Round::default();
        self.catalogue.expire_orders(now_tai_ns).await?;
        for deletion in self.catalogue.deletions_to_do().await? {
            match self.carry_out(&deletion.id, now_tai_ns).await {
                Ok(deleted) => round.deleted.push((deletion.id, deleted)),
                Err(error) if error.concerns_all() => return Err(error),
                Err(error) => round.note(&deletion.id, &error),
            }
        }
        for id in self.to_be_moved(rules, now_tai_ns).await? {
            match self.move_to_store(&id).await {
                Ok(()) => round.moved.push(id),
                Err(error) if error.concerns_all() => return Err(error),
                Err(error) => round.note(&id.0, &error),
            }
        }
        Ok(round)
    }

    async fn move_to_store(&self, id: &SegmentId) -> Result<(), Error> {
        let _turn = self.turns.of(id).await;
        self.store_in_turn(id).await?;
        self.release_in_turn(id).await
    }
}
