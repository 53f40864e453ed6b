//! A host is accepted only if it is exactly one of the gateway's.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use public_url::{PublicUrl, Site};

#[allow(dead_code)]
#[path = "../../gateway/src/request/public_url.rs"]
mod public_url;

static PUBLIC: LazyLock<PublicUrl> = LazyLock::new(|| "https://vdi.example.com:8443".parse().unwrap());

fuzz_target!(|text: &str| {
    match PUBLIC.site(text) {
        None => {}
        Some(Site::Portal) => assert_eq!(text.to_ascii_lowercase(), "vdi.example.com:8443"),
        Some(Site::Desktop(host)) => {
            assert_eq!(text.to_ascii_lowercase(), format!("{host}:8443"));
            let label = host.strip_suffix(".vdi.example.com").unwrap();
            assert!(!label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{text:?}");
            assert_eq!(PUBLIC.host_of(&PUBLIC.origin_of(&host)), Some(&*host), "{text:?}");
        }
    }
    if let Some(host) = PUBLIC.host_of(text) {
        assert_eq!(text.trim_end_matches('/'), PUBLIC.origin_of(host), "{text:?}");
    }
    if let Ok(url) = text.parse::<PublicUrl>() {
        assert_eq!(url.to_string().parse(), Ok(url), "{text:?}");
    }
});
