//! An index file on a server, of which the footer and the pages that are needed are fetched by ranges.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use fep_catalogue::{IndexFile, Store};
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

/// Octets fetched at first, from the end: the footer of an index file and its page index fit in.
const FOOTER_LEN: usize = 64 << 10;

/// One index file of the store.
pub(super) struct IndexObject {
    store: Store,
    file: IndexFile,
}

impl IndexObject {
    pub(super) fn new(store: Store, file: IndexFile) -> IndexObject {
        IndexObject { store, file }
    }
}

fn broken(error: fep_catalogue::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for IndexObject {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move { self.store.get_range(&self.file.key, range.start, range.end).await.map_err(broken) }
            .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move { self.store.get_ranges(&self.file.key, &ranges).await.map_err(broken) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let octets = self.file.octets;
            let reader = ParquetMetaDataReader::new()
                .with_offset_index_policy(PageIndexPolicy::Optional)
                .with_prefetch_hint(Some(FOOTER_LEN));
            reader.load_and_finish(self, octets).await.map(Arc::new)
        }
        .boxed()
    }
}
