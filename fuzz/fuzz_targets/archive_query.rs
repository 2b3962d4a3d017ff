//! Any query text: refused with a name, or taken and the same again in its canonical form.
#![no_main]

use fep_archive_query::{Retrieval, Unit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for unit in [Unit::Frames, Unit::Packets] {
        match Retrieval::parse(unit, text) {
            Ok(retrieval) => {
                assert_eq!(Retrieval::parse(unit, &retrieval.to_string()), Ok(retrieval));
            }
            Err(refused) => assert!(!refused.detail.is_empty()),
        }
    }
});
