//! The gateway's public URL, and which of its sites a host is: the portal, or one desktop.

use std::{fmt, str::FromStr};

/// Where browsers reach the gateway, such as `https://vdi.example.com` or `https://vdi.localhost:8443`. Desktops are
/// one label below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    scheme: Scheme,
    domain: String,
    /// `None` for the scheme's default port.
    port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("found {0:?}; allowed: the address of the portal without a path, such as https://vdi.example.com")]
pub struct NotAPublicUrl(String);

impl FromStr for PublicUrl {
    type Err = NotAPublicUrl;

    fn from_str(text: &str) -> Result<Self, NotAPublicUrl> {
        let wrong = || NotAPublicUrl(text.to_owned());
        let schemes = [Scheme::Https, Scheme::Http].into_iter();
        let split = |scheme: Scheme| Some((scheme, text.strip_prefix(scheme.name())?.strip_prefix("://")?));
        let (scheme, authority) = schemes.filter_map(split).next().ok_or_else(wrong)?;
        let authority = Authority::parse(authority).ok_or_else(wrong)?;
        let port = authority.port.filter(|port| *port != scheme.port());
        Ok(Self { scheme, domain: authority.host, port })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.origin_of(&self.domain))
    }
}

/// The site that a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    Portal,
    /// By its host, without the port and in lower case, as in a token's claim `host`.
    Desktop(String),
}

impl PublicUrl {
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The portal's host.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The site that a `Host` header, or HTTP/2's `:authority`, names. `None` for everything that isn't exactly one of
    /// the gateway's own: that is answered with 421, and never passed on.
    pub fn site(&self, authority: &str) -> Option<Site> {
        let authority = Authority::parse(authority)?;
        let port = authority.port.filter(|port| *port != self.scheme.port());
        if port != self.port {
            return None;
        }
        if authority.host == self.domain {
            return Some(Site::Portal);
        }
        let label = authority.host.strip_suffix(&self.domain)?.strip_suffix('.')?;
        (!label.is_empty() && !label.contains('.')).then_some(Site::Desktop(authority.host))
    }

    /// The [origin] of one of the gateway's hosts, as browsers write it in `Origin`.
    ///
    /// [origin]: https://www.rfc-editor.org/rfc/rfc6454#section-6.1
    pub fn origin_of(&self, host: &str) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{host}{port}", self.scheme.name())
    }

    /// The host of a session's `status.url`, if it is one of the gateway's.
    pub fn host_of<'a>(&self, url: &'a str) -> Option<&'a str> {
        let authority = url.strip_prefix(self.scheme.name())?.strip_prefix("://")?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let host = authority.split(':').next()?;
        (self.site(authority)? == Site::Desktop(host.to_owned())).then_some(host)
    }
}

/// A host name and a port ([RFC 3986, 3.2]), without anything ambiguous: no user information, no IPv6 address, no
/// trailing dot.
///
/// [RFC 3986, 3.2]: https://www.rfc-editor.org/rfc/rfc3986#section-3.2
struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
        let port = match port {
            Some(port) if is_port(port) => Some(port.parse().ok()?),
            Some(_) => return None,
            None => None,
        };
        let host = host.to_ascii_lowercase();
        (host.len() <= 253 && host.split('.').all(is_label)).then_some(Self { host, port })
    }
}

/// A host name's label ([RFC 1123, 2.1]).
///
/// [RFC 1123, 2.1]: https://www.rfc-editor.org/rfc/rfc1123#section-2
fn is_label(label: &str) -> bool {
    let is_inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    matches!(label.len(), 1..=63) && label.bytes().all(is_inside) && !label.starts_with('-') && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> PublicUrl {
        text.parse().unwrap()
    }

    fn desktop(host: &str) -> Option<Site> {
        Some(Site::Desktop(host.to_owned()))
    }

    #[test]
    fn the_portal_is_the_domain_and_a_desktop_one_label_below_it() {
        let plain = url("https://vdi.example.com");
        assert_eq!(plain.site("vdi.example.com"), Some(Site::Portal));
        assert_eq!(plain.site("VDI.example.com:443"), Some(Site::Portal));
        assert_eq!(plain.site("Alice.vdi.example.com"), desktop("alice.vdi.example.com"));
        let other = url("https://vdi.localhost:8443");
        assert_eq!(other.site("alice.vdi.localhost:8443"), desktop("alice.vdi.localhost"));
        assert_eq!(other.to_string(), "https://vdi.localhost:8443");
        assert_eq!(url("https://vdi.example.com:443").to_string(), "https://vdi.example.com");
    }

    #[test]
    fn a_host_that_is_not_exactly_ours_is_refused() {
        let url = url("https://vdi.example.com");
        for host in [
            "",
            ".",
            "example.com",
            "evil.com",
            "vdi.example.com.",
            "vdi.example.com.evil.com",
            "evilvdi.example.com",
            ".vdi.example.com",
            "a.b.vdi.example.com",
            "alice.vdi.example.com:80",
            "alice.vdi.example.com:8443",
            "alice.vdi.example.com:",
            "alice.vdi.example.com:0443",
            "alice.vdi.example.com:99999",
            "alice.vdi.example.com:+443",
            "bob@alice.vdi.example.com",
            "alice.vdi.example.com/",
            "alice.vdi.example.com\\.evil.com",
            "alice%2evdi.example.com",
            "alice_.vdi.example.com",
            "-.vdi.example.com",
            "älice.vdi.example.com",
            "[::1]",
            "127.0.0.1",
            "alice.vdi.example.com, bob.vdi.example.com",
            "alice.vdi.example.com bob.vdi.example.com",
            "alice.vdi.example.com\0",
        ] {
            assert_eq!(url.site(host), None, "{host:?}");
        }
    }

    #[test]
    fn only_a_url_without_a_path_is_a_public_url() {
        for text in
            ["vdi.example.com", "ftp://vdi.example.com", "https://", "https://vdi.example.com/", "https://a@b.c"]
        {
            assert_eq!(text.parse::<PublicUrl>(), Err(NotAPublicUrl(text.to_owned())));
        }
    }

    #[test]
    fn the_host_of_a_status_url_is_ours_or_none() {
        let url = url("https://vdi.localhost:8443");
        assert_eq!(url.host_of("https://alice.vdi.localhost:8443"), Some("alice.vdi.localhost"));
        assert_eq!(url.host_of("https://alice.vdi.localhost:8443/"), Some("alice.vdi.localhost"));
        for text in [
            "https://vdi.localhost:8443",
            "https://alice.vdi.localhost",
            "http://alice.vdi.localhost:8443",
            "https://alice.vdi.localhost:8443/path",
            "http://10.0.0.1:6080/",
        ] {
            assert_eq!(url.host_of(text), None, "{text}");
        }
    }
}
