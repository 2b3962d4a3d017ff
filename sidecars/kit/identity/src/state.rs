//! Files of the state directory: read whole, replaced atomically and durably, changed under one lock.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fep_file::{FileError, Held};
use rustix::fs::OFlags;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// No state file is larger; reading one that somebody made huge must not take the memory.
const MAX_BYTES: u64 = 16 << 20;

/// A state file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system's.
    #[error("{what} {path}: {source}")]
    System {
        /// What was done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The content is not what this program writes.
    #[error("{path} is damaged ({why}); restore it from a backup, or move it away to begin anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Another user owns the directory, and could change what is in it.
    #[error(
        "{path} belongs to the user {owner}, who could change what is in it: give it to this one with chown"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Something else than a regular file has the name, or another process holds it.
    #[error(transparent)]
    File(#[from] FileError),
    /// Others than the owner may read or write what must be secret.
    #[error("{path} has mode {mode:04o}: others could read or change it; set it with chmod {wanted:04o}")]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// What they must not exceed.
        wanted: u32,
    },
}

fn system(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::System { what, path, source }
}

/// The state directory of an identity service.
#[derive(Debug, Clone)]
pub(crate) struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Opens or makes it. It is made with mode 0755: the public keys in it are for all services, each secret file in it
    /// has a mode of its own. Nobody but the owner may write into it.
    pub(crate) fn open(path: &Path) -> Result<StateDir, StateError> {
        DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(system("making", path))?;
        let metadata = std::fs::metadata(path).map_err(system("reading", path))?;
        let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner != own && owner != 0 {
            return Err(StateError::Foreign { path: path.to_owned(), owner });
        }
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(StateError::Exposed { path: path.to_owned(), mode, wanted: 0o755 });
        }
        Ok(StateDir { path: path.to_owned() })
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Keeps other processes from changing the state until the guard is dropped. Readers need no lock: files are
    /// replaced whole.
    pub(crate) fn lock(&self) -> Result<File, StateError> {
        let path = self.file("lock");
        let file = open(OpenOptions::new().create(true).append(true).mode(0o600), &path)?;
        file.lock().map_err(system("locking", &path))?;
        Ok(file)
    }

    /// Keeps the directory for this process for as long as what is returned lives.
    pub(crate) fn hold(&self, program: &str) -> Result<Held, StateError> {
        Ok(fep_file::hold(&self.file("service.lock"), program)?)
    }

    /// Replaces a file: after a crash at any instant it has the old content or the new, never a part.
    pub(crate) fn replace(&self, name: &str, mode: u32, content: &impl Serialize) -> Result<(), StateError> {
        let path = self.file(name);
        let mut text = serde_json::to_vec_pretty(content)
            .map_err(|error| StateError::Damaged { path: path.clone(), why: error.to_string() })?;
        text.push(b'\n');
        let temporary = self.file(&format!("{name}.new"));
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(system("removing", &temporary)(error));
            }
            _ => {}
        }
        // The mode is set when the file is made: there is no instant at which others could open it.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)
            .map_err(system("making", &temporary))?;
        let write = |file: &mut File| -> io::Result<()> {
            file.write_all(&text)?;
            // A umask may have taken more away than the mode asked for: the public file must be readable.
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
            file.sync_all()
        };
        write(&mut file).map_err(system("writing", &temporary))?;
        std::fs::rename(&temporary, &path).map_err(system("replacing", &path))?;
        File::open(&self.path).and_then(|dir| dir.sync_all()).map_err(system("syncing", &self.path))
    }

    /// Reads a secret file; `None` when there is none. One that others may read or write is refused.
    pub(crate) fn read_secret<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        read(&self.file(name), 0o600)
    }
}

/// Opens a regular file. Somebody may have put something else in its place: a link is not followed, and nothing is waited for.
fn open(options: &mut OpenOptions, path: &Path) -> Result<File, StateError> {
    let other = |found| FileError::NotRegular { path: path.to_owned(), found };
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match options.custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) => file,
        Err(error) => {
            return Err(match rustix::io::Errno::from_io_error(&error) {
                Some(rustix::io::Errno::LOOP) => other("a symbolic link").into(),
                // A FIFO that nobody reads, or a socket.
                Some(rustix::io::Errno::NXIO) => other("a FIFO or a socket").into(),
                _ => system("opening", path)(error),
            });
        }
    };
    if !file.metadata().map_err(system("reading", path))?.is_file() {
        return Err(other("no file").into());
    }
    Ok(file)
}

/// Reads a file that has at most these permissions; `None` when there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, wanted: u32) -> Result<Option<T>, StateError> {
    let file = match open(OpenOptions::new().read(true), path) {
        Ok(file) => file,
        Err(StateError::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mode = file.metadata().map_err(system("reading", path))?.mode() & 0o7777;
    if mode & !wanted & 0o777 != 0 {
        return Err(StateError::Exposed { path: path.to_owned(), mode, wanted });
    }
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(system("reading", path))?;
    let damaged = |why: String| StateError::Damaged { path: path.to_owned(), why };
    if text.len() as u64 > MAX_BYTES {
        return Err(damaged(format!("more than {MAX_BYTES} octets")));
    }
    serde_json::from_slice(&text).map(Some).map_err(|error| damaged(error.to_string()))
}

/// Which version of a file this is: another one after every replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    inode: u64,
    changed_ns: (i64, i64),
    len: u64,
}

/// The version of a file; `None` when there is none or it cannot be looked at.
pub(crate) fn version(path: &Path) -> Option<Version> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    let changed_ns = (metadata.ctime(), metadata.ctime_nsec());
    Some(Version { inode: metadata.ino(), changed_ns, len: metadata.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-KIT-104
    #[test]
    fn a_secret_file_is_made_with_mode_0600_whatever_the_umask_and_refused_when_others_may_read_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(&dir.path().join("identity")).expect("a state directory");
        state.replace("secret.json", 0o600, &vec![1, 2]).expect("written");
        state.replace("public.json", 0o644, &vec![3]).expect("written");
        let mode = |name: &str| std::fs::metadata(state.file(name)).expect("there").mode() & 0o7777;
        assert_eq!((mode("secret.json"), mode("public.json")), (0o600, 0o644));
        assert_eq!(state.read_secret::<Vec<u8>>("secret.json").expect("readable"), Some(vec![1, 2]));
        std::fs::set_permissions(state.file("secret.json"), std::fs::Permissions::from_mode(0o640))
            .expect("set");
        let error = state.read_secret::<Vec<u8>>("secret.json").expect_err("exposed").to_string();
        assert!(error.contains("mode 0640") && error.contains("chmod 0600"), "{error}");
        std::fs::set_permissions(state.file(""), std::fs::Permissions::from_mode(0o777)).expect("set");
        assert!(matches!(StateDir::open(&state.path), Err(StateError::Exposed { mode: 0o777, .. })));
    }

    #[test]
    fn a_damaged_or_huge_file_is_reported_with_its_name_and_a_missing_one_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(dir.path()).expect("a state directory");
        assert_eq!(state.read_secret::<Vec<u8>>("x.json").expect("no file"), None);
        state.replace("x.json", 0o600, &"text").expect("written");
        let error = state.read_secret::<Vec<u8>>("x.json").expect_err("another type").to_string();
        assert!(error.contains("x.json is damaged"), "{error}");
        let before = version(&state.file("x.json")).expect("there");
        state.replace("x.json", 0o600, &"next").expect("written");
        assert_ne!(Some(before), version(&state.file("x.json")));
    }

    // REQ: FEP-KIT-189
    #[test]
    fn links_and_fifos_that_somebody_put_in_the_place_of_state_files_are_refused_without_waiting() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(dir.path()).expect("a state directory");
        std::fs::write(dir.path().join("good.json"), "[1]").expect("written");
        std::fs::set_permissions(state.file("good.json"), std::fs::Permissions::from_mode(0o600))
            .expect("set");
        for name in ["x.json", "lock", "service.lock"] {
            for plant in ["link", "dangling", "fifo", "directory"] {
                let path = state.file(name);
                match plant {
                    "link" => std::os::unix::fs::symlink("good.json", &path).expect("made"),
                    "dangling" => std::os::unix::fs::symlink("elsewhere", &path).expect("made"),
                    "fifo" => rustix::fs::mknodat(
                        rustix::fs::CWD,
                        &path,
                        rustix::fs::FileType::Fifo,
                        rustix::fs::Mode::from_raw_mode(0o600),
                        0,
                    )
                    .expect("made"),
                    _ => std::fs::create_dir(&path).expect("made"),
                }
                let refused = match name {
                    "x.json" => state.read_secret::<Vec<u8>>(name).err(),
                    "lock" => state.lock().err(),
                    _ => state.hold("test").err(),
                };
                let said = refused.expect("refused").to_string();
                assert!(said.contains(name), "{name} {plant}: {said}");
                if plant == "directory" {
                    std::fs::remove_dir(&path).expect("removed");
                } else {
                    std::fs::remove_file(&path).expect("removed");
                }
            }
        }
        assert!(!state.file("elsewhere").exists(), "nothing was made through a link");
    }

    // REQ: FEP-KIT-189
    #[test]
    fn a_state_directory_has_one_process_and_a_second_learns_who_that_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(dir.path()).expect("a state directory");
        let held = state.hold("fep-identity").expect("nobody has it");
        let refused = state.hold("fep-identity").expect_err("held").to_string();
        assert!(
            refused.contains(&format!("held by fep-identity, process {}", std::process::id())),
            "{refused}"
        );
        // What changes one thing works beside it.
        drop(state.lock().expect("free"));
        drop(held);
        drop(state.hold("fep-identity").expect("nobody has it any more"));
    }
}
