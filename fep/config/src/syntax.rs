//! Mistakes of TOML itself, and tables or keys that are written twice, in words that name them.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::{Diagnostics, Source};

/// Reports every mistake that the parser found.
pub(crate) fn report(source: &Source, errors: Vec<toml::de::Error>, found: &mut Diagnostics) {
    // What stands below a table that was opened a second time: its keys are no mistakes of their own.
    let mut below: Range<usize> = 0..0;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().trim();
        if message != "duplicate key" {
            let message = message.strip_suffix(", expected nothing").unwrap_or(message);
            found.report(source, &span, "", format!("not TOML: {message}"), "");
        } else if !below.contains(&span.start) {
            let twice = Twice::at(&source.text, &span);
            let first = twice.first.map_or_else(String::new, |line| format!("; the first is in line {line}"));
            found.report(source, &span, &twice.key, format!("is written twice{first}"), "");
            below = twice.below;
        }
    }
}

/// A table or key that is written twice.
struct Twice {
    /// Its dotted path.
    key: String,
    /// Line of the first, where it can be told.
    first: Option<usize>,
    /// What belongs to the second table; empty for a key.
    below: Range<usize>,
}

impl Twice {
    fn at(text: &str, span: &Range<usize>) -> Twice {
        let mut table = String::new();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut start = 0;
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let next = start + line.len();
            let here = (start..next).contains(&span.start);
            if let Some(name) = header(line) {
                if here {
                    let rest = text[next..].split_inclusive('\n');
                    let len: usize =
                        rest.take_while(|line| !line.trim_start().starts_with('[')).map(str::len).sum();
                    return Twice { first: seen.get(&name).copied(), key: name, below: next..next + len };
                }
                seen.entry(name.clone()).or_insert(index + 1);
                table = name;
            } else if let Some((key, _)) =
                line.split_once('=').filter(|_| !line.trim_start().starts_with('#'))
            {
                let key = key.trim();
                let path = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
                if here && text.get(span.clone()) == Some(key) {
                    return Twice { first: seen.get(&path).copied(), key: path, below: 0..0 };
                }
                seen.entry(path).or_insert(index + 1);
            }
            if here {
                break;
            }
            start = next;
        }
        // Inside a value, or a part of a dotted key: only its own name is certain.
        Twice { key: text.get(span.clone()).unwrap_or_default().to_owned(), first: None, below: 0..0 }
    }
}

/// The name in the head of a table, blanks removed; of the tables of a list none, because they may be many.
fn header(line: &str) -> Option<String> {
    let inside = line.trim_start().strip_prefix('[')?;
    if inside.starts_with('[') {
        return None;
    }
    let (name, _) = inside.split_once(']')?;
    Some(name.split('.').map(str::trim).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let source = Source::new("x.toml", text);
        let mut found = Diagnostics::default();
        crate::parse(&source, &mut found);
        found.into_result().expect_err("a mistake").to_string()
    }

    // REQ: FEP-CFG-310
    #[test]
    fn a_table_or_key_that_is_written_twice_is_one_mistake_with_its_name_and_the_line_of_the_first() {
        let text = "a = 1\n[links.north]\nx = 1\ny = 2\n[links.south]\nx = 1\n[links. north]\nx = 1\ny = 2\n";
        assert_eq!(said(text), "x.toml:7:9: links.north: is written twice; the first is in line 2");
        let text = "[links.north]\nx = 1\n# x = 2\ny = 2\nx = 3\n[b]\nx = 1\n";
        assert_eq!(said(text), "x.toml:5:1: links.north.x: is written twice; the first is in line 2");
        assert_eq!(said("a = { b = 1, b = 2 }\n"), "x.toml:1:14: b: is written twice");
        assert_eq!(said("a = 1\n\na = 2\n"), "x.toml:3:1: a: is written twice; the first is in line 1");
    }

    // REQ: FEP-CFG-310
    #[test]
    fn a_number_with_a_leading_zero_is_one_mistake() {
        let source = Source::new("x.toml", "scid = 055\n");
        let mut found = Diagnostics::default();
        let table = crate::parse(&source, &mut found);
        let root = crate::Section::root(&source, &table);
        assert_eq!(root.integer("scid", 0..=1023u16, &mut found), None);
        let said = found.into_result().expect_err("a mistake").to_string();
        assert_eq!(said, "x.toml:1:8: not TOML: unexpected leading zero");
    }
}
