//! Names that are written nearly like another: what was probably meant.

/// The name that is written most like this one, if any is near enough to be meant.
#[must_use]
pub fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // One slip, and one more for every four letters; something must be left of what was written.
    let len = written.chars().count();
    let most = (1 + len / 4).min(len.saturating_sub(1));
    let near = known.into_iter().map(|name| (distance(name, written), name));
    near.filter(|(distance, _)| *distance <= most).min().map(|(_, name)| name)
}

/// How many characters must be put in, taken out or replaced to make one text of the other.
#[must_use]
pub fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for column in 0..other.len() {
            let replaced = diagonal + usize::from(letter != other[column]);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

/// What is said of a key that nobody knows.
pub(crate) fn unknown<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    match nearest(written, known) {
        Some(near) => format!("unknown key; did you mean {near}?"),
        None => "unknown key".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-CFG-310
    #[test]
    fn a_slip_of_the_pen_finds_the_name_that_was_meant_and_another_word_finds_none() {
        let known = ["framing", "core", "idle", "session"];
        for (written, meant) in [
            ("framming", Some("framing")),
            ("sesion", Some("session")),
            ("cor", Some("core")),
            ("nosuch", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, known), meant, "{written}");
        }
        assert_eq!((distance("", "ab"), distance("kitten", "sitting"), distance("x", "x")), (2, 3, 0));
    }
}
