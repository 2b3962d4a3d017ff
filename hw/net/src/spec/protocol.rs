//! Protocols: what is spoken on a transport.

use serde::{Deserialize, Serialize};

use super::{SpecError, TransportSpec, refuse, within};

/// What is spoken on a transport.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ProtocolSpec {
    /// Nothing: octets, or datagrams, pass as they are.
    Raw {},
    /// Units with their length in front. Not on `udp`, whose datagrams are units already.
    LengthPrefixed(LengthPrefixedSpec),
}

/// `kind = "length_prefixed"`: every unit (one frame, one CADU) has its length in front. An empty unit is a keep-alive.
///
/// A wrong length cannot be told from a right one by what follows, so there is no resynchronisation: a length that cannot be
/// ends the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LengthPrefixedSpec {
    /// Octets of the length field, 2 or 4. Default 4.
    pub length_octets: u8,
    /// What the length counts. Default: the payload.
    pub length_of: LengthOf,
    /// Order of the octets of the length. Default big.
    pub endian: Endian,
    /// Longest payload of a unit, in octets, 1..=16 MiB, as far as the length field can say it. A longer one that arrives ends the
    /// connection; a longer one to be sent is refused. Default 65_531.
    pub max_unit_octets: u32,
    /// An empty unit is sent when nothing else was for so long, in milliseconds, 0 (never)..=3_600_000. Default 0.
    pub keepalive_ms: u32,
    /// A connection on which nothing arrives for so long is ended, in milliseconds, 0 (never)..=86_400_000; keep-alives of the
    /// peer count as arrivals. Default 0.
    pub idle_timeout_ms: u32,
}

/// What a length counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthOf {
    /// The octets behind the length field.
    #[default]
    Payload,
    /// The length field itself and the octets behind it.
    Whole,
}

/// Order of octets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endian {
    /// Most significant octet first.
    #[default]
    Big,
    /// Least significant octet first.
    Little,
}

/// Longest unit of any protocol.
const UNIT_OCTETS_MAX: u32 = 16 << 20;

impl Default for LengthPrefixedSpec {
    fn default() -> LengthPrefixedSpec {
        LengthPrefixedSpec {
            length_octets: 4,
            length_of: LengthOf::Payload,
            endian: Endian::Big,
            // Fits a length field of either size, whatever it counts.
            max_unit_octets: 65_531,
            keepalive_ms: 0,
            idle_timeout_ms: 0,
        }
    }
}

impl Default for ProtocolSpec {
    fn default() -> ProtocolSpec {
        ProtocolSpec::Raw {}
    }
}

impl ProtocolSpec {
    /// The `kind` as written in TOML.
    pub fn kind(&self) -> &'static str {
        match self {
            ProtocolSpec::Raw {} => "raw",
            ProtocolSpec::LengthPrefixed(_) => "length_prefixed",
        }
    }

    pub(super) fn validate(
        &self,
        transport: &TransportSpec,
        transmit_buffer_bytes: u32,
    ) -> Result<(), SpecError> {
        let ProtocolSpec::LengthPrefixed(spec) = self else { return Ok(()) };
        if matches!(transport, TransportSpec::Udp(_)) {
            return Err(refuse(
                "protocol.kind",
                self.kind(),
                "needs a stream; datagrams of udp are units already",
            ));
        }
        spec.validate()?;
        if spec.max_unit_octets + u32::from(spec.length_octets) > transmit_buffer_bytes {
            let allowed =
                format!("must fit into transmit_buffer_bytes = {transmit_buffer_bytes} with its length");
            return Err(refuse("protocol.max_unit_octets", spec.max_unit_octets, allowed));
        }
        Ok(())
    }
}

impl LengthPrefixedSpec {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that cannot be obeyed, with its value and what is allowed.
    pub fn validate(&self) -> Result<(), SpecError> {
        let largest = match self.length_octets {
            2 => u32::from(u16::MAX),
            4 => u32::MAX,
            other => return Err(refuse("protocol.length_octets", other, "must be 2 or 4")),
        };
        let counted = match self.length_of {
            LengthOf::Payload => 0,
            LengthOf::Whole => u32::from(self.length_octets),
        };
        let max = (largest - counted).min(UNIT_OCTETS_MAX);
        within("protocol.max_unit_octets", self.max_unit_octets, 1, max, "octets")?;
        within("protocol.keepalive_ms", self.keepalive_ms, 0, 3_600_000, "milliseconds")?;
        within("protocol.idle_timeout_ms", self.idle_timeout_ms, 0, 86_400_000, "milliseconds")
    }
}
