//! Formats that other programs read are drawn on a normative page each, which the code must not leave behind.

use super::root;

/// Holds the tables of a page (offset in hexadecimal, field, width) against the fields of the code. The text of the page.
fn assert_page_draws(page: &str, fields: &[(&str, usize, usize)]) -> String {
    let text = std::fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| ") && line.matches('|').count() >= 5)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    for (name, offset, width) in fields {
        let row =
            rows.iter().find(|row| row[1] == *name).unwrap_or_else(|| panic!("{page}: {name} is not drawn"));
        assert_eq!(usize::from_str_radix(row[0], 16), Ok(*offset), "{page}: {name}");
        assert_eq!(row[2].parse(), Ok(*width), "{page}: {name}");
    }
    let is_field = |row: &&Vec<&str>| row[1].contains('.') && usize::from_str_radix(row[0], 16).is_ok();
    let drawn = rows.iter().filter(is_field).count();
    assert_eq!(drawn, fields.len(), "{page} draws a field that the code does not have");
    text
}

// REQ: FEP-BUS-017
#[test]
fn the_page_of_the_ring_lists_every_field_at_its_offset_and_width() {
    assert_page_draws("docs/ring.md", fep_bus::FIELDS);
}

// REQ: FEP-BUS-017
#[test]
fn the_page_of_latest_values_lists_every_field_at_its_offset_and_width() {
    assert_page_draws("docs/latest.md", fep_bus::LATEST_FIELDS);
}

// REQ: FEP-SEG-009
#[test]
fn the_page_of_the_segments_lists_every_field_at_its_offset_and_width_and_every_cause_of_loss() {
    let page = assert_page_draws("docs/segments.md", fep_segments::FIELDS);
    for cause in fep_segments::LossCause::ALL {
        assert!(page.contains(&format!("| {} | {} |", *cause as u32, cause.name())), "{cause:?}");
    }
}
