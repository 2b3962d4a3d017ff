//! Any query text: refused with a name, or taken and the same again in its canonical form; and any parameters of the
//! catalogue's lists: refused with a name, or values that can be.
#![no_main]

use fep_archive_query::{BadParameter, Params, Retrieval, Unit};
use libfuzzer_sys::fuzz_target;

/// Every value that a list may ask for.
fn list(text: &str) -> Result<(), BadParameter> {
    let known = ["from", "to", "ring", "colour", "state", "scid", "vcid", "apid", "link", "limit", "unit"];
    let params = Params::parse(text, &known)?;
    params.time("from")?;
    params.time("to")?;
    assert!(params.number("vcid", 63)?.is_none_or(|vcid| vcid <= 63));
    assert!(params.number("apid", 2047)?.is_none_or(|apid| apid <= 2047));
    assert!((1..=1000).contains(&params.limit(10, 1000)?));
    params.one_of("unit", &["frames", "packets"], |name| name)?;
    Ok(())
}

fuzz_target!(|text: &str| {
    for unit in [Unit::Frames, Unit::Packets] {
        match Retrieval::parse(unit, text) {
            Ok(retrieval) => {
                assert_eq!(Retrieval::parse(unit, &retrieval.to_string()), Ok(retrieval));
            }
            Err(refused) => assert!(!refused.detail.is_empty()),
        }
    }
    if let Err(refused) = list(text) {
        assert!(!refused.to_string().is_empty());
    }
});
