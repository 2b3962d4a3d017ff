//! Where the rings and pages of a process lie. `fepd` and whoever has its user make theirs in the run directory itself. A process
//! with a user of its own has a place, made for it by root:
//!
//! ```text
//! <dir>/services/<black | red | metrics>/<process>     belongs to the process's user
//! ```
//!
//! * Nobody but that user can make, replace or remove anything in it; others read there, and leave cursors beside a ring as anywhere.
//! * It holds only what is named after the process: `recorder.events` in the place of `recorder`. A user therefore plants nothing
//!   in another's name, whatever its file says of itself ([`crate::file::open`]).
//! * Where the run directory itself has a ring or page of the same name, that one is read.
//! * Its owner is trusted in it, because only root can have given it ([`Directory::enter_place`]). What it cuts short under a
//!   mapping harms nobody ([`crate::fault`]).

use std::path::{Path, PathBuf};

use crate::Colour;
use crate::directory::{Directory, Names};
use crate::error::BusError;
use crate::spec::{RingSpec, check_name};

/// Directory of the places, in the run directory.
const SERVICES: &str = "services";
/// Directories of colours: others may look which rings exist.
const COLOUR_MODE: u32 = 0o755;
/// Places of one kind that are looked at.
const SERVICES_MAX: usize = 256;
/// Entries of one place that are looked at.
pub(crate) const ENTRIES_MAX: usize = 64;

/// Where a ring lies. Kept as a path, so that it is found again after its directory was made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RingPlace {
    dir: PathBuf,
    colour: Colour,
    name: String,
    /// The process in whose place it lies.
    process: Option<String>,
}

impl RingPlace {
    /// In the run directory itself.
    pub(crate) fn new(dir: &Path, colour: Colour, name: &str) -> RingPlace {
        RingPlace { dir: dir.to_owned(), colour, name: name.to_owned(), process: None }
    }

    /// In the place of a process.
    pub(crate) fn of_service(dir: &Path, colour: Colour, process: &str, name: &str) -> RingPlace {
        RingPlace { process: Some(process.to_owned()), ..RingPlace::new(dir, colour, name) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn colour(&self) -> Colour {
        self.colour
    }

    /// The ring's directory.
    pub(crate) fn path(&self) -> PathBuf {
        let dir = match &self.process {
            Some(process) => self.dir.join(SERVICES).join(self.colour.directory()).join(process),
            None => self.dir.join(self.colour.directory()),
        };
        dir.join(&self.name)
    }

    pub(crate) fn enter(&self) -> Result<Directory, BusError> {
        let base = Directory::base(&self.dir)?;
        let place = match &self.process {
            Some(process) => base.enter(SERVICES)?.enter(self.colour.directory())?.enter_place(process)?,
            None => base.enter_place(self.colour.directory())?,
        };
        place.enter(&self.name)
    }

    /// Whether a ring, or what shall be one, lies there.
    pub(crate) fn exists(&self) -> Result<bool, BusError> {
        match self.enter().and_then(|directory| directory.holds("ring")) {
            Ok(exists) => Ok(exists),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The process that a ring or page of this name belongs to, if it has a place.
pub(crate) fn process_of(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(process, _)| process)
}

/// Finds a ring by name, or by `black/name`, `red/name`.
pub(crate) fn find(dir: &Path, ring: &str) -> Result<(RingPlace, Directory), BusError> {
    let (colours, name): (&[Colour], &str) = match ring.split_once('/') {
        Some(("black", name)) => (&[Colour::Black], name),
        Some(("red", name)) => (&[Colour::Red], name),
        _ => (&[Colour::Black, Colour::Red], ring),
    };
    check_name(name).map_err(|problem| BusError::Spec {
        ring: ring.to_owned(),
        problem: format!("the ring's name {problem}"),
    })?;
    let (mut found, mut refused) = (Vec::new(), None);
    for colour in colours {
        let places =
            [RingPlace::new(dir, *colour, name), RingPlace::of_service(dir, *colour, process_of(name), name)];
        for place in places {
            match place.enter().and_then(|directory| Ok((directory.holds("ring")?, directory))) {
                Ok((true, directory)) => {
                    found.push((place, directory));
                    break;
                }
                Ok((false, _)) => {}
                Err(error) if error.is_not_found() => {}
                // A directory that may not be entered hides nothing from those who look for a ring of the other colour. What it
                // may hold is not replaced by what lies in a service's place.
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
    }
    match (found.pop(), refused) {
        (Some(_), _) if !found.is_empty() => {
            Err(BusError::Ambiguous { ring: ring.to_owned(), dir: dir.to_owned() })
        }
        (Some(one), _) => Ok(one),
        (None, Some(error)) => Err(error),
        (None, None) => Err(BusError::NotFound { ring: ring.to_owned(), dir: dir.to_owned() }),
    }
}

/// Every place of a kind ("black", "red", "metrics"), by process; what cannot be entered comes with its reason.
pub(crate) fn services(base: &Directory, kind: &str) -> Vec<Result<(String, Directory), BusError>> {
    let listed = base.enter(SERVICES).and_then(|services| {
        let directory = services.enter(kind)?;
        Ok((directory.names(SERVICES_MAX)?, directory))
    });
    let (Names { names, more }, directory) = match listed {
        Ok(listed) => listed,
        Err(error) if error.is_not_found() => return Vec::new(),
        Err(error) => return vec![Err(error)],
    };
    let enter = |process: String| directory.enter_place(&process).map(|place| (process, place));
    let mut places: Vec<_> = names.into_iter().map(enter).collect();
    if more {
        places.push(Err(BusError::TooMany { path: directory.path().to_owned(), limit: SERVICES_MAX }));
    }
    places
}

/// The place for what has this name, if one was made.
pub(crate) fn enter(base: &Directory, kind: &str, name: &str) -> Result<Option<Directory>, BusError> {
    let entered =
        base.enter(SERVICES).and_then(|services| services.enter(kind)?.enter_place(process_of(name)));
    match entered {
        Ok(place) => Ok(Some(place)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// As [`enter`], if it belongs to this process's user. A place that cannot be believed is none: nobody's rings depend on it.
pub(crate) fn own(base: &Directory, kind: &str, name: &str) -> Result<Option<Directory>, BusError> {
    match enter(base, kind, name) {
        Ok(Some(place)) => Ok(place.is_own()?.then_some(place)),
        Ok(None) | Err(BusError::Foreign { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the directories of a ring with the permissions the specification asks for.
pub(crate) fn make(dir: &Path, spec: &RingSpec) -> Result<(RingPlace, Directory), BusError> {
    let group = spec.access().group_id()?;
    let base = Directory::make_base(dir)?;
    let in_run_directory = RingPlace::new(dir, spec.colour, &spec.name);
    let of_service = RingPlace::of_service(dir, spec.colour, process_of(&spec.name), &spec.name);
    // Closed until it has its group: nobody gets in between.
    let (place, directory) = match own(&base, spec.colour.directory(), &spec.name)? {
        Some(_) if in_run_directory.exists()? => {
            let problem = format!("it has the name of a ring in {}", of_service.path().display());
            return Err(BusError::Foreign { path: in_run_directory.path(), problem });
        }
        Some(place) => (of_service, place.make(&spec.name, 0o700)?),
        None => {
            let made = base
                .make_place(spec.colour.directory(), COLOUR_MODE)
                .and_then(|colour| colour.make(&spec.name, 0o700));
            let directory = made.map_err(|error| match error {
                BusError::Io { path, source, .. }
                    if source.kind() == std::io::ErrorKind::PermissionDenied =>
                {
                    let place = of_service.path().parent().map(Path::to_owned).unwrap_or_default();
                    BusError::NoPlace { path: path.parent().map(Path::to_owned).unwrap_or(path), place }
                }
                error => error,
            })?;
            (in_run_directory, directory)
        }
    };
    let cursors = directory.make("cursors", 0o700)?;
    // Whoever may read the ring may enter its directory, and leave a cursor of its own there (sticky: only its own; setgid:
    // readable by the ring's group, hence by the producer).
    let enter = spec.mode | (spec.mode & 0o444) >> 2;
    let leave = 0o3000 | enter | (spec.mode & 0o044) >> 1;
    cursors.set_access(leave, group)?;
    directory.set_access(enter, group)?;
    Ok((place, directory))
}
