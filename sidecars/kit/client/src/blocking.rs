//! The same client for programs without a runtime: each call blocks until its end.

use std::fmt;
use std::io::Write;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use crate::call::Call;
use crate::error::CopyError;
use crate::{Address, Config, Error, Event, HeaderMap, StatusCode};

/// A client of one service. Not for use within a runtime.
pub struct Client {
    inner: crate::Client,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Client {
    /// As [`crate::Client::new`].
    ///
    /// # Errors
    /// As [`crate::Client::new`]; a system without room for a client.
    pub fn new(config: Config) -> Result<Client, Error> {
        let inner = crate::Client::new(config)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime
            .map_err(|error| Error::setup(format!("cannot start the I/O of the client: {error}"), ""))?;
        Ok(Client { inner, runtime: Some(runtime) })
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("it is taken by drop alone").block_on(future)
    }

    /// Where the service is.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.inner.address()
    }

    /// As [`crate::Client::call`].
    ///
    /// # Errors
    /// As there.
    pub fn call<T: DeserializeOwned>(&self, call: &Call<T>) -> Result<T, Error> {
        self.wait(self.inner.call(call))
    }

    /// As [`crate::Client::octets`].
    ///
    /// # Errors
    /// As there.
    pub fn octets<T>(&self, call: &Call<T>) -> Result<Bytes, Error> {
        self.wait(self.inner.octets(call))
    }

    /// As [`crate::Client::begin`].
    ///
    /// # Errors
    /// As there.
    pub fn begin<T>(&self, call: &Call<T>) -> Result<Reply<'_>, Error> {
        let inner = self.wait(self.inner.begin(call))?;
        Ok(Reply { client: self, inner: Some(inner) })
    }

    /// As [`crate::Client::follow`].
    #[must_use]
    pub fn follow(&self, path: &str) -> Follow<'_> {
        Follow { client: self, inner: self.inner.follow(path) }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A name that is still being looked up is not waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A success whose body still arrives.
#[derive(Debug)]
pub struct Reply<'c> {
    client: &'c Client,
    /// `None` once it is over.
    inner: Option<crate::Reply>,
}

impl Reply<'_> {
    /// Status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.inner.as_ref().map_or(StatusCode::OK, |inner| inner.status)
    }

    /// Head.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        self.inner.as_ref().map(|inner| inner.headers.clone()).unwrap_or_default()
    }

    /// As [`crate::Reply::chunk`].
    ///
    /// # Errors
    /// As there.
    pub fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match &mut self.inner {
            Some(inner) => self.client.wait(inner.chunk()),
            None => Ok(None),
        }
    }

    /// As [`crate::Reply::copy_to`].
    ///
    /// # Errors
    /// As there.
    pub fn copy_to(mut self, writer: &mut impl Write) -> Result<u64, CopyError> {
        match self.inner.take() {
            Some(inner) => self.client.wait(inner.copy_to(writer)),
            None => Ok(0),
        }
    }
}

/// Events of a service, one after the other.
#[derive(Debug)]
pub struct Follow<'c> {
    client: &'c Client,
    inner: crate::Follow,
}

impl Follow<'_> {
    /// As [`crate::Follow::event`].
    ///
    /// # Errors
    /// As there.
    pub fn event(&mut self) -> Result<Event, Error> {
        self.client.wait(self.inner.event())
    }
}
