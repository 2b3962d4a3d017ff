//! Every mistake of a value that serde reads. Serde stops at the first; here what is wrong is taken out, and the rest is
//! read again.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeValue, ValueDeserializer};

use crate::{Diagnostics, Source, plain_mistake};

/// Rounds of reading: more mistakes than are shown end the search.
const ROUNDS_MAX: usize = 2 * crate::SHOWN_MAX;

/// One step on the way into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Reads a value whose dotted path in its file is `key`, and reports everything that is wrong in it.
pub(crate) fn read<T: DeserializeOwned>(
    source: &Source,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    found: &mut Diagnostics,
) -> Option<T> {
    let mut rest = value.clone();
    // What was taken out: the span of its table or array, and its name there.
    let mut taken: BTreeSet<(usize, usize, String)> = BTreeSet::new();
    for round in 0..ROUNDS_MAX {
        let error = match T::deserialize(ValueDeserializer::from(rest.clone())) {
            Ok(read) if round == 0 => return Some(read),
            Ok(_) => return None,
            Err(error) => error,
        };
        let message = error.message();
        let span = error.span().unwrap_or_else(|| rest.span());
        let mut steps = Vec::new();
        let mut at = steps_to(&rest, &span, &mut steps);
        let inner = innermost::<T>(&rest, &steps, &error);
        if !inner.is_empty() {
            steps.extend(inner.into_iter().map(Step::Key));
            let (name, inside) = entry(&rest, &steps);
            let span = if message.starts_with("unknown field") { name } else { inside };
            report(source, key, value, &span, message, found);
        } else if at.span() == span && is_taken_from(&taken, &span) {
            // It lacks what was taken out of it; only another key that is missing is news.
            match quoted(message, "missing field `") {
                Some(name) if !taken.contains(&(span.start, span.end, name.to_owned())) => {
                    report(source, key, value, &span, message, found);
                }
                _ => {}
            }
        } else {
            report(source, key, value, &span, message, found);
        }
        let last = steps.pop()?;
        at = parent(&rest, &steps);
        let name = match &last {
            Step::Key(name) => name.clone(),
            Step::Index(_) => String::new(),
        };
        taken.insert((at.span().start, at.span().end, name));
        take_out(&mut rest, &steps, &last);
    }
    None
}

/// Keys that are tried to find out which one is wrong.
const TRIED_MAX: usize = 64;

/// Of an enum that a key tells apart, serde knows only the place of the whole table. Which key in the table at `steps` is
/// wrong is found by leaving each out: without it the error is another. The keys lead as deep as that goes; none where serde
/// knew the place.
fn innermost<T: DeserializeOwned>(
    rest: &Spanned<DeValue<'_>>,
    steps: &[Step],
    error: &toml::de::Error,
) -> Vec<String> {
    let mut keys = Vec::new();
    if error.message().starts_with("missing field") {
        return keys;
    }
    let mut steps = steps.to_vec();
    while let DeValue::Table(table) = parent(rest, &steps).get_ref() {
        let without = |names: &[&str]| {
            let mut tree = rest.clone();
            names.iter().for_each(|name| take_out(&mut tree, &steps, &Step::Key((*name).to_owned())));
            T::deserialize(ValueDeserializer::from(tree)).err()
        };
        let names: Vec<&str> = table.keys().map(|key| key.get_ref().as_ref()).take(TRIED_MAX).collect();
        // An empty table lacks the key that tells apart; leaving that one out says nothing about the others.
        let empty = without(&names);
        let tag = empty.as_ref().and_then(|error| quoted(error.message(), "missing field `"));
        // The same mistake may be made in another place, too.
        let changes = |name: &&&str| {
            without(&[**name])
                .is_none_or(|other| other.message() != error.message() || other.span() != error.span())
        };
        let wrong = names.iter().filter(|name| Some(**name) != tag).find(changes);
        let Some(wrong) = wrong.or_else(|| names.iter().find(|name| Some(**name) == tag).filter(changes))
        else {
            break;
        };
        keys.push((*wrong).to_owned());
        steps.push(Step::Key((*wrong).to_owned()));
    }
    keys
}

/// The spans of the key that the steps lead to, and of its value.
fn entry(value: &Spanned<DeValue<'_>>, steps: &[Step]) -> (Range<usize>, Range<usize>) {
    let inside = parent(value, steps).span();
    let key = match (steps.last(), steps.len()) {
        (Some(Step::Key(name)), len) => {
            let table = parent(value, &steps[..len - 1]).get_ref().as_table();
            table.and_then(|table| table.get_key_value(name.as_str())).map(|(key, _)| key.span())
        }
        _ => None,
    };
    (key.unwrap_or_else(|| inside.clone()), inside)
}

fn is_taken_from(taken: &BTreeSet<(usize, usize, String)>, span: &Range<usize>) -> bool {
    taken.iter().any(|(start, end, _)| (*start, *end) == (span.start, span.end))
}

fn quoted<'m>(message: &'m str, front: &str) -> Option<&'m str> {
    message.strip_prefix(front)?.split('`').next()
}

/// Reports what serde says of `span`, under the dotted path of what is there.
fn report(
    source: &Source,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    span: &Range<usize>,
    message: &str,
    found: &mut Diagnostics,
) {
    let mut steps = Vec::new();
    steps_to(value, span, &mut steps);
    let mut path = key.to_owned();
    for step in steps {
        match step {
            Step::Key(name) if path.is_empty() => path = name,
            Step::Key(name) => path.push_str(&format!(".{name}")),
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    let (mut what, allowed) = plain_mistake(message);
    if let Some(name) = quoted(message, "unknown field `") {
        // The path names it.
        what = crate::near::unknown(name, allowed.split(", "));
    } else if let Some(name) = quoted(message, "missing field `") {
        path.push_str(&format!("{}{name}", if path.is_empty() { "" } else { "." }));
        what = "missing key".to_owned();
    }
    found.report(source, span, &path, what, allowed);
}

/// The innermost part of `value` that holds what is at `span`, and the steps to it. A key leads to its value.
fn steps_to<'v, 'd>(
    value: &'v Spanned<DeValue<'d>>,
    span: &Range<usize>,
    steps: &mut Vec<Step>,
) -> &'v Spanned<DeValue<'d>> {
    match value.get_ref() {
        DeValue::Table(table) => {
            for (key, inside) in table.iter() {
                let here = key.span() == *span;
                if here || encloses(inside, span) {
                    steps.push(Step::Key(key.get_ref().to_string()));
                    return if here { inside } else { steps_to(inside, span, steps) };
                }
            }
        }
        DeValue::Array(items) => {
            if let Some((index, inside)) = items.iter().enumerate().find(|(_, item)| encloses(item, span)) {
                steps.push(Step::Index(index));
                return steps_to(inside, span, steps);
            }
        }
        _ => {}
    }
    value
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

fn parent<'v, 'd>(value: &'v Spanned<DeValue<'d>>, steps: &[Step]) -> &'v Spanned<DeValue<'d>> {
    steps.iter().fold(value, |value, step| {
        let inside = match (step, value.get_ref()) {
            (Step::Key(name), DeValue::Table(table)) => table.get(name.as_str()),
            (Step::Index(index), DeValue::Array(items)) => items.get(*index),
            _ => None,
        };
        inside.unwrap_or(value)
    })
}

fn take_out(value: &mut Spanned<DeValue<'_>>, steps: &[Step], last: &Step) {
    let (step, deeper) = match steps {
        [] => (last, false),
        [first, ..] => (first, true),
    };
    match (step, value.get_mut()) {
        (Step::Key(name), DeValue::Table(table)) if deeper => {
            if let Some(inside) = table.get_mut(name.as_str()) {
                take_out(inside, &steps[1..], last);
            }
        }
        (Step::Key(name), DeValue::Table(table)) => drop(table.remove(name.as_str())),
        (Step::Index(index), DeValue::Array(items)) => {
            let mut kept = DeArray::new();
            for (position, item) in items.iter().enumerate() {
                let mut item = item.clone();
                if position == *index {
                    if !deeper {
                        continue;
                    }
                    take_out(&mut item, &steps[1..], last);
                }
                kept.push(item);
            }
            *items = kept;
        }
        _ => {}
    }
}
