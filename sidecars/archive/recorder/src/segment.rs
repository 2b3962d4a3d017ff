//! The segment that is being written: its file, how far it has come, its hash.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use fep_segments::{BlockHeader, ContentHash, ContentHasher, PAGE_LEN, SegmentHeader, write_lock};
use rustix::fs::{FallocateFlags, OFlags, fallocate};

use crate::buffer::BlockBuffer;

/// A segment file that grows.
pub(crate) struct OpenSegment {
    pub(crate) file: Arc<File>,
    pub(crate) path: PathBuf,
    /// Its directory, until somebody has undertaken to commit its name.
    pub(crate) directory: Option<Arc<File>>,
    pub(crate) header: SegmentHeader,
    pub(crate) blocks: Vec<BlockHeader>,
    /// Where the next block goes.
    pub(crate) offset: u64,
    pub(crate) begun: Instant,
    hash: ContentHasher,
}

/// How the file of a new segment came out.
pub(crate) struct FileKind {
    /// It is written past the page cache.
    pub(crate) direct: bool,
    /// Its room is its own.
    pub(crate) allocated: bool,
}

impl OpenSegment {
    /// Makes the file of a new segment, `len` octets long, header page written. It has its name `path` only when all that has
    /// been done; an empty segment of this name from an earlier life is replaced, and the caller knows that no other one
    /// exists. Nothing is committed: that comes with its first blocks, because until then nobody says that anything is in
    /// it, and a commit takes as long as many blocks do.
    pub(crate) fn create(
        path: PathBuf,
        header: SegmentHeader,
        len: u64,
        direct: bool,
    ) -> io::Result<(OpenSegment, FileKind)> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let building = path.with_extension("building");
        let _ = std::fs::remove_file(&building);
        let made = prepare(&building, &header, len, direct).and_then(|made| {
            std::fs::rename(&building, &path)?;
            Ok((made, File::open(directory)?))
        });
        let ((file, kind), directory) = match made {
            Ok(made) => made,
            Err(error) => {
                let _ = std::fs::remove_file(&building);
                return Err(error);
            }
        };
        let mut hash = ContentHasher::default();
        hash.update(&header.to_page());
        let segment = OpenSegment {
            file: Arc::new(file),
            path,
            directory: Some(Arc::new(directory)),
            header,
            blocks: Vec::new(),
            offset: PAGE_LEN as u64,
            begun: Instant::now(),
            hash,
        };
        Ok((segment, kind))
    }

    /// Takes a completed block, which `octets` hold whole and which starts where the segment ends.
    pub(crate) fn add(&mut self, block: BlockHeader, octets: &[u8]) {
        debug_assert_eq!(block.offset, self.offset);
        self.hash.update(octets);
        self.offset += octets.len() as u64;
        self.blocks.push(block);
    }

    /// Hash of all that was added.
    pub(crate) fn content_hash(&self) -> ContentHash {
        self.hash.hash()
    }
}

fn prepare(building: &Path, header: &SegmentHeader, len: u64, direct: bool) -> io::Result<(File, FileKind)> {
    let mut page = BlockBuffer::new(PAGE_LEN);
    page.as_mut_slice().copy_from_slice(&header.to_page());
    let open = |direct: bool| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o640);
        if direct {
            options.custom_flags(OFlags::DIRECT.bits().cast_signed());
        }
        let file = options.open(building)?;
        write_lock(&file);
        // Some file systems take the flag and refuse the first write.
        file.write_all_at(page.as_slice(), 0)?;
        Ok::<File, io::Error>(file)
    };
    let (file, direct) = match direct.then(|| open(true)) {
        Some(Ok(file)) => (file, true),
        Some(Err(error)) if error.raw_os_error() != Some(rustix::io::Errno::INVAL.raw_os_error()) => {
            return Err(error);
        }
        Some(Err(_)) => {
            // Some systems make the file before they refuse.
            let _ = std::fs::remove_file(building);
            (open(false)?, false)
        }
        None => (open(false)?, false),
    };
    let allocated = match fallocate(&file, FallocateFlags::empty(), 0, len) {
        Ok(()) => true,
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => false,
        Err(error) => return Err(error.into()),
    };
    Ok((file, FileKind { direct, allocated }))
}

/// Whether the system means that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
