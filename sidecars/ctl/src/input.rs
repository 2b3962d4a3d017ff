//! Reading a recorded stream at the speed of the disk: one thread reads ahead into a few large buffers.
//!
//! The buffers are recycled, so memory is constant whatever the length of the file; `-` reads standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::failure::Failure;

/// Octets of one buffer: large enough that a system call costs nothing, small enough to stay in a second-level cache.
const BUFFER_LEN: usize = 512 << 10;
/// Buffers that exist.
const BUFFERS: usize = 8;

/// A stream being read ahead.
pub(crate) struct Input {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: SyncSender<Vec<u8>>,
    /// Octets of the whole input, where that is known beforehand.
    pub(crate) len: Option<u64>,
    /// What messages call it.
    pub(crate) name: String,
}

impl Input {
    /// Opens `path` (`-`: standard input) and begins to read.
    pub(crate) fn open(path: &Path) -> Result<Input, Failure> {
        if path == Path::new("-") {
            return Input::start(Box::new(io::stdin()), None, "standard input".into());
        }
        let file = File::open(path).map_err(|error| {
            Failure::file("open", path, &error)
                .hint("give the path of a recorded stream, or - for standard input")
        })?;
        let facts = file.metadata().map_err(|error| Failure::file("look at", path, &error))?;
        if facts.is_dir() {
            return Err(Failure::new(format!("cannot decode {}: it is a directory", path.display())).hint(
                "give one recorded file; to decode several in order: cat DIR/* | fepctl decode ... -",
            ));
        }
        let len = facts.is_file().then_some(facts.len());
        Input::start(Box::new(file), len, path.display().to_string())
    }

    fn start(mut source: Box<dyn Read + Send>, len: Option<u64>, name: String) -> Result<Input, Failure> {
        let (full_out, full) = sync_channel(BUFFERS);
        let (empty, empty_in) = sync_channel::<Vec<u8>>(BUFFERS);
        for _ in 0..BUFFERS {
            let _ = empty.try_send(vec![0; BUFFER_LEN]);
        }
        std::thread::Builder::new()
            .name("read-ahead".into())
            .spawn(move || {
                // Either channel closes when the decoder leaves early; then there is nobody to read for.
                for mut buffer in empty_in {
                    buffer.resize(BUFFER_LEN, 0);
                    match read_some(&mut *source, &mut buffer) {
                        Ok(0) => return,
                        Ok(len) => {
                            buffer.truncate(len);
                            if full_out.send(Ok(buffer)).is_err() {
                                return;
                            }
                        }
                        Err(error) => {
                            let _ = full_out.send(Err(error));
                            return;
                        }
                    }
                }
            })
            .map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
        Ok(Input { full, empty, len, name })
    }

    /// The next octets in order, handed to `take`; `false` at the end of the stream.
    pub(crate) fn next(&mut self, take: impl FnOnce(&[u8])) -> Result<bool, Failure> {
        match self.full.recv() {
            Ok(Ok(buffer)) => {
                take(&buffer);
                let _ = self.empty.try_send(buffer);
                Ok(true)
            }
            Ok(Err(error)) => {
                Err(Failure::new(format!("cannot read {}: {}", self.name, crate::failure::plain(&error))))
            }
            Err(_) => Ok(false),
        }
    }
}

/// One read, begun again when a signal interrupts it.
fn read_some(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            done => return done,
        }
    }
}
