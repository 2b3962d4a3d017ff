//! What a station sends: a recording, a spacecraft, or octets prepared beforehand, one CADU (or frame) after the other.

use std::sync::Arc;

use fep_coding::differential::LineCode;
use fep_coding::sync::{FrameSync, Marker, SyncSpec};
use fep_coding::{CodeSpec, CodeSpecError, Randomizer};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::captures::{self, CaptureError};
use crate::channel::CaduLayout;
use crate::encoder::Encoder;
use crate::spacecraft::{Spacecraft, SpacecraftError, SpacecraftSpec};
use crate::symbols::SymbolSpecError;

/// What a station sends, as its configuration says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SourceSpec {
    /// A recording of a real satellite. It is sent as it was recorded, bit offset and all, unless datagrams or channel
    /// faults need it cut into CADUs.
    Capture {
        /// Mission (`npp`) or file name (`npp.20241206T173815.dat`).
        file: String,
        /// Begin again at the end.
        #[serde(default)]
        repeat: bool,
        /// Pause before beginning again, milliseconds.
        #[serde(default)]
        pause_ms: u64,
    },
    /// A simulated spacecraft.
    Spacecraft(Box<DownlinkSpec>),
}

/// A simulated spacecraft and the physical channel it sends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DownlinkSpec {
    /// Its telemetry.
    pub spacecraft: SpacecraftSpec,
    /// Channel code; its frame length is that of the spacecraft's frames.
    pub code: CodeSpec,
    /// Randomiser.
    #[serde(default)]
    pub randomizer: Randomizer,
    /// Marker in front of every block, as hexadecimal digits; left out, that of the standard for the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<Marker>,
    /// Whether bits are radiated as levels or as changes of level: `nrz_l`, `nrz_m` or `nrz_s`. It lies on markers and
    /// blocks, in front of the convolutional code if there is one.
    #[serde(default)]
    pub line_code: LineCode,
    /// Send so many frames and end; without it, never end.
    #[serde(default)]
    pub frames: Option<u64>,
}

impl DownlinkSpec {
    /// The marker in front of every block.
    #[must_use]
    pub fn marker(&self) -> Marker {
        self.marker.unwrap_or_else(|| self.code.marker())
    }
}

/// Why a source cannot be.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The recording cannot be had.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The recording cannot be read.
    #[error("cannot read the capture {path}: {source}")]
    Read {
        /// Its file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A recording holds coded CADUs: its frames are not known here.
    #[error("a capture is sent as CADUs: set transport.datagram = \"cadu\"")]
    CaptureFrames,
    /// No CADU was found in the recording.
    #[error("no CADU of {cadu_len} octets was found in the capture {file}")]
    NoCadu {
        /// Its file name.
        file: String,
        /// Octets looked for.
        cadu_len: usize,
    },
    /// The spacecraft is impossible.
    #[error("spacecraft.{0}")]
    Spacecraft(#[from] SpacecraftError),
    /// The code is impossible.
    #[error("code: {0}")]
    Code(#[from] CodeSpecError),
    /// Code and frames do not fit.
    #[error("code: it carries frames of {code_len} octets, spacecraft.frame.frame_len is {frame_len}")]
    FrameLen {
        /// Octets the code takes.
        code_len: usize,
        /// Octets of the frames.
        frame_len: usize,
    },
    /// A code that needs symbols was asked of a station that sends bits.
    #[error(
        "code: {0} is radiated as symbols: the station needs a table `symbols` that says how they are delivered"
    )]
    NeedsSymbols(&'static str),
    /// Symbols of a source that is not coded here.
    #[error("only a spacecraft can be sent as symbols: a capture holds bits that were decided long ago")]
    CaptureSymbols,
    /// The demodulator is impossible.
    #[error(transparent)]
    Symbols(#[from] SymbolSpecError),
    /// Prepared octets are not whole CADUs.
    #[error("{len} prepared octets are no whole number of CADUs of {cadu_len}")]
    Prepared {
        /// Octets given.
        len: usize,
        /// Octets of a CADU.
        cadu_len: usize,
    },
}

/// What is sent one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Octets as recorded, of no known alignment.
    Recorded,
    /// Marker and codeblock.
    Cadu,
    /// The transfer frame alone.
    Frame,
}

/// A source at work.
#[derive(Debug)]
pub struct Source {
    layout: CaduLayout,
    supply: Supply,
}

#[derive(Debug)]
enum Supply {
    Octets {
        octets: Arc<[u8]>,
        at: usize,
        repeat: bool,
        pause_ms: u64,
    },
    Spacecraft {
        spacecraft: Box<Spacecraft>,
        encoder: Option<Box<Encoder>>,
        frame: Vec<u8>,
        left: Option<u64>,
    },
}

/// What comes next from a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supplied {
    /// One unit was appended.
    Unit,
    /// A recording begins again after so many milliseconds.
    Again { pause_ms: u64 },
    /// There is no more.
    End,
}

impl Source {
    /// Prepares what `spec` names; recordings are looked for and read.
    ///
    /// # Errors
    /// [`SourceError`] says what is missing or impossible.
    pub fn new(spec: &SourceSpec, unit: Unit, seed: u64) -> Result<Source, SourceError> {
        match spec {
            SourceSpec::Capture { file, repeat, pause_ms } => {
                let capture = captures::find_one(file)?;
                let recorded = std::fs::read(&capture.path).map_err(|source| SourceError::Read {
                    path: capture.path.display().to_string(),
                    source,
                })?;
                let facts = capture.facts;
                let octets = match unit {
                    Unit::Recorded => recorded,
                    Unit::Cadu => aligned(&recorded, facts.cadu_len),
                    Unit::Frame => return Err(SourceError::CaptureFrames),
                };
                if octets.is_empty() {
                    return Err(SourceError::NoCadu {
                        file: facts.file.to_owned(),
                        cadu_len: facts.cadu_len,
                    });
                }
                let layout = CaduLayout {
                    marker_len: 4,
                    codeblock_len: facts.cadu_len - 4,
                    interleave: facts.interleave,
                };
                let supply =
                    Supply::Octets { octets: octets.into(), at: 0, repeat: *repeat, pause_ms: *pause_ms };
                Ok(Source { layout, supply })
            }
            SourceSpec::Spacecraft(downlink) => Source::from_downlink(downlink, unit, seed),
        }
    }

    /// Octets prepared beforehand, whole CADUs of `layout`, sent over and over if `repeat`: the fastest source there is.
    ///
    /// # Errors
    /// [`SourceError::Prepared`] when they are no whole number of CADUs.
    pub fn prepared(octets: Arc<[u8]>, layout: CaduLayout, repeat: bool) -> Result<Source, SourceError> {
        let cadu_len = layout.cadu_len();
        if octets.is_empty() || cadu_len == 0 || !octets.len().is_multiple_of(cadu_len) {
            return Err(SourceError::Prepared { len: octets.len(), cadu_len });
        }
        Ok(Source { layout, supply: Supply::Octets { octets, at: 0, repeat, pause_ms: 0 } })
    }

    fn from_downlink(downlink: &DownlinkSpec, unit: Unit, seed: u64) -> Result<Source, SourceError> {
        let frame_len = downlink.spacecraft.frame.frame_len;
        downlink.code.validate()?;
        if downlink.code.frame_len() != frame_len {
            return Err(SourceError::FrameLen { code_len: downlink.code.frame_len(), frame_len });
        }
        let spacecraft = Box::new(Spacecraft::new(downlink.spacecraft.clone(), seed)?);
        let (layout, encoder) = match unit {
            Unit::Frame => (CaduLayout { marker_len: 0, codeblock_len: frame_len, interleave: 1 }, None),
            Unit::Cadu | Unit::Recorded if downlink.code.needs_symbols() => {
                return Err(SourceError::NeedsSymbols(downlink.code.name()));
            }
            Unit::Cadu | Unit::Recorded => {
                let encoder = Encoder::new(downlink.marker(), &downlink.code, downlink.randomizer)?
                    .with_line_code(downlink.line_code);
                (encoder.layout(), Some(Box::new(encoder)))
            }
        };
        let supply = Supply::Spacecraft { spacecraft, encoder, frame: Vec::new(), left: downlink.frames };
        Ok(Source { layout, supply })
    }

    /// Where marker and codewords lie in the units.
    #[must_use]
    pub fn layout(&self) -> CaduLayout {
        self.layout
    }

    /// Appends the next unit to `out`.
    pub(crate) fn next(&mut self, out: &mut Vec<u8>) -> Supplied {
        match &mut self.supply {
            Supply::Octets { octets, at, repeat, pause_ms } => {
                if *at == octets.len() {
                    if !*repeat {
                        return Supplied::End;
                    }
                    *at = 0;
                    return Supplied::Again { pause_ms: *pause_ms };
                }
                // The last piece of a recording may be shorter than a CADU.
                let end = octets.len().min(*at + self.layout.cadu_len());
                out.extend_from_slice(&octets[*at..end]);
                *at = end;
                Supplied::Unit
            }
            Supply::Spacecraft { spacecraft, encoder, frame, left } => {
                if *left == Some(0) {
                    return Supplied::End;
                }
                *left = left.map(|left| left - 1);
                match encoder {
                    None => spacecraft.next_frame(out),
                    Some(encoder) => {
                        frame.clear();
                        let identity = spacecraft.next_frame(frame);
                        encoder.encode(frame, out);
                        identity
                    }
                };
                Supplied::Unit
            }
        }
    }

    /// The whole of a source that is plain octets, to be sent again and again without a copy.
    pub(crate) fn endless_octets(&self) -> Option<Arc<[u8]>> {
        match &self.supply {
            Supply::Octets { octets, repeat: true, pause_ms: 0, .. } => Some(Arc::clone(octets)),
            _ => None,
        }
    }
}

/// The whole CADUs of a recording, byte-aligned.
fn aligned(recorded: &[u8], cadu_len: usize) -> Vec<u8> {
    let marker = Marker::CCSDS_32;
    let mut octets = Vec::with_capacity(recorded.len());
    let mut sync = FrameSync::new(SyncSpec::ccsds(marker, cadu_len - marker.as_bytes().len()))
        .expect("the catalogue's recordings have valid CADU lengths");
    let mut take = |block: fep_coding::Block<'_>| {
        octets.extend_from_slice(marker.as_bytes());
        octets.extend_from_slice(block.data);
    };
    sync.push(recorded, &mut take);
    sync.finish(&mut take);
    octets
}
