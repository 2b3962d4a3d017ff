//! Codes and symbol formats on the command line: `NAME,key=value,…`, the keys being those of configuration files.

use fep_coding::CodeSpec;
use fep_coding::soft::SoftFormat;
use serde::de::DeserializeOwned;

/// A channel code: `ldpc,k=1024,rate=1/2`, `concatenated,reed_solomon.e=16,reed_solomon.interleave=5,convolutional.rate=1/2`.
pub(crate) fn code(text: &str) -> Result<CodeSpec, String> {
    let (name, keys) = text.split_once(',').unwrap_or((text, ""));
    let mut lines = format!("code = {}\n", quoted(name));
    lines.push_str(&as_toml(keys)?);
    let code: CodeSpec = read(&lines)?;
    code.validate().map_err(|error| error.to_string())?;
    Ok(code)
}

/// A format of soft symbols: `bits=8`, `bits=4,coding=offset_binary,first=least_significant`.
pub(crate) fn format(text: &str) -> Result<SoftFormat, String> {
    let format: SoftFormat = read(&as_toml(text)?)?;
    format.validate().map_err(|error| error.to_string())?;
    Ok(format)
}

fn read<T: DeserializeOwned>(lines: &str) -> Result<T, String> {
    toml::from_str(lines).map_err(|error| match fep_config::plain_mistake(error.message()) {
        (what, allowed) if allowed.is_empty() => what,
        (what, allowed) => format!("{what} (allowed: {allowed})"),
    })
}

/// One key a line; what is no number and no truth value is a string.
fn as_toml(keys: &str) -> Result<String, String> {
    let mut lines = String::new();
    for pair in keys.split(',').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} is not key=value"))?;
        if !key
            .bytes()
            .all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"_.".contains(&octet))
        {
            return Err(format!("{key:?} is no key"));
        }
        let plain = value.parse::<f64>().is_ok_and(f64::is_finite) || value.parse::<bool>().is_ok();
        let value = if plain { value.to_owned() } else { quoted(value) };
        lines.push_str(&format!("{key} = {value}\n"));
    }
    Ok(lines)
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-CTL-017
    #[test]
    fn codes_and_formats_are_read_with_the_keys_of_configuration_files() {
        let concatenated = "concatenated,reed_solomon.e=16,reed_solomon.interleave=5,convolutional.rate=3/4";
        assert_eq!(code(concatenated).map(|code| code.frame_len()), Ok(1115));
        assert_eq!(code("turbo,information_bits=1784,rate=1/6").map(|code| code.block_symbols()), Ok(10_728));
        assert_eq!(code("ldpc,k=7136,rate=7/8").map(|code| code.frame_len()), Ok(892));
        assert_eq!(
            format("bits=4,swap_iq=true").map(|format| (format.bits.count(), format.swap_iq)),
            Ok((4, true))
        );
        for (text, reason) in [
            ("turbo", "rate: missing key (allowed: 1/2, 1/3, 1/4, 1/6)"),
            ("tarbo,k=1", "code: \"tarbo\" is not a choice (allowed: none, reed_solomon,"),
            ("ldpc,k=1024,rate=7/8", "k = 1024"),
            ("ldpc,k=1024,rate", "key=value"),
            (
                "turbo,information_bits=1785,rate=1/6",
                "information_bits: \"1785\" is not a choice (allowed: 1784,",
            ),
            ("ldpc,k\"=1", "is no key"),
        ] {
            let refused = code(text).expect_err(text);
            assert!(refused.contains(reason), "{text}: {refused}");
        }
        assert!(format("bits=16,scale=0.5").is_ok() && format("bits=16,scale=auto").is_ok());
        for (text, reason) in [
            ("bits=x", "string \"x\" does not fit here (allowed: a whole number, 0 to 255)"),
            ("bits=8,order=high", "unknown key \"order\" (allowed: bits, coding"),
            ("bits=8,coding=gray", "\"gray\" is not a choice (allowed: twos_complement"),
        ] {
            let refused = format(text).expect_err(text);
            assert!(refused.contains(reason), "{text}: {refused}");
        }
        assert!(format("bits=1,coding=offset_binary").expect_err("one bit").contains("leave the key out"));
    }
}
