#![allow(unsafe_code)]
//! Who is alive: open-file-description locks, which the kernel drops with the last descriptor, even after SIGKILL.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

fn whole_file(kind: libc::c_int) -> libc::flock {
    // SAFETY: `flock` is made of integers; zero is a value of each.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

/// Takes the exclusive lock of `file` (opened for writing). `Ok(false)`: somebody else has it.
pub(crate) fn try_exclusive(file: &File) -> io::Result<bool> {
    let lock = whole_file(libc::F_WRLCK);
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
