//! The columns of the index: what a row of frames and a row of packets says, once for building, naming and reading.
//!
//! Only signed integers, truth values and one timestamp: every Parquet engine reads these alike (unsigned integers are
//! read as decimals by some and refused by others).

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

/// Microseconds since 1970-01-01, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UtcUs(pub i64);

/// How a column's values become an array.
trait Value: Sized {
    const NULLABLE: bool;
    fn data_type() -> DataType;
    fn array(values: Vec<Self>) -> ArrayRef;
}

impl Value for i32 {
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::Int32
    }
    fn array(values: Vec<i32>) -> ArrayRef {
        Arc::new(Int32Array::from(values))
    }
}

impl Value for i64 {
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::Int64
    }
    fn array(values: Vec<i64>) -> ArrayRef {
        Arc::new(Int64Array::from(values))
    }
}

impl Value for Option<i32> {
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::Int32
    }
    fn array(values: Vec<Option<i32>>) -> ArrayRef {
        Arc::new(Int32Array::from(values))
    }
}

impl Value for Option<i64> {
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::Int64
    }
    fn array(values: Vec<Option<i64>>) -> ArrayRef {
        Arc::new(Int64Array::from(values))
    }
}

impl Value for bool {
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::Boolean
    }
    fn array(values: Vec<bool>) -> ArrayRef {
        Arc::new(BooleanArray::from(values))
    }
}

impl Value for UtcUs {
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    }
    fn array(values: Vec<UtcUs>) -> ArrayRef {
        let values: Vec<i64> = values.into_iter().map(|UtcUs(us)| us).collect();
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
    }
}

macro_rules! table {
    ($(#[$meta:meta])* $row:ident, $columns:ident { $($(#[$doc:meta])* $name:ident: $kind:ty,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $row { $($(#[$doc])* pub $name: $kind,)+ }

        impl $row {
            /// Names of the columns, in order.
            pub const COLUMNS: &'static [&'static str] = &[$(stringify!($name),)+];

            /// Schema of the index file.
            #[must_use]
            pub fn schema() -> SchemaRef {
                Arc::new(Schema::new(vec![
                    $(Field::new(stringify!($name), <$kind>::data_type(), <$kind>::NULLABLE),)+
                ]))
            }
        }

        /// Rows on their way into the index, column by column.
        #[derive(Debug, Clone, Default)]
        pub(crate) struct $columns { $($name: Vec<$kind>,)+ }

        impl $columns {
            pub(crate) fn with_capacity(rows: usize) -> $columns {
                $columns { $($name: Vec::with_capacity(rows),)+ }
            }

            #[inline]
            pub(crate) fn push(&mut self, row: &$row) {
                $(self.$name.push(row.$name);)+
            }

            pub(crate) fn len(&self) -> usize {
                self.seq.len()
            }

            pub(crate) fn into_batch(self) -> Result<RecordBatch, ArrowError> {
                RecordBatch::try_new($row::schema(), vec![$(<$kind as Value>::array(self.$name),)+])
            }
        }
    };
}

/// A table: what every row has in front and at its end, and its own columns between.
macro_rules! rows {
    ($(#[$meta:meta])* $row:ident, $columns:ident, $($own:tt)*) => {
        table! {
            $(#[$meta])*
            $row, $columns {
                /// Ring sequence number; with `series`, colour and ring it names the unit for ever. Of a packet that was
                /// taken out of recorded frames, that of the frame in which it ended: several may have the same.
                seq: i64,
                /// Reception, of a packet that of the frame in which it ended: TAI nanoseconds since 1958-01-01.
                rx_tai_ns: i64,
                /// The same in UTC, rounded down to the microsecond.
                rx_utc: UtcUs,
                /// Station link.
                link: i32,
                /// 0 OPS, 1 TEST, 2 REPLAY.
                session: i32,
                /// Transfer frame version number: 0 TM, 1 AOS, 12 USLP.
                tfvn: i32,
                /// Spacecraft; 0 when the header was not to be believed.
                scid: i32,
                /// Virtual channel; 0 when the header was not to be believed.
                vcid: i32,
                $($own)*
                /// Numbering of the ring: first part of the segment's file name.
                series: i64,
                /// Base position of the segment: second part of its file name.
                segment: i64,
                /// Octets before the record's 64-octet header in the segment file; the unit follows the header. Of a packet
                /// that was taken out of recorded frames, `segment` and `offset` name the frame in which it begins.
                offset: i64,
                /// Octets of the unit.
                len: i32,
                /// XXH3 (64 bits) of the unit: equal octets are recognised without being read.
                digest: i64,
            }
        }
    };
}

rows! {
    /// A row of the frames index: one recorded transfer frame.
    FrameRow, FrameColumns,
    /// USLP expedited service (its frames have a counter of their own).
    expedited: bool,
    /// Low 32 bits of the virtual channel frame count.
    frame_count: i64,
    /// Record flags, as in the ring.
    flags: i32,
    /// See [`crate::Quality`]: 0 bad, 1 unchecked, 2 corrected, 3 good.
    quality: i32,
    /// Why it is bad, 0 for none; see `BadReason` of fep-ccsds.
    reason: i32,
    /// Only idle data.
    idle: bool,
    /// Wrong bits in its marker.
    marker_bit_errors: i32,
    /// Symbols that the channel code corrected.
    symbols_corrected: i32,
    /// Codewords that could not be corrected.
    codewords_failed: i32,
}

rows! {
    /// A row of the packets index: one recorded packet.
    PacketRow, PacketColumns,
    /// Packet version number: 0 space packet, 7 encapsulation packet.
    pvn: i32,
    /// Application process; for an encapsulation packet its protocol identifier.
    apid: i32,
    /// Whether it is a telecommand packet.
    telecommand: bool,
    /// Sequence flags: 0 continuation, 1 first, 2 last, 3 unsegmented.
    sequence_flags: i32,
    /// Sequence count, 14 bits.
    sequence_count: i32,
    /// PUS service type, where the mission has it.
    service: Option<i32>,
    /// PUS message subtype, where the mission has it.
    subtype: Option<i32>,
    /// On-board time as the packet has it, TAI nanoseconds since 1958-01-01, where the mission has it.
    onboard_tai_ns: Option<i64>,
    /// Low 32 bits of the frames-ring sequence number of the frame in which it ended.
    frame_seq: i64,
    /// Record flags of that frame, as in the ring.
    flags: i32,
    /// As in the frames index.
    quality: i32,
    /// An idle packet.
    idle: bool,
}
