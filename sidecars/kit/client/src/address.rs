//! Where a service is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::Error;

const ALLOWED: &str = "unix:PATH, http://HOST:PORT or https://HOST:PORT, without a path";

/// Where a service is: `unix:PATH`, `http://HOST:PORT`, `https://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// Plain HTTP.
    Http {
        /// Name or address of the machine; an IPv6 address without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// HTTP over TLS 1.3.
    Https {
        /// Name or address of the machine, as its certificate has it.
        host: String,
        /// TCP port.
        port: u16,
    },
}

impl Address {
    /// Whether only this machine sees what is sent there in the clear.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Address::Unix(_) => true,
            Address::Http { host, .. } | Address::Https { host, .. } => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }

    /// Whether a bearer may be sent there: nobody can read it on the way.
    #[must_use]
    pub fn is_private(&self) -> bool {
        matches!(self, Address::Https { .. }) || self.is_local()
    }

    /// For the header `Host`.
    pub(crate) fn authority(&self) -> String {
        match self {
            Address::Unix(_) => "localhost".to_owned(),
            Address::Http { host, port } | Address::Https { host, port } => authority(host, *port),
        }
    }
}

fn authority(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Http { host, port } => write!(f, "http://{}", authority(host, *port)),
            Address::Https { host, port } => write!(f, "https://{}", authority(host, *port)),
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address, Error> {
        let wrong = || Error::setup(format!("{text:?} is not an address of a service"), ALLOWED);
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() || path.contains('\0') {
                return Err(wrong());
            }
            return Ok(Address::Unix(PathBuf::from(path)));
        }
        if let Some(rest) = text.strip_prefix("http://") {
            let (host, port) = place(rest, 80).ok_or_else(wrong)?;
            return Ok(Address::Http { host, port });
        }
        let rest = text.strip_prefix("https://").ok_or_else(wrong)?;
        let (host, port) = place(rest, 443).ok_or_else(wrong)?;
        Ok(Address::Https { host, port })
    }
}

/// `HOST`, `HOST:PORT`, `[IPv6]:PORT`, with a slash behind it or none.
fn place(text: &str, default: u16) -> Option<(String, u16)> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']')?;
            let ip: IpAddr = inside.parse().ok().filter(IpAddr::is_ipv6)?;
            (ip.to_string(), if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (text.to_owned(), None),
        },
    };
    let is_name = |name: &str| {
        !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-._".contains(&octet))
    };
    if host.parse::<IpAddr>().is_err() && !is_name(&host) {
        return None;
    }
    let port = match port {
        None => default,
        // `parse` takes a sign.
        Some(text) if text.bytes().all(|octet| octet.is_ascii_digit()) => text.parse().ok()?,
        Some(_) => return None,
    };
    (port != 0).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    // REQ: FEP-KIT-204
    #[test]
    fn an_address_is_a_socket_or_a_host_with_a_port_and_nothing_else() {
        for (text, shown, is_local, is_private) in [
            ("unix:/run/x.sock", "unix:/run/x.sock", true, true),
            ("http://127.0.0.1:80", "http://127.0.0.1:80", true, true),
            ("http://[::1]:8470/", "http://[::1]:8470", true, true),
            ("http://localhost", "http://localhost:80", true, true),
            ("http://fep.example:80", "http://fep.example:80", false, false),
            ("http://127.0.0.1.evil.example:80", "http://127.0.0.1.evil.example:80", false, false),
            ("https://fep.example", "https://fep.example:443", false, true),
            ("https://10.0.0.1:8443/", "https://10.0.0.1:8443", false, true),
        ] {
            let address: Address = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                (address.to_string().as_str(), address.is_local(), address.is_private()),
                (shown, is_local, is_private)
            );
        }
        for wrong in [
            "",
            "unix:",
            "fep.example:80",
            "ftp://fep.example",
            "http://",
            "http://:80",
            "http://localhost:80@evil.example:80",
            "http://user@fep.example",
            "http://127.0.0.1:80/x",
            "http://127.0.0.1:80?x",
            "http://127.0.0.1:+80",
            "http://127.0.0.1:0",
            "http://127.0.0.1:65536",
            "http://[::1",
            "http://[127.0.0.1]:80",
            "http://::1:80",
            "http://a b:80",
            "HTTP://x:80",
        ] {
            let refused = wrong.parse::<Address>().expect_err(wrong);
            assert!(refused.hint().is_some_and(|hint| hint.contains("unix:PATH")), "{wrong}");
        }
    }
}
