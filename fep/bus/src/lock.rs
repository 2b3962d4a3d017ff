#![allow(unsafe_code)]
//! Who is alive: open-file-description locks, which the kernel drops with the last descriptor, even after SIGKILL.

use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;

/// A file whose exclusive lock we hold. It is unlocked at the end, not only closed: a child process that another thread is
/// starting has our descriptors until it becomes its own program, and would keep the lock for so long.
#[derive(Debug)]
pub(crate) struct Locked(File);

impl Locked {
    /// Of a file whose lock [`try_exclusive`] has taken. Every clone of it loses the lock when this ends.
    pub(crate) fn held(file: File) -> Locked {
        Locked(file)
    }
}

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut File {
        &mut self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let lock = whole_file(libc::F_UNLCK);
        // SAFETY: a valid descriptor and a pointer to a `flock` that outlives the call.
        // What it cannot unlock, the kernel unlocks with the last descriptor.
        unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    }
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    // SAFETY: `flock` is made of integers; zero is a value of each.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

/// Takes the exclusive lock of `file` (opened for writing). `Ok(false)`: somebody else has it.
pub(crate) fn try_exclusive(file: &File) -> io::Result<bool> {
    try_lock(file, libc::F_WRLCK)
}

fn try_lock(file: &File, kind: libc::c_int) -> io::Result<bool> {
    let lock = whole_file(kind);
    // SAFETY: a valid descriptor and a pointer to a `flock` that outlives the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    if result == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}

/// Takes the exclusive lock of a new file that others may look at for a moment, and says whether it has its name still: before
/// that, they may have taken it for one of a dead process, and removed it.
pub(crate) fn lock_in_place(file: &File) -> io::Result<bool> {
    for _ in 0..1000 {
        if try_exclusive(file)? {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Ok(rustix::fs::fstat(file)?.st_nlink > 0)
}

/// Takes a shared lock of `file`, which keeps everybody from the exclusive one. `Ok(false)`: somebody has that.
pub(crate) fn try_shared(file: &File) -> io::Result<bool> {
    try_lock(file, libc::F_RDLCK)
}

/// Whether somebody else holds the exclusive lock of `file`; takes nothing, disturbs nobody.
pub(crate) fn is_held(file: &File) -> io::Result<bool> {
    let mut lock = whole_file(libc::F_RDLCK);
    // SAFETY: as above; the kernel writes the answer into `lock`.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-BUS-165
    #[test]
    fn a_lock_ends_with_its_holder_though_a_child_that_is_starting_has_the_descriptor_still() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let file = File::create(&path).unwrap();
        assert!(try_exclusive(&file).unwrap());
        // What a fork makes of it: a second descriptor of the same open file.
        let inherited = file.try_clone().unwrap();
        let held = Locked::held(file);
        let other = File::options().write(true).open(&path).unwrap();
        assert!(!try_exclusive(&other).unwrap());
        drop(held);
        assert!(!is_held(&other).unwrap());
        assert!(try_exclusive(&other).unwrap());
        drop(inherited);
        assert!(is_held(&File::open(&path).unwrap()).unwrap(), "the other's own lock is untouched");
    }
}
