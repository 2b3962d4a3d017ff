//! What is wrong in a configuration, and exactly where.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::Source;

/// One mistake: where it is, what it is, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConfigError {
    /// Path of the file as given, or `<default.toml>` and the like for what is built in.
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

impl ConfigError {
    fn new(
        source: &Source,
        span: &Range<usize>,
        key: &str,
        message: impl Into<String>,
        allowed: impl Into<String>,
    ) -> ConfigError {
        let (line, column) = source.position(span.start);
        let (message, allowed) = (message.into(), allowed.into());
        ConfigError { file: source.name.clone(), line, column, key: key.to_owned(), message, allowed }
    }
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

/// Every mistake found, in the order of file and line. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// One mistake that concerns a file as a whole: it is told at its first line.
    #[must_use]
    pub fn of_file(file: &str, message: impl Into<String>, allowed: impl Into<String>) -> ConfigErrors {
        ConfigErrors::one(&Source::new(file, ""), &(0..0), "", message, allowed)
    }

    /// One mistake, at octets of a text.
    #[must_use]
    pub fn one(
        source: &Source,
        span: &Range<usize>,
        key: &str,
        message: impl Into<String>,
        allowed: impl Into<String>,
    ) -> ConfigErrors {
        ConfigErrors(vec![ConfigError::new(source, span, key, message, allowed)])
    }
}

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

/// Collects mistakes while a configuration is read: loading never stops at the first, so that a file is repaired in one
/// go.
#[derive(Debug, Default)]
pub struct Diagnostics {
    errors: Vec<ConfigError>,
}

impl Diagnostics {
    /// One more: at octets of a text, under a dotted key.
    pub fn report(
        &mut self,
        source: &Source,
        span: &Range<usize>,
        key: &str,
        message: impl Into<String>,
        allowed: impl Into<String>,
    ) {
        self.errors.push(ConfigError::new(source, span, key, message, allowed));
    }

    /// Whether none was reported so far.
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// How many were reported so far.
    pub fn len(&self) -> usize {
        self.errors.len()
    }

    /// `Ok` when nothing was reported. A section that was read several times reports its mistakes once.
    ///
    /// # Errors
    /// Everything reported, in the order of the files.
    pub fn into_result(mut self) -> Result<(), ConfigErrors> {
        self.errors.sort();
        self.errors.dedup();
        if self.errors.is_empty() { Ok(()) } else { Err(ConfigErrors(self.errors)) }
    }
}
