//! The channel codes, named once: one line for each, and what is made of the lines.

use super::codecs::{
    ConcatenatedCode, ConvolutionalCode, LdpcCode, LdpcStreamCode, TurboCode, UncodedFrames,
};
use super::keys::{FrameShape, Key, Refusal, Values};
use crate::rs::RsSpec;

/// A code as configuration chooses it.
#[derive(Debug)]
pub struct Entry<C> {
    /// Its name: the value of the key `code`.
    pub name: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// Whether it leaves the length of its frames open ([`Configured::OPEN_FRAME_LEN`](super::Configured::OPEN_FRAME_LEN)).
    pub open_frame_len: bool,
    /// Makes it of its values and of what is known of the frame.
    pub read: fn(&Values, &FrameShape) -> Result<C, Refusal>,
}

impl<C> Clone for Entry<C> {
    fn clone(&self) -> Entry<C> {
        *self
    }
}

impl<C> Copy for Entry<C> {}

/// Makes a registry of codecs: an enum with one variant for each line, its form in configuration (written by
/// [`serde::Serialize`], read by [`serde::Deserialize`] or by its `REGISTRY`), and the way from a variant to its
/// [`Codec`](crate::spec::Codec). A line is `Variant(Type) = "name in configuration"`; the type implements
/// [`Codec`](crate::spec::Codec), [`Configured`](crate::spec::Configured), [`serde::Serialize`] as a table, and what a small
/// value has ([`Copy`], [`Eq`], [`Debug`]).
#[macro_export]
macro_rules! codecs {
    (
        $(#[$attribute:meta])*
        $visible:vis enum $registry:ident {
            $( $(#[$about:meta])* $variant:ident($codec:ty) = $name:literal, )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ::serde::Serialize)]
        #[serde(tag = "code")]
        $visible enum $registry {
            $( $(#[$about])* #[serde(rename = $name)] $variant($codec), )+
        }

        impl $registry {
            /// What configuration can choose from.
            pub const REGISTRY: &'static [$crate::spec::Entry<$registry>] = &[
                $( $crate::spec::Entry {
                    name: $name,
                    keys: <$codec as $crate::spec::Configured>::KEYS,
                    open_frame_len: <$codec as $crate::spec::Configured>::OPEN_FRAME_LEN,
                    read: |values, frame| {
                        <$codec as $crate::spec::Configured>::from_values(values, frame).map($registry::$variant)
                    },
                }, )+
            ];

            /// The codec.
            pub fn codec(&self) -> &dyn $crate::spec::Codec {
                match self {
                    $( $registry::$variant(codec) => codec, )+
                }
            }
        }

        $( impl ::std::convert::From<$codec> for $registry {
            fn from(codec: $codec) -> $registry {
                $registry::$variant(codec)
            }
        } )+

        impl<'de> ::serde::Deserialize<'de> for $registry {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<$registry, D::Error> {
                $crate::spec::deserialize($registry::REGISTRY, deserializer)
            }
        }
    };
}

codecs! {
    /// The channel code between marker and marker, and the code around it. In configuration files the key `code` names the
    /// variant; other keys are those of its entry in [`CodeSpec::REGISTRY`].
    ///
    /// ```
    /// use fep_coding::{CodeSpec, Isa};
    /// let code = CodeSpec::ReedSolomon(fep_coding::rs::RsSpec {
    ///     e: fep_coding::rs::RsE::E16, interleave: 4, virtual_fill: 0, basis: fep_coding::rs::Basis::Dual });
    /// assert_eq!((code.block_len(), code.frame_len()), (1020, 892));
    /// let decoder = code.build(Isa::best())?;
    /// assert_eq!(decoder.frame_len(), 892);
    ///
    /// let code: CodeSpec = serde_json::from_str(r#"{ "code": "ldpc", "k": 1024, "rate": "1/2" }"#).expect("a code");
    /// assert_eq!((code.block_symbols(), code.frame_len(), code.marker().bits()), (2048, 128, 64));
    /// # Ok::<(), fep_coding::CodeSpecError>(())
    /// ```
    pub enum CodeSpec {
        /// No code: the block is the frame. Errors are then found by the FECF alone.
        None(UncodedFrames) = "none",
        /// Reed-Solomon (131.0-B-5 4).
        ReedSolomon(RsSpec) = "reed_solomon",
        /// The convolutional code alone (131.0-B-5 3).
        Convolutional(ConvolutionalCode) = "convolutional",
        /// Reed-Solomon inside, the convolutional code around it (131.0-B-5 5).
        Concatenated(ConcatenatedCode) = "concatenated",
        /// Turbo (131.0-B-5 6), one frame a codeword.
        Turbo(TurboCode) = "turbo",
        /// LDPC (131.0-B-5 7), one frame a codeword.
        Ldpc(LdpcCode) = "ldpc",
        /// LDPC of a sliced stream of frames (131.0-B-5 8).
        LdpcStream(LdpcStreamCode) = "ldpc_stream",
    }
}

/// Reads a code of a registry: for [`codecs!`](crate::codecs).
#[doc(hidden)]
pub fn deserialize<'de, C: Copy, D: serde::Deserializer<'de>>(
    registry: &'static [Entry<C>],
    deserializer: D,
) -> Result<C, D::Error> {
    let table = serde::Deserialize::deserialize(deserializer)?;
    super::keys::read_code(registry, table).map_err(serde::de::Error::custom)
}
