//! One index file, read by ranges through the catalogue's store, with its patience towards servers that stumble.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use fep_catalogue::{IndexFile, Store};
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

/// Read from the end of the file in the hope that the whole footer is in it.
const FOOTER_HINT: usize = 64 << 10;

/// Reads an index file.
pub(super) struct IndexReader {
    store: Store,
    file: IndexFile,
}

impl IndexReader {
    pub(super) fn new(store: Store, file: IndexFile) -> IndexReader {
        IndexReader { store, file }
    }
}

impl AsyncFileReader for IndexReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move {
            let found = self.store.get_range(&self.file.key, range.start, range.end).await;
            found.map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let octets = self.file.octets;
            let reader = ParquetMetaDataReader::new()
                .with_arrow_reader_options(options)
                .with_prefetch_hint(Some(FOOTER_HINT));
            Ok(Arc::new(reader.load_and_finish(self, octets).await?))
        }
        .boxed()
    }
}
