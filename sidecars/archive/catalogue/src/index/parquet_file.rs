//! One Parquet file of the index: how it is laid out and written.
//!
//! Row groups of [`ROWS_PER_GROUP`] rows with statistics, and page statistics of the columns that queries ask by, so that
//! an engine reads only what a time span or a channel needs. Columns that count upwards are delta-coded, those with few
//! values dictionary-coded; all but the digest are compressed with Zstandard, which every engine knows. Equal rows give
//! equal octets: nothing in the file depends on when or where it was written.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaDataReader};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

/// Rows of a row group: two minutes of 10 Mbit/s.
pub(crate) const ROWS_PER_GROUP: usize = 128 << 10;
const ROWS_PER_PAGE: usize = 16 << 10;

/// Counting or nearly so: the differences are small.
const DELTA_CODED: [&str; 8] =
    ["seq", "rx_tai_ns", "rx_utc", "frame_count", "sequence_count", "offset", "frame_seq", "onboard_tai_ns"];
/// What queries ask by.
const PAGE_STATISTICS: [&str; 6] = ["seq", "rx_tai_ns", "rx_utc", "scid", "vcid", "apid"];
const INCOMPRESSIBLE: &str = "digest";

/// A finished Parquet file in memory.
#[derive(Debug, Clone)]
pub struct ParquetBytes {
    /// The file.
    pub octets: Vec<u8>,
    /// Its rows.
    pub rows: u64,
}

/// A note in the footer of a file.
///
/// # Errors
/// The octets are no Parquet file.
pub(crate) fn note_of(octets: Bytes, key: &str) -> Result<Option<String>, ParquetError> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&octets)?;
    let notes = metadata.file_metadata().key_value_metadata();
    Ok(notes.and_then(|notes| notes.iter().find(|note| note.key == key)).and_then(|note| note.value.clone()))
}

pub(crate) struct ParquetWriter {
    writer: ArrowWriter<Vec<u8>>,
    rows: u64,
}

impl ParquetWriter {
    pub(crate) fn new(schema: SchemaRef, segment: &str) -> Result<ParquetWriter, ParquetError> {
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_data_page_row_count_limit(ROWS_PER_PAGE)
            .set_write_batch_size(ROWS_PER_PAGE)
            .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
            .set_key_value_metadata(Some(vec![
                KeyValue::new("fep.segment".to_owned(), segment.to_owned()),
                KeyValue::new("fep.index_version".to_owned(), super::INDEX_VERSION.to_string()),
            ]));
        for field in schema.fields() {
            let column = ColumnPath::from(field.name().as_str());
            let name = field.name().as_str();
            if PAGE_STATISTICS.contains(&name) {
                properties =
                    properties.set_column_statistics_enabled(column.clone(), EnabledStatistics::Page);
            }
            if DELTA_CODED.contains(&name) {
                properties = properties
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_encoding(column.clone(), Encoding::DELTA_BINARY_PACKED);
            }
            if name == INCOMPRESSIBLE {
                properties = properties
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_statistics_enabled(column.clone(), EnabledStatistics::None)
                    .set_column_compression(column, Compression::UNCOMPRESSED);
            }
        }
        let writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties.build()))?;
        Ok(ParquetWriter { writer, rows: 0 })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch)
    }

    /// Adds a note to the footer.
    pub(crate) fn note(&mut self, key: &str, value: String) {
        self.writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
    }

    pub(crate) fn finish(self) -> Result<ParquetBytes, ParquetError> {
        Ok(ParquetBytes { octets: self.writer.into_inner()?, rows: self.rows })
    }
}
