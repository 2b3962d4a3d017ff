//! Talking to the archive service: HTTP over TCP or its Unix socket, one request a connection.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;

use super::args::Target;
use crate::failure::{Failure, plain};
use crate::service;

/// Longest wait for the connection and for the head of an answer: a manifest is made before its head is sent.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);
/// A stream that says nothing for so long is broken.
const SILENT_MAX: Duration = Duration::from_secs(60);
/// The longest answer that is held in memory.
const BODY_MAX: usize = 256 << 20;

enum Address {
    Unix(PathBuf),
    Tcp(String),
}

/// A client of one service.
pub(crate) struct Client {
    address: Address,
    shown: String,
    token: Option<HeaderValue>,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// Of the service meant; nothing is sent yet.
    pub(crate) fn of(target: &Target) -> Result<Client, Failure> {
        let shown = target.archive.clone();
        let address = if let Some(path) = shown.strip_prefix("unix:") {
            Address::Unix(PathBuf::from(path))
        } else if let Some(rest) = shown.strip_prefix("http://") {
            let host = rest.trim_end_matches('/');
            Address::Tcp(if host.contains(':') { host.to_owned() } else { format!("{host}:80") })
        } else {
            return Err(Failure::usage(format!("{shown:?} is no address of an archive service"))
                .hint("unix:PATH or http://HOST:PORT, with --archive or in FEP_ARCHIVE"));
        };
        let token = match &target.token_file {
            None => None,
            Some(file) => {
                let text =
                    std::fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?;
                let mut value = HeaderValue::try_from(format!("Bearer {}", text.trim()))
                    .map_err(|_| Failure::new(format!("{} holds no token", file.display())))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
                Failure::new(format!("cannot start the I/O of the client: {}", plain(&error)))
            })?;
        Ok(Client { address, shown, token, runtime })
    }

    /// The JSON answer to a GET.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.json(path, self.answer(Method::GET, path, &HeaderMap::new(), Bytes::new())?)
    }

    /// The JSON answer to a POST of JSON.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, Failure> {
        self.json(path, self.post_text(path, body)?.1)
    }

    /// The answer to a POST of JSON, as it is, with its head.
    pub(crate) fn post_text(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<(HeaderMap, Bytes), Failure> {
        self.runtime.block_on(async {
            let body = Bytes::from(body.to_string());
            let response = self.ask(Method::POST, path, &HeaderMap::new(), body).await?;
            if !response.status().is_success() {
                return Err(self.refusal(response, path).await);
            }
            let head = response.headers().clone();
            Ok((head, self.whole(response).await?))
        })
    }

    /// The head of an answer.
    pub(crate) fn head(&self, path: &str) -> Result<HeaderMap, Failure> {
        let response =
            self.runtime.block_on(self.ask(Method::HEAD, path, &HeaderMap::new(), Bytes::new()))?;
        if response.status().is_success() {
            return Ok(response.headers().clone());
        }
        // A HEAD has no body to say why: the GET has.
        self.answer(Method::GET, path, &HeaderMap::new(), Bytes::new()).map(|_| HeaderMap::new())
    }

    /// The answer to a GET, piece by piece. `begun` gets status and head first; `piece` ends it by failing.
    pub(crate) fn stream(
        &self,
        path: &str,
        headers: &[(HeaderName, String)],
        begun: impl FnOnce(StatusCode, &HeaderMap) -> Result<(), Failure>,
        mut piece: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::try_from(value)
                .map_err(|_| Failure::new(format!("{value:?} cannot stand in a request")))?;
            map.insert(name, value);
        }
        self.runtime.block_on(async {
            let response = self.ask(Method::GET, path, &map, Bytes::new()).await?;
            if !response.status().is_success() {
                return Err(self.refusal(response, path).await);
            }
            begun(response.status(), response.headers())?;
            let mut body = response.into_body();
            loop {
                match tokio::time::timeout(SILENT_MAX, body.frame()).await {
                    Err(_) => {
                        return Err(Failure::new(format!(
                            "the archive at {} has sent nothing for {} s",
                            self.shown,
                            SILENT_MAX.as_secs()
                        )));
                    }
                    Ok(None) => return Ok(()),
                    Ok(Some(Err(error))) => {
                        return Err(Failure::new(format!("the answer broke off: {error}"))
                            .hint("ask again: what was fetched is kept and resumed; the log of fep-archive says why"));
                    }
                    Ok(Some(Ok(frame))) => {
                        if let Some(octets) = frame.data_ref() {
                            piece(octets)?;
                        }
                    }
                }
            }
        })
    }

    fn json<T: DeserializeOwned>(&self, path: &str, body: Bytes) -> Result<T, Failure> {
        serde_json::from_slice(&body).map_err(|error| {
            Failure::new(format!("the archive at {} answered {path} with something that this fepctl does not understand: {error}", self.shown))
                .hint("are they of the same version? compare `fep-archive --version` and `fepctl --version`")
        })
    }

    fn answer(&self, method: Method, path: &str, headers: &HeaderMap, body: Bytes) -> Result<Bytes, Failure> {
        self.runtime.block_on(async {
            let response = self.ask(method, path, headers, body).await?;
            if !response.status().is_success() {
                return Err(self.refusal(response, path).await);
            }
            self.whole(response).await
        })
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes, Failure> {
        let body = http_body_util::Limited::new(response.into_body(), BODY_MAX).collect().await;
        body.map(|body| body.to_bytes())
            .map_err(|error| Failure::new(format!("the answer broke off: {error}")))
    }

    async fn refusal(&self, response: Response<Incoming>, path: &str) -> Failure {
        let status = response.status();
        let body = self.whole(response).await.unwrap_or_default();
        service::refusal(&body)
            .unwrap_or_else(|| Failure::new(format!("the archive refused {path}: {status}")))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let broken = |error: hyper::Error| {
            Failure::no_daemon(format!("the archive at {} broke off the connection: {error}", self.shown))
        };
        let asking = async {
            let mut sender = match &self.address {
                Address::Unix(path) => {
                    let stream =
                        tokio::net::UnixStream::connect(path).await.map_err(|error| self.away(&error))?;
                    let (sender, connection) =
                        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
                    tokio::spawn(connection);
                    sender
                }
                Address::Tcp(address) => {
                    let stream =
                        tokio::net::TcpStream::connect(address).await.map_err(|error| self.away(&error))?;
                    let (sender, connection) =
                        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
                    tokio::spawn(connection);
                    sender
                }
            };
            let mut request = Request::builder()
                .method(method)
                .uri(path)
                .header(header::HOST, "archive")
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::new(body))
                .map_err(|error| {
                    Failure::usage(format!("{path:?} cannot be asked of the archive: {error}"))
                })?;
            request.headers_mut().extend(headers.clone());
            if let Some(token) = &self.token {
                request.headers_mut().insert(header::AUTHORIZATION, token.clone());
            }
            sender.send_request(request).await.map_err(broken)
        };
        tokio::time::timeout(ANSWER_WITHIN, asking).await.map_err(|_| {
            Failure::no_daemon(format!(
                "the archive at {} did not answer within {} s",
                self.shown,
                ANSWER_WITHIN.as_secs()
            ))
        })?
    }

    fn away(&self, error: &std::io::Error) -> Failure {
        Failure::no_daemon(format!("no archive service at {}: {}", self.shown, plain(error)))
            .hint("start it with `fepctl up` (or `systemctl start fep-archive`), or name it with --archive")
    }
}
