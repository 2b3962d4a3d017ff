//! The keys of a code in configuration, as data: who reads a file needs to know no code.
//!
//! A codec lists its [`Key`]s. A reader of configuration walks them, reports mistakes with file and line in its own way, and
//! collects [`Values`]; [`Entry::read`](super::Entry) makes the code of them. Here is the reader for everything that
//! [`serde`] reads: JSON, and codes on a command line.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::registry::Entry;

/// A parameter of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What is written behind it.
    pub form: Form,
    /// Whether it has no default.
    pub required: bool,
}

/// What may be written behind a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One of these words; those that are numbers with or without quotes.
    Choice(&'static [&'static str]),
    /// A number.
    Integer {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// `true` or `false`.
    Boolean,
    /// A table with these keys.
    Table(&'static [Key]),
}

impl Key {
    /// A key with a default.
    pub const fn new(name: &'static str, form: Form) -> Key {
        Key { name, form, required: false }
    }

    /// A key without a default.
    pub const fn required(name: &'static str, form: Form) -> Key {
        Key { name, form, required: true }
    }

    /// What is allowed, for messages.
    pub fn allowed(&self) -> String {
        match self.form {
            Form::Choice(names) => names.join(", "),
            Form::Integer { least, most } => format!("{least} to {most}"),
            Form::Boolean => "true, false".to_owned(),
            Form::Table(_) => "a table".to_owned(),
        }
    }
}

/// The names of a table of choices, for [`Form::Choice`].
pub const fn names<T: Copy, const N: usize>(choices: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut i = 0;
    while i < N {
        names[i] = choices[i].0;
        i += 1;
    }
    names
}

/// One value, of its key's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Which of the choices, from 0.
    Choice(usize),
    /// A number of the range.
    Integer(u64),
    /// True or false.
    Boolean(bool),
    /// The values of a table.
    Table(Values),
}

/// The values that were written, by key. Keys that were not written, or not as they may be, are not among them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Values(Vec<(&'static str, Value)>);

impl Values {
    /// One more.
    pub fn set(&mut self, key: &Key, value: Value) {
        self.0.push((key.name, value));
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// What the choice stands for, by the table that gave the key its [`names`].
    pub fn choice<T: Copy>(&self, key: &str, choices: &[(&'static str, T)]) -> Option<T> {
        match self.get(key)? {
            Value::Choice(index) => choices.get(*index).map(|(_, choice)| *choice),
            _ => None,
        }
    }

    /// A number; the key's range fits its type.
    pub fn integer<T: TryFrom<u64>>(&self, key: &str) -> Option<T> {
        match self.get(key)? {
            Value::Integer(integer) => T::try_from(*integer).ok(),
            _ => None,
        }
    }

    /// True or false.
    pub fn boolean(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Boolean(boolean) => Some(*boolean),
            _ => None,
        }
    }

    /// The values of a table.
    pub fn table(&self, key: &str) -> Option<&Values> {
        match self.get(key)? {
            Value::Table(values) => Some(values),
            _ => None,
        }
    }
}

/// What is known of the frames that a code shall carry, from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameShape {
    /// Octets of a frame.
    pub frame_len: Option<usize>,
    /// Whether it ends with the CRC-16 (132.0-B-3 4.1.6, 732.0-B-4 4.1.6).
    pub has_crc16: Option<bool>,
}

impl FrameShape {
    /// The length, for codes that leave it open.
    ///
    /// # Errors
    /// [`Refusal::Missing`] when it is not known.
    pub fn required_len(&self) -> Result<usize, Refusal> {
        self.frame_len.ok_or(Refusal::Missing(FRAME_LEN))
    }
}

/// Why values make no code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no value of this key. A reader that reports mistakes has reported it already.
    Missing(&'static str),
    /// The value of a key is possible, but not here.
    At {
        /// Which key.
        key: &'static str,
        /// Why.
        message: String,
        /// What is allowed instead; empty when the message says it.
        allowed: &'static str,
    },
}

/// Names the code.
const CODE: &str = "code";
/// The length of the frames, where no frame is described beside the code.
const FRAME_LEN: &str = "frame_len";

/// What self-describing formats hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Written {
    Nothing,
    Boolean(bool),
    Integer(i64),
    Text(String),
    Table(BTreeMap<String, Written>),
    Other(serde::de::IgnoredAny),
}

/// Reads a code: `code` names it, `frame_len` is the length of frames for codes that leave it open, other keys are its own.
pub(super) fn read_code<C: Copy>(
    registry: &'static [Entry<C>],
    mut table: BTreeMap<String, Written>,
) -> Result<C, String> {
    let names: Vec<&str> = registry.iter().map(|entry| entry.name).collect();
    let written = table.remove(CODE).ok_or_else(|| mistake(CODE, "missing key", &names.join(", ")))?;
    let entry = registry[chosen(CODE, &written, &names)?];
    let mut frame = FrameShape::default();
    if entry.open_frame_len
        && let Some(written) = table.remove(FRAME_LEN)
    {
        let frame_len = number(FRAME_LEN, &written, 1, super::UNCODED_FRAME_LEN_MAX as u64)?;
        frame.frame_len = Some(frame_len as usize);
    }
    let values = read_table("", entry.keys, table)?;
    (entry.read)(&values, &frame).map_err(|refusal| match refusal {
        Refusal::Missing(key) => mistake(key, "missing key", ""),
        Refusal::At { key, message, allowed } => mistake(key, &message, allowed),
    })
}

fn read_table(
    path: &str,
    keys: &'static [Key],
    mut table: BTreeMap<String, Written>,
) -> Result<Values, String> {
    let mut values = Values::default();
    for key in keys {
        let path = format!("{path}{}", key.name);
        let value = match (table.remove(key.name).unwrap_or(Written::Nothing), key.form) {
            (Written::Nothing, _) if key.required => {
                return Err(mistake(&path, "missing key", &key.allowed()));
            }
            (Written::Nothing, _) => continue,
            (written, Form::Choice(names)) => Value::Choice(chosen(&path, &written, names)?),
            (written, Form::Integer { least, most }) => Value::Integer(number(&path, &written, least, most)?),
            (Written::Boolean(boolean), Form::Boolean) => Value::Boolean(boolean),
            (Written::Table(table), Form::Table(keys)) => {
                Value::Table(read_table(&format!("{path}."), keys, table)?)
            }
            (_, Form::Boolean | Form::Table(_)) => {
                return Err(mistake(&path, "not what is expected here", &key.allowed()));
            }
        };
        values.set(key, value);
    }
    match table.keys().next() {
        Some(unknown) => {
            let known = keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", ");
            Err(mistake(&format!("{path}{unknown}"), "unknown key", &known))
        }
        None => Ok(values),
    }
}

fn chosen(path: &str, written: &Written, names: &[&str]) -> Result<usize, String> {
    let text = match written {
        Written::Text(text) => text.clone(),
        Written::Integer(integer) => integer.to_string(),
        _ => String::new(),
    };
    names
        .iter()
        .position(|name| *name == text)
        .ok_or_else(|| mistake(path, &format!("{text:?} is not a choice"), &names.join(", ")))
}

fn number(path: &str, written: &Written, least: u64, most: u64) -> Result<u64, String> {
    let allowed = format!("{least} to {most}");
    let Written::Integer(integer) = written else {
        return Err(mistake(path, "expected an integer", &allowed));
    };
    u64::try_from(*integer)
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| mistake(path, &format!("{integer} is out of range"), &allowed))
}

fn mistake(path: &str, message: &str, allowed: &str) -> String {
    if allowed.is_empty() {
        format!("{path}: {message}")
    } else {
        format!("{path}: {message} (allowed: {allowed})")
    }
}
