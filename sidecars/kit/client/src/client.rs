//! The client of one service.

use std::fmt;
use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use crate::call::Call;
use crate::connect::{Secure, connect};
use crate::error::{CopyError, Refusal};
use crate::tls::{self, fault_in};
use crate::{Address, Error, Follow, Tls};

/// The longest problem document that is read; the rest is not waited for.
const REFUSAL_MAX: usize = 64 << 10;

/// A ticket or an API token. It is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(HeaderValue);

impl Bearer {
    /// Of this text.
    ///
    /// # Errors
    /// A text that is no ticket and no token: empty, or with characters that neither has.
    pub fn new(text: &str) -> Result<Bearer, Error> {
        let is_one = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic());
        let value = HeaderValue::try_from(format!("Bearer {text}")).ok().filter(|_| is_one);
        let mut value = value.ok_or_else(|| {
            Error::setup("what was given as ticket or token is neither", "one line, without spaces")
        })?;
        value.set_sensitive(true);
        Ok(Bearer(value))
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer")
    }
}

/// How long is waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the head of an answer; for the whole of it where it is taken as a whole.
    pub answer: Duration,
    /// For the next octets of a stream.
    pub silence: Duration,
}

impl Default for Times {
    /// 10 s, 120 s (a login waits for its turn, a verification walks a whole trail), 60 s.
    fn default() -> Times {
        let s = Duration::from_secs;
        Times { connect: s(10), answer: s(120), silence: s(60) }
    }
}

/// What a client is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the service is.
    pub address: Address,
    /// Who asks; `None` where the service knows the peer by its certificate or its user.
    pub bearer: Option<Bearer>,
    /// Authorities and client certificate, for `https://`.
    pub tls: Tls,
    /// How long is waited.
    pub times: Times,
    /// The longest answer that is taken as a whole, in octets. A stream has no bound: whoever takes it has one.
    pub answer_octets_max: usize,
}

impl Config {
    /// At this address, and nothing else said: no bearer, the default times, answers of up to 64 MiB.
    #[must_use]
    pub fn at(address: Address) -> Config {
        Config {
            address,
            bearer: None,
            tls: Tls::default(),
            times: Times::default(),
            answer_octets_max: 64 << 20,
        }
    }
}

/// A client of one service. Clones share what it was made of; each request has a connection of its own.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    bearer: Option<Bearer>,
}

struct Shared {
    config: Config,
    secure: Option<Secure>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client of {}", self.shared.config.address)
    }
}

impl Client {
    /// Reads the files of TLS; nothing is sent yet.
    ///
    /// # Errors
    /// Files that cannot be used, `https://` without an authority, a bearer that would go to another machine in the clear.
    pub fn new(config: Config) -> Result<Client, Error> {
        let secure = match &config.address {
            Address::Https { host, .. } => Some(Secure {
                config: tls::config(&config.address, &config.tls)?,
                name: tls::server_name(host)?,
            }),
            _ => None,
        };
        let client = Client { bearer: None, shared: Arc::new(Shared { config, secure }) };
        let bearer = client.shared.config.bearer.clone();
        client.as_bearer(bearer)
    }

    /// The same service, asked as somebody else.
    ///
    /// # Errors
    /// A bearer that would go to another machine in the clear.
    pub fn as_bearer(&self, bearer: Option<Bearer>) -> Result<Client, Error> {
        if bearer.is_some() && !self.address().is_private() {
            let what = format!("no ticket is sent to {}: everybody on the way could read it", self.address());
            return Err(Error::setup(what, "ask at a door with TLS, https://HOST:PORT"));
        }
        Ok(Client { shared: Arc::clone(&self.shared), bearer })
    }

    /// Where the service is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.shared.config.address
    }

    fn times(&self) -> Times {
        self.shared.config.times
    }

    /// Asks; the answer. No body counts as the JSON value null.
    ///
    /// # Errors
    /// All of [`Error`] but `Setup`.
    pub async fn call<T: DeserializeOwned>(&self, call: &Call<T>) -> Result<T, Error> {
        let body = self.octets(call).await?;
        let body: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(body).map_err(|error| self.malformed(&call.path, error.to_string()))
    }

    /// Asks; the whole body of a success, at most [`Config::answer_octets_max`].
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn octets<T>(&self, call: &Call<T>) -> Result<Bytes, Error> {
        let answered = async {
            let Reply { mut incoming, .. } = self.begin_now(call).await?;
            let max = self.shared.config.answer_octets_max;
            let (body, is_whole) = incoming.collect(max).await?;
            if is_whole { Ok(body) } else { Err(self.too_long(&call.path, max)) }
        };
        self.within(answered).await
    }

    /// Asks; the head of a success, and its body piece by piece.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn begin<T>(&self, call: &Call<T>) -> Result<Reply, Error> {
        self.within(self.begin_now(call)).await
    }

    /// Follows the events of a path: server-sent events that resume.
    #[must_use]
    pub fn follow(&self, path: &str) -> Follow {
        Follow::new(self.clone(), path)
    }

    async fn within<T>(&self, answered: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let most = self.times().answer;
        tokio::time::timeout(most, answered)
            .await
            .unwrap_or_else(|_| Err(self.silent("did not answer", most)))
    }

    async fn begin_now<T>(&self, call: &Call<T>) -> Result<Reply, Error> {
        let request = self.request(call)?;
        let most = self.times().connect;
        let connected = connect(self.address(), self.shared.secure.as_ref());
        let stream = tokio::time::timeout(most, connected)
            .await
            .map_err(|_| self.silent("could not be connected to", most))??;
        let handshake = hyper::client::conn::http1::handshake(stream).await;
        let (mut sender, connection) = handshake.map_err(|error| self.broken("the connection", &error))?;
        let driver = Driver(tokio::spawn(connection));
        let response =
            sender.send_request(request).await.map_err(|error| self.broken("the connection", &error))?;
        let (head, body) = response.into_parts();
        let mut incoming = Reading { client: self.clone(), body, _driver: driver };
        if head.status.is_success() {
            return Ok(Reply { status: head.status, headers: head.headers, incoming });
        }
        // What broke off or is too long still refuses.
        let body = if call.method == Method::HEAD {
            Bytes::new()
        } else {
            incoming.collect(REFUSAL_MAX).await.map(|(body, _)| body).unwrap_or_default()
        };
        let refusal = Refusal::read(self.address(), &call.path, head.status, &head.headers, body);
        Err(Error::Refused(Box::new(refusal)))
    }

    fn request<T>(&self, call: &Call<T>) -> Result<Request<Full<Bytes>>, Error> {
        let request = Request::builder()
            .method(call.method.clone())
            .uri(call.path.as_str())
            .header(header::HOST, self.address().authority())
            .body(Full::new(call.body.clone()));
        let mut request = request.map_err(|error| {
            Error::setup(format!("{:?} cannot be asked of a service: {error}", call.path), "")
        })?;
        let headers = request.headers_mut();
        headers.extend(call.headers.clone());
        if let Some(Bearer(value)) = &self.bearer {
            headers.insert(header::AUTHORIZATION, value.clone());
        }
        Ok(request)
    }

    pub(crate) fn silent(&self, what: &'static str, waited: Duration) -> Error {
        Error::Silent { service: self.address().clone(), what, waited_s: waited.as_secs() }
    }

    pub(crate) fn malformed(&self, path: &str, why: String) -> Error {
        Error::Malformed { service: self.address().clone(), path: bare(path), why }
    }

    pub(crate) fn too_long(&self, path: &str, octets_max: usize) -> Error {
        Error::TooLong { service: self.address().clone(), path: bare(path), octets_max }
    }

    fn broken(&self, during: &'static str, error: &hyper::Error) -> Error {
        let service = self.address().clone();
        if let Some(fault) = fault_in(error) {
            return Error::Tls { service, fault };
        }
        let why = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        Error::Broken { service, during, why }
    }
}

/// A path without its query, which may hold what no message shows.
fn bare(path: &str) -> String {
    path.split('?').next().unwrap_or_default().to_owned()
}

/// The task of a connection: it ends with the answer that it brings.
struct Driver(JoinHandle<Result<(), hyper::Error>>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A body that arrives.
struct Reading {
    client: Client,
    body: Incoming,
    _driver: Driver,
}

impl Reading {
    /// The next octets; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.client.broken("its answer", &error)),
                Some(Ok(frame)) => {
                    if let Ok(octets) = frame.into_data()
                        && !octets.is_empty()
                    {
                        return Ok(Some(octets));
                    }
                }
            }
        }
    }

    /// At most so many octets, and whether that is all.
    async fn collect(&mut self, max: usize) -> Result<(Bytes, bool), Error> {
        let said = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
        let mut whole = BytesMut::with_capacity(said.min(max).min(1 << 20));
        while let Some(octets) = self.next().await? {
            let room = max - whole.len();
            whole.extend_from_slice(&octets[..octets.len().min(room)]);
            if octets.len() > room {
                return Ok((whole.freeze(), false));
            }
        }
        Ok((whole.freeze(), true))
    }
}

/// A success whose body still arrives.
pub struct Reply {
    /// Status code.
    pub status: StatusCode,
    /// Head.
    pub headers: HeaderMap,
    incoming: Reading,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply {} of {:?}", self.status, self.incoming.client)
    }
}

impl Reply {
    /// The next octets of the body, as they arrive; `None` at its end. An answer that ends too early is an error.
    ///
    /// # Errors
    /// [`Error::Silent`], [`Error::Broken`], [`Error::Tls`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let most = self.incoming.client.times().silence;
        match tokio::time::timeout(most, self.incoming.next()).await {
            Ok(next) => next,
            Err(_) => Err(self.incoming.client.silent("has sent nothing more of its answer", most)),
        }
    }

    /// Writes the body; how many octets it has.
    ///
    /// # Errors
    /// As [`Reply::chunk`], and those of the writer.
    pub async fn copy_to(mut self, writer: &mut impl Write) -> Result<u64, CopyError> {
        let mut written = 0;
        while let Some(octets) = self.chunk().await? {
            writer.write_all(&octets)?;
            written += octets.len() as u64;
        }
        Ok(written)
    }

    /// A header as text; empty where it is missing or no text.
    #[must_use]
    pub fn header(&self, name: &header::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
