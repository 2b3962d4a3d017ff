//! Arbitrary text as configuration and as mission: read, or refused with at least one mistake that has a line.
#![no_main]

use fep_control::config::{self, ConfigErrors};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Paths in the text would be opened: only the parts that read no file.
    if !text.contains("missions") {
        check(config::load_text("fuzz.toml", text).map(|_| ()), text);
    }
    check(fep_mission::load_text("fuzz", "fuzz.toml", text).map(|_| ()), text);
});

fn check(result: Result<(), ConfigErrors>, text: &str) {
    if let Err(errors) = result {
        let errors = errors.0;
        assert!(!errors.is_empty());
        let lines = text.matches('\n').count() + 1;
        for error in errors {
            assert!(!error.message.is_empty());
            assert!(error.column >= 1);
            assert!(error.file != "fuzz.toml" || (1..=lines).contains(&error.line), "{error}");
        }
    }
}
