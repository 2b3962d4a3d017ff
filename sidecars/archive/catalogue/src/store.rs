//! The object store: a local directory or S3, behind one interface.
//!
//! Nothing counts as stored until it was read back and its SHA-256 is the one that was sent. Every operation is tried again
//! with growing pauses: servers say 503, connections stall and break. What cannot be done in the time allowed is an error,
//! and the catalogue then does not say that it was done; the next round does it again, to the same key.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
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

use crate::directory::ObjectFile;
use crate::durable::{Building, Readers};
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

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.directory.is_some()
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
        if octets.len() > PART_LEN || self.directory.is_some() {
            return self.again(|| self.upload(key, Parts::Octets(&octets))).await;
        }
        let sha256: [u8; 32] = Sha256::digest(&octets).into();
        let sent = StoredObject { key: key.to_owned(), octets: octets.len() as u64, sha256 };
        self.again(|| async {
            let location = self.location(key)?;
            let put = self.inner.put(&location, octets.clone().into()).await;
            put.map_err(Error::store("storing", key))?;
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
        self.again(|| self.upload(key, Parts::File(path))).await
    }

    /// Stores an object of another store, part by part, and reads it back. Only what is whole there comes to be here.
    ///
    /// # Errors
    /// As [`Store::put`]; [`Error::ObjectDiffers`] when it is not what `object` says; the other store.
    pub async fn put_from(&self, source: &Store, object: &StoredObject) -> Result<(), Error> {
        source.has_length(object).await?;
        if object.octets <= PART_LEN as u64 {
            let octets = source.get_checked(object).await?;
            return self.put(&object.key, octets).await.map(|_| ());
        }
        let read = self.again(|| self.upload(&object.key, Parts::Object(source, object))).await?;
        if read.sha256 == object.sha256 { Ok(()) } else { Err(differs(object, &read.sha256)) }
    }

    /// Uploads parts until there is none more, and says what they were together. What should be an object of another store and
    /// is not is given up before it is there.
    async fn upload(&self, key: &str, parts: Parts<'_>) -> Result<StoredObject, Error> {
        if let Some(path) = self.file(key) {
            return self.write(key, &path, parts).await;
        }
        let location = self.location(key)?;
        let upload = self.inner.put_multipart(&location).await.map_err(Error::store("storing", key))?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_LEN);
        let sent = match send_parts(key, parts, &mut upload).await {
            Ok(sent) if parts.expected().is_none_or(|sha256| sha256 == sent.sha256) => sent,
            other => {
                // What came so far would stay in a bucket, unseen; one that cannot be told so forgets it by its own rules.
                let _ = upload.abort().await;
                return other;
            }
        };
        upload.finish().await.map_err(Error::store("storing", key))?;
        self.expect(&sent).await?;
        Ok(sent)
    }

    /// As [`Store::upload`], into a file of a directory, whose permissions are ours to set.
    async fn write(&self, key: &str, path: &FilePath, parts: Parts<'_>) -> Result<StoredObject, Error> {
        let readers = Readers::of_key(key).no_wider_than(parts.file().as_deref());
        let of = path.to_owned();
        let mut file = tokio::task::spawn_blocking(move || Building::begin(&of, readers)).await??;
        let mut octets = 0;
        loop {
            let part = parts.part(octets).await?;
            if part.is_empty() {
                break;
            }
            octets += part.len() as u64;
            file = tokio::task::spawn_blocking(move || file.write(&part)).await??;
        }
        let sent = StoredObject { key: key.to_owned(), octets, sha256: file.sha256() };
        if parts.expected().is_none_or(|sha256| sha256 == sent.sha256) {
            tokio::task::spawn_blocking(move || file.finish()).await??;
            self.expect(&sent).await?;
        }
        Ok(sent)
    }

    /// Reads an object and says what it is.
    ///
    /// # Errors
    /// The store, after all tries.
    pub async fn look_at(&self, key: &str) -> Result<StoredObject, Error> {
        self.again(|| self.hash(key)).await
    }

    /// Reads a whole object of at most `limit_octets`; `None` when there is no such object.
    ///
    /// # Errors
    /// The store, after all tries; [`Error::File`] and [`Error::Invalid`] for what is longer, or no regular file of a directory.
    pub async fn get_if_exists(&self, key: &str, limit_octets: u64) -> Result<Option<Bytes>, Error> {
        let found = self.again(|| async {
            if let Some(file) = self.object_file(key) {
                return blocking(move || file.read(limit_octets)).await;
            }
            let location = self.location(key)?;
            let found = self.inner.get(&location).await.map_err(Error::store("reading", key))?;
            let octets = found.meta.size;
            if octets > limit_octets {
                let problem = format!("{key} has {octets} octets, at most {limit_octets} are read here");
                return Err(Error::Invalid { what: "object", problem });
            }
            found.bytes().await.map_err(Error::store("reading", key))
        });
        match found.await {
            Err(Error::Store { source: object_store::Error::NotFound { .. }, .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    /// The file of a key, when the store is a directory, to be read without waiting for anything.
    fn object_file(&self, key: &str) -> Option<ObjectFile> {
        self.file(key).map(|path| ObjectFile { key: key.to_owned(), path })
    }

    /// The file of an object of a directory, opened: a regular one, or none; for a blocking thread. `None` when the store is a
    /// server.
    ///
    /// # Errors
    /// As [`Store::look_at`].
    pub fn open_file(&self, key: &str) -> Option<Result<File, Error>> {
        self.object_file(key).map(|file| file.open())
    }

    /// Makes room for an object: what has its name in a directory and is no regular file gets another name.
    ///
    /// # Errors
    /// The disk.
    pub(crate) async fn clear_the_way(&self, key: &str) -> Result<(), Error> {
        match self.object_file(key) {
            Some(file) => blocking(move || file.clear_the_way()).await,
            None => Ok(()),
        }
    }

    /// Reads a stretch of an object.
    ///
    /// # Errors
    /// The store, after all tries.
    pub async fn get_range(&self, key: &str, from: u64, to: u64) -> Result<Bytes, Error> {
        let stretches = self.get_ranges(key, std::slice::from_ref(&(from..to))).await?;
        Ok(stretches.into_iter().next().unwrap_or_default())
    }

    /// Reads stretches of an object; those that lie near each other come by one request.
    ///
    /// # Errors
    /// The store, after all tries.
    pub async fn get_ranges(&self, key: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Error> {
        self.again(|| async {
            if let Some(file) = self.object_file(key) {
                let ranges = ranges.to_vec();
                return blocking(move || file.ranges(&ranges)).await;
            }
            let location = self.location(key)?;
            self.inner.get_ranges(&location, ranges).await.map_err(Error::store("reading", key))
        })
        .await
    }

    /// Reads a whole object, if it is what was stored.
    ///
    /// # Errors
    /// The store, after all tries; [`Error::ObjectDiffers`].
    pub async fn get_checked(&self, object: &StoredObject) -> Result<Bytes, Error> {
        self.has_length(object).await?;
        let octets = self.get_range(&object.key, 0, object.octets).await?;
        let found: [u8; 32] = Sha256::digest(&octets).into();
        if found == object.sha256 { Ok(octets) } else { Err(differs(object, &found)) }
    }

    /// Reads a whole object into a file, part by part. The file has its name only when it is whole and as expected, and is
    /// for the owner alone when it is red.
    ///
    /// # Errors
    /// The store, after all tries; [`Error::ObjectDiffers`]; the file.
    pub async fn get_file(&self, object: &StoredObject, path: &FilePath) -> Result<(), Error> {
        self.has_length(object).await?;
        let readers = Readers::of_key(&object.key).no_wider_than(self.file(&object.key).as_deref());
        let of = path.to_owned();
        let mut file = tokio::task::spawn_blocking(move || Building::begin(&of, readers)).await??;
        let mut octets = 0;
        while octets < object.octets {
            let part = self.part(object, octets).await?;
            if part.is_empty() {
                break;
            }
            octets += part.len() as u64;
            file = tokio::task::spawn_blocking(move || file.write(&part)).await??;
        }
        let expected = object.clone();
        tokio::task::spawn_blocking(move || {
            let found = file.sha256();
            if found == expected.sha256 { file.finish() } else { Err(differs(&expected, &found)) }
        })
        .await?
    }

    /// The part of an object that begins at `from`; empty at its end.
    async fn part(&self, object: &StoredObject, from: u64) -> Result<Bytes, Error> {
        let to = object.octets.min(from + PART_LEN as u64);
        if from < to { self.get_range(&object.key, from, to).await } else { Ok(Bytes::new()) }
    }

    /// Whether an object is as long as it was, so that every part of it can be asked for.
    async fn has_length(&self, object: &StoredObject) -> Result<(), Error> {
        match self.size(&object.key).await? {
            Some(octets) if octets != object.octets => {
                Err(differs(object, &self.look_at(&object.key).await?.sha256))
            }
            _ => Ok(()),
        }
    }

    /// Octets of an object; `None` when there is none.
    ///
    /// # Errors
    /// The store, after all tries.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, Error> {
        self.again(|| async {
            if let Some(file) = self.object_file(key) {
                return blocking(move || file.size()).await;
            }
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
        if let Some(file) = self.object_file(key) {
            return blocking(move || file.hash()).await;
        }
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

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await?
}

fn differs(expected: &StoredObject, found: &[u8; 32]) -> Error {
    Error::ObjectDiffers {
        key: expected.key.clone(),
        expected: hex::text(&expected.sha256),
        found: hex::text(found),
    }
}

/// What an upload is made of.
#[derive(Clone, Copy)]
enum Parts<'a> {
    Octets(&'a Bytes),
    File(&'a FilePath),
    Object(&'a Store, &'a StoredObject),
}

impl Parts<'_> {
    /// The file that they are read from, where it is one.
    fn file(self) -> Option<PathBuf> {
        match self {
            Parts::Octets(_) => None,
            Parts::File(path) => Some(path.to_owned()),
            Parts::Object(store, object) => store.file(&object.key),
        }
    }

    /// SHA-256 of all of them, where it is known.
    fn expected(self) -> Option<[u8; 32]> {
        match self {
            Parts::Object(_, object) => Some(object.sha256),
            Parts::Octets(_) | Parts::File(_) => None,
        }
    }

    /// The part that begins at `from`; empty at the end.
    async fn part(self, from: u64) -> Result<Bytes, Error> {
        match self {
            Parts::Octets(octets) => {
                let from = octets.len().min(from as usize);
                Ok(octets.slice(from..octets.len().min(from + PART_LEN)))
            }
            Parts::File(path) => {
                let path = path.to_path_buf();
                tokio::task::spawn_blocking(move || read_part(&path, from)).await?
            }
            Parts::Object(store, object) => store.part(object, from).await,
        }
    }
}

/// Sends part after part, and says what was sent.
async fn send_parts(key: &str, parts: Parts<'_>, upload: &mut WriteMultipart) -> Result<StoredObject, Error> {
    let (mut hasher, mut octets) = (Sha256::new(), 0);
    loop {
        let part = parts.part(octets).await?;
        if part.is_empty() {
            return Ok(StoredObject { key: key.to_owned(), octets, sha256: hasher.finalize().into() });
        }
        octets += part.len() as u64;
        let hashed = part.clone();
        hasher = tokio::task::spawn_blocking(move || hasher.chain_update(&hashed)).await?;
        upload.wait_for_capacity(2).await.map_err(Error::store("storing", key))?;
        upload.put(part);
    }
}

fn read_part(path: &FilePath, from: u64) -> Result<Bytes, Error> {
    let mut file = fep_segments::open_file(path)?;
    file.seek(SeekFrom::Start(from)).map_err(Error::io("read", path))?;
    let mut part = Vec::with_capacity(PART_LEN);
    file.take(PART_LEN as u64).read_to_end(&mut part).map_err(Error::io("read", path))?;
    Ok(part.into())
}
