//! The gateway never forwards its own cookies to a desktop, and never reads a cookie that others could have set.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../gateway/src/request/cookie.rs"]
mod cookie;

fuzz_target!(|text: &str| {
    let headers = || text.split('\n');
    let lowered = |text: &str| text.to_ascii_lowercase();
    let named = |pair: &str| pair.split('=').next().is_some_and(|name| name.trim_matches([' ', '\t']) == cookie::SESSION);
    if let Some(value) = cookie::value(headers(), cookie::SESSION) {
        let pairs = headers().flat_map(|header| header.split(';')).filter(|pair| pair.contains('=') && named(pair));
        assert_eq!(pairs.count(), 1, "{text:?}");
        assert!(!value.is_empty() && !value.contains(';') && text.contains(value), "{text:?}");
    }
    if let Some(passed) = cookie::without_ours(headers()) {
        for pair in passed.split("; ") {
            let name = pair.split('=').next().unwrap_or_default();
            assert!(!lowered(name.trim()).starts_with("__host-vdi-"), "{text:?} gave {passed:?}");
        }
        assert_eq!(cookie::without_ours([&*passed]).as_ref(), Some(&passed), "{text:?}");
    }
});
