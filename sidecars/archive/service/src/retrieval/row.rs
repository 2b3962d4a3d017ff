//! A row of the index as the retrieval works with it: every column is a number.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use fep_archive_query::Unit;
use fep_catalogue::{FrameRow, PacketRow};

use super::Error;

/// More columns than any table of the index has.
const COLUMNS_MAX: usize = 32;

/// What a column's number stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A 32-bit number.
    Int32,
    /// A 64-bit number.
    Int64,
    /// 0 or 1.
    Bool,
    /// Microseconds since 1970-01-01, UTC.
    UtcUs,
}

/// One row. Columns by their place in [`Columns`].
#[derive(Debug, Clone, Copy)]
pub struct Row {
    values: [i64; COLUMNS_MAX],
    nulls: u32,
}

impl Row {
    /// A column's number; `None` where the row has none.
    #[must_use]
    pub fn get(&self, column: usize) -> Option<i64> {
        if self.nulls >> column & 1 == 1 { None } else { self.values.get(column).copied() }
    }

    /// A column that is never empty.
    #[must_use]
    pub fn number(&self, column: usize) -> i64 {
        self.get(column).unwrap_or_default()
    }
}

/// The columns of frames or packets: names, kinds, and the places of those that the retrieval itself looks at.
#[derive(Debug, Clone)]
pub struct Columns {
    /// Whose.
    pub unit: Unit,
    /// Names, as in the index files.
    pub names: &'static [&'static str],
    /// What each holds.
    pub kinds: Vec<Kind>,
    /// Ring sequence number.
    pub seq: usize,
    /// Reception, TAI nanoseconds since 1958.
    pub rx: usize,
    /// Reception, UTC.
    pub rx_utc: usize,
    /// Station link.
    pub link: usize,
    /// Session number.
    pub session: usize,
    /// Transfer frame version number.
    pub tfvn: usize,
    /// Spacecraft.
    pub scid: usize,
    /// Virtual channel.
    pub vcid: usize,
    /// Quality number.
    pub quality: usize,
    /// Whether it is idle data.
    pub idle: usize,
    /// Numbering of the ring.
    pub series: usize,
    /// Segment.
    pub segment: usize,
    /// Place in the segment.
    pub offset: usize,
    /// Octets.
    pub len: usize,
    /// Digest of the octets.
    pub digest: usize,
    /// What names the unit besides session, spacecraft and channel: its counters.
    pub counters: Vec<usize>,
    /// Application process, type, subtype, on-board time; packets only.
    pub packet: Option<PacketPlaces>,
}

/// Places of columns that only packets have.
#[derive(Debug, Clone, Copy)]
pub struct PacketPlaces {
    /// Application process.
    pub apid: usize,
    /// PUS service type.
    pub service: usize,
    /// PUS message subtype.
    pub subtype: usize,
    /// On-board time.
    pub onboard: usize,
}

impl Columns {
    /// Those of a unit.
    ///
    /// # Panics
    /// Never: the names are those of the catalogue, and a test asks for both units.
    #[must_use]
    pub fn of(unit: Unit) -> Columns {
        let (names, schema) = match unit {
            Unit::Frames => (FrameRow::COLUMNS, FrameRow::schema()),
            Unit::Packets => (PacketRow::COLUMNS, PacketRow::schema()),
        };
        let at = |name: &str| {
            // A column that the catalogue does not have is a mistake of the program, found by the first test.
            #[allow(clippy::expect_used)]
            names.iter().position(|column| *column == name).expect("a column of the index")
        };
        let kinds = schema
            .fields()
            .iter()
            .map(|field| match field.data_type() {
                DataType::Int32 => Kind::Int32,
                DataType::Boolean => Kind::Bool,
                DataType::Timestamp(TimeUnit::Microsecond, _) => Kind::UtcUs,
                _ => Kind::Int64,
            })
            .collect();
        let (counters, packet) = match unit {
            Unit::Frames => (vec![at("expedited"), at("frame_count")], None),
            Unit::Packets => (
                vec![at("pvn"), at("apid"), at("telecommand"), at("sequence_flags"), at("sequence_count")],
                Some(PacketPlaces {
                    apid: at("apid"),
                    service: at("service"),
                    subtype: at("subtype"),
                    onboard: at("onboard_tai_ns"),
                }),
            ),
        };
        Columns {
            unit,
            names,
            kinds,
            seq: at("seq"),
            rx: at("rx_tai_ns"),
            rx_utc: at("rx_utc"),
            link: at("link"),
            session: at("session"),
            tfvn: at("tfvn"),
            scid: at("scid"),
            vcid: at("vcid"),
            quality: at("quality"),
            idle: at("idle"),
            series: at("series"),
            segment: at("segment"),
            offset: at("offset"),
            len: at("len"),
            digest: at("digest"),
            counters,
            packet,
        }
    }

    /// Reads the rows of a batch that has the schema of the index.
    ///
    /// # Errors
    /// When a column is missing or of another type: an index of another version.
    pub fn rows(&self, batch: &RecordBatch) -> Result<Vec<Row>, Error> {
        if let Some(missing) = self.names.iter().find(|name| batch.column_by_name(name).is_none()) {
            return Err(Error::index_column(missing));
        }
        self.some_columns(batch)
    }

    /// As [`Columns::rows`], from a batch that may lack columns: they are 0.
    ///
    /// # Errors
    /// When a column is of another type.
    pub fn some_columns(&self, batch: &RecordBatch) -> Result<Vec<Row>, Error> {
        let mut rows = vec![Row { values: [0; COLUMNS_MAX], nulls: 0 }; batch.num_rows()];
        for (column, (name, kind)) in self.names.iter().zip(&self.kinds).enumerate() {
            if let Some(array) = batch.column_by_name(name) {
                fill(&mut rows, column, *kind, array).ok_or_else(|| Error::index_column(name))?;
            }
        }
        Ok(rows)
    }
}

fn fill(rows: &mut [Row], column: usize, kind: Kind, array: &dyn Array) -> Option<()> {
    match kind {
        Kind::Int32 => {
            let values = array.as_primitive_opt::<Int32Type>()?;
            rows.iter_mut()
                .zip(values.values())
                .for_each(|(row, value)| row.values[column] = i64::from(*value));
        }
        Kind::Int64 => {
            let values = array.as_primitive_opt::<Int64Type>()?;
            rows.iter_mut().zip(values.values()).for_each(|(row, value)| row.values[column] = *value);
        }
        Kind::UtcUs => {
            let values = array.as_primitive_opt::<TimestampMicrosecondType>()?;
            rows.iter_mut().zip(values.values()).for_each(|(row, value)| row.values[column] = *value);
        }
        Kind::Bool => {
            let values = array.as_boolean_opt()?;
            rows.iter_mut()
                .zip(values.values())
                .for_each(|(row, value)| row.values[column] = i64::from(value));
        }
    }
    if array.null_count() > 0 {
        for (index, row) in rows.iter_mut().enumerate() {
            row.nulls |= u32::from(array.is_null(index)) << column;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tables_of_the_index_have_the_columns_that_the_retrieval_looks_at() {
        for unit in [Unit::Frames, Unit::Packets] {
            let columns = Columns::of(unit);
            assert!(columns.names.len() <= COLUMNS_MAX);
            assert_eq!(columns.packet.is_some(), unit == Unit::Packets);
        }
    }
}
