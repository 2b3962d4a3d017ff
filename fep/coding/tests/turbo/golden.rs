//! The vectors.

use fep_coding::turbo::TurboSpec;
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

/// The code that a case's keys name, read as a configuration would be.
pub(crate) fn spec(information_bits: &Value, rate: &Value) -> TurboSpec {
    let table = serde_json::json!({ "information_bits": information_bits, "rate": rate });
    serde_json::from_value(table).expect("a code of the standard")
}
