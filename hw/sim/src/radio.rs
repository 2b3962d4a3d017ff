//! The way of a station that delivers soft symbols: its frames coded and modulated, and received in noise.

use fep_coding::spec::ChannelEncoder;

use crate::ledger::{Ledger, Memory};
use crate::source::{DownlinkSpec, SourceError};
use crate::symbols::{SymbolChannel, SymbolCounts, SymbolSpec};

/// The carrier stays on behind the last frame, so that a decoder whose answers come late gives it out.
const TRAIL_SYMBOLS: usize = 16_384;

/// Transmitter, channel and demodulator of one station.
#[derive(Debug)]
pub(crate) struct Radio {
    encoder: ChannelEncoder,
    channel: SymbolChannel,
    symbols: Vec<i8>,
    frames: u64,
    ledger: Ledger,
}

impl Radio {
    pub(crate) fn new(
        downlink: &DownlinkSpec,
        symbols: &SymbolSpec,
        memory: Memory,
        seed: u64,
    ) -> Result<Radio, SourceError> {
        let (code, marker) = (&downlink.code, downlink.marker());
        Ok(Radio {
            encoder: ChannelEncoder::new(code, marker, downlink.randomizer)?
                .with_line_code(downlink.line_code)?,
            channel: SymbolChannel::new(*symbols, code.rate(), seed)?,
            symbols: Vec::new(),
            frames: 0,
            ledger: Ledger::new(memory),
        })
    }

    /// Sends a frame; what the demodulator delivers because of it is appended to `octets`.
    pub(crate) fn push(&mut self, frame: &[u8], octets: &mut Vec<u8>) {
        self.symbols.clear();
        self.encoder.encode(frame, &mut self.symbols);
        self.channel.push(&self.symbols, octets);
        self.ledger.counts_mut().cadus_in += 1;
        self.ledger.note_arrival(self.frames);
        self.frames += 1;
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self, octets: &mut Vec<u8>) {
        self.symbols.clear();
        self.encoder.finish(&mut self.symbols);
        if self.encoder.has_inner_code() {
            self.symbols.extend((0..TRAIL_SYMBOLS).map(|i| if i % 3 == 0 { 1 } else { -1 }));
        }
        if !self.symbols.is_empty() {
            self.channel.push(&self.symbols, octets);
        }
        self.channel.finish(octets);
    }

    /// What was done to the symbols.
    pub(crate) fn counts(&self) -> &SymbolCounts {
        self.channel.counts()
    }

    /// Frames sent: what a symbol channel loses, only a decoder can tell.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn into_ledger(self) -> Ledger {
        self.ledger
    }
}
