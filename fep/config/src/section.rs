//! Walks TOML tables with their spans: typed keys, layers (a user's file over a built-in one), unknown keys found.
//!
//! A method that reads reports what is wrong and returns `None`; the caller goes on with whatever it likes, because a
//! configuration with one report is refused as a whole.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::{Diagnostics, Source};

/// Where a value was written.
#[derive(Debug, Clone)]
pub struct Place<'d> {
    source: &'d Source,
    span: Range<usize>,
    key: String,
}

impl Place<'_> {
    /// Reports a mistake here.
    pub fn report(&self, found: &mut Diagnostics, message: impl Into<String>, allowed: impl Into<String>) {
        found.report(self.source, &self.span, &self.key, message, allowed);
    }
}

/// One file's version of a table.
#[derive(Debug, Clone)]
struct Layer<'d> {
    source: &'d Source,
    table: &'d DeTable<'d>,
    span: Range<usize>,
    /// Dotted path of the table in its own file; empty for the whole file.
    path: String,
}

impl Layer<'_> {
    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// A table as seen through its layers: the first layer that has a key wins.
#[derive(Debug)]
pub struct Section<'d> {
    layers: Vec<Layer<'d>>,
    known: RefCell<BTreeSet<&'static str>>,
}

/// A value with the layer it came from.
struct Found<'d> {
    place: Place<'d>,
    value: &'d DeValue<'d>,
}

/// Parses one file. Mistakes of TOML itself are reported; what could be read is still returned.
pub fn parse<'d>(source: &'d Source, found: &mut Diagnostics) -> Spanned<DeTable<'d>> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    crate::syntax::report(source, errors, found);
    table
}

impl<'d> Section<'d> {
    fn new(layers: Vec<Layer<'d>>) -> Section<'d> {
        Section { layers, known: RefCell::default() }
    }

    /// The whole of one parsed file.
    pub fn root(source: &'d Source, table: &'d Spanned<DeTable<'d>>) -> Section<'d> {
        let path = String::new();
        Section::new(vec![Layer { source, table: table.get_ref(), span: table.span(), path }])
    }

    /// This section laid over another: what it does not say, the other says.
    #[must_use]
    pub fn over(&self, below: &Section<'d>) -> Section<'d> {
        Section::new(self.layers.iter().chain(&below.layers).cloned().collect())
    }

    /// Whether no file has it.
    pub fn is_absent(&self) -> bool {
        self.layers.is_empty()
    }

    /// Where the section itself begins, in the file that has the last word. `None` when no file has it.
    pub fn place(&self) -> Option<Place<'d>> {
        let layer = self.layers.first()?;
        Some(Place { source: layer.source, span: layer.span.clone(), key: layer.path.clone() })
    }

    /// Where a key was written, or where its section begins when it was not.
    pub fn place_of(&self, key: &'static str) -> Option<Place<'d>> {
        match self.find(key) {
            Some(found) => Some(found.place),
            None => self.missing_place(key),
        }
    }

    fn missing_place(&self, key: &str) -> Option<Place<'d>> {
        let layer = self.layers.first()?;
        Some(Place { source: layer.source, span: layer.span.clone(), key: layer.key(key) })
    }

    /// Whether any file has this key.
    pub fn has(&self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    fn find(&self, key: &'static str) -> Option<Found<'d>> {
        self.known.borrow_mut().insert(key);
        self.layers.iter().find_map(|layer| {
            let (_, value) = layer.table.get_key_value(key)?;
            let place = Place { source: layer.source, span: value.span(), key: layer.key(key) };
            Some(Found { place, value: value.get_ref() })
        })
    }

    /// Reports every key that nobody asked for, and what could have been written instead.
    pub fn finish(self, found: &mut Diagnostics) {
        let known = self.known.borrow();
        for layer in &self.layers {
            for key in layer.table.keys().filter(|key| !known.contains(key.get_ref().as_ref())) {
                let path = layer.key(key.get_ref());
                let allowed = known.iter().copied().collect::<Vec<_>>().join(", ");
                let what = crate::near::unknown(key.get_ref(), known.iter().copied());
                found.report(layer.source, &key.span(), &path, what, allowed);
            }
        }
    }

    /// Reads a key that has no default; reports it when it is not there.
    pub fn require<T>(
        &self,
        key: &'static str,
        found: &mut Diagnostics,
        allowed: &str,
        read: impl FnOnce(&Section<'d>, &mut Diagnostics) -> Option<T>,
    ) -> Option<T> {
        if self.has(key) {
            return read(self, found);
        }
        self.missing(key, found, allowed);
        None
    }

    /// Reports that a key which has no default is missing.
    pub fn missing(&self, key: &str, found: &mut Diagnostics, allowed: &str) {
        if let Some(place) = self.missing_place(key) {
            place.report(found, "missing key", allowed);
        }
    }

    fn wrong_type(place: &Place<'_>, value: &DeValue<'_>, expected: &str, found: &mut Diagnostics) {
        Self::wrong_type_of(place, value, expected, "", found);
    }

    fn wrong_type_of(
        place: &Place<'_>,
        value: &DeValue<'_>,
        expected: &str,
        allowed: &str,
        found: &mut Diagnostics,
    ) {
        place.report(found, format!("expected {expected}, found {}", article(value.type_str())), allowed);
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &'static str, found: &mut Diagnostics) -> Option<bool> {
        let Found { place, value } = self.find(key)?;
        let boolean = value.as_bool();
        if boolean.is_none() {
            Self::wrong_type(&place, value, "true or false", found);
        }
        boolean
    }

    /// An integer within `range`.
    pub fn integer<T>(
        &self,
        key: &'static str,
        range: RangeInclusive<T>,
        found: &mut Diagnostics,
    ) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display + Copy,
    {
        let Found { place, value } = self.find(key)?;
        Self::integer_value(&place, value, &range, &|| None, found)
    }

    /// An integer within `range`, of which the caller allows less: `allowed` says what, to whoever writes no integer.
    pub fn integer_of<T>(
        &self,
        key: &'static str,
        range: RangeInclusive<T>,
        allowed: &dyn Fn() -> Option<String>,
        found: &mut Diagnostics,
    ) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display + Copy,
    {
        let Found { place, value } = self.find(key)?;
        Self::integer_value(&place, value, &range, allowed, found)
    }

    fn integer_value<T>(
        place: &Place<'_>,
        value: &DeValue<'_>,
        range: &RangeInclusive<T>,
        less: &dyn Fn() -> Option<String>,
        found: &mut Diagnostics,
    ) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display + Copy,
    {
        let allowed = || less().unwrap_or_else(|| format!("{} to {}", range.start(), range.end()));
        let Some(integer) = value.as_integer() else {
            Self::wrong_type_of(place, value, "an integer", &allowed(), found);
            return None;
        };
        if integer.as_str().is_empty() {
            // No number that TOML knows: this was reported when the file was parsed.
            return None;
        }
        let parsed = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = parsed.and_then(|wide| T::try_from(wide).ok()).filter(|number| range.contains(number));
        if number.is_none() {
            place.report(found, format!("{integer} is out of range"), allowed());
        }
        number
    }

    /// An array of integers within `range`; those that are not are reported and left out.
    pub fn integers<T>(
        &self,
        key: &'static str,
        range: RangeInclusive<T>,
        found: &mut Diagnostics,
    ) -> Option<Vec<T>>
    where
        T: TryFrom<i128> + PartialOrd + Display + Copy,
    {
        let (place, items) = self.array(key, found)?;
        let mut integers = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let place = Place { span: item.span(), key: format!("{}[{index}]", place.key), ..place.clone() };
            integers.extend(Self::integer_value(&place, item.get_ref(), &range, &|| None, found));
        }
        Some(integers)
    }

    /// A string, with the place to report to when the caller finds its content wrong.
    pub fn string(&self, key: &'static str, found: &mut Diagnostics) -> Option<(String, Place<'d>)> {
        let Found { place, value } = self.find(key)?;
        let Some(string) = value.as_str() else {
            Self::wrong_type(&place, value, "a string", found);
            return None;
        };
        Some((string.to_owned(), place))
    }

    /// A string, or an array of strings, with their places: one value or several of the same kind.
    pub fn string_or_strings(
        &self,
        key: &'static str,
        found: &mut Diagnostics,
    ) -> Option<Vec<(String, Place<'d>)>> {
        if self.find(key)?.value.as_array().is_some() {
            return self.strings(key, found);
        }
        self.string(key, found).map(|one| vec![one])
    }

    /// An array of strings with their places; what is no string is reported and left out.
    pub fn strings(&self, key: &'static str, found: &mut Diagnostics) -> Option<Vec<(String, Place<'d>)>> {
        let (place, items) = self.array(key, found)?;
        let mut strings = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let place = Place { span: item.span(), key: format!("{}[{index}]", place.key), ..place.clone() };
            match item.get_ref().as_str() {
                Some(string) => strings.push((string.to_owned(), place)),
                None => Self::wrong_type(&place, item.get_ref(), "a string", found),
            }
        }
        Some(strings)
    }

    fn array(
        &self,
        key: &'static str,
        found: &mut Diagnostics,
    ) -> Option<(Place<'d>, &'d [Spanned<DeValue<'d>>])> {
        let Found { place, value } = self.find(key)?;
        match value.as_array() {
            Some(items) => Some((place, items.as_ref())),
            None => {
                Self::wrong_type(&place, value, "an array", found);
                None
            }
        }
    }

    /// One of a closed set of words or numbers, written as in the file, with what each stands for.
    pub fn choice<T: Clone>(
        &self,
        key: &'static str,
        choices: &[(&str, T)],
        found: &mut Diagnostics,
    ) -> Option<T> {
        let Found { place, value } = self.find(key)?;
        let written = match value {
            DeValue::String(string) => string.to_string(),
            DeValue::Integer(integer) => integer.to_string(),
            DeValue::Boolean(boolean) => boolean.to_string(),
            _ => String::new(),
        };
        let chosen = choices.iter().find(|(name, _)| *name == written);
        if chosen.is_none() {
            let allowed = choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            let what = if written.is_empty() { article(value.type_str()) } else { format!("{written:?}") };
            place.report(found, format!("{what} is not a choice"), allowed);
        }
        chosen.map(|(_, value)| value.clone())
    }

    /// One of a closed set of words, or an integer within `range`.
    pub fn word_or_integer<T: Clone>(
        &self,
        key: &'static str,
        words: &[(&str, T)],
        range: RangeInclusive<usize>,
        found: &mut Diagnostics,
    ) -> Option<Result<T, usize>> {
        let Found { place, value } = self.find(key)?;
        if let Some((_, word)) = words.iter().find(|(word, _)| value.as_str() == Some(word)) {
            return Some(Ok(word.clone()));
        }
        let number = value.as_integer().and_then(|integer| {
            usize::from_str_radix(integer.as_str(), integer.radix())
                .ok()
                .filter(|number| range.contains(number))
        });
        if number.is_none() {
            let words = words.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(", ");
            let written = match value {
                DeValue::String(string) => format!("{string:?}"),
                DeValue::Integer(integer) => integer.to_string(),
                other => article(other.type_str()),
            };
            let allowed = format!("{words}, {} to {}", range.start(), range.end());
            place.report(found, format!("{written} is not a choice"), allowed);
        }
        number.map(Err)
    }

    /// A value whose own type says how it is read. Every mistake in it is reported.
    pub fn deserialize<T: serde::de::DeserializeOwned>(
        &self,
        key: &'static str,
        found: &mut Diagnostics,
    ) -> Option<T> {
        let Found { place, value } = self.find(key)?;
        let spanned = Spanned::new(place.span.clone(), value.clone());
        crate::every::read(place.source, &place.key, &spanned, found)
    }

    /// A table inside this one, layers kept.
    pub fn table(&self, key: &'static str, found: &mut Diagnostics) -> Section<'d> {
        self.known.borrow_mut().insert(key);
        let mut layers = Vec::new();
        for layer in &self.layers {
            let Some(value) = layer.table.get(key) else { continue };
            match value.get_ref().as_table() {
                Some(table) => {
                    layers.push(Layer {
                        source: layer.source,
                        table,
                        span: value.span(),
                        path: layer.key(key),
                    });
                }
                None => {
                    let place = Place { source: layer.source, span: value.span(), key: layer.key(key) };
                    Self::wrong_type(&place, value.get_ref(), "a table", found);
                }
            }
        }
        Section::new(layers)
    }

    /// A table inside this one that must be there.
    pub fn require_table(&self, key: &'static str, found: &mut Diagnostics) -> Option<Section<'d>> {
        self.require(key, found, "a table", |section, found| {
            let table = section.table(key, found);
            (!table.is_absent()).then_some(table)
        })
    }

    /// Only the first layer: what the last word's file says of it, nothing inherited.
    #[must_use]
    pub fn first_layer_only(mut self) -> Section<'d> {
        self.layers.truncate(1);
        self
    }

    /// Every named table inside this section, by name. Keys that are not tables are reported.
    pub fn named_tables(&self, found: &mut Diagnostics) -> Vec<(String, Place<'d>, Section<'d>)> {
        let mut names = BTreeSet::new();
        let mut tables = Vec::new();
        for layer in &self.layers {
            for (key, value) in layer.table.iter() {
                let name = key.get_ref().to_string();
                let place = Place { source: layer.source, span: key.span(), key: layer.key(&name) };
                let Some(table) = value.get_ref().as_table() else {
                    Self::wrong_type(&place, value.get_ref(), "a table", found);
                    continue;
                };
                if names.insert(name.clone()) {
                    let path = place.key.clone();
                    let layer = Layer { source: layer.source, table, span: value.span(), path };
                    tables.push((name, place, Section::new(vec![layer])));
                }
            }
        }
        tables
    }

    /// Every `key = value` of this section as strings (names given to numbers).
    pub fn named_strings(&self, found: &mut Diagnostics) -> Vec<(String, Place<'d>, String)> {
        let mut strings = Vec::new();
        for layer in self.layers.iter().take(1) {
            for (key, value) in layer.table.iter() {
                let name = key.get_ref().to_string();
                let place = Place { source: layer.source, span: key.span(), key: layer.key(&name) };
                match value.get_ref().as_str() {
                    Some(string) => strings.push((name, place, string.to_owned())),
                    None => Self::wrong_type(&place, value.get_ref(), "a string", found),
                }
            }
        }
        strings
    }

    /// An array of tables (`[[key]]`), in the order of the file.
    pub fn tables(&self, key: &'static str, found: &mut Diagnostics) -> Vec<Section<'d>> {
        let Some((place, items)) = self.array(key, found) else { return Vec::new() };
        let mut sections = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", place.key);
            match item.get_ref().as_table() {
                Some(table) => {
                    sections.push(Section::new(vec![Layer {
                        source: place.source,
                        table,
                        span: item.span(),
                        path,
                    }]));
                }
                None => {
                    let place = Place { span: item.span(), key: path, ..place.clone() };
                    Self::wrong_type(&place, item.get_ref(), "a table", found);
                }
            }
        }
        sections
    }
}

fn article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}
