//! What is wrong in a configuration, and exactly where.
//!
//! Loading never stops at the first mistake: every error found is kept, so that a file is repaired in one go.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// One mistake: where it is, what it is, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConfigError {
    /// Path of the file as given, or `<default.toml>` and `<missions/npp.toml>` for the built-in ones.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Dotted path of the key, e.g. `links.npp.core`; empty when the file could not be read as TOML.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// The values that would be accepted; empty when the message says it all.
    pub allowed: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(out, "{}: ", self.key)?;
        }
        write!(out, "{}", self.message)?;
        if !self.allowed.is_empty() {
            write!(out, " (allowed: {})", self.allowed)?;
        }
        Ok(())
    }
}

/// Every mistake of a configuration, in the order of file and line. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            write!(out, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// A text and the name it is known by in messages.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        Source { name: name.into(), text: text.into() }
    }

    /// Line and column, both from 1, of an octet offset. An offset beyond the end is the end.
    fn position(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// Collects errors while a configuration is read.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    errors: Vec<ConfigError>,
}

impl Diagnostics {
    pub(crate) fn report(
        &mut self,
        source: &Source,
        span: &Range<usize>,
        key: &str,
        message: impl Into<String>,
        allowed: impl Into<String>,
    ) {
        let (line, column) = source.position(span.start);
        let (message, allowed) = (message.into(), allowed.into());
        self.errors.push(ConfigError {
            file: source.name.clone(),
            line,
            column,
            key: key.to_owned(),
            message,
            allowed,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// How many were reported so far.
    pub(crate) fn len(&self) -> usize {
        self.errors.len()
    }

    /// `Ok` when nothing was reported. A section shared by several links reports its mistakes once.
    pub(crate) fn into_result(mut self) -> Result<(), ConfigErrors> {
        self.errors.sort();
        self.errors.dedup();
        if self.errors.is_empty() { Ok(()) } else { Err(ConfigErrors(self.errors)) }
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
