//! Reads the vector files of `tests/golden`, which other people's programs made.
#![allow(dead_code, reason = "each test binary uses what it needs")]

use serde_json::Value;

/// The `cases` of a vector file, never none.
pub(crate) fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/../../tests/golden/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let file: Value = serde_json::from_str(&text).expect("vector files are JSON");
    let cases = file["cases"].as_array().expect("a vector file has cases").clone();
    assert!(!cases.is_empty(), "{path} has no case");
    cases
}

/// Octets of a hexadecimal string.
pub(crate) fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is not a string"));
    assert!(text.len().is_multiple_of(2), "{text} has half an octet");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

/// Octets of each string of a list.
pub(crate) fn hex_list(value: &Value) -> Vec<Vec<u8>> {
    value.as_array().expect("a list of strings").iter().map(hex).collect()
}

/// A number.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a number"))
}
