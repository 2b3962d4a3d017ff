//! Octets as pairs of lower-case hexadecimal digits: how the kit's tables and documents hold hashes. Usable as
//! `#[serde(with = "fep_database::hex")]`.

use std::borrow::Cow;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// Two digits an octet.
#[must_use]
pub fn text(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Octets of exactly `N` pairs of lower-case digits; `None` for any other text.
#[must_use]
pub fn octets<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut octets = [0; N];
    for (octet, pair) in octets.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        *octet = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(octets)
}

/// For serde.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer, const N: usize>(octets: &[u8; N], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&text(octets))
}

/// For serde.
///
/// # Errors
/// The deserializer's; a text that is not `2 N` digits.
pub fn deserialize<'a, D: Deserializer<'a>, const N: usize>(from: D) -> Result<[u8; N], D::Error> {
    let text = Cow::<str>::deserialize(from)?;
    octets(&text).ok_or_else(|| D::Error::custom(format!("\"{text}\" is not {} hexadecimal digits", 2 * N)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_octets_in_one_way_only() {
        assert_eq!(text(&[0, 0xAB, 0xFF]), "00abff");
        assert_eq!(octets::<3>("00abff"), Some([0, 0xAB, 0xFF]));
        for wrong in ["00abf", "00abff0", "00ABFF", "00abfg", "00abä", ""] {
            assert_eq!(octets::<3>(wrong), None, "{wrong}");
        }
    }
}
