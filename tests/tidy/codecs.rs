//! Channel codes are named in `fep/coding` alone: everything else asks the codec.

use crate::texts;

const REGISTRY: &str = "fep/coding/src/spec/registry.rs";

/// What a line of the registry names: the variant and its type.
fn registered() -> Vec<(String, String)> {
    let (_, text) = texts(|name| name == REGISTRY).pop().expect("the registry");
    let lines = text.split("pub enum CodeSpec {").nth(1).expect("the registry of the standard's codes");
    let line = |line: &str| {
        let (variant, rest) = line.trim().split_once('(')?;
        let (codec, name) = rest.split_once(") = \"")?;
        name.ends_with("\",").then(|| (variant.to_owned(), codec.to_owned()))
    };
    let found: Vec<_> = lines.lines().take_while(|line| *line != "    }").filter_map(line).collect();
    assert!(found.len() >= 7, "the registry has lines of another form now: {found:?}");
    found
}

/// Word by word, so that `RsSpecError` does not count as `RsSpec`.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}

// REQ: FEP-CODING-100
#[test]
fn no_code_is_named_outside_its_crate_but_in_tests_and_benchmarks() {
    let registered = registered();
    let product = |name: &str| {
        name.ends_with(".rs")
            && !["fep/coding/", "tests/", "benches/", "fuzz/"].iter().any(|folder| name.starts_with(folder))
            && !name.contains("/tests/")
    };
    let mut named = Vec::new();
    for (file, text) in texts(product) {
        let text = text.split("#[cfg(test)]").next().unwrap_or("");
        for (variant, codec) in &registered {
            if has_word(text, &format!("CodeSpec::{variant}")) || has_word(text, codec) {
                named.push(format!("{file} names {variant} ({codec})"));
            }
        }
    }
    assert!(named.is_empty(), "{named:#?}");
}

#[test]
fn words_are_found_whole() {
    assert!(has_word("a CodeSpec::None(_)", "CodeSpec::None") && has_word("RsSpec", "RsSpec"));
    assert!(!has_word("RsSpecError, MyRsSpec", "RsSpec"));
}
