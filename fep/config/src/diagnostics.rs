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
        let (file, key) = (printable(&source.name), printable(key));
        let (message, allowed) = (printable(&message.into()), printable(&allowed.into()));
        ConfigError { file, line, column, key, message, allowed }
    }
}

/// The text as it may be shown on a terminal: what a file holds must not be able to command it.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(' '),
            // Control characters, and those that turn the direction of the text around.
            _ if character.is_control()
                || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                shown.extend(character.escape_unicode());
            }
            _ => shown.push(character),
        }
    }
    shown
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

/// Mistakes, in the order of file and line: the first [`SHOWN_MAX`], and how many more there are. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// One mistake that concerns a file as a whole: it is reported at its first line.
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
    /// Reported beyond what is kept.
    more: usize,
}

/// Mistakes that are shown: more than anybody mends before the file is read again.
pub const SHOWN_MAX: usize = 50;
/// Mistakes that are kept while others come.
const KEPT_MAX: usize = 1_000;

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
        if self.errors.len() >= 2 * KEPT_MAX {
            self.compact();
        }
    }

    /// In the order of the files, each once, no more than are kept.
    fn compact(&mut self) {
        self.errors.sort();
        self.errors.dedup();
        self.more += self.errors.len().saturating_sub(KEPT_MAX);
        self.errors.truncate(KEPT_MAX);
    }

    /// Whether none was reported so far.
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// How many were reported so far.
    pub fn len(&self) -> usize {
        self.errors.len() + self.more
    }

    /// `Ok` when nothing was reported. A section that was read several times reports its mistakes once.
    ///
    /// # Errors
    /// What was reported, in the order of the files; the last one says how many are not shown, if there are more than
    /// [`SHOWN_MAX`].
    pub fn into_result(mut self) -> Result<(), ConfigErrors> {
        self.compact();
        let hidden = self.errors.len().saturating_sub(SHOWN_MAX) + self.more;
        if let Some(first_hidden) = self.errors.get(SHOWN_MAX) {
            let (key, allowed) = (String::new(), String::new());
            let message = format!("{hidden} more mistakes from here on");
            let summary = ConfigError { key, message, allowed, ..first_hidden.clone() };
            self.errors.truncate(SHOWN_MAX);
            self.errors.push(summary);
        }
        if self.errors.is_empty() { Ok(()) } else { Err(ConfigErrors(self.errors)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-CFG-102
    #[test]
    fn of_forty_thousand_mistakes_the_first_fifty_are_shown_and_the_rest_are_counted() {
        let text: String = (0..40_000).map(|number| format!("k{number} = 1\n")).collect();
        let source = Source::new("many.toml", text);
        let mut found = Diagnostics::default();
        let table = crate::parse(&source, &mut found);
        crate::Section::root(&source, &table).finish(&mut found);
        assert_eq!(found.len(), 40_000);
        let ConfigErrors(errors) = found.into_result().unwrap_err();
        assert_eq!(errors.len(), SHOWN_MAX + 1);
        assert_eq!((errors[49].line, errors[49].key.as_str()), (50, "k49"));
        assert_eq!(errors[50].to_string(), "many.toml:51:1: 39950 more mistakes from here on");
    }

    // REQ: FEP-CFG-102
    #[test]
    fn control_characters_of_a_file_do_not_reach_the_terminal() {
        let source = Source::new("odd\u{1b}.toml", "\"\u{1b}[2J\u{202e}\" = 1\n");
        let errors = ConfigErrors::one(&source, &(0..1), "\u{1b}[2J", "two\nlines\u{7}", "\u{202e}");
        assert_eq!(
            errors.to_string(),
            "odd\\u{1b}.toml:1:1: \\u{1b}[2J: two lines\\u{7} (allowed: \\u{202e})"
        );
    }
}
