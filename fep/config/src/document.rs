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
//! assert_eq!(error.to_string(), "mine.toml:2:1: http.thread: unknown key; did you mean threads? (allowed: threads)");
//! ```

use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

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
        let mut found = Diagnostics::default();
        let table = crate::parse(&self.0, &mut found);
        found.into_result().map(|()| table.into_inner())
    }

    /// Refuses sections (and keys outside of any) that no process of the family knows.
    ///
    /// # Errors
    /// One for each unknown name.
    pub fn only(&self, known: &[&str]) -> Result<(), ConfigErrors> {
        let mut found = Diagnostics::default();
        for (key, _) in self.root()?.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            let what = match crate::nearest(key.get_ref(), known.iter().copied()) {
                Some(near) => format!("unknown section; did you mean {near}?"),
                None => "unknown section".to_owned(),
            };
            found.report(&self.0, &key.span(), key.get_ref(), what, known.join(", "));
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
    /// Every mistake in the section.
    pub fn section<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, ConfigErrors> {
        let root = self.root()?;
        let Some((_, value)) = root.iter().find(|(key, _)| key.get_ref().as_ref() == name) else {
            return Ok(T::default());
        };
        let mut found = Diagnostics::default();
        let read = crate::every::read(&self.0, name, value, &mut found);
        found.into_result()?;
        // Nothing is read only after a report.
        read.ok_or_else(|| self.one(value.span(), name, "cannot be read", ""))
    }

    /// The whole file as one type.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn whole<T: DeserializeOwned>(&self) -> Result<T, ConfigErrors> {
        let value = Spanned::new(0..0, DeValue::Table(self.root()?));
        let mut found = Diagnostics::default();
        let read = crate::every::read(&self.0, "", &value, &mut found);
        found.into_result()?;
        read.ok_or_else(|| self.one(0..0, "", "cannot be read", ""))
    }

    /// A mistake that only the program can see, at the key of this dotted path (or at the nearest section above it that
    /// the file has). A table of a list is named with its index: `station[2].rate_bps`.
    #[must_use]
    pub fn mistake(&self, key: &str, message: &str, allowed: &str) -> ConfigErrors {
        let Ok(root) = self.root() else { return self.one(0..0, key, message, allowed) };
        let mut table = Some(&root);
        let mut span = 0..0;
        for part in key.split('.') {
            let (part, index) = match part.strip_suffix(']').and_then(|part| part.split_once('[')) {
                Some((part, index)) => (part, index.parse::<usize>().ok()),
                None => (part, None),
            };
            let Some((name, value)) =
                table.and_then(|table| table.iter().find(|(name, _)| name.get_ref().as_ref() == part))
            else {
                break;
            };
            span = name.span();
            let mut value = value;
            if let (Some(index), DeValue::Array(items)) = (index, value.get_ref())
                && let Some(item) = items.get(index)
            {
                span = item.span();
                value = item;
            }
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
            "x.toml:3:9: s.level: \"middle\" is not a choice (allowed: low, high)"
        );
        assert_eq!(
            refusal("[s]\nsize = 70000\n"),
            "x.toml:2:8: s.size: 70000 is out of range (allowed: a whole number, 0 to 65535)"
        );
        assert_eq!(
            refusal("[s.inner.\"é\"]\nlist = [1, 2]\n[s.inner.b]\nlist = [1, \"2\"]\n"),
            "x.toml:4:12: s.inner.b.list[1]: string \"2\" does not fit here (allowed: a whole number, 0 to 255)"
        );
        assert_eq!(
            refusal("[s.inner.a]\nlost = 1\n"),
            "x.toml:2:1: s.inner.a.lost: unknown key; did you mean list? (allowed: list)"
        );
    }

    // REQ: FEP-CFG-350
    #[test]
    fn every_mistake_of_a_section_is_reported_at_once() {
        let text = "[s]\nsize = 70000\nlevel = 3\nnosuch = 1\n[s.inner.a]\nlist = [1, 300, \"2\"]\nlost = 1\n[s.inner.b]\nlots = 1\n";
        let lines: Vec<String> = refusal(text).lines().map(str::to_owned).collect();
        let starts = [
            "x.toml:2:8: s.size: 70000 is out of range",
            "x.toml:3:9: s.level: ",
            "x.toml:4:1: s.nosuch: unknown key (allowed: level, size, inner)",
            "x.toml:6:12: s.inner.a.list[1]: 300 is out of range",
            "x.toml:6:17: s.inner.a.list[2]: string \"2\" does not fit here",
            "x.toml:7:1: s.inner.a.lost: unknown key",
            "x.toml:9:1: s.inner.b.lots: unknown key",
        ];
        assert_eq!(lines.len(), starts.len(), "{lines:#?}");
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(start), "{line} does not begin with {start}");
        }
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct Stations(Vec<Station>);

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Station {
        name: String,
        rate: u32,
        way: Way,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
    enum Way {
        Tcp { port: u16 },
    }

    // REQ: FEP-CFG-350
    #[test]
    fn a_whole_file_is_read_as_one_type() {
        let read = |text| Document::from_text("x.toml", text).expect("TOML").whole::<Section>();
        assert_eq!(read("size = 3\n").map(|whole| whole.size), Ok(3));
        assert_eq!(
            read("size = \"3\"\nnosuch = 1\n").expect_err("mistakes").to_string(),
            "x.toml:1:8: size: string \"3\" does not fit here (allowed: a whole number, 0 to 65535)\n\
             x.toml:2:1: nosuch: unknown key (allowed: level, size, inner)"
        );
    }

    // REQ: FEP-CFG-350
    #[test]
    fn a_list_of_tables_is_read_to_its_end_and_nothing_that_was_wrong_is_also_called_missing() {
        let text = "[[s]]\nname = 7\nrate = \"x\"\nway = { kind = \"tcp\", part = 1, port = 2 }\n[[s]]\nname = \"b\"\nway = { kind = \"tpc\" }\n[[s]]\nrate = -1\n";
        let document = Document::from_text("x.toml", text).expect("TOML");
        let refused = document.section::<Stations>("s").expect_err("mistakes").to_string();
        let starts = [
            "x.toml:2:8: s[0].name: ",
            "x.toml:3:8: s[0].rate: ",
            "x.toml:4:23: s[0].way.part: unknown key; did you mean port? (allowed: port)",
            "x.toml:5:1: s[1].rate: missing key",
            "x.toml:7:",
            "x.toml:8:1: s[2].name: missing key",
            "x.toml:9:8: s[2].rate: ",
        ];
        let lines: Vec<&str> = refused.lines().collect();
        assert_eq!(lines.len(), starts.len(), "{lines:#?}");
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(start), "{line} does not begin with {start}");
        }
    }

    #[test]
    fn a_text_that_is_not_toml_and_a_file_that_is_not_there_are_reported_by_place() {
        let error = Document::from_text("x.toml", "[s]\nsize = = 1\n").expect_err("not TOML");
        assert!(error.to_string().starts_with("x.toml:2:"), "{error}");
        let error = Document::read(Path::new("/nowhere/x.toml")).expect_err("no file");
        assert!(error.to_string().starts_with("/nowhere/x.toml: cannot be read: "), "{error}");
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
        let document = Document::from_text("x.toml", "[[s]]\na = 1\n[[s]]\nb = 2\n").expect("TOML");
        let reported = |key| document.mistake(key, "odd", "").to_string();
        assert_eq!(reported("s[1].b"), "x.toml:4:1: s[1].b: odd");
        assert_eq!(reported("s[1].a"), "x.toml:3:1: s[1].a: odd");
        assert_eq!(reported("s[9]"), "x.toml:1:3: s[9]: odd");
    }
}
