//! What services answer and are sent, as types. Members that a model does not have are ignored, so that a service of a later
//! version is understood; where an answer is to be printed as it came, it is read as a [`crate::Verbatim`].

pub mod archive;
pub mod audit;
pub mod identity;
