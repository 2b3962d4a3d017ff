//! The hash of what a segment holds: header page and blocks.
//!
//! BLAKE3 since footer version 2, because the recorder hashes on the thread that copies
//! (docs/decisions/012-blake3-for-the-content-of-segments.md); SHA-256 before. The chain over segments is SHA-256 throughout.

use sha2::{Digest, Sha256};

use crate::layout::{FOOTER_BLAKE3, FOOTER_SHA256};

/// Which hash a footer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentAlgorithm {
    /// Footers of version 1.
    Sha256,
    /// Footers of version 2.
    Blake3,
}

impl ContentAlgorithm {
    pub(crate) fn of_version(version: u32) -> Option<ContentAlgorithm> {
        match version {
            FOOTER_SHA256 => Some(ContentAlgorithm::Sha256),
            FOOTER_BLAKE3 => Some(ContentAlgorithm::Blake3),
            _ => None,
        }
    }

    pub(crate) fn version(self) -> u32 {
        match self {
            ContentAlgorithm::Sha256 => FOOTER_SHA256,
            ContentAlgorithm::Blake3 => FOOTER_BLAKE3,
        }
    }
}

/// Hash of a segment's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHash {
    /// Which.
    pub algorithm: ContentAlgorithm,
    /// The hash.
    pub octets: [u8; 32],
}

/// Hashes the content of a segment piece by piece.
#[derive(Debug, Clone)]
pub struct ContentHasher(State);

#[derive(Debug, Clone)]
enum State {
    Sha256(Box<Sha256>),
    Blake3(Box<blake3::Hasher>),
}

impl Default for ContentHasher {
    /// As new segments are hashed.
    fn default() -> ContentHasher {
        ContentHasher::of(ContentAlgorithm::Blake3)
    }
}

impl ContentHasher {
    /// As segments with such a footer are hashed.
    pub fn of(algorithm: ContentAlgorithm) -> ContentHasher {
        ContentHasher(match algorithm {
            ContentAlgorithm::Sha256 => State::Sha256(Box::default()),
            ContentAlgorithm::Blake3 => State::Blake3(Box::default()),
        })
    }

    /// Takes the next octets.
    pub fn update(&mut self, octets: &[u8]) {
        match &mut self.0 {
            State::Sha256(hash) => hash.update(octets),
            State::Blake3(hash) => {
                hash.update(octets);
            }
        }
    }

    /// The hash of all that it has taken.
    pub fn hash(&self) -> ContentHash {
        match &self.0 {
            State::Sha256(hash) => ContentHash {
                algorithm: ContentAlgorithm::Sha256,
                octets: hash.as_ref().clone().finalize().into(),
            },
            State::Blake3(hash) => {
                ContentHash { algorithm: ContentAlgorithm::Blake3, octets: *hash.finalize().as_bytes() }
            }
        }
    }
}
