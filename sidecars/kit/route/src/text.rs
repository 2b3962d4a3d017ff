//! Names and texts in bodies: checked when a body is read, and described with exactly the same bounds.

use std::borrow::Cow;
use std::ops::Deref;

use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Longest name.
const NAME_MAX: usize = 64;
/// What the pattern of a name says.
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$";
/// No control characters (Unicode's Cc).
pub(crate) const NO_CONTROL: &str = "^[^\\u0000-\\u001F\\u007F-\\u009F]*$";

/// A name that a caller chooses: 1 to 64 of `A-Z`, `a-z`, `0-9`, `_`, `.`, `-`, the first one a
/// letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A text of 1 to `MOST` characters without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const MOST: usize>(String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Name, String> {
        let is_allowed = |octet: u8| octet.is_ascii_alphanumeric() || b"_.-".contains(&octet);
        if (1..=NAME_MAX).contains(&text.len())
            && text.bytes().all(is_allowed)
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        {
            return Ok(Name(text));
        }
        Err(format!("a name has 1 to {NAME_MAX} of A-Z, a-z, 0-9, _, . and -, the first a letter or digit"))
    }
}

impl<const MOST: usize> TryFrom<String> for Text<MOST> {
    type Error = String;

    fn try_from(text: String) -> Result<Text<MOST>, String> {
        if (1..=MOST).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
            return Ok(Text(text));
        }
        Err(format!("a text here has 1 to {MOST} characters, none of them a control character"))
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl<const MOST: usize> From<Text<MOST>> for String {
    fn from(text: Text<MOST>) -> String {
        text.0
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MOST: usize> Deref for Text<MOST> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

fn schema(most: usize, pattern: &str) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.min_length(Some(1)).max_length(Some(most)).pattern(Some(pattern)).into()
}

impl PartialSchema for Name {
    fn schema() -> RefOr<Schema> {
        schema(NAME_MAX, NAME)
    }
}

impl ToSchema for Name {
    fn name() -> Cow<'static, str> {
        "Name".into()
    }
}

impl<const MOST: usize> PartialSchema for Text<MOST> {
    fn schema() -> RefOr<Schema> {
        schema(MOST, NO_CONTROL)
    }
}

impl<const MOST: usize> ToSchema for Text<MOST> {
    fn name() -> Cow<'static, str> {
        format!("Text{MOST}").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-KIT-323
    #[test]
    fn names_and_texts_take_what_their_schema_takes_and_nothing_else() {
        let name = |text: &str| serde_json::from_value::<Name>(text.into()).is_ok();
        for good in ["a", "A-1_b.c", &"x".repeat(64)] {
            assert!(name(good), "{good}");
        }
        for bad in ["", &"x".repeat(65), "a b", "a/b", "ä", "a\n", "a\u{0}", ".", "..", "-a"] {
            assert!(!name(bad), "{bad:?}");
        }
        let text = |text: &str| serde_json::from_value::<Text<4>>(text.into()).is_ok();
        for good in ["a", "äöüß", "🛰🛰🛰🛰", "a b"] {
            assert!(text(good), "{good}");
        }
        for bad in ["", "abcde", "a\n", "a\u{0}", "a\u{85}", "\u{7f}"] {
            assert!(!text(bad), "{bad:?}");
        }
        let schema = serde_json::to_value(Text::<4>::schema()).expect("JSON");
        assert_eq!((&schema["minLength"], &schema["maxLength"]), (&1.into(), &4.into()));
    }
}
