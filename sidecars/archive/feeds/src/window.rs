//! What was handed to a connection and is not confirmed yet. Sans-I/O.
//!
//! A confirmation is a growing number: of records acknowledged by the client, or of octets that the peer's TCP has
//! acknowledged. What is confirmed moves the cursor; what is not will be sent again on the next connection.

use std::collections::VecDeque;

/// A record on its way.
#[derive(Debug, Clone, Copy)]
struct Sent<P> {
    /// It is confirmed when the confirmation reaches this.
    mark: u64,
    source: u16,
    after: P,
}

/// Places of one client in its sources: read, and confirmed. `P` is a place, which names the record that comes next.
#[derive(Debug, Clone)]
pub(crate) struct Window<P> {
    sent: VecDeque<Sent<P>>,
    read: Vec<P>,
    confirmed: Vec<P>,
    mark: u64,
}

impl<P: Copy> Window<P> {
    /// Nothing on its way; in source `i` the next record is `next[i]`.
    pub(crate) fn new(next: Vec<P>) -> Window<P> {
        Window { sent: VecDeque::new(), confirmed: next.clone(), read: next, mark: 0 }
    }

    /// The record before `after` was handed to the connection; it is confirmed with `mark`, which never falls.
    pub(crate) fn sent(&mut self, source: u16, after: P, mark: u64) {
        self.read[usize::from(source)] = after;
        self.sent.push_back(Sent { mark, source, after });
        self.mark = mark;
    }

    /// Records before `after` need not be sent: not wanted, or lost.
    pub(crate) fn passed(&mut self, source: u16, after: P) {
        self.read[usize::from(source)] = after;
        if self.sent.is_empty() {
            self.confirmed[usize::from(source)] = after;
        }
    }

    /// Everything up to `mark` has arrived.
    ///
    /// # Errors
    /// The highest mark there is, when that is less: the client confirms what was never sent.
    pub(crate) fn confirm(&mut self, mark: u64) -> Result<(), u64> {
        if mark > self.mark {
            return Err(self.mark);
        }
        while let Some(first) = self.sent.front().filter(|first| first.mark <= mark) {
            self.confirmed[usize::from(first.source)] = first.after;
            self.sent.pop_front();
        }
        if self.sent.is_empty() {
            // What was passed over behind the last record on its way.
            self.confirmed.clone_from(&self.read);
        }
        Ok(())
    }

    /// What confirms everything that is on its way.
    pub(crate) fn last_mark(&self) -> u64 {
        self.mark
    }

    /// In each source, the first record that is not confirmed.
    pub(crate) fn confirmed(&self) -> &[P] {
        &self.confirmed
    }

    /// In each source, the first record not read yet.
    pub(crate) fn read(&self) -> &[P] {
        &self.read
    }

    /// Records on their way.
    pub(crate) fn len(&self) -> usize {
        self.sent.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // REQ: FEP-FEED-002
        #[test]
        fn the_cursor_never_passes_a_record_that_was_sent_and_not_confirmed(
            steps in prop::collection::vec((0_u16..3, any::<bool>(), any::<prop::sample::Index>()), 0..200),
        ) {
            let mut window = Window::new(vec![1_u64, 1, 1]);
            let mut next = [1_u64; 3];
            let mut on_the_way: Vec<(u16, u64, u64)> = Vec::new();
            let (mut number, mut confirmed) = (0_u64, 0_u64);
            for (source, wanted, confirm) in steps {
                let seq = &mut next[usize::from(source)];
                *seq += 1;
                if wanted {
                    number += 1;
                    window.sent(source, *seq, number);
                    on_the_way.push((source, *seq - 1, number));
                } else {
                    window.passed(source, *seq);
                }
                confirmed += confirm.index((number - confirmed + 1) as usize) as u64;
                prop_assert_eq!(window.confirm(confirmed), Ok(()));
                on_the_way.retain(|(_, _, mark)| *mark > confirmed);
                prop_assert_eq!(window.len(), on_the_way.len());
                for (source, seq, _) in &on_the_way {
                    prop_assert!(window.confirmed()[usize::from(*source)] <= *seq, "it would never come again");
                }
                if on_the_way.is_empty() {
                    prop_assert_eq!(window.confirmed(), &next[..], "nothing comes twice that was confirmed");
                }
                prop_assert_eq!(window.read(), &next[..]);
            }
            prop_assert_eq!(window.confirm(number + 1), Err(window.mark), "never sent");
        }
    }
}
