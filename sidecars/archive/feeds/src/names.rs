//! Names of a feed's clients: whose each is, how many there may be, and who is here now.
//!
//! A name owns a cursor, and who has the name can acknowledge its records away. So it belongs to the identity that first took
//! it, for as long as its cursor file exists.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fep_file::FileError;

use crate::cursor::CursorFile;
use crate::identities::Refusal;

/// Connections of one name at a time: one that is served, and newer ones that wait until it has ended.
const VISITS_MAX: usize = 4;

/// Whose a name is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owner {
    /// Nobody's yet, or a name of a feed that asks nobody.
    Nobody,
    /// That of the person or service with this identifier.
    Person(String),
    /// Its cursor file cannot be read, for this reason.
    Unknown(String),
}

#[derive(Debug)]
struct Entry {
    owner: Owner,
    visits: usize,
    /// Whether it was here since the start: it has a state in memory then, whatever becomes of its file.
    seen: bool,
}

/// How many names there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// All of one feed.
    pub(crate) names_max: usize,
    /// Those of one identity.
    pub(crate) names_of_one: usize,
    /// Those that are connected at a time.
    pub(crate) clients_max: usize,
}

/// The names of a feed.
#[derive(Debug)]
pub(crate) struct Names {
    cursors: PathBuf,
    feed: String,
    bounds: Bounds,
    entries: Mutex<BTreeMap<String, Entry>>,
}

/// A connection of a name. Dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Visit {
    names: Arc<Names>,
    name: String,
}

impl Names {
    pub(crate) fn new(cursors: PathBuf, feed: &str, bounds: Bounds) -> Arc<Names> {
        Arc::new(Names { cursors, feed: feed.to_owned(), bounds, entries: Mutex::default() })
    }

    /// Lets a connection of `name` in, which is from then on that of `person`. Nothing is left behind by one that is refused.
    ///
    /// # Errors
    /// A refusal.
    pub(crate) fn enter(self: &Arc<Names>, name: &str, person: Option<&str>) -> Result<Visit, Refusal> {
        let mut entries = self.lock();
        self.look(&mut entries).map_err(|error| {
            (format!("the cursors cannot be read: {error}"), "nothing the client could do".to_owned())
        })?;
        let Bounds { names_max, names_of_one, clients_max } = self.bounds;
        let owner = entries.get(name).map_or(&Owner::Nobody, |entry| &entry.owner);
        let claims = match (owner, person) {
            (Owner::Unknown(problem), _) => {
                let allowed = "another name, or an operator who mends or removes the cursor".to_owned();
                return Err((format!("whose name {name:?} is cannot be read: {problem}"), allowed));
            }
            (Owner::Person(owner), _) if person != Some(owner) => {
                let allowed = "a name of one's own; an operator removes cursors that nobody needs any more";
                return Err((format!("the name {name:?} belongs to somebody else"), allowed.to_owned()));
            }
            (Owner::Person(_), _) | (Owner::Nobody, None) => None,
            (Owner::Nobody, Some(person)) => Some(Owner::Person(person.to_owned())),
        };
        if !entries.contains_key(name) && entries.len() >= names_max {
            let allowed = "the name of one of them; an operator removes cursors that nobody needs any more";
            return Err((
                format!("{names_max} names have been here, which is as many as may be (feeding.names_max)"),
                allowed.to_owned(),
            ));
        }
        if let Some(claims) = &claims
            && entries.values().filter(|entry| entry.owner == *claims).count() >= names_of_one
        {
            return Err((
                format!("{names_of_one} names are this client's already (feeding.names_of_one)"),
                "one of these names".to_owned(),
            ));
        }
        let here = entries.iter().filter(|(other, entry)| entry.visits > 0 && other.as_str() != name);
        if here.count() >= clients_max {
            return Err((format!("{clients_max} clients are connected"), "as many (clients_max)".to_owned()));
        }
        if entries.get(name).is_some_and(|entry| entry.visits >= VISITS_MAX) {
            let reason = format!("{VISITS_MAX} connections of {name:?} are here already");
            return Err((reason, "one connection at a time; the newest is served".to_owned()));
        }
        let new = || Entry { owner: Owner::Nobody, visits: 0, seen: false };
        let entry = entries.entry(name.to_owned()).or_insert_with(new);
        entry.visits += 1;
        entry.seen = true;
        if let Some(claims) = claims {
            entry.owner = claims;
        }
        Ok(Visit { names: Arc::clone(self), name: name.to_owned() })
    }

    /// Takes note of the cursor files: an operator may have removed some.
    fn look(&self, entries: &mut BTreeMap<String, Entry>) -> Result<(), FileError> {
        let on_disk = CursorFile::names(&self.cursors, &self.feed)?;
        entries.retain(|name, entry| {
            entry.seen || on_disk.contains(name) && !matches!(entry.owner, Owner::Unknown(_))
        });
        for name in on_disk {
            entries.entry(name).or_insert_with_key(|name| {
                let owner = match CursorFile::owner(&self.cursors, &self.feed, name) {
                    Ok(None) => Owner::Nobody,
                    Ok(Some(person)) => Owner::Person(person),
                    Err(error) => Owner::Unknown(error.to_string()),
                };
                Entry { owner, visits: 0, seen: false }
            });
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(entry) = self.names.lock().get_mut(&self.name) {
            entry.visits = entry.visits.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { names_max: 3, names_of_one: 2, clients_max: 2 };

    fn refused(names: &Arc<Names>, name: &str, person: Option<&str>) -> String {
        names.enter(name, person).map(drop).expect_err("refused").0
    }

    // REQ: FEP-FEED-163
    #[test]
    fn a_name_belongs_to_who_took_it_first_over_restarts_until_its_cursor_is_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let names = || Names::new(dir.path().to_owned(), "f", BOUNDS);
        let first = names();
        drop(first.enter("a", Some("service:archive")).expect("nobody's yet"));
        for other in [Some("local:anna"), None] {
            assert_eq!(refused(&first, "a", other), "the name \"a\" belongs to somebody else");
        }
        drop(first.enter("a", Some("service:archive")).expect("its own"));
        // What the connection does before anything is sent.
        let (mut cursor, _) = CursorFile::open(dir.path(), "f", "a").expect("a cursor");
        cursor.own("service:archive").expect("stored");
        let second = names();
        assert_eq!(refused(&second, "a", Some("local:anna")), "the name \"a\" belongs to somebody else");
        drop(second.enter("a", Some("service:archive")).expect("its own"));
        std::fs::remove_file(dir.path().join("f/a.json")).expect("removed");
        drop(names().enter("a", Some("local:anna")).expect("nobody's again"));
    }

    // REQ: FEP-FEED-163
    #[test]
    fn a_cursor_that_cannot_be_read_is_nobodys_to_take_and_disturbs_no_other_name() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("f")).expect("made");
        let planted = dir.path().join("f/a.json");
        std::os::unix::fs::symlink("/etc/hostname", &planted).expect("planted");
        let names = Names::new(dir.path().to_owned(), "f", BOUNDS);
        assert!(refused(&names, "a", Some("local:anna")).starts_with("whose name \"a\" is cannot be read"));
        drop(names.enter("b", Some("local:anna")).expect("another name"));
        std::fs::remove_file(&planted).expect("removed");
        drop(names.enter("a", Some("local:anna")).expect("mended without a restart"));
    }

    // REQ: FEP-FEED-164
    #[test]
    fn names_of_all_and_of_one_identity_and_connections_of_one_name_are_bounded() {
        let dir = tempfile::tempdir().expect("a directory");
        let names = Names::new(dir.path().to_owned(), "f", BOUNDS);
        let anna = Some("local:anna");
        let a = names.enter("a", anna).expect("the first");
        let b = names.enter("b", anna).expect("the second");
        assert_eq!(refused(&names, "c", anna), "2 names are this client's already (feeding.names_of_one)");
        assert_eq!(refused(&names, "c", Some("local:bert")), "2 clients are connected");
        // A newer connection of a name that is here needs no further place: the older one may be half-open.
        let newer: Vec<Visit> = (1..VISITS_MAX).map(|_| names.enter("a", anna).expect("newer")).collect();
        assert_eq!(refused(&names, "a", anna), "4 connections of \"a\" are here already");
        drop((a, newer));
        let c = names.enter("c", Some("local:bert")).expect("a has gone");
        drop((b, c));
        assert_eq!(
            refused(&names, "d", Some("local:bert")),
            "3 names have been here, which is as many as may be (feeding.names_max)"
        );
        drop(names.enter("a", anna).expect("who was here stays welcome"));
    }
}
