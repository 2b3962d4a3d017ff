//! Received symbols that may be needed again, addressed by their number in the stream.

use std::ops::Range;

/// A stretch of the stream up to its end so far.
#[derive(Debug, Default)]
pub(super) struct RawSymbols {
    symbols: Vec<i8>,
    /// Number of the first of them.
    start: u64,
}

impl RawSymbols {
    pub(super) fn extend(&mut self, symbols: &[i8]) {
        self.symbols.extend_from_slice(symbols);
    }

    /// Number of the oldest symbol that is still here.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Number of the next symbol to come.
    pub(super) fn end(&self) -> u64 {
        self.start + self.symbols.len() as u64
    }

    pub(super) fn all(&self) -> &[i8] {
        &self.symbols
    }

    /// The symbols of these numbers, which are here.
    pub(super) fn get(&self, numbers: Range<u64>) -> &[i8] {
        &self.symbols[(numbers.start - self.start) as usize..(numbers.end - self.start) as usize]
    }

    /// Symbols before number `symbol` are not needed any more. They are dropped once they are most of what is here, so
    /// that each is moved once.
    pub(super) fn forget_before(&mut self, symbol: u64) {
        let unneeded = (symbol - self.start) as usize;
        if unneeded > self.symbols.len() / 2 {
            self.symbols.drain(..unneeded);
            self.start = symbol;
        }
    }

    /// A new stream begins.
    pub(super) fn clear(&mut self) {
        self.symbols.clear();
        self.start = 0;
    }
}
