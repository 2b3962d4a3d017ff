//! One TOML file for a family of processes: each reads its own sections, and a mistake is reported with file, line, column,
//! key and what is allowed.
//!
//! A section is a type with `#[serde(default, deny_unknown_fields)]` whose `Default` is the documented default.
//!
//! ```
//! #[derive(Debug, Default, PartialEq, serde::Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct Http { threads: u16 }
//!
//! let document = fep_config::Document::from_text("mine.toml", "[http]\nthreads = 2\n").unwrap();
//! document.only(&["http", "retention"]).unwrap();
//! assert_eq!(document.section::<Http>("http").unwrap(), Http { threads: 2 });
//!
//! let document = fep_config::Document::from_text("mine.toml", "[http]\nthread = 2\n").unwrap();
//! let error = document.section::<Http>("http").unwrap_err();
//! assert_eq!(error.to_string(), "mine.toml:2:1: http.thread: unknown key (allowed: `threads`)");
//! ```

use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::{ConfigErrors, Diagnostics, Source};

/// A configuration file as read, with the place of every key.
#[derive(Debug, Clone)]
pub struct Document(Source);

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is not TOML.
    pub fn read(path: &Path) -> Result<Document, ConfigErrors> {
        Document::of(Source::read(path)?)
    }

    /// Takes a text that is known by the name `file`.
    ///
    /// # Errors
    /// When it is not TOML.
    pub fn from_text(file: impl Into<String>, text: impl Into<String>) -> Result<Document, ConfigErrors> {
        Document::of(Source::new(file, text))
    }

    fn of(source: Source) -> Result<Document, ConfigErrors> {
        let document = Document(source);
        document.root().map(drop)?;
        Ok(document)
    }

    /// The file's tables with their places, borrowed from the text. A start reads a handful of sections: nothing is kept.
    fn root(&self) -> Result<DeTable<'_>, ConfigErrors> {
        DeTable::parse(&self.0.text)
            .map(Spanned::into_inner)
            .map_err(|error| self.one(error.span().unwrap_or(0..0), "", error.message(), ""))
    }

    /// Refuses sections (and keys outside of any) that no process of the family knows.
    ///
    /// # Errors
    /// One for each unknown name.
    pub fn only(&self, known: &[&str]) -> Result<(), ConfigErrors> {
        let mut found = Diagnostics::default();
        for (key, _) in self.root()?.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            found.report(&self.0, &key.span(), key.get_ref(), "unknown section", known.join(", "));
        }
        found.into_result()
    }

    /// The directory of the file: paths in it are relative to this.
    #[must_use]
    pub fn directory(&self) -> &Path {
        Path::new(&self.0.name).parent().unwrap_or(Path::new(""))
    }

    /// The section of this name; its default where the file does not have it.
    ///
    /// # Errors
    /// The first mistake in the section.
    pub fn section<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, ConfigErrors> {
        let root = self.root()?;
        let Some((_, value)) = root.iter().find(|(key, _)| key.get_ref().as_ref() == name) else {
            return Ok(T::default());
        };
        T::deserialize(ValueDeserializer::from(value.clone())).map_err(|error| {
            let span = error.span().unwrap_or_else(|| value.span());
            let mut key = name.to_owned();
            key_at(value.get_ref(), &span, &mut key);
            let message = error.message();
            let (message, allowed) = message.split_once(", expected ").unwrap_or((message, ""));
            let message = if message.starts_with("unknown field") { "unknown key" } else { message };
            self.one(span, &key, message, allowed.strip_prefix("one of ").unwrap_or(allowed))
        })
    }

    /// A mistake that only the program can see, at the key of this dotted path (or at the nearest section above it that
    /// the file has).
    #[must_use]
    pub fn mistake(&self, key: &str, message: &str, allowed: &str) -> ConfigErrors {
        let Ok(root) = self.root() else { return self.one(0..0, key, message, allowed) };
        let mut table = Some(&root);
        let mut span = 0..0;
        for part in key.split('.') {
            let Some((name, value)) =
                table.and_then(|table| table.iter().find(|(name, _)| name.get_ref().as_ref() == part))
            else {
                break;
            };
            span = name.span();
            table = match value.get_ref() {
                DeValue::Table(table) => Some(table),
                _ => None,
            };
        }
        self.one(span, key, message, allowed)
    }

    fn one(&self, span: Range<usize>, key: &str, message: &str, allowed: &str) -> ConfigErrors {
        ConfigErrors::one(&self.0, &span, key, message, allowed)
    }
}

/// Extends `path` by the keys that lead to what is at `span`.
fn key_at(value: &DeValue<'_>, span: &Range<usize>, path: &mut String) {
    match value {
        DeValue::Table(table) => {
            for (key, value) in table.iter() {
                let here = key.span() == *span;
                if here || encloses(value, span) {
                    path.push('.');
                    path.push_str(key.get_ref());
                    if !here {
                        key_at(value.get_ref(), span, path);
                    }
                    return;
                }
            }
        }
        DeValue::Array(values) => {
            if let Some((index, value)) = values.iter().enumerate().find(|(_, value)| encloses(value, span)) {
                path.push_str(&format!("[{index}]"));
                key_at(value.get_ref(), span, path);
            }
        }
        _ => {}
    }
}

/// Whether what is at `span` is part of this value. The span of a `[table]` covers only its header: look inside.
fn encloses(value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    let own = value.span();
    if own.start <= span.start && span.end <= own.end {
        return true;
    }
    match value.get_ref() {
        DeValue::Table(table) => {
            table.iter().any(|(key, value)| key.span() == *span || encloses(value, span))
        }
        DeValue::Array(values) => values.iter().any(|value| encloses(value, span)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Section {
        level: Level,
        size: u16,
        inner: BTreeMap<String, Inner>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Level {
        #[default]
        Low,
        High,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        list: Vec<u8>,
    }

    fn refusal(text: &str) -> String {
        let document = Document::from_text("x.toml", text).expect("TOML");
        document.section::<Section>("s").expect_err("a mistake").to_string()
    }

    // REQ: FEP-KIT-001
    #[test]
    fn a_mistake_is_reported_with_file_line_column_key_and_what_is_allowed() {
        assert_eq!(
            refusal("[s]\nsize = 1\nlevel = \"middle\"\n"),
            "x.toml:3:9: s.level: unknown variant `middle` (allowed: `low` or `high`)"
        );
        assert_eq!(
            refusal("[s]\nsize = 70000\n"),
            "x.toml:2:8: s.size: invalid value: integer `70000` (allowed: u16)"
        );
        assert_eq!(
            refusal("[s.inner.\"é\"]\nlist = [1, 2]\n[s.inner.b]\nlist = [1, \"2\"]\n"),
            "x.toml:4:12: s.inner.b.list[1]: invalid type: string \"2\" (allowed: u8)"
        );
        assert_eq!(
            refusal("[s.inner.a]\nlost = 1\n"),
            "x.toml:2:1: s.inner.a.lost: unknown key (allowed: `list`)"
        );
    }

    #[test]
    fn a_text_that_is_not_toml_and_a_file_that_is_not_there_are_reported_by_place() {
        let error = Document::from_text("x.toml", "[s]\nsize = = 1\n").expect_err("not TOML");
        assert!(error.to_string().starts_with("x.toml:2:"), "{error}");
        let error = Document::read(Path::new("/nowhere/x.toml")).expect_err("no file");
        assert!(error.to_string().starts_with("/nowhere/x.toml:1:1: cannot be read: "), "{error}");
    }

    #[test]
    fn every_unknown_section_is_reported_and_an_absent_one_is_its_default() {
        let document =
            Document::from_text("x.toml", "stray = 1\n[s]\n[t]\n[feeds]\nport = 1\n").expect("TOML");
        let errors = document.only(&["s", "feeds"]).expect_err("two are unknown");
        assert_eq!(
            errors.to_string(),
            "x.toml:1:1: stray: unknown section (allowed: s, feeds)\nx.toml:3:2: t: unknown section (allowed: s, feeds)"
        );
        assert_eq!(document.section::<Section>("absent"), Ok(Section::default()));
    }

    #[test]
    fn a_mistake_that_the_program_finds_points_at_its_key() {
        let document = Document::from_text("x.toml", "[s]\nsize = 1\n").expect("TOML");
        let reported = |key| document.mistake(key, "too small", "2 to 9").to_string();
        assert_eq!(reported("s.size"), "x.toml:2:1: s.size: too small (allowed: 2 to 9)");
        assert_eq!(reported("s.level"), "x.toml:1:2: s.level: too small (allowed: 2 to 9)");
    }
}
