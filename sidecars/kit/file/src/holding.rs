use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags};

use crate::FileError;
use crate::reading::name_of;

/// A process that was killed may still be on its way out.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);
/// Octets of a lock file that are read for a message.
const HOLDER_MAX: usize = 64;

/// What one process alone works on, for as long as this lives. The kernel ends it with the process, however that ends.
#[derive(Debug)]
pub struct Held {
    file: File,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing it is not enough: a child process that another thread is starting has our descriptors until it becomes its
        // own program. What cannot be unlocked here, the kernel unlocks with the last descriptor.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// Takes `path`, a lock file that is made where it does not exist, for this process alone. `program` and the number of the
/// process are written into it, for the message that a second one ends with. The file stays when it is released: a name that
/// is removed could be locked by two.
///
/// # Errors
/// [`FileError::Held`] when another process has it for longer than a second; [`FileError::NotRegular`] when something else
/// than a regular file has the name, which is neither followed nor waited for; and what the system says.
pub fn hold(path: &Path, program: &str) -> Result<Held, FileError> {
    let flags = OFlags::RDWR
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let handle = match rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::LOOP) => {
            return Err(FileError::NotRegular { path: path.to_owned(), found: "a symbolic link" });
        }
        Err(error) => return Err(FileError::io("open", path)(error)),
    };
    let kind =
        FileType::from_raw_mode(rustix::fs::fstat(&handle).map_err(FileError::io("look at", path))?.st_mode);
    if kind != FileType::RegularFile {
        return Err(FileError::NotRegular { path: path.to_owned(), found: name_of(kind) });
    }
    let file = File::from(handle);
    let until = Instant::now() + PATIENCE;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(PAUSE),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(FileError::Held { path: path.to_owned(), holder: holder(&file) });
            }
            Err(error) => return Err(FileError::io("lock", path)(error)),
        }
    }
    // Only for messages: a disk without room keeps nobody from working.
    let text = format!("{program}, process {}", std::process::id());
    let _ = file.set_len(0).and_then(|()| file.write_all_at(text.as_bytes(), 0));
    Ok(Held { file })
}

/// Who says in the file that it holds it.
fn holder(file: &File) -> String {
    let mut octets = [0; HOLDER_MAX];
    let read = file.read_at(&mut octets, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&octets[..read]);
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        "another process".to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_free_with_its_holder_though_a_child_that_is_starting_has_the_descriptor_still() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lock");
        let held = hold(&path, "first").expect("nobody has it");
        // What a fork makes of it: a second descriptor of the same open file.
        let _inherited = held.file.try_clone().expect("a descriptor");
        drop(held);
        hold(&path, "second").expect("nobody has it any more");
    }
}
