//! The host that a request names.

use http::{Request, header::HOST};

/// The only host that a request names, with its port: in its target ([RFC 9110, 7.2]), in `Host`, or the same in both.
///
/// [RFC 9110, 7.2]: https://www.rfc-editor.org/rfc/rfc9110#section-7.2
pub fn authority<B>(request: &Request<B>) -> Option<&str> {
    let target = request.uri().authority().map(|authority| authority.as_str());
    let mut headers = request.headers().get_all(HOST).iter();
    let header = match (headers.next(), headers.next()) {
        (None, _) => None,
        (Some(host), None) => Some(host.to_str().ok()?),
        (Some(_), Some(_)) => return None,
    };
    match (target, header) {
        (Some(target), Some(header)) if target != header => None,
        (target, header) => target.or(header),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_names_two_hosts_names_none() {
        let found = |target: &str, hosts: &[&str]| {
            let request = hosts.iter().fold(Request::get(target), |request, host| request.header(HOST, *host));
            authority(&request.body(()).unwrap()).map(str::to_owned)
        };
        assert_eq!(found("/", &["a.example.com"]).as_deref(), Some("a.example.com"));
        assert_eq!(found("https://a.example.com/", &[]).as_deref(), Some("a.example.com"));
        assert_eq!(found("https://a.example.com/", &["a.example.com"]).as_deref(), Some("a.example.com"));
        assert_eq!(found("https://a.example.com/", &["b.example.com"]), None);
        assert_eq!(found("/", &["a.example.com", "a.example.com"]), None);
        assert_eq!(found("/", &[]), None);
    }
}
