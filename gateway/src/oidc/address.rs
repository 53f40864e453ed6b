//! Which addresses of a provider are trusted.

use openidconnect::IssuerUrl;
use url::Url;

/// The provider decides who somebody is, so its answers must come over TLS, or from this machine.
pub fn is_trusted(scheme: &str, host: &str) -> bool {
    scheme == "https" || scheme == "http" && matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

pub fn is_trusted_url(url: &Url) -> bool {
    is_trusted(url.scheme(), url.host_str().unwrap_or_default())
}

/// Parses the setting of the provider's address. An error says what is expected.
pub fn parse_issuer(text: &str) -> Result<IssuerUrl, String> {
    let issuer = IssuerUrl::new(text.to_owned()).map_err(|error| error.to_string())?;
    match is_trusted_url(issuer.url()) {
        true => Ok(issuer),
        false => Err("expected the https address of an OpenID provider, such as https://login.example.com".to_owned()),
    }
}
