//! The annotated module in a policy server's engine.

#![allow(clippy::unwrap_used)]

use std::{path::Path, sync::LazyLock};

use serde_json::json;
use vdi_tests::policy::{
    self, PolicyHost,
    case::{self, Case, SettingsCase, check_all},
};

static HOST: LazyLock<PolicyHost> = LazyLock::new(|| PolicyHost::load(policy::build().unwrap()).unwrap());

fn cases(folder: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(folder)
}

#[test]
fn every_request_gets_the_verdict_of_its_case() {
    let count = check_all(&cases("policy"), |case: &Case| case.check(&HOST)).unwrap_or_else(|error| panic!("{error}"));
    assert!(count > 50, "only {count} cases were found");
}

#[test]
fn all_settings_get_the_verdict_of_their_case() {
    let count = check_all(&cases("settings"), |case: &SettingsCase| case.check(&HOST))
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(count > 10, "only {count} cases were found");
}

#[test]
fn a_payload_that_is_not_json_is_rejected_and_never_a_trap() {
    for payload in [&b""[..], b"{", b"[]", b"null", b"7", b"\xff\xfe", b"{\"request\":\x00}", &b"[".repeat(1 << 20)] {
        let answer = HOST.call_raw("validate", payload).unwrap();
        let answer: policy::PolicyResponse = serde_json::from_slice(&answer).unwrap();
        assert!(!answer.accepted && answer.message.is_some(), "{answer:?}");
    }
}

#[test]
fn one_host_serves_many_threads() {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let answer = HOST.validate(&case::create(case::valid_session()), &json!({})).unwrap();
                    assert!(answer.accepted, "{answer:?}");
                }
            });
        }
    });
}

#[test]
fn the_module_is_small_and_says_what_it_is() {
    let module = std::fs::metadata(policy::build().unwrap()).unwrap();
    assert!(module.len() < 300_000, "{} bytes", module.len());
    let metadata = HOST.metadata();
    assert_eq!(metadata["protocolVersion"], "v1");
    assert_eq!(metadata["mutating"], true);
    assert_eq!(metadata["annotations"]["io.kubewarden.policy.version"], env!("CARGO_PKG_VERSION"));
}
