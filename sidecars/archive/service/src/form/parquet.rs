//! Apache Parquet: the columns of the index, colour and ring, and the octets.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use fep_archive_query::Unit;
use fep_catalogue::{FrameRow, PacketRow};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::{Form, Written};
use crate::retrieval::{Columns, Error, Kind, Row};

/// Rows of a row group, and the most octets of units in one: what is held in memory.
const ROWS_PER_GROUP: usize = 16 << 10;
const OCTETS_PER_GROUP: usize = 16 << 20;

/// What the Parquet writer has written and nobody has taken yet.
#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<Vec<u8>>>);

impl Pipe {
    fn take(&self, out: &mut Vec<u8>) {
        out.append(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Write for Pipe {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) struct Parquet {
    columns: Columns,
    schema: SchemaRef,
    wants_octets: bool,
    pipe: Pipe,
    writer: Option<ArrowWriter<Pipe>>,
    rows: Vec<Row>,
    colours: StringBuilder,
    rings: StringBuilder,
    octets: BinaryBuilder,
    octets_len: usize,
}

impl Parquet {
    pub(super) fn new(columns: &Columns, octets: bool) -> Parquet {
        let of_index = match columns.unit {
            Unit::Frames => FrameRow::schema(),
            Unit::Packets => PacketRow::schema(),
        };
        let mut fields =
            vec![Field::new("colour", DataType::Utf8, false), Field::new("ring", DataType::Utf8, false)];
        fields.extend(of_index.fields().iter().map(|field| field.as_ref().clone()));
        if octets {
            fields.push(Field::new("octets", DataType::Binary, false));
        }
        Parquet {
            columns: columns.clone(),
            schema: Arc::new(Schema::new(fields)),
            wants_octets: octets,
            pipe: Pipe::default(),
            writer: None,
            rows: Vec::with_capacity(ROWS_PER_GROUP),
            colours: StringBuilder::new(),
            rings: StringBuilder::new(),
            octets: BinaryBuilder::new(),
            octets_len: 0,
        }
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(self.colours.finish()), Arc::new(self.rings.finish())];
        for (column, kind) in self.columns.kinds.iter().enumerate() {
            arrays.push(array(&self.rows, column, *kind));
        }
        if self.wants_octets {
            arrays.push(Arc::new(self.octets.finish()));
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)?;
        self.rows.clear();
        self.octets_len = 0;
        if let Some(writer) = &mut self.writer {
            writer.write(&batch)?;
            writer.flush()?;
        }
        Ok(())
    }
}

impl Form for Parquet {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let open = || {
            let properties = WriterProperties::builder()
                .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
                .set_created_by("fep-archive".to_owned())
                .build();
            ArrowWriter::try_new(self.pipe.clone(), Arc::clone(&self.schema), Some(properties))
        };
        self.writer = Some(open().map_err(form)?);
        self.pipe.take(out);
        Ok(())
    }

    fn unit(&mut self, unit: &Written<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        self.rows.push(*unit.row);
        self.colours.append_value(unit.colour.name());
        self.rings.append_value(unit.ring);
        if self.wants_octets {
            self.octets.append_value(unit.octets);
            self.octets_len += unit.octets.len();
        }
        if self.rows.len() >= ROWS_PER_GROUP || self.octets_len >= OCTETS_PER_GROUP {
            self.write_group().map_err(form)?;
            self.pipe.take(out);
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.write_group().map_err(form)?;
        if let Some(writer) = self.writer.take() {
            writer.close().map_err(form)?;
        }
        self.pipe.take(out);
        Ok(())
    }

    fn wants_octets(&self) -> bool {
        self.wants_octets
    }
}

fn form(error: ParquetError) -> Error {
    Error::Form { form: "parquet", problem: error.to_string() }
}

fn array(rows: &[Row], column: usize, kind: Kind) -> ArrayRef {
    let values = rows.iter().map(|row| row.get(column));
    match kind {
        Kind::Int32 => {
            let mut builder = Int32Builder::with_capacity(rows.len());
            values.for_each(|value| builder.append_option(value.map(|value| value as i32)));
            Arc::new(builder.finish())
        }
        Kind::Int64 => {
            let mut builder = Int64Builder::with_capacity(rows.len());
            values.for_each(|value| builder.append_option(value));
            Arc::new(builder.finish())
        }
        Kind::Bool => {
            let mut builder = BooleanBuilder::with_capacity(rows.len());
            values.for_each(|value| builder.append_option(value.map(|value| value != 0)));
            Arc::new(builder.finish())
        }
        Kind::UtcUs => {
            let mut builder = TimestampMicrosecondBuilder::with_capacity(rows.len()).with_timezone("UTC");
            values.for_each(|value| builder.append_option(value));
            Arc::new(builder.finish())
        }
    }
}
