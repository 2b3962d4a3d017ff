//! A result file, buffered, that has its name once it is whole.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use fep_sim::whole_file::WholeFile;

use crate::failure::Failure;

/// Octets of the buffer.
const WRITE_BUFFER: usize = 1 << 20;

/// A result file. A failed write is remembered, because the sink of a chain cannot stop the chain.
pub(crate) struct OutputFile {
    path: PathBuf,
    writer: BufWriter<WholeFile>,
    failed: Option<io::Error>,
}

impl OutputFile {
    /// Begins a file. Whoever does has called [`crate::signals::end_at_once`] or watches an
    /// [`Ending`](crate::signals::Ending), so that a signal leaves no part behind.
    pub(crate) fn create(path: &Path) -> Result<OutputFile, Failure> {
        let file = WholeFile::create(path).map_err(|error| Failure::file("create", path, &error))?;
        let writer = BufWriter::with_capacity(WRITE_BUFFER, file);
        Ok(OutputFile { path: path.to_owned(), writer, failed: None })
    }

    /// Writes these octets, unless something failed before.
    pub(crate) fn write(&mut self, octets: &[u8]) {
        if self.failed.is_none()
            && let Err(error) = self.writer.write_all(octets)
        {
            self.failed = Some(error);
        }
    }

    /// Whether everything could be written so far.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match &self.failed {
            None => Ok(()),
            Some(error) => Err(Failure::file("write", &self.path, error)),
        }
    }

    /// Gives the file its name.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        self.check()?;
        let path = self.path;
        let file = self.writer.into_inner().map_err(io::IntoInnerError::into_error);
        file.and_then(WholeFile::finish).map_err(|error| Failure::file("write", &path, &error))
    }
}

/// Writes a small file whole.
pub(crate) fn write(path: &Path, octets: &[u8]) -> Result<(), Failure> {
    let mut file = OutputFile::create(path)?;
    file.write(octets);
    file.finish()
}
