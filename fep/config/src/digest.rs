//! Digests as configurations write them.

/// A SHA-256 as configurations write it: 64 hexadecimal digits, of either case. `None` of anything else.
#[must_use]
pub fn digest_of_hex(text: &str) -> Option<[u8; 32]> {
    let text = text.as_bytes();
    if text.len() != 64 {
        return None;
    }
    let mut digest = [0; 32];
    for (octet, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *octet = (high << 4 | low) as u8;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_four_hexadecimal_digits_of_either_case_are_a_digest_and_nothing_else_is() {
        let digits = "00ff10Ab".repeat(8);
        let digest = digest_of_hex(&digits).expect("64 digits");
        assert_eq!(digest[..4], [0x00, 0xFF, 0x10, 0xAB]);
        for wrong in ["", &digits[1..], &format!("{digits}0"), &digits.replace('f', "g"), &"é".repeat(32)] {
            assert_eq!(digest_of_hex(wrong), None, "{wrong}");
        }
    }
}
