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
    /// Line, from 1; 0 for what concerns the file as a whole.
    pub line: usize,
    /// Column in characters, from 1; 0 as the line.
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
        match self.line {
            0 => write!(out, "{}: ", self.file)?,
            line => write!(out, "{}:{line}:{}: ", self.file, self.column)?,
        }
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
/// Serialised, it is the list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>, Hidden);

/// How many mistakes are not shown: the last error of the list then says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Hidden(usize);

impl Serialize for ConfigErrors {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl From<Vec<ConfigError>> for ConfigErrors {
    fn from(errors: Vec<ConfigError>) -> ConfigErrors {
        ConfigErrors(errors, Hidden(0))
    }
}

impl ConfigErrors {
    /// One mistake that concerns a file as a whole: it has no line.
    #[must_use]
    pub fn of_file(file: &str, message: impl Into<String>, allowed: impl Into<String>) -> ConfigErrors {
        let mut errors = ConfigErrors::one(&Source::new(file, ""), &(0..0), "", message, allowed);
        (errors.0[0].line, errors.0[0].column) = (0, 0);
        errors
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
        ConfigErrors::from(vec![ConfigError::new(source, span, key, message, allowed)])
    }

    /// How many mistakes were found, those that are not shown included.
    #[must_use]
    pub fn count(&self) -> usize {
        match self.1.0 {
            0 => self.0.len(),
            // The last of the list is no mistake: it says how many more there are.
            hidden => self.0.len() - 1 + hidden,
        }
    }

    /// What two parts of a configuration gave; the mistakes of both where either has any.
    ///
    /// # Errors
    /// The mistakes of both.
    pub fn both<A, B>(
        first: Result<A, ConfigErrors>,
        second: Result<B, ConfigErrors>,
    ) -> Result<(A, B), ConfigErrors> {
        match (first, second) {
            (Ok(first), Ok(second)) => Ok((first, second)),
            (Ok(_), Err(errors)) | (Err(errors), Ok(_)) => Err(errors),
            (Err(first), Err(second)) => {
                let mut found = Diagnostics::default();
                for ConfigErrors(mut errors, Hidden(hidden)) in [first, second] {
                    if hidden > 0 {
                        errors.pop();
                    }
                    found.errors.extend(errors);
                    found.more += hidden;
                }
                Err(found.into_errors())
            }
        }
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

    /// Lets the caller say more of what was reported.
    pub fn amend(&mut self, amend: impl FnMut(&mut ConfigError)) {
        self.errors.iter_mut().for_each(amend);
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
    pub fn into_result(self) -> Result<(), ConfigErrors> {
        if self.is_empty() { Ok(()) } else { Err(self.into_errors()) }
    }

    fn into_errors(mut self) -> ConfigErrors {
        self.compact();
        let hidden = self.errors.len().saturating_sub(SHOWN_MAX) + self.more;
        if let Some(first_hidden) = self.errors.get(SHOWN_MAX).or(self.errors.last()).filter(|_| hidden > 0) {
            let (key, allowed) = (String::new(), String::new());
            let message = match hidden {
                1 => "1 more mistake from here on".to_owned(),
                many => format!("{many} more mistakes from here on"),
            };
            let summary = ConfigError { key, message, allowed, ..first_hidden.clone() };
            self.errors.truncate(SHOWN_MAX);
            self.errors.push(summary);
        }
        ConfigErrors(self.errors, Hidden(hidden))
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
        let all = found.into_result().unwrap_err();
        assert_eq!(all.count(), 40_000);
        let errors = all.0;
        assert_eq!(errors.len(), SHOWN_MAX + 1);
        assert_eq!((errors[49].line, errors[49].key.as_str()), (50, "k49"));
        assert_eq!(errors[50].to_string(), "many.toml:51:1: 39950 more mistakes from here on");
    }

    // REQ: FEP-CFG-350
    #[test]
    fn mistakes_of_two_parts_come_together_and_are_counted_whole() {
        let source = Source::new("x.toml", "a\n".repeat(200));
        let many = |from: usize, to: usize| {
            let mut found = Diagnostics::default();
            (from..to).for_each(|at| found.report(&source, &(2 * at..2 * at + 1), "k", format!("{at}"), ""));
            found.into_result()
        };
        let count = |first, second| ConfigErrors::both(first, second).unwrap_err().count();
        assert_eq!(count(many(0, 1), many(1, 3)), 3);
        assert_eq!(count(many(0, 0), many(1, 3)), 2);
        assert_eq!(count(many(0, 51), many(60, 61)), 52);
        assert_eq!(count(many(0, 70), many(80, 170)), 160);
        assert!(ConfigErrors::both(many(0, 0), many(0, 0)).is_ok());
        let of = |to| many(0, to).unwrap_err().0.pop().map(|last| last.message);
        assert_eq!(of(51).as_deref(), Some("1 more mistake from here on"));
        assert_eq!(of(52).as_deref(), Some("2 more mistakes from here on"));
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
