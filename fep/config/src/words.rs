//! What serde reports of a value, in the words of this crate: keys, choices and numbers, not fields, variants and types.

/// What is wrong, and what is allowed instead ("" where serde does not say).
#[must_use]
pub fn plain_mistake(message: &str) -> (String, String) {
    let message = message.trim().replace('\n', " ");
    let (what, expected) = message.split_once(", expected ").unwrap_or((&message, ""));
    let quoted = |kind: &str| what.strip_prefix(kind).map(str::trim);
    let what = if let Some(key) = quoted("unknown field") {
        format!("unknown key {key}")
    } else if let Some(key) = quoted("missing field") {
        format!("missing key {key}")
    } else if let Some(choice) = quoted("unknown variant") {
        format!("{choice} is not a choice")
    } else if let Some(found) = quoted("invalid type:") {
        format!("{found} does not fit here")
    } else if let Some(found) = quoted("invalid value:") {
        format!("{found} is out of range")
    } else {
        what.to_owned()
    };
    // Quotes, as everywhere else; numbers have none.
    let what = match what.strip_prefix("integer `").and_then(|rest| rest.split_once('`')) {
        Some((number, " is out of range")) => format!("{number} is out of range"),
        Some((number, rest)) => format!("integer {number}{rest}"),
        None => what.replace('`', "\""),
    };
    (what, allowed(expected))
}

/// What serde expects, without the names of types.
fn allowed(expected: &str) -> String {
    let expected = expected.strip_prefix("one of ").unwrap_or(expected);
    match expected {
        "u8" => "a whole number, 0 to 255",
        "u16" => "a whole number, 0 to 65535",
        "u32" => "a whole number, 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        _ if ["struct ", "internally tagged enum ", "a map"]
            .iter()
            .any(|kind| expected.starts_with(kind)) =>
        {
            "a table"
        }
        _ if expected.starts_with("enum ") => "one of the choices, in quotes",
        // Names, as `a` or `b`, or `a`, `b`, `c`.
        other if other.starts_with('`') => return other.replace("` or `", ", ").replace('`', ""),
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
    #[expect(dead_code, reason = "only their reading is tested")]
    enum Transport {
        Tcp { address: String, port: u16, loud: Option<bool> },
        Udp,
    }

    // REQ: FEP-CFG-110
    #[test]
    fn mistakes_that_serde_finds_are_reported_as_keys_choices_and_numbers() {
        let said = |value: &str| {
            let error =
                toml::from_str::<std::collections::BTreeMap<String, Transport>>(&format!("t = {value}\n"))
                    .expect_err(value);
            let (what, allowed) = plain_mistake(error.message());
            format!("{what} | {allowed}")
        };
        for (value, expected) in [
            ("{ kind = \"tpc\" }", "\"tpc\" is not a choice | tcp, udp"),
            ("{ kind = \"tcp\", port = 1 }", "missing key \"address\" | "),
            ("{ kind = \"tcp\", adress = \"x\" }", "unknown key \"adress\" | address, port, loud"),
            (
                "{ kind = \"tcp\", address = \"x\", port = \"1\" }",
                "string \"1\" does not fit here | a whole number, 0 to 65535",
            ),
            (
                "{ kind = \"tcp\", address = \"x\", port = 70000 }",
                "70000 is out of range | a whole number, 0 to 65535",
            ),
            (
                "{ kind = \"tcp\", address = \"x\", port = 1, loud = 2 }",
                "integer 2 does not fit here | true or false",
            ),
            ("5", "integer 5 does not fit here | a table"),
        ] {
            assert_eq!(said(value), expected, "{value}");
        }
        let own = "192.0.2.7: no port; write \"192.0.2.7:4001\"";
        assert_eq!(plain_mistake(own), (own.to_owned(), String::new()));
    }
}
