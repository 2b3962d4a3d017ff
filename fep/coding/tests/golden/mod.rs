//! Reads the vector files of `tests/golden`, which other people's programs made.
#![allow(dead_code, reason = "each test binary uses what it needs")]

use serde_json::Value;

/// The `cases` of a vector file, never none.
pub(crate) fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/../../tests/golden/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let vectors: Value = serde_json::from_slice(&text).expect("JSON");
    let cases = vectors["cases"].as_array().expect("cases").clone();
    assert!(!cases.is_empty(), "{file} has no case");
    cases
}

/// Octets of a string of hexadecimal digits.
pub(crate) fn octets(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().expect("hexadecimal digits").as_bytes();
    let nibble = |digit: u8| (digit as char).to_digit(16).expect("a digit") as u8;
    digits.chunks_exact(2).map(|pair| (nibble(pair[0]) << 4) | nibble(pair[1])).collect()
}
