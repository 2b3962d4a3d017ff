//! Cores, real-time priority and locked memory: what a hot thread asks of the kernel.
//!
//! Every request may be refused by the kernel or by the machine; the caller then runs on without and says so.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Greatest core number that can be asked for.
pub const MAX_CORE: usize = libc::CPU_SETSIZE as usize - 1;

/// Cores that this process may run on, in order.
pub fn allowed_cores() -> Vec<usize> {
    // SAFETY: nothing is passed.
    cores_of(unsafe { libc::getpid() })
}

/// Cores that a thread may run on, in order; a process stands for its first thread, which is never pinned.
fn cores_of(thread: libc::pid_t) -> Vec<usize> {
    // SAFETY: a cpu_set_t is plain bits, all zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours and of the size we say.
    let failed = unsafe { libc::sched_getaffinity(thread, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0;
    if failed {
        return vec![0];
    }
    // SAFETY: CPU_ISSET only reads bits of a set that it indexes below CPU_SETSIZE.
    (0..=MAX_CORE).filter(|core| unsafe { libc::CPU_ISSET(*core, &set) }).collect()
}

/// Pins the calling thread to one core.
///
/// # Errors
/// The core does not exist or is not ours.
pub fn pin_to(core: usize) -> io::Result<()> {
    run_on(&[core])
}

/// Lets the calling thread run on any of these cores: a thread started by a pinned one is pinned as well.
///
/// # Errors
/// A core does not exist, or none of them is ours.
pub fn run_on(cores: &[usize]) -> io::Result<()> {
    if cores.iter().any(|core| *core > MAX_CORE) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: as in `cores_of`; the cores are below CPU_SETSIZE; 0 is the calling thread.
    let failed = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cores.iter().for_each(|core| libc::CPU_SET(*core, &mut set));
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    } != 0;
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Puts the calling thread under SCHED_FIFO, threads it starts not included: it runs until it sleeps.
///
/// # Errors
/// The kernel refuses: no CAP_SYS_NICE and no RLIMIT_RTPRIO.
pub fn set_fifo(priority: u8) -> io::Result<()> {
    set_class(libc::SCHED_FIFO, priority)
}

/// Puts the calling thread under SCHED_RR, threads it starts not included: it takes turns with others of its priority.
///
/// # Errors
/// As [`set_fifo`].
pub fn set_round_robin(priority: u8) -> io::Result<()> {
    set_class(libc::SCHED_RR, priority)
}

/// Puts the calling thread into the normal class.
///
/// # Errors
/// The kernel refuses.
pub fn set_normal() -> io::Result<()> {
    set_class(libc::SCHED_OTHER, 0)
}

/// The class of the calling thread: `fifo`, `rr`, or `other` for all that are not real-time.
pub fn class_name() -> &'static str {
    // SAFETY: no memory is passed; 0 is the calling thread.
    let class = unsafe { libc::sched_getscheduler(0) };
    if class < 0 {
        return "other";
    }
    match class & !libc::SCHED_RESET_ON_FORK {
        libc::SCHED_FIFO => "fifo",
        libc::SCHED_RR => "rr",
        _ => "other",
    }
}

fn set_class(class: libc::c_int, priority: u8) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: i32::from(priority) };
    // The flag stays in the normal class too: a thread without CAP_SYS_NICE may set it, but not clear it again.
    let class = class | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the parameters outlive the call; 0 is the calling thread.
    let failed = unsafe { libc::sched_setscheduler(0, class, &raw const parameters) } != 0;
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How late the kernel may end a sleep of the calling thread to save wake-ups: without real-time priority 50 µs unless set.
pub fn set_timer_slack_ns(slack_ns: u32) {
    // SAFETY: no memory is passed. It cannot fail for values above zero.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, libc::c_ulong::from(slack_ns.max(1)), 0, 0, 0) };
}

/// Locks all memory of the process, present and future.
///
/// # Errors
/// The kernel refuses: no CAP_IPC_LOCK and too low a RLIMIT_MEMLOCK.
pub fn lock_memory() -> io::Result<()> {
    // SAFETY: no memory is passed.
    let failed = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) } != 0;
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Number of a group, by name or number.
///
/// # Errors
/// There is none of this name.
pub fn group_number(name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("no group is called {name:?}"));
    let c_name = std::ffi::CString::new(name).map_err(|_| unknown())?;
    // SAFETY: the name is a C string; the answer is static memory that only the control thread asks for.
    let group = unsafe { libc::getgrnam(c_name.as_ptr()) };
    if group.is_null() {
        return Err(unknown());
    }
    // SAFETY: not null, and filled in by the C library.
    Ok(unsafe { (*group).gr_gid })
}

/// Whether a directory lies in memory: tmpfs, ramfs or hugetlbfs.
///
/// # Errors
/// The directory cannot be looked at.
pub fn is_memory_file_system(dir: &Path) -> io::Result<bool> {
    let c_dir = std::ffi::CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: a statfs is plain numbers, all zero is one of its values.
    let mut answer: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a C string, the answer ours.
    if unsafe { libc::statfs(c_dir.as_ptr(), &raw mut answer) } != 0 {
        return Err(io::Error::last_os_error());
    }
    const RAMFS_MAGIC: i64 = 0x8584_58f6;
    Ok([libc::TMPFS_MAGIC, libc::HUGETLBFS_MAGIC, RAMFS_MAGIC].contains(&answer.f_type))
}

/// Processor time that the calling thread has used, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Processor time that all threads of this process have used, in nanoseconds.
pub fn process_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the timespec is ours.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
