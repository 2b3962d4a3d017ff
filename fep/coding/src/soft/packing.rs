//! From the octets of a link to soft symbols and back, in pieces of any length.
//!
//! In formats of up to 8 bits one octet is one look into a table of what it holds; wider ones are calculated. The order of
//! octets within a *unit* (a word, or the octets of an I/Q pair) is a permutation. Symbols of up to 8 bits leave at one octet a
//! cycle or so, many times faster than any decoder takes them: hand-written SIMD would buy nothing here.

use super::format::{FirstSymbol, SoftFormat, SoftFormatError, SymbolBits};
use super::wide::{self, WideSymbols};

/// Most octets of a unit.
const UNIT_MAX: usize = 8;

/// Where the octets of a unit lie, in the order of their symbols.
#[derive(Debug, Clone, Copy)]
struct Order {
    places: [u8; UNIT_MAX],
    len: usize,
}

impl Order {
    fn new(format: &SoftFormat) -> Order {
        let word = format.word_octets.count();
        // In an octet of several symbols the table exchanges them; others are exchanged as octets.
        let per_symbol = format.bits.count().div_ceil(8);
        let swapped = format.swap_iq && format.bits.count() >= 8;
        let len = word.max(if swapped { 2 * per_symbol } else { per_symbol });
        let mut places = [0; UNIT_MAX];
        for (octet, place) in places[..len].iter_mut().enumerate() {
            let octet = if swapped { octet ^ per_symbol } else { octet };
            *place = (octet / word * word + (word - 1 - octet % word)) as u8;
        }
        Order { places, len }
    }
}

/// Symbols of each of the 256 octets, in their order: 1, 2 or 8.
#[derive(Debug, Clone)]
enum Table {
    One(Box<[[i8; 1]; 256]>),
    Two(Box<[[i8; 2]; 256]>),
    Eight(Box<[[i8; 8]; 256]>),
    /// Not tables at all: values of several octets.
    Wide(Box<WideSymbols>),
}

/// The place of symbol `index` within its octet: bits below it.
fn shift_of(format: &SoftFormat, index: usize) -> usize {
    let per_octet = 8 / format.bits.count();
    let index = if format.swap_iq && per_octet > 1 { index ^ 1 } else { index };
    match format.first {
        FirstSymbol::MostSignificant => (per_octet - 1 - index) * format.bits.count(),
        FirstSymbol::LeastSignificant => index * format.bits.count(),
    }
}

fn table<const N: usize>(format: &SoftFormat) -> Box<[[i8; N]; 256]> {
    let mut table = Box::new([[0; N]; 256]);
    for (octet, symbols) in table.iter_mut().enumerate() {
        for (index, symbol) in symbols.iter_mut().enumerate() {
            *symbol = format.decode((octet >> shift_of(format, index)) as u8);
        }
    }
    table
}

/// Makes soft symbols of the octets of a link, however these are cut. Symbols are never -128. With an automatic gain the
/// first 256 symbols come together.
#[derive(Debug, Clone)]
pub struct Unpacker {
    format: SoftFormat,
    table: Table,
    order: Order,
    /// Octets of a unit that is not whole yet.
    held: [u8; UNIT_MAX],
    held_len: usize,
}

impl Unpacker {
    /// An unpacker of this format.
    ///
    /// # Errors
    /// As [`SoftFormat::validate`].
    pub fn new(format: SoftFormat) -> Result<Unpacker, SoftFormatError> {
        format.validate()?;
        let table = match format.bits {
            SymbolBits::Sixteen | SymbolBits::ThirtyTwo => Table::Wide(Box::new(WideSymbols::new(&format))),
            SymbolBits::Eight => Table::One(table(&format)),
            SymbolBits::Four => Table::Two(table(&format)),
            SymbolBits::One => Table::Eight(table(&format)),
        };
        Ok(Unpacker { format, table, order: Order::new(&format), held: [0; UNIT_MAX], held_len: 0 })
    }

    /// The format.
    pub fn format(&self) -> &SoftFormat {
        &self.format
    }

    /// Appends the symbols of the next octets of the link to `symbols`. Of a unit that is not whole the octets are held.
    pub fn push(&mut self, octets: &[u8], symbols: &mut Vec<i8>) {
        let unit = self.order.len;
        let mut octets = octets;
        if self.held_len > 0 {
            let taken = (unit - self.held_len).min(octets.len());
            self.held[self.held_len..self.held_len + taken].copy_from_slice(&octets[..taken]);
            self.held_len += taken;
            octets = &octets[taken..];
            if self.held_len < unit {
                return;
            }
            self.held_len = 0;
            let whole = self.held;
            self.unpack(&whole[..unit], symbols);
        }
        let (whole, rest) = octets.split_at(octets.len() / unit * unit);
        self.unpack(whole, symbols);
        self.held[..rest.len()].copy_from_slice(rest);
        self.held_len = rest.len();
    }

    /// The octet that symbol `symbol` lies in (of several octets the one that weighs most), both counted from the start of
    /// the stream: from [`Unpacker::new`], or the last [`Unpacker::reset`] or [`Unpacker::finish`].
    pub fn octet_of_symbol(&self, symbol: u64) -> u64 {
        let (unit, bits) = (self.order.len as u64, self.format.bits.count() as u64);
        let octet = symbol * bits / 8;
        octet / unit * unit + u64::from(self.order.places[(octet % unit) as usize])
    }

    /// Ends the stream: appends the symbols that still waited for the automatic gain, and is ready for a new one. Only with
    /// [`super::SymbolScale::Auto`] there are any, of a stream shorter than 256 symbols.
    pub fn finish(&mut self, symbols: &mut Vec<i8>) {
        if let Table::Wide(wide) = &mut self.table {
            wide.finish(symbols);
        }
        self.held_len = 0;
    }

    /// A new stream begins: forgets a unit that is not whole, and the automatic gain. The next octet begins a unit.
    pub fn reset(&mut self) {
        if let Table::Wide(wide) = &mut self.table {
            wide.reset();
        }
        self.held_len = 0;
    }

    fn unpack(&mut self, octets: &[u8], symbols: &mut Vec<i8>) {
        match &mut self.table {
            Table::Wide(wide) => wide.unpack(&self.order.places[..self.order.len], octets, symbols),
            Table::One(table) => unpack(table, &self.order, octets, symbols),
            Table::Two(table) => unpack(table, &self.order, octets, symbols),
            Table::Eight(table) => unpack(table, &self.order, octets, symbols),
        }
    }
}

/// Whole units to symbols.
fn unpack<const N: usize>(table: &[[i8; N]; 256], order: &Order, octets: &[u8], symbols: &mut Vec<i8>) {
    let from = symbols.len();
    symbols.resize(from + N * octets.len(), 0);
    let (out, _) = symbols[from..].as_chunks_mut::<N>();
    if order.len == 1 {
        for (out, octet) in out.iter_mut().zip(octets) {
            *out = table[usize::from(*octet)];
        }
        return;
    }
    for (out, unit) in out.chunks_exact_mut(order.len).zip(octets.chunks_exact(order.len)) {
        for (out, place) in out.iter_mut().zip(order.places) {
            *out = table[usize::from(unit[usize::from(place)])];
        }
    }
}

/// Makes octets of soft symbols, in pieces of any length: the sending end of [`Unpacker`], for simulators and tests. With an
/// automatic scale 127 becomes 32 767 of 16 bits and 1.0 of floating point.
#[derive(Debug, Clone)]
pub struct Packer {
    format: SoftFormat,
    order: Order,
    codes: Box<[u8; 256]>,
    /// Symbols of a unit that is not whole yet.
    held: Vec<i8>,
}

impl Packer {
    /// A packer of this format.
    ///
    /// # Errors
    /// As [`SoftFormat::validate`].
    pub fn new(format: SoftFormat) -> Result<Packer, SoftFormatError> {
        format.validate()?;
        let mut codes = Box::new([0; 256]);
        if !format.is_wide() {
            for symbol in i8::MIN..=i8::MAX {
                codes[usize::from(symbol as u8)] = format.encode(symbol);
            }
        }
        Ok(Packer { format, order: Order::new(&format), codes, held: Vec::new() })
    }

    /// Symbols of a unit: what is not a whole number of these is held.
    pub fn unit_symbols(&self) -> usize {
        self.order.len * 8 / self.format.bits.count()
    }

    /// Appends the octets of the next symbols to `octets`. Symbols of a unit that is not whole are held.
    pub fn push(&mut self, symbols: &[i8], octets: &mut Vec<u8>) {
        let unit = self.unit_symbols();
        let mut symbols = symbols;
        if !self.held.is_empty() {
            let taken = (unit - self.held.len()).min(symbols.len());
            self.held.extend_from_slice(&symbols[..taken]);
            symbols = &symbols[taken..];
            if self.held.len() < unit {
                return;
            }
            let held = std::mem::take(&mut self.held);
            self.pack(&held, octets);
        }
        let (whole, rest) = symbols.split_at(symbols.len() / unit * unit);
        for unit in whole.chunks_exact(unit) {
            self.pack(unit, octets);
        }
        self.held.extend_from_slice(rest);
    }

    /// Ends the stream: a unit that is not whole is filled with symbols that say nothing.
    pub fn finish(&mut self, octets: &mut Vec<u8>) {
        if !self.held.is_empty() {
            let mut held = std::mem::take(&mut self.held);
            held.resize(self.unit_symbols(), 0);
            self.pack(&held, octets);
        }
    }

    /// One unit.
    fn pack(&self, symbols: &[i8], octets: &mut Vec<u8>) {
        let mut unit = [0; UNIT_MAX];
        if self.format.is_wide() {
            wide::pack(&self.format, &self.order.places[..self.order.len], symbols, &mut unit);
            octets.extend_from_slice(&unit[..self.order.len]);
            return;
        }
        let per_octet = 8 / self.format.bits.count();
        for (symbols, place) in symbols.chunks_exact(per_octet).zip(self.order.places) {
            unit[usize::from(place)] = symbols.iter().enumerate().fold(0, |octet, (index, symbol)| {
                octet | (self.codes[usize::from(*symbol as u8)] << shift_of(&self.format, index))
            });
        }
        octets.extend_from_slice(&unit[..self.order.len]);
    }
}
