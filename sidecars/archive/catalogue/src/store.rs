//! The object store: a local directory or S3, behind one interface.
//!
//! Nothing counts as stored until it was read back and its SHA-256 is the one that was sent. Every operation is tried again
//! with growing pauses: servers say 503, connections stall and break. What cannot be done in the time allowed is an error,
//! and the catalogue then does not say that it was done; the next round does it again, to the same key.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig, WriteMultipart};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::StoredObject;
use crate::{Error, hex};

/// Which store, and how patient to be with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// `file:///var/lib/fep/archive`, or `s3://bucket` with an optional prefix.
    pub url: String,
    /// S3: options by the names of `object_store` (`aws_endpoint`, `aws_region`, …). Credentials come from the
    /// environment (`AWS_ACCESS_KEY_ID` and the like) unless they are given here.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// S3: longest time for one request.
    #[serde(default = "default_request_timeout_s")]
    pub request_timeout_s: u64,
    /// How long an operation is tried again before it is an error.
    #[serde(default = "default_retry_timeout_s")]
    pub retry_timeout_s: u64,
}

fn default_request_timeout_s() -> u64 {
    60
}

fn default_retry_timeout_s() -> u64 {
    180
}

impl StoreConfig {
    /// A store with the usual patience.
    #[must_use]
    pub fn new(url: &str) -> StoreConfig {
        StoreConfig {
            url: url.to_owned(),
            options: BTreeMap::new(),
            request_timeout_s: default_request_timeout_s(),
            retry_timeout_s: default_retry_timeout_s(),
        }
    }

    /// A local directory, which must be there.
    #[must_use]
    pub fn directory(path: &FilePath) -> StoreConfig {
        StoreConfig::new(&format!("file://{}", path.display()))
    }
}

/// The store. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    /// The directory, when it is one.
    directory: Option<Arc<LocalFileSystem>>,
    prefix: Path,
    url: String,
    patience: Duration,
}

/// Octets of one part of a large upload (S3 allows 10 000 parts of at least 5 MiB).
const PART_LEN: usize = 16 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Store {
    /// Opens a store. An S3 bucket is not asked whether it is there.
    ///
    /// # Errors
    /// Another kind of URL, a directory that is not there, options that S3 does not have.
    pub fn open(config: &StoreConfig) -> Result<Store, Error> {
        let invalid = |problem: String| Error::Invalid { what: "object store", problem };
        let patience = Duration::from_secs(config.retry_timeout_s);
        if let Some(path) = config.url.strip_prefix("file://") {
            let directory = LocalFileSystem::new_with_prefix(path)
                .map_err(|error| invalid(format!("{}: {error}", config.url)))?;
            let directory = Arc::new(directory);
            return Ok(Store {
                inner: Arc::clone(&directory) as Arc<dyn ObjectStore>,
                directory: Some(directory),
                prefix: Path::default(),
                url: config.url.clone(),
                patience,
            });
        }
        let Some(rest) = config.url.strip_prefix("s3://") else {
            return Err(invalid(format!("{}: it begins with neither file:// nor s3://", config.url)));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_client_options(
                ClientOptions::new()
                    .with_timeout(Duration::from_secs(config.request_timeout_s))
                    .with_connect_timeout(Duration::from_secs(config.request_timeout_s.min(10)))
                    .with_allow_http(
                        config.options.get("aws_allow_http").is_some_and(|allow| allow == "true"),
                    ),
            )
            .with_retry(RetryConfig {
                backoff: BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: LONGEST_PAUSE, base: 2.0 },
                max_retries: 1000,
                retry_timeout: patience,
            });
        for (name, value) in &config.options {
            let key: AmazonS3ConfigKey =
                name.parse().map_err(|_| invalid(format!("option {name} is none that S3 has")))?;
            builder = builder.with_config(key, value);
        }
        let inner = builder.build().map_err(|error| invalid(error.to_string()))?;
        Ok(Store {
            inner: Arc::new(inner),
            directory: None,
            prefix: Path::parse(prefix).map_err(|error| invalid(error.to_string()))?,
            url: config.url.trim_end_matches('/').to_owned(),
            patience,
        })
    }

    /// For engines that read the index themselves. Keys are below [`Store::prefix`].
    #[must_use]
    pub fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.inner)
    }

    /// What stands before every key.
    #[must_use]
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The file of a key, when the store is a directory.
    #[must_use]
    pub fn file(&self, key: &str) -> Option<PathBuf> {
        let location = self.location(key).ok()?;
        self.directory.as_ref()?.path_to_filesystem(&location).ok()
    }

    /// Stores octets and reads them back.
    ///
    /// # Errors
    /// The store, after all tries; [`Error::ObjectDiffers`] when it gives back something else.
    pub async fn put(&self, key: &str, octets: Bytes) -> Result<StoredObject, Error> {
        let sha256: [u8; 32] = Sha256::digest(&octets).into();
        let sent = StoredObject { key: key.to_owned(), octets: octets.len() as u64, sha256 };
        self.again(|| async {
            let location = self.location(key)?;
            if octets.len() <= PART_LEN {
                self.inner
                    .put(&location, octets.clone().into())
                    .await
                    .map_err(Error::store("storing", key))?;
            } else {
                let upload =
                    self.inner.put_multipart(&location).await.map_err(Error::store("storing", key))?;
                let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_LEN);
                upload.put(octets.clone());
                upload.finish().await.map_err(Error::store("storing", key))?;
            }
            self.make_durable(key)?;
            self.expect(&sent).await
        })
        .await?;
        Ok(sent)
    }

    /// Stores a file, part by part, and reads it back.
    ///
    /// # Errors
    /// As [`Store::put`]; the file.
    pub async fn put_file(&self, key: &str, path: &FilePath) -> Result<StoredObject, Error> {
        self.again(|| async {
            let location = self.location(key)?;
            let upload = self.inner.put_multipart(&location).await.map_err(Error::store("storing", key))?;
            let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_LEN);
            let mut file = File::open(path).map_err(Error::io("open", path))?;
            let (mut hasher, mut octets) = (Sha256::new(), 0);
            loop {
                let (part, hashed) = tokio::task::spawn_blocking(move || read_part(file, hasher)).await?;
                let part = part.map_err(Error::io("read", path))?;
                (file, hasher) = hashed;
                if part.is_empty() {
                    break;
                }
                octets += part.len() as u64;
                upload.wait_for_capacity(2).await.map_err(Error::store("storing", key))?;
                upload.put(part);
            }
            upload.finish().await.map_err(Error::store("storing", key))?;
            self.make_durable(key)?;
            let sent = StoredObject { key: key.to_owned(), octets, sha256: hasher.finalize().into() };
            self.expect(&sent).await?;
            Ok(sent)
        })
        .await
    }

    /// Reads an object and says what it is.
    ///
    /// # Errors
    /// The store, after all tries.
    pub async fn look_at(&self, key: &str) -> Result<StoredObject, Error> {
        self.again(|| self.hash(key)).await
    }

    /// Reads a whole object.
    ///
    /// # Errors
    /// The store, after all tries.
    pub async fn get(&self, key: &str) -> Result<Bytes, Error> {
        self.again(|| async {
            let location = self.location(key)?;
            let found = self.inner.get(&location).await.map_err(Error::store("reading", key))?;
            found.bytes().await.map_err(Error::store("reading", key))
        })
        .await
    }

    /// Reads a stretch of an object.
    ///
    /// # Errors
    /// The store, after all tries.
    pub async fn get_range(&self, key: &str, from: u64, to: u64) -> Result<Bytes, Error> {
        self.again(|| async {
            let location = self.location(key)?;
            self.inner.get_range(&location, from..to).await.map_err(Error::store("reading", key))
        })
        .await
    }

    /// Reads a whole object into a file, which has its name only when it is whole and as expected.
    ///
    /// # Errors
    /// The store, after all tries; [`Error::ObjectDiffers`]; the file.
    pub async fn get_file(&self, object: &StoredObject, path: &FilePath) -> Result<(), Error> {
        let octets = self.get(&object.key).await?;
        let found: [u8; 32] = Sha256::digest(&octets).into();
        if found != object.sha256 {
            return Err(differs(object, &found));
        }
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || write_whole(&path, &octets)).await?
    }

    /// Octets of an object; `None` when there is none.
    ///
    /// # Errors
    /// The store, after all tries.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, Error> {
        self.again(|| async {
            match self.inner.head(&self.location(key)?).await {
                Ok(found) => Ok(Some(found.size)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(Error::store("looking for", key)(error)),
            }
        })
        .await
    }

    /// Keys below a folder, with their octets, in order.
    ///
    /// # Errors
    /// The store, after all tries.
    pub async fn list(&self, folder: &str) -> Result<BTreeMap<String, u64>, Error> {
        self.again(|| async {
            let location = self.location(folder)?;
            let found: Vec<_> = self
                .inner
                .list(Some(&location))
                .try_collect()
                .await
                .map_err(Error::store("listing", folder))?;
            let name = |location: &Path| match location.prefix_match(&self.prefix) {
                Some(parts) => Path::from_iter(parts).to_string(),
                None => location.to_string(),
            };
            Ok(found.into_iter().map(|object| (name(&object.location), object.size)).collect())
        })
        .await
    }

    /// Deletes an object; one that is not there is deleted already.
    ///
    /// # Errors
    /// The store, after all tries.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        self.again(|| async {
            match self.inner.delete(&self.location(key)?).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(Error::store("deleting", key)(error)),
            }
        })
        .await
    }

    fn location(&self, key: &str) -> Result<Path, Error> {
        let key = Path::parse(key)
            .map_err(|error| Error::Invalid { what: "object key", problem: error.to_string() })?;
        Ok(Path::from_iter(self.prefix.parts().chain(key.parts())))
    }

    async fn hash(&self, key: &str) -> Result<StoredObject, Error> {
        let found = self.inner.get(&self.location(key)?).await.map_err(Error::store("reading", key))?;
        let mut stream = found.into_stream();
        let (mut hasher, mut octets) = (Sha256::new(), 0);
        while let Some(piece) = stream.try_next().await.map_err(Error::store("reading", key))? {
            octets += piece.len() as u64;
            hasher.update(&piece);
        }
        Ok(StoredObject { key: key.to_owned(), octets, sha256: hasher.finalize().into() })
    }

    /// Reads back and compares.
    async fn expect(&self, sent: &StoredObject) -> Result<(), Error> {
        let found = self.hash(&sent.key).await?;
        if found == *sent { Ok(()) } else { Err(differs(sent, &found.sha256)) }
    }

    /// A directory's files are in the page cache only, until they are synchronised; S3 answers when it has the octets.
    fn make_durable(&self, key: &str) -> Result<(), Error> {
        let Some(path) = self.file(key) else { return Ok(()) };
        let sync = |path: &FilePath| {
            File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("make durable", path))
        };
        sync(&path)?;
        path.parent().map_or(Ok(()), sync)
    }

    /// Tries until it succeeds, fails for good, or patience ends.
    async fn again<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            match attempt().await {
                Err(error) if error.may_pass() && started.elapsed() + pause < self.patience => {
                    tracing::warn!(%error, "object store: trying again in {} ms", pause.as_millis());
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                result => return result,
            }
        }
    }
}

fn differs(expected: &StoredObject, found: &[u8; 32]) -> Error {
    Error::ObjectDiffers {
        key: expected.key.clone(),
        expected: hex::text(&expected.sha256),
        found: hex::text(found),
    }
}

type Reading = (File, Sha256);

fn read_part(file: File, mut hasher: Sha256) -> (std::io::Result<Bytes>, Reading) {
    let mut part = Vec::with_capacity(PART_LEN);
    let read = (&file).take(PART_LEN as u64).read_to_end(&mut part);
    hasher.update(&part);
    (read.map(|_| part.into()), (file, hasher))
}

/// Writes a file so that it is either not there or whole.
pub(crate) fn write_whole(path: &FilePath, octets: &[u8]) -> Result<(), Error> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(Error::io("make", directory))?;
    }
    let mut building = path.as_os_str().to_owned();
    building.push(".building");
    let building = PathBuf::from(building);
    std::fs::write(&building, octets).map_err(Error::io("write", &building))?;
    File::open(&building).and_then(|file| file.sync_all()).map_err(Error::io("make durable", &building))?;
    std::fs::rename(&building, path).map_err(Error::io("rename", &building))?;
    match path.parent() {
        Some(directory) => File::open(directory)
            .and_then(|file| file.sync_all())
            .map_err(Error::io("make durable", directory)),
        None => Ok(()),
    }
}
