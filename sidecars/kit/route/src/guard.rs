//! Host and Origin: a web page must not reach a service by a name of its own (DNS rebinding) or with its visitor's rights.

use std::collections::BTreeSet;

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use fep_kit::Problem;

/// The names that a door is reached by, and the web pages that may ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// `host` or `host:port`, in lower case.
    hosts: BTreeSet<String>,
    /// `scheme://host` or `scheme://host:port`, in lower case.
    origins: BTreeSet<String>,
}

impl Names {
    /// These names, over this scheme; web pages of the same names may ask.
    pub fn new<'a>(scheme: &str, hosts: impl IntoIterator<Item = &'a str>) -> Names {
        let hosts: BTreeSet<String> = hosts.into_iter().map(str::to_ascii_lowercase).collect();
        let origins = hosts.iter().map(|host| format!("{scheme}://{host}")).collect();
        Names { hosts, origins }
    }

    /// And web pages of these origins.
    #[must_use]
    pub fn with_origins<'a>(mut self, origins: impl IntoIterator<Item = &'a str>) -> Names {
        self.origins.extend(origins.into_iter().map(str::to_ascii_lowercase));
        self
    }

    /// Holds a request to them.
    ///
    /// # Errors
    /// 400 where the name is missing or ambiguous, 421 for a name of somebody else, 403 for a page of somebody else.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let host = one(headers, &HOST)?.ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, "bad-host", "the header Host is missing").at("Host")
        })?;
        let absolute = uri.authority().map(axum::http::uri::Authority::as_str);
        for name in [Some(host), absolute].into_iter().flatten() {
            if !self.hosts.contains(name) && !self.hosts.contains(&name.to_ascii_lowercase()) {
                let detail = format!("this service is not {:?}", name.chars().take(64).collect::<String>());
                return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "foreign-host", detail)
                    .at("Host")
                    .hint("ask by a name of the service, or add the name to `hosts` of its configuration"));
            }
        }
        match one(headers, &ORIGIN)? {
            Some(origin) if !self.origins.contains(&origin.to_ascii_lowercase()) => {
                let detail = "a web page of another origin cannot ask this service";
                Err(Problem::new(StatusCode::FORBIDDEN, "foreign-origin", detail)
                    .at("Origin")
                    .hint("add the page's origin to `origins` of the service's configuration"))
            }
            _ => Ok(()),
        }
    }
}

/// The value of a header that stands once; `None` where it does not stand.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, "bad-header", detail).at(name.as_str());
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad("the header stands twice"));
    }
    value.to_str().map(Some).map_err(|_| bad("the header is not ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn check(uri: &str, headers: &[(&HeaderName, &str)]) -> u16 {
        let names = Names::new("https", ["fep.example:8443", "127.0.0.1:8443", "[::1]:8443"])
            .with_origins(["https://console.example"]);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append((*name).clone(), HeaderValue::from_str(value).expect("a value"));
        }
        names.check(&uri.parse().expect("a URI"), &map).err().map_or(200, |problem| problem.status)
    }

    // REQ: FEP-KIT-113
    #[test]
    fn only_names_of_the_service_itself_are_answered() {
        for host in ["fep.example:8443", "FEP.Example:8443", "127.0.0.1:8443", "[::1]:8443"] {
            assert_eq!(check("/", &[(&HOST, host)]), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8443",
            "fep.example",
            "fep.example:8444",
            "fep.example.evil.example:8443",
            "fep.example:8443.evil.example",
            "evil.example@fep.example:8443",
            "fep.example:8443@evil.example",
            "127.0.0.1:8443, evil.example",
            "localhost:8443",
            "0.0.0.0:8443",
            "2130706433:8443",
            "[::ffff:127.0.0.1]:8443",
            "fep.example.:8443",
            "",
        ] {
            assert_eq!(check("/", &[(&HOST, host)]), 421, "{host}");
        }
        assert_eq!(check("/", &[]), 400, "no Host at all");
        assert_eq!(check("/", &[(&HOST, "fep.example:8443"), (&HOST, "evil.example")]), 400, "two Hosts");
        assert_eq!(check("http://evil.example/", &[(&HOST, "fep.example:8443")]), 421, "absolute form");
        assert_eq!(check("http://fep.example:8443/", &[(&HOST, "fep.example:8443")]), 200);
    }

    // REQ: FEP-KIT-113
    #[test]
    fn only_web_pages_of_the_service_or_of_configured_origins_may_ask() {
        let host = (&HOST, "fep.example:8443");
        for origin in ["https://fep.example:8443", "https://console.example", "HTTPS://CONSOLE.EXAMPLE"] {
            assert_eq!(check("/", &[host, (&ORIGIN, origin)]), 200, "{origin}");
        }
        for origin in [
            "null",
            "http://fep.example:8443",
            "https://fep.example",
            "https://evil.example",
            "https://console.example.evil.example",
            "https://console.example:444",
            "https://evil.example/https://console.example",
            "",
        ] {
            assert_eq!(check("/", &[host, (&ORIGIN, origin)]), 403, "{origin}");
        }
        let both = [host, (&ORIGIN, "https://console.example"), (&ORIGIN, "https://evil.example")];
        assert_eq!(check("/", &both), 400);
    }
}
