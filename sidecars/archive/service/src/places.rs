//! Room for work that takes long: so many at a time, and so many of one caller, so that nobody takes what others need.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use fep_identity::PersonId;
use fep_kit::Problem;

/// Places for one kind of work.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What it is, in the plural.
    what: &'static str,
    max: usize,
    max_of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of: HashMap<PersonId, usize>,
}

/// A place that is taken. Dropping it frees it.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    caller: PersonId,
}

impl Places {
    /// `max` at a time, `max_of_one` of one caller. `what` is the plural in messages and in the keys `http.WHAT_max` and
    /// `http.WHAT_of_one`.
    pub(crate) fn new(what: &'static str, max: usize, max_of_one: usize) -> Places {
        Places(Arc::new(Inner { what, max, max_of_one, taken: Mutex::default() }))
    }

    /// Takes a place for this caller.
    ///
    /// # Errors
    /// 429 where the caller has all that one may have, 503 where everything is taken.
    pub(crate) fn take(&self, caller: &PersonId) -> Result<Place, Problem> {
        let Inner { what, max, max_of_one, taken } = &*self.0;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.of.get(caller).copied().unwrap_or(0);
        if own >= *max_of_one {
            let detail = format!("{own} {what} of {caller} are running already");
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail).hint(format!(
                "wait for one to end; http.{what}_of_one in the configuration sets how many one caller may have"
            )));
        }
        if taken.all >= *max {
            let detail = format!("{max} {what} are running already");
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).hint(format!(
                "try again later; http.{what}_max in the configuration sets how many may run"
            )));
        }
        taken.all += 1;
        taken.of.insert(caller.clone(), own + 1);
        Ok(Place { places: self.clone(), caller: caller.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(own) = taken.of.get_mut(&self.caller) {
            *own -= 1;
            if *own == 0 {
                taken.of.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-ARC-165
    #[test]
    fn one_caller_leaves_room_for_others_and_nobody_is_remembered() {
        let places = Places::new("retrievals", 3, 2);
        let (anna, bert) = (&PersonId("anna".to_owned()), &PersonId("bert".to_owned()));
        let first = places.take(anna).expect("room");
        let second = places.take(anna).expect("room");
        assert_eq!(places.take(anna).expect_err("two are the most").status, 429);
        let third = places.take(bert).expect("room");
        assert_eq!(places.take(bert).expect_err("three are the most").status, 503);
        drop(second);
        let again = places.take(bert).expect("room again");
        drop((first, third, again));
        let taken = places.0.taken.lock().expect("whole");
        assert!(taken.all == 0 && taken.of.is_empty(), "{taken:?}");
    }
}
