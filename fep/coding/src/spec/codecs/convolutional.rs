//! The convolutional code alone (131.0-B-5 3): blocks are frames, the code lies around the stream of them.

use serde::Serialize;

use crate::conv::{ConvRate, ConvSpec, ConvSpecError, NodeSync, Quadrature};
use crate::isa::Isa;
use crate::spec::block::Plain;
use crate::spec::codec::{Codec, Configured, DecodeOctets, EncodeOctets, check_frame_len};
use crate::spec::error::CodeSpecError;
use crate::spec::keys::{Form, FrameShape, Key, Refusal, Values, names};

const RATES: [(&str, ConvRate); 5] = {
    let [a, b, c, d, e] = ConvRate::ALL;
    [(a.name(), a), (b.name(), b), (c.name(), c), (d.name(), d), (e.name(), e)]
};
const QUADRATURES: [(&str, Quadrature); 3] = [
    ("off", Quadrature::Off),
    ("turns", Quadrature::Turns),
    ("turns_and_mirrors", Quadrature::TurnsAndMirrors),
];
const NODE_SYNC: &[Key] = &[
    Key::new("quadrature", Form::Choice(&names(&QUADRATURES))),
    Key::new("probe_bits", Form::Integer { least: 256, most: 65_536 }),
    Key::new("watch_bits", Form::Integer { least: 256, most: 1_048_576 }),
    Key::new("threshold_percent", Form::Integer { least: 10, most: 95 }),
];
const INNER: &[Key] = &[
    Key::required("rate", Form::Choice(&names(&RATES))),
    Key::new("invert_g2", Form::Boolean),
    Key::new("g2_first", Form::Boolean),
    Key::new("latency_bits", Form::Integer { least: 64, most: 4096 }),
    Key::new("node_sync", Form::Table(NODE_SYNC)),
];
/// The table of the inner code.
pub(super) const CONVOLUTIONAL: Key = Key::required("convolutional", Form::Table(INNER));

/// Frames inside the convolutional code, without another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ConvolutionalCode {
    /// Octets of a frame, 1 to 65 536.
    pub frame_len: usize,
    /// The code.
    pub convolutional: ConvSpec,
}

impl Codec for ConvolutionalCode {
    fn name(&self) -> &'static str {
        "the convolutional code"
    }

    fn block_len(&self) -> usize {
        self.frame_len
    }

    fn frame_len(&self) -> usize {
        self.frame_len
    }

    fn convolutional(&self) -> Option<&ConvSpec> {
        Some(&self.convolutional)
    }

    fn detects_errors(&self) -> bool {
        false
    }

    fn validate(&self) -> Result<(), CodeSpecError> {
        check_frame_len(self.frame_len)?;
        Ok(self.convolutional.validate()?)
    }

    fn decoder(&self, _isa: Isa) -> Result<Box<dyn DecodeOctets>, CodeSpecError> {
        Ok(Box::new(Plain))
    }

    fn encoder(&self, _isa: Isa) -> Result<Box<dyn EncodeOctets>, CodeSpecError> {
        Ok(Box::new(Plain))
    }
}

impl Configured for ConvolutionalCode {
    const KEYS: &'static [Key] = &[CONVOLUTIONAL];
    const OPEN_FRAME_LEN: bool = true;

    fn from_values(values: &Values, frame: &FrameShape) -> Result<ConvolutionalCode, Refusal> {
        Ok(ConvolutionalCode { convolutional: inner(values)?, frame_len: frame.required_len()? })
    }
}

/// The inner code from its table.
pub(super) fn inner(values: &Values) -> Result<ConvSpec, Refusal> {
    let table = values.table(CONVOLUTIONAL.name).ok_or(Refusal::Missing(CONVOLUTIONAL.name))?;
    let defaults =
        ConvSpec::ccsds(table.choice("rate", &RATES).ok_or(Refusal::Missing("convolutional.rate"))?);
    Ok(ConvSpec {
        invert_g2: table.boolean("invert_g2"),
        g2_first: table.boolean("g2_first").unwrap_or(false),
        latency_bits: table.integer("latency_bits").unwrap_or(defaults.latency_bits),
        node_sync: table.table("node_sync").map(node_sync).unwrap_or_default(),
        ..defaults
    })
}

fn node_sync(table: &Values) -> NodeSync {
    let defaults = NodeSync::default();
    NodeSync {
        quadrature: table.choice("quadrature", &QUADRATURES).unwrap_or(defaults.quadrature),
        probe_bits: table.integer("probe_bits").unwrap_or(defaults.probe_bits),
        watch_bits: table.integer("watch_bits").unwrap_or(defaults.watch_bits),
        threshold_percent: table.integer("threshold_percent").unwrap_or(defaults.threshold_percent),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("convolutional: {0}")]
struct InnerError(#[source] ConvSpecError);

impl From<ConvSpecError> for CodeSpecError {
    fn from(error: ConvSpecError) -> CodeSpecError {
        match error {
            ConvSpecError::Isa(unavailable) => CodeSpecError::Isa(unavailable),
            error => CodeSpecError::of_codec(InnerError(error)),
        }
    }
}
