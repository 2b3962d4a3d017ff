//! The end of the trail, signed.

use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use fep_database::hex;
use fep_time::Tai;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Whoever has the key: a file, a card, a service. The trail itself never sees it.
pub trait Signer {
    /// The Ed25519 public key.
    fn public_key(&self) -> [u8; 32];

    /// The Ed25519 signature (RFC 8032) of these octets.
    ///
    /// # Errors
    /// Why not, in words.
    fn sign(&self, octets: &[u8]) -> Result<[u8; 64], String>;
}

impl Signer for SigningKey {
    fn public_key(&self) -> [u8; 32] {
        self.verifying_key().to_bytes()
    }

    fn sign(&self, octets: &[u8]) -> Result<[u8; 64], String> {
        Ok(ed25519_dalek::Signer::sign(self, octets).to_bytes())
    }
}

/// The last entry of a trail at one moment. Number 0 and a hash of zeros: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its hash.
    #[serde(with = "hex")]
    pub hash: [u8; 32],
}

/// A head and who stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHead {
    /// What was signed.
    pub head: Head,
    /// When, by the clock of whoever signed.
    pub signed_at: Tai,
    /// Ed25519 public key of the signer, for finding the right one; that a signature fits it proves nothing.
    #[serde(with = "hex")]
    pub public_key: [u8; 32],
    /// Ed25519 signature.
    #[serde(with = "hex")]
    pub signature: [u8; 64],
}

impl Head {
    /// Signs this head.
    ///
    /// # Errors
    /// [`Error::Signer`], also when the signature does not fit the signer's public key: then it is worth nothing, and better
    /// found now.
    pub fn sign(&self, signed_at: Tai, signer: &dyn Signer) -> Result<SignedHead, Error> {
        let public_key = signer.public_key();
        let signature = signer.sign(&octets(self, signed_at)).map_err(Error::Signer)?;
        let signed = SignedHead { head: *self, signed_at, public_key, signature };
        if !signed.is_signed_with(&public_key) {
            return Err(Error::Signer("the signature does not fit the public key of the signer".to_owned()));
        }
        Ok(signed)
    }
}

impl SignedHead {
    /// Whether this key signed it.
    #[must_use]
    pub fn is_signed_with(&self, key: &[u8; 32]) -> bool {
        // Strict: neither keys nor signatures that fit many messages.
        VerifyingKey::from_bytes(key).is_ok_and(|key| {
            key.verify_strict(&octets(&self.head, self.signed_at), &Signature::from_bytes(&self.signature))
                .is_ok()
        })
    }
}

/// What is signed: a fixed mark, number and time as 64 bits with the highest octet first, the hash.
fn octets(head: &Head, signed_at: Tai) -> Vec<u8> {
    let mut octets = b"fep-audit-head-1\0".to_vec();
    octets.extend(head.number.to_be_bytes());
    octets.extend(signed_at.0.to_be_bytes());
    octets.extend(head.hash);
    octets
}
