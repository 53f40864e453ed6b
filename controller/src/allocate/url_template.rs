use std::str::FromStr;

use vdi_api::HostLabel;

/// Where desktops are opened: a URL with placeholders, `{domain}`, and either `{user}` or `{podIP}` with, if wanted, `{port}`.
#[derive(Clone, Debug, PartialEq)]
pub struct UrlTemplate(String);

impl UrlTemplate {
    pub const DEFAULT: &str = "https://{user}.{domain}";

    /// The template for a cluster's domain.
    pub fn in_domain(&self, domain: &str) -> Self {
        Self(self.0.replace("{domain}", domain))
    }

    /// Whether the address belongs to the pod. Otherwise it belongs to the session, and stays when its pod changes.
    pub fn is_of_the_pod(&self) -> bool {
        self.0.contains("{podIP}")
    }

    pub fn for_user(&self, label: &HostLabel) -> String {
        self.0.replace("{user}", label.as_str())
    }

    pub fn for_pod(&self, ip: &str, port: i32) -> String {
        // RFC 3986, section 3.2.2: an IPv6 address in a URL stands in brackets.
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        self.0.replace("{podIP}", &host).replace("{port}", &port.to_string())
    }
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum UrlTemplateError {
    #[error("a URL template starts with https:// or http://")]
    Scheme,
    #[error(
        "the host of a URL template holds {{user}} or {{podIP}}, one of them: else desktops would share an address"
    )]
    NotUnique,
    #[error("unknown placeholder {{{0}}}: there are {{user}} and {{domain}}, or {{podIP}} and {{port}}")]
    Placeholder(String),
}

impl FromStr for UrlTemplate {
    type Err = UrlTemplateError;

    fn from_str(text: &str) -> Result<Self, UrlTemplateError> {
        let rest = text.strip_prefix("https://").or(text.strip_prefix("http://")).ok_or(UrlTemplateError::Scheme)?;
        let host = rest.split('/').next().unwrap_or_default();
        let allowed: &[&str] = match (host.contains("{user}"), host.contains("{podIP}")) {
            (true, false) => &["user", "domain"],
            (false, true) => &["podIP", "port"],
            _ => return Err(UrlTemplateError::NotUnique),
        };
        let mut placeholders = rest.split('{').skip(1).map(|piece| piece.split('}').next().unwrap_or_default());
        match placeholders.find(|name| !allowed.contains(name)) {
            Some(unknown) => Err(UrlTemplateError::Placeholder(unknown.to_owned())),
            None => Ok(Self(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> UrlTemplate {
        text.parse().unwrap()
    }

    #[test]
    fn the_default_gives_every_user_a_host_in_the_domain() {
        let label = HostLabel::of_user(&"Alice.B@example.com".parse().unwrap());
        let url = template(UrlTemplate::DEFAULT).in_domain("vdi.example.com").for_user(&label);
        assert_eq!(url, "https://alice-b.vdi.example.com");
    }

    #[test]
    fn an_address_of_the_pod_is_bracketed_when_it_is_ipv6() {
        let template = template("http://{podIP}:{port}/");
        assert_eq!(template.for_pod("10.0.0.7", 6080), "http://10.0.0.7:6080/");
        assert_eq!(template.for_pod("fd00::7", 6080), "http://[fd00::7]:6080/");
    }

    #[test]
    fn a_template_that_desktops_would_share_or_that_has_a_typing_error_is_refused() {
        for (text, error) in [
            ("ftp://{user}.{domain}", UrlTemplateError::Scheme),
            ("https://{domain}/{user}", UrlTemplateError::NotUnique),
            ("https://{user}.{podIP}", UrlTemplateError::NotUnique),
            ("https://{user}.{doman}", UrlTemplateError::Placeholder("doman".to_owned())),
            ("https://{user}.{domain}:{port}", UrlTemplateError::Placeholder("port".to_owned())),
        ] {
            assert_eq!(text.parse::<UrlTemplate>(), Err(error), "{text}");
        }
    }
}
