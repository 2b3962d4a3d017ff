//! Answers that are printed as they came.

use std::ops::Deref;

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// An answer, and its JSON with everything that the model does not have: for programs that print both.
#[derive(Debug, Clone, PartialEq)]
pub struct Verbatim<T> {
    /// What this program reads in it.
    pub model: T,
    /// As the service wrote it.
    pub json: Value,
}

impl<T> Deref for Verbatim<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.model
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Verbatim<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Verbatim<T>, D::Error> {
        let json = Value::deserialize(deserializer)?;
        let model = T::deserialize(&json).map_err(D::Error::custom)?;
        Ok(Verbatim { model, json })
    }
}

impl<T> Serialize for Verbatim<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}
