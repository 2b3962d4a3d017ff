//! Any text as a ticket: refused, whatever it says. The published key is that of RFC 8037 appendix A.2, whose private half
//! this program does not use.
#![no_main]

use std::sync::LazyLock;

use fep_identity::NumericDate;
use fep_identity::ticket::{Published, TicketKeys};
use libfuzzer_sys::fuzz_target;

static KEYS: LazyLock<TicketKeys> = LazyLock::new(|| {
    let published: Published = serde_json::from_str(
        r#"{"issuer": "fep", "revoked": [], "keys": [{"kty": "OKP", "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}]}"#,
    )
    .expect("a key set");
    TicketKeys::new(published).expect("an Ed25519 key")
});

fuzz_target!(|text: &str| {
    assert!(KEYS.verify(text, NumericDate(1_800_000_000)).is_err());
});
