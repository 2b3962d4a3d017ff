//! The vectors.

use serde_json::Value;

pub(crate) fn cases(file: &str) -> Vec<Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/coding");
    let vectors = std::fs::read(format!("{folder}/{file}")).expect("the vectors");
    let vectors: Value = serde_json::from_slice(&vectors).expect("JSON");
    vectors["cases"].as_array().expect("cases").clone()
}

pub(crate) fn octets(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().expect("hexadecimal digits").as_bytes();
    let nibble = |digit: u8| (digit as char).to_digit(16).expect("a digit") as u8;
    digits.chunks_exact(2).map(|pair| (nibble(pair[0]) << 4) | nibble(pair[1])).collect()
}
