//! Whether every seat of a rule can be filled by another person.

use std::collections::BTreeSet;

/// The most seats that these persons can fill, each person one seat: a matching of seats and persons by augmenting paths
/// (Kuhn). Not the order of approvals decides who fills which seat: who has two roles moves where it helps.
pub(crate) fn filled(seats: &[String], persons: &[&BTreeSet<String>]) -> usize {
    let mut person_of_seat = vec![None; seats.len()];
    (0..persons.len())
        .filter(|person| {
            let mut tried = vec![false; seats.len()];
            place(*person, seats, persons, &mut person_of_seat, &mut tried)
        })
        .count()
}

fn place(
    person: usize,
    seats: &[String],
    persons: &[&BTreeSet<String>],
    person_of_seat: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for (seat, role) in seats.iter().enumerate() {
        if tried[seat] || !persons[person].contains(role) {
            continue;
        }
        tried[seat] = true;
        let free = match person_of_seat[seat] {
            None => true,
            Some(other) => place(other, seats, persons, person_of_seat, tried),
        };
        if free {
            person_of_seat[seat] = Some(person);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Tries every way to seat the persons.
    fn by_trying(seats: &[String], persons: &[&BTreeSet<String>]) -> usize {
        let Some((first, rest)) = persons.split_first() else { return 0 };
        let mut best = by_trying(seats, rest);
        for (at, role) in seats.iter().enumerate() {
            if first.contains(role) {
                let mut left = seats.to_vec();
                left.remove(at);
                best = best.max(1 + by_trying(&left, rest));
            }
        }
        best
    }

    proptest! {
        // REQ: FEP-KIT-232
        #[test]
        fn seats_are_filled_as_well_as_by_trying_every_way(
            seats in proptest::collection::vec("[a-c]", 0..5),
            persons in proptest::collection::vec(proptest::collection::btree_set("[a-c]", 0..4), 0..5),
        ) {
            let persons: Vec<&BTreeSet<String>> = persons.iter().collect();
            prop_assert_eq!(filled(&seats, &persons), by_trying(&seats, &persons));
        }
    }
}
