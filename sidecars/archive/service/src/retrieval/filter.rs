//! Which rows a selection takes.

use arrow::array::{BooleanArray, RecordBatch};
use fep_archive_query::{Idle, Numbers, Quality, Selection};
use fep_catalogue::Quality as IndexQuality;

use super::Error;
use super::row::{Columns, Row};

/// A selection, ready to be held against rows.
#[derive(Debug, Clone)]
pub struct RowFilter {
    selection: Selection,
    columns: Columns,
}

impl RowFilter {
    /// Of a selection.
    #[must_use]
    pub fn new(selection: &Selection, columns: &Columns) -> RowFilter {
        RowFilter { selection: selection.clone(), columns: columns.clone() }
    }

    /// Whether the row is wanted (ring and colour are decided file by file).
    #[must_use]
    pub fn takes(&self, row: &Row) -> bool {
        let (wanted, at) = (&self.selection, &self.columns);
        let rx = row.number(at.rx);
        let among = |numbers: &Option<Numbers>, column: usize| match numbers {
            None => true,
            Some(numbers) => row
                .get(column)
                .and_then(|number| u16::try_from(number).ok())
                .is_some_and(|number| numbers.contains(number)),
        };
        let idle = row.number(at.idle) != 0;
        wanted.from_tai_ns.is_none_or(|from| rx >= from)
            && wanted.to_tai_ns.is_none_or(|to| rx < to)
            && among(&wanted.scid, at.scid)
            && among(&wanted.vcid, at.vcid)
            && among(&wanted.link, at.link)
            && wanted.session.iter().any(|session| *session as i64 == row.number(at.session))
            && quality_fits(wanted.quality, row.number(at.quality))
            && match wanted.idle {
                Idle::Yes => true,
                Idle::No => !idle,
                Idle::Only => idle,
            }
            && at.packet.is_none_or(|packet| {
                among(&wanted.apid, packet.apid)
                    && among(&wanted.pus_type, packet.service)
                    && among(&wanted.pus_subtype, packet.subtype)
                    && in_span(row.get(packet.onboard), wanted.onboard_from_tai_ns, wanted.onboard_to_tai_ns)
            })
    }

    /// Names of the columns that [`RowFilter::takes`] looks at.
    pub fn looks_at(&self) -> impl Iterator<Item = &'static str> {
        let at = &self.columns;
        let packet = at.packet.map(|packet| [packet.apid, packet.service, packet.subtype, packet.onboard]);
        [at.rx, at.scid, at.vcid, at.link, at.session, at.quality, at.idle]
            .into_iter()
            .chain(packet.into_iter().flatten())
            .map(|column| at.names[column])
    }

    /// Rows of a batch that are wanted, as a mask; the batch needs no other columns than [`RowFilter::looks_at`].
    ///
    /// # Errors
    /// As [`Columns::rows`].
    pub fn mask(&self, batch: &RecordBatch) -> Result<BooleanArray, Error> {
        Ok(self.columns.some_columns(batch)?.iter().map(|row| Some(self.takes(row))).collect())
    }

    /// Whether a row group with these least and greatest values of a column can hold wanted rows.
    #[must_use]
    pub fn may_be_in(&self, column: &str, least: i64, greatest: i64) -> bool {
        let wanted = &self.selection;
        let numbers = match column {
            "rx_tai_ns" => {
                return wanted.from_tai_ns.is_none_or(|from| greatest >= from)
                    && wanted.to_tai_ns.is_none_or(|to| least < to);
            }
            "scid" => &wanted.scid,
            "vcid" => &wanted.vcid,
            "apid" => &wanted.apid,
            "link" => &wanted.link,
            "service" => &wanted.pus_type,
            "subtype" => &wanted.pus_subtype,
            _ => return true,
        };
        numbers.as_ref().is_none_or(|numbers| {
            numbers
                .ranges()
                .any(|range| i64::from(*range.start()) <= greatest && i64::from(*range.end()) >= least)
        })
    }
}

fn in_span(time: Option<i64>, from: Option<i64>, to: Option<i64>) -> bool {
    if from.is_none() && to.is_none() {
        return true;
    }
    time.is_some_and(|time| from.is_none_or(|from| time >= from) && to.is_none_or(|to| time < to))
}

fn quality_fits(wanted: Quality, number: i64) -> bool {
    let is = |quality: IndexQuality| number == quality as i64;
    match wanted {
        Quality::Any => true,
        Quality::Bad => is(IndexQuality::Bad),
        Quality::Corrected => is(IndexQuality::Corrected),
        Quality::Clean => is(IndexQuality::Good),
        // Frames of a link without any code have nobody to vouch for them, and are not bad.
        Quality::Good => !is(IndexQuality::Bad),
    }
}
