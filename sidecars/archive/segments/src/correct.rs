//! One wrong octet in a header or footer page can be computed: of all pages that differ in one octet, only one has a
//! checksum that holds.

use crate::layout::{PAGE_LEN, half};

/// The page with one octet put right, so that the CRC-32C at `crc_offset` holds over what lies before it and `accept`
/// takes the page. `None` when no such page exists, or more than one.
pub(crate) fn correct_octet(
    page: &[u8; PAGE_LEN],
    crc_offset: usize,
    accept: impl Fn(&[u8; PAGE_LEN]) -> bool,
) -> Option<[u8; PAGE_LEN]> {
    let mut candidate = *page;
    let mut found = None;
    for at in 0..crc_offset + 4 {
        for difference in 1..=u8::MAX {
            candidate[at] = page[at] ^ difference;
            let holds = crc32c::crc32c(&candidate[..crc_offset]) == half(&candidate, crc_offset);
            if holds && accept(&candidate) && found.replace(candidate).is_some() {
                return None;
            }
        }
        candidate[at] = page[at];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::put_half;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        // REQ: FEP-SEG-402
        #[test]
        fn one_wrong_octet_anywhere_is_put_right_and_two_are_not_guessed(
            content in prop::collection::vec(any::<u8>(), 160),
            at in 0_usize..164,
            difference in 1_u8..,
            second in prop::option::of((0_usize..164, 1_u8..)),
        ) {
            let mut page = [0; PAGE_LEN];
            page[..160].copy_from_slice(&content);
            put_half(&mut page, 160, crc32c::crc32c(&content));
            let mut damaged = page;
            damaged[at] ^= difference;
            let Some((other, difference)) = second.filter(|(other, _)| *other != at) else {
                prop_assert_eq!(correct_octet(&damaged, 160, |_| true), Some(page));
                return Ok(());
            };
            damaged[other] ^= difference;
            // What is taken is only ever what `accept` knows to be right.
            prop_assert_eq!(correct_octet(&damaged, 160, |candidate| candidate[..160] == content), None);
        }
    }
}
