//! Where a provider may be asked.

use openidconnect::IssuerUrl;
use url::Url;

/// What comes from the provider decides who somebody is, so it has to come over TLS, or from this very machine.
pub fn is_trusted(scheme: &str, host: &str) -> bool {
    scheme == "https" || scheme == "http" && matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

pub fn is_trusted_url(url: &Url) -> bool {
    is_trusted(url.scheme(), url.host_str().unwrap_or_default())
}

/// The address of a provider, as somebody sets it. An error tells them what is expected.
pub fn parse_issuer(text: &str) -> Result<IssuerUrl, String> {
    let issuer = IssuerUrl::new(text.to_owned()).map_err(|error| error.to_string())?;
    match is_trusted_url(issuer.url()) {
        true => Ok(issuer),
        false => Err("the address of an OpenID provider is expected, such as https://login.example.com".to_owned()),
    }
}
