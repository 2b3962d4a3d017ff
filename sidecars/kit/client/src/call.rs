//! Requests, declared with the type of their answers.

use std::fmt::{self, Write};
use std::marker::PhantomData;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Error;

/// One request of a service whose answer is a `T`. Nothing is sent until a client is given it.
#[derive(Clone)]
pub struct Call<T> {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    answer: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A body may hold a password.
        write!(f, "{} {}", self.method, self.path)
    }
}

impl<T> Call<T> {
    /// A request without a body. Parts of `path` that are not literals go through [`segment`] or a [`Query`].
    pub fn new(method: Method, path: impl Into<String>) -> Call<T> {
        Call { method, path: path.into(), headers: HeaderMap::new(), body: Bytes::new(), answer: PhantomData }
    }

    /// GET.
    pub fn get(path: impl Into<String>) -> Call<T> {
        Call::new(Method::GET, path)
    }

    /// POST without a body.
    pub fn post(path: impl Into<String>) -> Call<T> {
        Call::new(Method::POST, path)
    }

    /// With a body of JSON.
    ///
    /// # Panics
    /// Never for the models of this crate: a value whose maps have keys that are no texts has no JSON.
    #[must_use]
    pub fn json(mut self, body: &impl Serialize) -> Call<T> {
        self.body = serde_json::to_vec(body).expect("a model of this crate has JSON").into();
        self.headers.insert(hyper::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self
    }

    /// With a header.
    ///
    /// # Errors
    /// A value that cannot stand in a header.
    pub fn header(mut self, name: HeaderName, value: &str) -> Result<Call<T>, Error> {
        let value = HeaderValue::try_from(value)
            .map_err(|_| Error::setup(format!("{value:?} cannot stand in the header {name}"), ""))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// The same request with the answer read as something else, as a [`crate::Verbatim`].
    #[must_use]
    pub fn answering<U>(self) -> Call<U> {
        let Call { method, path, headers, body, answer: _ } = self;
        Call { method, path, headers, body, answer: PhantomData }
    }

    /// What is asked, with the query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// The answer to a request that only has to succeed; whatever its body says is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done;

impl<'de> Deserialize<'de> for Done {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Done, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Done)
    }
}

/// An answer that is no JSON: it is taken as octets, whole or as a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Octets {}

/// The part of a path after the question mark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(String);

impl Query {
    /// Of nothing.
    #[must_use]
    pub fn new() -> Query {
        Query::default()
    }

    /// With one more parameter, if it has a value.
    #[must_use]
    pub fn with(mut self, name: &str, value: Option<impl fmt::Display>) -> Query {
        if let Some(value) = value {
            let before = if self.0.is_empty() { '?' } else { '&' };
            // Writing to a string does not fail.
            let _ = write!(self.0, "{before}{name}={}", segment(&value.to_string()));
        }
        self
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text as it may stand between two slashes of a path, or as a value of a query.
#[must_use]
pub fn segment(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut path, octet| {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            path.push(char::from(octet));
        } else {
            // Writing to a string does not fail.
            let _ = write!(path, "%{octet:02X}");
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_strange_characters_stays_one_segment_of_a_path() {
        assert_eq!(segment("npp-1.x"), "npp-1.x");
        assert_eq!(segment("a/b c?é"), "a%2Fb%20c%3F%C3%A9");
        let query = Query::new().with("a", Some("1&2")).with("b", None::<u8>).with("c", Some(3));
        assert_eq!(query.to_string(), "?a=1%262&c=3");
        assert_eq!(Query::new().to_string(), "");
    }

    #[test]
    fn what_a_request_shows_of_itself_leaves_out_its_body() {
        let call: Call<Done> = Call::post("/v1/login").json(&["secret"]);
        assert_eq!(format!("{call:?}"), "POST /v1/login");
    }
}
