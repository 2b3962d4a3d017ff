//! Names of new segments: each is used once.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use fep_segments::{SegmentError, SegmentName, Stream, is_name_taken};

/// The name of a segment that should be called `wanted` and follows `before`, so that it has never been used: a file of the
/// wanted name may be damaged and put aside, or missing, and come back one day. Then the segment begins an octet of the log
/// earlier, with a loss of no records; positions of records are multiples of 64, so no other segment has such a name. Where
/// the segment before is in the way, a numbering begins. `None` when no number is left.
///
/// `empty`: open segments in which nothing is; a new one takes the place and the name of such a file.
pub(crate) fn unused(
    archive: &Path,
    stream: &Stream,
    wanted: SegmentName,
    before: Option<SegmentName>,
    empty: &[PathBuf],
) -> Result<Option<SegmentName>, SegmentError> {
    let mut name = wanted;
    loop {
        let file = name.open_file();
        let is_replaced = empty.iter().any(|path| path.file_name() == Some(OsStr::new(&file)));
        if is_replaced || !is_name_taken(archive, stream, name)? {
            return Ok(Some(name));
        }
        let floor = before.filter(|before| before.series == name.series);
        let earlier = name.base_pos.checked_sub(1);
        match earlier.filter(|pos| floor.is_none_or(|before| *pos > before.base_pos)) {
            Some(base_pos) => name.base_pos = base_pos,
            None => match name.series.checked_add(1) {
                Some(series) => name = SegmentName { series, base_pos: wanted.base_pos },
                None => return Ok(None),
            },
        }
    }
}
