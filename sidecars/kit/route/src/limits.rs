//! What one caller and all callers together may take: sizes, times, numbers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use fep_identity::PersonId;
use fep_kit::Problem;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits of a service: a section of its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Octets of a body where a route says nothing else.
    pub body_bytes: usize,
    /// Octets of the request line and all headers together, 8192 or more.
    pub head_bytes: usize,
    /// Number of headers.
    pub headers: usize,
    /// How long a client may take for a request's head, and how long a connection may be idle.
    pub head_timeout_s: u16,
    /// How long a client may take for a body.
    pub body_timeout_s: u16,
    /// How long a handler may take until its answer begins.
    pub handler_timeout_s: u16,
    /// How long a client may not read what is sent to it.
    pub write_timeout_s: u16,
    /// Requests that are answered at the same time.
    pub requests: usize,
    /// Streams of events at the same time.
    pub streams: usize,
    /// Requests and streams of one person at the same time.
    pub requests_of_one: usize,
    /// Connections at the same time.
    pub connections: usize,
    /// Connections of one address or one user at the same time.
    pub connections_of_one: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes: 1 << 20,
            head_bytes: 16 << 10,
            headers: 64,
            head_timeout_s: 15,
            body_timeout_s: 30,
            handler_timeout_s: 60,
            write_timeout_s: 30,
            requests: 256,
            streams: 64,
            requests_of_one: 16,
            connections: 1024,
            connections_of_one: 256,
        }
    }
}

pub(crate) fn seconds(s: u16) -> Duration {
    Duration::from_secs(u64::from(s))
}

impl Limits {
    /// Refuses limits that would stop everything, or are none.
    ///
    /// # Errors
    /// The key and what is allowed.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let most = 1 << 30;
        for (key, value) in [
            ("body_bytes", self.body_bytes),
            ("headers", self.headers),
            ("requests", self.requests),
            ("streams", self.streams),
            ("requests_of_one", self.requests_of_one),
            ("connections", self.connections),
            ("connections_of_one", self.connections_of_one),
        ] {
            if !(1..=most).contains(&value) {
                return Err((key, "1 to 2^30"));
            }
        }
        if !(8192..=1 << 20).contains(&self.head_bytes) {
            return Err(("head_bytes", "8192 to 1048576"));
        }
        for (key, value) in [
            ("head_timeout_s", self.head_timeout_s),
            ("body_timeout_s", self.body_timeout_s),
            ("handler_timeout_s", self.handler_timeout_s),
            ("write_timeout_s", self.write_timeout_s),
        ] {
            if !(1..=3600).contains(&value) {
                return Err((key, "1 to 3600"));
            }
        }
        Ok(())
    }
}

/// How many requests of each person are answered now.
type Persons = Arc<Mutex<HashMap<PersonId, usize>>>;

/// Admits requests within the limits.
#[derive(Debug)]
pub(crate) struct Admission {
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    of_one: usize,
    persons: Persons,
}

/// The right to be answered; it ends with the last octet of the answer.
#[derive(Debug)]
pub(crate) struct Admitted {
    _permit: OwnedSemaphorePermit,
    person: Option<(PersonId, Persons)>,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Admission {
        Admission {
            requests: Arc::new(Semaphore::new(limits.requests.min(Semaphore::MAX_PERMITS))),
            streams: Arc::new(Semaphore::new(limits.streams.min(Semaphore::MAX_PERMITS))),
            of_one: limits.requests_of_one,
            persons: Arc::default(),
        }
    }

    /// Admits a request or a stream of this person; `None` on routes that are open to everybody.
    pub(crate) fn admit(&self, person: Option<&PersonId>, streams: bool) -> Result<Admitted, Problem> {
        let of_all = if streams { &self.streams } else { &self.requests };
        let permit = Arc::clone(of_all).try_acquire_owned().map_err(|_| {
            let detail = "as many requests are answered as this service answers at a time";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).hint("ask again in a second")
        })?;
        let Some(person) = person else { return Ok(Admitted { _permit: permit, person: None }) };
        let mut persons = self.persons.lock().unwrap_or_else(PoisonError::into_inner);
        match persons.get_mut(person) {
            Some(count) if *count >= self.of_one => {
                let detail = format!("{} requests of yours are answered at the moment", self.of_one);
                return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail)
                    .hint("wait for one to end, or end a stream"));
            }
            Some(count) => *count += 1,
            None => {
                persons.insert(person.clone(), 1);
            }
        }
        Ok(Admitted { _permit: permit, person: Some((person.clone(), Arc::clone(&self.persons))) })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let Some((person, persons)) = &self.person else { return };
        let mut persons = persons.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = persons.get_mut(person) {
            *count -= 1;
            if *count == 0 {
                persons.remove(person);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-KIT-115
    #[test]
    fn one_person_does_not_take_what_others_need_and_streams_do_not_take_requests() {
        let limits = Limits { requests: 3, streams: 1, requests_of_one: 2, ..Limits::default() };
        let admission = Admission::new(&limits);
        let (anna, bert) = (PersonId("anna".to_owned()), PersonId("bert".to_owned()));
        let first = admission.admit(Some(&anna), false).expect("room");
        let stream = admission.admit(Some(&anna), true).expect("room");
        assert_eq!(admission.admit(Some(&anna), false).expect_err("two are the most").status, 429);
        assert_eq!(admission.admit(Some(&bert), true).expect_err("one stream is the most").status, 503);
        let others: Vec<_> = (0..2).map(|_| admission.admit(Some(&bert), false).expect("room")).collect();
        assert_eq!(admission.admit(None, false).expect_err("three are the most").status, 503);
        drop((first, stream, others));
        assert!(admission.persons.lock().expect("whole").is_empty(), "nobody is remembered for ever");
        assert!(admission.admit(None, false).is_ok());
    }

    #[test]
    fn limits_that_would_stop_everything_are_refused() {
        assert_eq!(Limits::default().check(), Ok(()));
        let refused = |limits: Limits| limits.check().expect_err("refused").0;
        assert_eq!(refused(Limits { requests: 0, ..Limits::default() }), "requests");
        assert_eq!(refused(Limits { head_bytes: 100, ..Limits::default() }), "head_bytes");
        assert_eq!(refused(Limits { write_timeout_s: 0, ..Limits::default() }), "write_timeout_s");
    }
}
