//! The text of a configuration, and the name it is known by in messages.

use std::path::Path;

use crate::ConfigErrors;

/// A text and the name it is known by in messages.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path of the file, or `<default.toml>` and the like for what is built in.
    pub name: String,
    /// TOML, or what claims to be.
    pub text: String,
}

impl Source {
    /// A text that is known by this name.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        Source { name: name.into(), text: text.into() }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is not UTF-8 text; the line is the first that is none.
    pub fn read(path: &Path) -> Result<Source, ConfigErrors> {
        let name = path.display().to_string();
        let octets = std::fs::read(path)
            .map_err(|error| ConfigErrors::of_file(&name, format!("cannot be read: {error}"), ""))?;
        let text = String::from_utf8(octets).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let mut refused = ConfigErrors::of_file(&name, "not UTF-8 text", "");
            refused.0[0].line = 1 + good.iter().filter(|octet| **octet == b'\n').count();
            refused
        })?;
        Ok(Source { name, text })
    }

    /// Line and column, both from 1, of an octet offset. An offset beyond the end is the end.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
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
}
