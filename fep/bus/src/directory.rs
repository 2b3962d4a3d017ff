//! Files in directories that other users may write into. Nothing another user puts there may block us, lead us to
//! another file, or be truncated under a mapping of ours.
//!
//! The rules, for every open of the bus:
//!
//! * The run directory comes from a configuration: it is opened as it is named, through links. Below it no symbolic link
//!   is followed, not even for a directory; each step is relative to the descriptor of the one before.
//! * An entry is looked at before it is opened, so that no FIFO, device or socket ever is; `O_NONBLOCK` covers the race, and
//!   a lease that the owner of a file has taken to make others wait. What is open is checked again: a regular file with
//!   exactly one name.
//! * Directories, and files that are mapped, written or believed, belong to root, to this process's user or to the owner of
//!   the run directory ([`Owner::Trusted`]). Only cursor files are read whoever owns them, with `pread`, and never mapped.
//! * A directory that root has made for another user ([`crate::place`]) and what lies in it may belong to that user, too.
//! * A file appears under its name when it is whole: made with `O_EXCL` under a name that cannot be guessed, without any
//!   permission for others, then given its group and mode, then renamed.
//! * A directory is read up to a limit; the caller learns when there was more.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self as unix, AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat};

use crate::error::BusError;
use crate::file::random_word;
use crate::lock::{self, Locked};
use crate::spec::{Access, check_name};

/// Entries of one directory that are looked at for leftovers of builders that were killed.
const LEFTOVERS_LOOKED_AT: usize = 1024;

/// Whose file may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Root's, this process's user's, or the run directory's owner's.
    Trusted,
    /// Anybody's: it is only read with `pread`, and what it says is checked.
    Anybody,
}

/// For what a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Read,
    ReadWrite,
}

/// Whether a directory may belong to a user that root has given it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Giving {
    Allowed,
    Refused,
}

/// Why an entry was not opened.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The system's reason.
    Io(io::Error),
    /// What lies there is not a file of the bus.
    Foreign(String),
}

impl Refusal {
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Refusal::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// As an error about `path`, which somebody tried to `action`.
    pub(crate) fn into_error(self, path: &Path, action: &'static str) -> BusError {
        match self {
            Refusal::Io(source) => BusError::Io { path: path.to_owned(), action, source },
            Refusal::Foreign(problem) => BusError::Foreign { path: path.to_owned(), problem },
        }
    }
}

impl From<rustix::io::Errno> for Refusal {
    fn from(error: rustix::io::Errno) -> Refusal {
        Refusal::Io(error.into())
    }
}

/// The users whose files are believed, beside root.
#[derive(Debug, Clone, Copy)]
struct Owners {
    own: u32,
    base: u32,
    /// The user that root has given this place to.
    place: Option<u32>,
}

impl Owners {
    fn check(self, what: &Stat) -> Result<(), Refusal> {
        let owner = what.st_uid;
        if owner == 0 || owner == self.own || owner == self.base || Some(owner) == self.place {
            return Ok(());
        }
        let place = self.place.map_or(String::new(), |place| format!(", to the owner {place} of this place"));
        Err(Refusal::Foreign(format!(
            "it belongs to user {owner}, not to root, to this process's user {}{place} or to the run directory's owner {}",
            self.own, self.base
        )))
    }
}

/// A directory, held by its descriptor: what is done in it is done in this very directory.
pub(crate) struct Directory {
    handle: OwnedFd,
    path: PathBuf,
    owners: Owners,
}

/// Names read from a directory.
pub(crate) struct Names {
    /// Those that could be names of the bus, sorted.
    pub(crate) names: Vec<String>,
    /// Whether entries were left out because there were too many.
    pub(crate) more: bool,
}

impl Directory {
    /// The run directory, as a configuration names it.
    pub(crate) fn base(path: &Path) -> Result<Directory, BusError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = unix::open(path, flags, Mode::empty())
            .map_err(|error| BusError::io(path, "open the directory")(error.into()))?;
        let base = unix::fstat(&handle).map_err(|error| BusError::io(path, "look at")(error.into()))?.st_uid;
        let owners = Owners { own: rustix::process::geteuid().as_raw(), base, place: None };
        Ok(Directory { handle, path: path.to_owned(), owners })
    }

    /// As [`Directory::base`], made if it does not exist.
    pub(crate) fn make_base(path: &Path) -> Result<Directory, BusError> {
        fs::create_dir_all(path).map_err(BusError::io(path, "create"))?;
        Directory::base(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Path of an entry, for messages.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A directory in this one.
    pub(crate) fn enter(&self, name: &str) -> Result<Directory, BusError> {
        self.try_enter(name, Giving::Refused)
            .map_err(|refusal| refusal.into_error(&self.path_of(name), "enter"))
    }

    /// A directory in this one that may have been given to another user, who is trusted in it from here on. Only root can
    /// have given it, as long as nobody but this directory's owner can put anything here: a user makes directories of its
    /// own, and nobody moves one here.
    pub(crate) fn enter_place(&self, name: &str) -> Result<Directory, BusError> {
        self.try_enter(name, Giving::Allowed)
            .map_err(|refusal| refusal.into_error(&self.path_of(name), "enter"))
    }

    fn try_enter(&self, name: &str, giving: Giving) -> Result<Directory, Refusal> {
        // Looked at first, for a message that says what lies there.
        let found = self.look(name)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind != FileType::Directory {
            return Err(Refusal::Foreign(format!("it is {}, not a directory", kind_name(kind))));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = unix::openat(&self.handle, name, flags, Mode::empty())?;
        let entered = unix::fstat(&handle)?;
        let mut owners = self.owners;
        if let Err(refusal) = owners.check(&entered) {
            if giving == Giving::Refused || unix::fstat(&self.handle)?.st_mode & 0o022 != 0 {
                return Err(refusal);
            }
            owners.place = Some(entered.st_uid);
        }
        Ok(Directory { handle, path: self.path_of(name), owners })
    }

    /// Whether it belongs to this process's user.
    pub(crate) fn is_own(&self) -> Result<bool, BusError> {
        let found =
            unix::fstat(&self.handle).map_err(|error| BusError::io(&self.path, "look at")(error.into()))?;
        Ok(found.st_uid == self.owners.own)
    }

    /// As [`Directory::enter`], made with `mode` if it does not exist.
    pub(crate) fn make(&self, name: &str, mode: u32) -> Result<Directory, BusError> {
        self.make_or(name, mode, Giving::Refused)
    }

    /// As [`Directory::enter_place`], made with `mode` if it does not exist.
    pub(crate) fn make_place(&self, name: &str, mode: u32) -> Result<Directory, BusError> {
        self.make_or(name, mode, Giving::Allowed)
    }

    fn make_or(&self, name: &str, mode: u32, giving: Giving) -> Result<Directory, BusError> {
        let enter = |giving| {
            self.try_enter(name, giving).map_err(|refusal| refusal.into_error(&self.path_of(name), "enter"))
        };
        match unix::mkdirat(&self.handle, name, Mode::from_raw_mode(mode)) {
            Ok(()) => {
                let made = enter(Giving::Refused)?;
                // Whatever the umask.
                made.set_access(mode, None)?;
                Ok(made)
            }
            Err(rustix::io::Errno::EXIST) => enter(giving),
            Err(error) => Err(BusError::io(&self.path_of(name), "create")(error.into())),
        }
    }

    /// Gives this directory its group and mode, where they differ.
    pub(crate) fn set_access(&self, mode: u32, group: Option<u32>) -> Result<(), BusError> {
        let fail = |action: &'static str| move |error: rustix::io::Errno| (action, io::Error::from(error));
        let set = || {
            let handle = self.readable().map_err(fail("open"))?;
            let found = unix::fstat(&handle).map_err(fail("look at"))?;
            let group = group.filter(|group| *group != found.st_gid);
            if let Some(group) = group {
                unix::fchown(&handle, None, Some(Gid::from_raw(group))).map_err(fail("set the group of"))?;
            }
            if group.is_some() || found.st_mode & 0o7777 != mode {
                unix::fchmod(&handle, Mode::from_raw_mode(mode)).map_err(fail("set the mode of"))?;
            }
            Ok(())
        };
        set().map_err(|(action, source)| BusError::Io { path: self.path.clone(), action, source })
    }

    /// Whether an entry of this name exists, whatever it is.
    pub(crate) fn holds(&self, name: &str) -> Result<bool, BusError> {
        match self.look(name) {
            Ok(_) => Ok(true),
            Err(Refusal::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(refusal) => Err(refusal.into_error(&self.path_of(name), "look at")),
        }
    }

    fn look(&self, name: &str) -> Result<Stat, Refusal> {
        Ok(unix::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Opens a regular file that has one name and a proper owner; never waits.
    pub(crate) fn open(&self, name: &str, purpose: Use, owner: Owner) -> Result<File, Refusal> {
        self.check(&self.look(name)?, owner)?;
        let access = match purpose {
            Use::Read => OFlags::RDONLY,
            Use::ReadWrite => OFlags::RDWR,
        };
        let flags = access | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let handle = unix::openat(&self.handle, name, flags, Mode::empty())?;
        self.check(&unix::fstat(&handle)?, owner)?;
        Ok(File::from(handle))
    }

    fn check(&self, found: &Stat, owner: Owner) -> Result<(), Refusal> {
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind != FileType::RegularFile {
            return Err(Refusal::Foreign(format!("it is {}, not a regular file", kind_name(kind))));
        }
        // Nobody links a file of the bus; a second name may be one by which another user wants us to write elsewhere.
        if found.st_nlink > 1 {
            return Err(Refusal::Foreign(format!("it has {} names (hard links)", found.st_nlink)));
        }
        match owner {
            Owner::Trusted => self.owners.check(found),
            Owner::Anybody => Ok(()),
        }
    }

    /// Makes a file that did not exist. Its mode is `mode`, whatever the umask.
    fn create(&self, name: &str, mode: u32) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = unix::openat(&self.handle, name, flags, Mode::from_raw_mode(mode & 0o600))?;
        unix::fchmod(&handle, Mode::from_raw_mode(mode))?;
        Ok(File::from(handle))
    }

    /// Opens a file for reading and writing, or makes it, and takes its lock. `Ok(Err(file))`: somebody else has it.
    pub(crate) fn lock(
        &self,
        name: &str,
        mode: u32,
        group: Option<u32>,
    ) -> Result<Result<Locked, File>, BusError> {
        let path = self.path_of(name);
        // Each turn that does not end is one in which somebody made or removed the file at the same moment.
        for _ in 0..16 {
            let file = match self.open(name, Use::ReadWrite, Owner::Trusted) {
                Ok(file) => file,
                Err(refusal) if refusal.is_not_found() => match self.create(name, mode) {
                    Ok(file) => {
                        if let Some(group) = group {
                            set_group(&file, group).map_err(BusError::io(&path, "set the group of"))?;
                        }
                        file
                    }
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                    Err(error) => return Err(BusError::io(&path, "create")(error)),
                },
                Err(refusal) => return Err(refusal.into_error(&path, "open")),
            };
            if !lock::try_exclusive(&file).map_err(BusError::io(&path, "lock"))? {
                return Ok(Err(file));
            }
            let file = Locked::held(file);
            // A lock on a file that has lost its name in between locks nobody out.
            let locked = unix::fstat(&*file).map_err(|error| BusError::io(&path, "look at")(error.into()))?;
            if locked.st_nlink == 1 {
                return Ok(Ok(file));
            }
        }
        Err(BusError::Foreign { path, problem: "it is removed again and again".to_owned() })
    }

    /// Builds a file and puts it in the place of `name` when it is whole; until then nobody else may open it.
    pub(crate) fn build<T>(
        &self,
        name: &str,
        access: &Access,
        fill: impl FnOnce(&File, &Path) -> Result<T, BusError>,
    ) -> Result<T, BusError> {
        self.remove_leftovers(name);
        let (file, temporary) = self.begin(name)?;
        let path = self.path_of(&temporary);
        let built = fill(&file, &path).and_then(|built| {
            if let Some(group) = access.group_id()? {
                set_group(&file, group).map_err(BusError::io(&path, "set the group of"))?;
            }
            unix::fchmod(&file, Mode::from_raw_mode(access.mode))
                .map_err(|error| BusError::io(&path, "set the mode of")(error.into()))?;
            unix::renameat(&self.handle, &temporary, &self.handle, name)
                .map_err(|error| BusError::io(&self.path_of(name), "put into place")(error.into()))?;
            Ok(built)
        });
        if built.is_err() {
            let _ = unix::unlinkat(&self.handle, &temporary, AtFlags::empty());
        }
        built
    }

    /// Makes the hidden file beside `name`, locked: the lock says that its builder lives.
    fn begin(&self, name: &str) -> Result<(File, String), BusError> {
        let mut attempts = 16;
        loop {
            let temporary = format!(".{name}.{:016x}.building", random_word()?);
            let path = self.path_of(&temporary);
            let file = self.create(&temporary, 0o600).map_err(BusError::io(&path, "create"))?;
            attempts -= 1;
            if lock::lock_in_place(&file).map_err(BusError::io(&path, "lock"))? || attempts == 0 {
                return Ok((file, temporary));
            }
        }
    }

    /// Removes what builders of `name` left behind that were killed. Living ones hold the lock of theirs.
    fn remove_leftovers(&self, name: &str) {
        let (start, end) = (format!(".{name}."), ".building");
        let Ok(found) = self.read(LEFTOVERS_LOOKED_AT, |entry| {
            entry.strip_prefix(&start).is_some_and(|rest| rest.len() == 16 + end.len() && rest.ends_with(end))
        }) else {
            return;
        };
        for entry in found.names {
            // What cannot be opened is nobody's. The lock is kept until the name is gone: its builder looks for that.
            let opened = self.open(&entry, Use::Read, Owner::Trusted);
            if opened.as_ref().map_or(true, |file| lock::try_shared(file).unwrap_or(false)) {
                let _ = unix::unlinkat(&self.handle, &entry, AtFlags::empty());
            }
        }
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: &str) -> Result<(), BusError> {
        unix::unlinkat(&self.handle, name, AtFlags::empty())
            .map_err(|error| BusError::io(&self.path_of(name), "remove")(error.into()))
    }

    /// Removes an empty directory.
    pub(crate) fn remove_directory(&self, name: &str) -> Result<(), BusError> {
        unix::unlinkat(&self.handle, name, AtFlags::REMOVEDIR)
            .map_err(|error| BusError::io(&self.path_of(name), "remove")(error.into()))
    }

    /// Names in this directory that could be names of the bus; at most `limit` entries are looked at.
    pub(crate) fn names(&self, limit: usize) -> Result<Names, BusError> {
        self.read(limit, |name| check_name(name).is_ok()).map_err(BusError::io(&self.path, "list"))
    }

    fn read(&self, limit: usize, wanted: impl Fn(&str) -> bool) -> io::Result<Names> {
        let (mut names, mut seen, mut more) = (Vec::new(), 0, false);
        for entry in Dir::new(self.readable()?)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if seen == limit {
                more = true;
                break;
            }
            seen += 1;
            if let Ok(name) = std::str::from_utf8(name)
                && wanted(name)
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(Names { names, more })
    }

    fn readable(&self) -> Result<OwnedFd, rustix::io::Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        unix::openat(&self.handle, ".", flags, Mode::empty())
    }
}

fn set_group(file: &File, group: u32) -> io::Result<()> {
    Ok(unix::fchown(file, None, Some(Gid::from_raw(group)))?)
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "of an unknown kind",
    }
}

/// Which file a path named when it was opened: to find out whether it still does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(crate) fn of(file: &File, path: &Path) -> Result<Identity, BusError> {
        let found = unix::fstat(file).map_err(|error| BusError::io(path, "look at")(error.into()))?;
        Ok(Identity { device: found.st_dev, inode: found.st_ino })
    }

    /// Whether `path` names this file. One system call.
    pub(crate) fn is_at(self, path: &Path) -> bool {
        unix::statat(unix::CWD, path, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|found| self == Identity { device: found.st_dev, inode: found.st_ino })
    }
}
