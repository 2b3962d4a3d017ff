//! Disks for tests: a directory on a real one, small ones that can be full, and one that refuses.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A directory for segments on a real disk: on a memory file system there is nothing to write past.
///
/// # Panics
/// If the system gives none.
#[must_use]
pub fn disk_directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("fep-test-").tempdir().expect("a directory")
}

/// A mount namespace of its own with a file system for a test, alive as long as this value.
#[derive(Debug)]
pub struct OwnDisk {
    holder: Child,
    /// How `nsenter` gets in.
    enter: &'static [&'static str],
    /// Where the lower disk of a failing one is mounted.
    lower: PathBuf,
}

/// Makes a disk of two: the file system that is seen lies in a file, which lies on a lower disk; both are loop devices. When
/// the lower one is cut short, everything above it is an error of the medium. Nothing caches in between.
const TWO_DISKS: &str = "set -e
mount --make-rprivate /
mkdir -p \"$POINT\" \"$LOWER\"
mount -t tmpfs none \"$LOWER\"
cd \"$LOWER\"
truncate -s 280M medium
mkfs.ext4 -q -b 4096 -N 64 -O ^has_journal -E lazy_itable_init=0 medium
mkdir mounted
mount -o loop,noatime medium mounted
dd if=/dev/zero of=mounted/disk bs=1M count=192 conv=fsync status=none
mkfs.ext4 -q -b 4096 -O ^has_journal -E lazy_itable_init=0,nodiscard mounted/disk
mount -o loop,errors=continue mounted/disk \"$POINT\"
losetup --direct-io=on \"$(findmnt -no SOURCE \"$POINT\")\"
sync";

/// Sets how many octets of the lower disk there are, beside its superblock and inodes; 0: all. (`losetup` cannot change the
/// limit of a device in use; these are LOOP_GET_STATUS64 and LOOP_SET_STATUS64.)
const LIMIT_LOWER_DISK: &str = "
import fcntl, os, struct, subprocess, sys
device = subprocess.check_output(['findmnt', '-no', 'SOURCE', sys.argv[1]], text=True).strip()
device = os.open(device, os.O_RDWR)
status = bytearray(fcntl.ioctl(device, 0x4C05, bytes(232)))
struct.pack_into('<Q', status, 32, int(sys.argv[2]))
fcntl.ioctl(device, 0x4C04, bytes(status))
";

impl OwnDisk {
    /// A disk of so many MiB, which can be full; processes started by [`OwnDisk::command`] see it at `mount_point`.
    ///
    /// # Panics
    /// If the system gives no namespace.
    #[must_use]
    pub fn small(mount_point: &Path, mebibytes: u64) -> OwnDisk {
        let script = format!("mount -t tmpfs -o size={mebibytes}m none '{}'", mount_point.display());
        let mut holder = hold(&["--user", "--map-root-user", "--mount"], &script);
        assert!(is_ready(&mut holder), "this test needs user namespaces, or root");
        let enter = &["--preserve-credentials", "--user", "--mount"];
        OwnDisk { holder, enter, lower: PathBuf::new() }
    }

    /// A disk of 192 MiB that can be made to answer EIO, at `mount_point`, which need not be there; what it is made of lies
    /// beside it. `None`, with a word why, where the system does not let us make one.
    #[must_use]
    pub fn failing(mount_point: &Path) -> Option<OwnDisk> {
        let lower = mount_point.with_extension("lower");
        let script = format!("POINT='{}'; LOWER='{}'\n{TWO_DISKS}", mount_point.display(), lower.display());
        let mut holder = hold(&["--mount"], &script);
        if is_ready(&mut holder) {
            return Some(OwnDisk { holder, enter: &["--mount"], lower: lower.join("mounted") });
        }
        println!("SKIPPED: a disk that fails needs root, two loop devices and mkfs.ext4");
        let _ = holder.wait();
        None
    }

    /// From now on everything that the disk is asked to read or write is an error.
    ///
    /// # Panics
    /// If it is no failing disk.
    pub fn break_down(&self) {
        self.limit_lower_disk(2 << 20);
    }

    /// It works again, and holds all that it held.
    ///
    /// # Panics
    /// If it is no failing disk.
    pub fn mend(&self) {
        self.limit_lower_disk(0);
    }

    fn limit_lower_disk(&self, octets: u64) {
        let mut python = self.command();
        python.args(["python3", "-c", LIMIT_LOWER_DISK]).arg(&self.lower).arg(octets.to_string());
        let done = python.status();
        assert!(done.is_ok_and(|status| status.success()), "the limit of the lower disk can be set");
    }

    /// A command that executes what follows in the namespace.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(self.enter).args(["-t", &self.holder.id().to_string()]);
        command
    }

    /// The file system's contents, seen from outside.
    ///
    /// # Panics
    /// If the path is not absolute.
    #[must_use]
    pub fn see(&self, path: &Path) -> PathBuf {
        let inside = path.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside)
    }
}

/// A process in new namespaces that runs the script and stays.
fn hold(namespaces: &[&str], script: &str) -> Child {
    Command::new("unshare")
        .args(namespaces)
        .args(["sh", "-ec", &format!("{script}\necho ready\nexec sleep 100000")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("util-linux is installed")
}

fn is_ready(holder: &mut Child) -> bool {
    let mut line = String::new();
    let out = holder.stdout.take().expect("it is piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).expect("it can be read");
    line.trim() == "ready"
}

impl Drop for OwnDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
