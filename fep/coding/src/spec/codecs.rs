//! The codecs: one module each. Naming one in the registry is all that the rest of the crate needs.

mod concatenated;
mod convolutional;
mod ldpc;
mod ldpc_stream;
mod reed_solomon;
mod turbo;
mod uncoded;

pub use concatenated::ConcatenatedCode;
pub use convolutional::ConvolutionalCode;
pub use ldpc::{LdpcCode, LdpcCodeError};
pub use ldpc_stream::LdpcStreamCode;
pub use turbo::TurboCode;
pub use uncoded::UncodedFrames;
