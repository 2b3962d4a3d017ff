//! The text of a configuration, and the name it is known by in messages.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;

use crate::ConfigErrors;

/// Longest file that is read, in octets: many times the longest that anybody wrote.
pub const FILE_MAX: u64 = 4 << 20;

/// A text and the name it is known by in messages.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path of the file, or `<default.toml>` and the like for what is built in.
    pub name: String,
    /// TOML, or what claims to be.
    pub text: String,
    /// Where its lines start, once somebody asks for a line.
    line_starts: OnceLock<Vec<usize>>,
}

impl Source {
    /// A text that is known by this name.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        Source { name: name.into(), text: text.into(), line_starts: OnceLock::new() }
    }

    /// Reads a regular file of at most [`FILE_MAX`] octets. Anything else (a FIFO, a device, a directory) is refused
    /// without waiting for it.
    ///
    /// # Errors
    /// When it cannot be read, is no regular file, is too long, or is not UTF-8 text; the line is the first that is none.
    pub fn read(path: &Path) -> Result<Source, ConfigErrors> {
        let name = path.display().to_string();
        let octets = read_regular(path).map_err(|why| ConfigErrors::of_file(&name, why, ""))?;
        let text = String::from_utf8(octets).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let mut refused = ConfigErrors::of_file(&name, "not UTF-8 text", "");
            refused.0[0].line = 1 + good.iter().filter(|octet| **octet == b'\n').count();
            refused.0[0].column = 1;
            refused
        })?;
        Ok(Source::new(name, text))
    }

    /// Line and column, both from 1, of an octet offset. An offset beyond the end is the end.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let starts = self.line_starts.get_or_init(|| {
            let after = self.text.match_indices('\n').map(|(newline, _)| newline + 1);
            std::iter::once(0).chain(after).collect()
        });
        let line = starts.partition_point(|start| *start <= offset);
        (line, self.text[starts[line - 1]..offset].chars().count() + 1)
    }
}

fn read_regular(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let regular = |metadata: std::fs::Metadata| {
        if !metadata.is_file() {
            return Err("cannot be read: it is no regular file".to_owned());
        }
        if metadata.len() > FILE_MAX {
            return Err(format!("is too long: {} octets, at most {FILE_MAX} are read", metadata.len()));
        }
        Ok(())
    };
    // Looked at before it is opened, because opening a device may do something; and after, because the name may lead to
    // something else by then. Without O_NONBLOCK a FIFO would be waited for.
    std::fs::metadata(path).map_err(cannot).and_then(regular)?;
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(cannot)?;
    file.metadata().map_err(cannot).and_then(regular)?;
    let mut octets = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut octets).map_err(cannot)?;
    if octets.len() as u64 > FILE_MAX {
        return Err(format!("is too long: at most {FILE_MAX} octets are read"));
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_and_survive_any_offset() {
        let source = Source::new("x", "a\nbé = 1\n");
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(2), (2, 1));
        assert_eq!(source.position(4), (2, 2), "inside the two octets of é");
        assert_eq!(source.position(5), (2, 3));
        assert_eq!(source.position(1000), (3, 1));
    }
    // REQ: FEP-CFG-101
    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting_and_a_huge_one_without_reading() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        let huge = dir.path().join("huge");
        File::create(&huge).unwrap().set_len(1 << 40).unwrap();
        for (path, why) in [
            (fifo.as_path(), "no regular file"),
            (Path::new("/dev/zero"), "no regular file"),
            (dir.path(), "no regular file"),
            (huge.as_path(), "too long: 1099511627776 octets"),
            (Path::new("/nowhere"), "cannot be read"),
        ] {
            let errors = Source::read(path).unwrap_err();
            assert!(errors.0[0].message.contains(why), "{errors}");
        }
    }
}
