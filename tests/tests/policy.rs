//! Runs the annotated module in a policy server's engine.

#![allow(clippy::unwrap_used)]

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use serde_json::json;
use vdi_tests::policy::{
    self, Played, PolicyHost,
    case::{self, Case, SettingsCase, check_all},
    native,
};
use vdisession_policy::rules::RULES;

static HOST: LazyLock<PolicyHost> = LazyLock::new(|| PolicyHost::load(vdi_release::policy::build().unwrap()).unwrap());

fn cases(folder: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(folder)
}

#[test]
fn every_request_gets_the_verdict_of_its_case() {
    let ask = |request: &_, settings: &_, host: &Played| HOST.validate(request, settings, Arc::new(host.clone()));
    let count = check_all(&cases("policy"), |case: &Case| case.check(ask)).unwrap_or_else(|error| panic!("{error}"));
    assert!(count >= 150, "only {count} cases were found");
    check_all(&cases("rules"), |case: &Case| case.check(ask)).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn every_request_gets_the_same_verdict_without_wasm() {
    let ask = |request: &_, settings: &_, host: &Played| native::validate(request, settings, host);
    check_all(&cases("policy"), |case: &Case| case.check(ask)).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn every_rule_rejects_warns_or_is_silent_as_its_mode_says() {
    for rule in RULES {
        let file = cases("rules").join(rule.id).with_extension("json");
        let case: Case = serde_json::from_slice(&std::fs::read(&file).expect(rule.id)).unwrap();
        let ask = |request: &_, settings: &_, host: &Played| HOST.validate(request, settings, Arc::new(host.clone()));
        let answer = |mode: &str| case.ask_with_mode(ask, rule.id, mode).unwrap();
        let hits = |lines: &str| lines.split('\n').filter(|line| line.ends_with(&format!("({})", rule.id))).count();

        let enforced = answer("enforce");
        assert!(!enforced.accepted && hits(&enforced.message.unwrap()) == 1, "{}", rule.id);
        assert_eq!(enforced.code, Some(rule.code as u16), "{}", rule.id);
        assert_eq!(enforced.audit_annotations.unwrap()[rule.id], "enforce");
        let warned = answer("warn");
        assert!(warned.accepted && hits(&warned.warnings.unwrap().join("\n")) == 1, "{}", rule.id);
        assert_eq!(warned.audit_annotations.unwrap()[rule.id], "warn");
        let silent = answer("off");
        assert!(silent.accepted && silent.audit_annotations.is_none(), "{}", rule.id);
        assert!(silent.warnings.is_none_or(|warnings| hits(&warnings.join("\n")) == 0), "{}", rule.id);
    }
    assert_eq!(std::fs::read_dir(cases("rules")).unwrap().count(), RULES.len());
}

#[test]
fn all_settings_get_the_verdict_of_their_case() {
    let count = check_all(&cases("settings"), |case: &SettingsCase| case.check(&HOST))
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(count > 10, "only {count} cases were found");
}

#[test]
fn a_malformed_payload_is_rejected_and_never_traps() {
    for payload in [&b""[..], b"{", b"[]", b"null", b"7", b"\xff\xfe", b"{\"request\":\x00}", &b"[".repeat(1 << 20)] {
        let answer = HOST.call_raw("validate", payload, None).unwrap();
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
                    let answer = HOST
                        .validate(&case::create(case::valid_session()), &json!({}), Arc::new(Played::default()))
                        .unwrap();
                    assert!(answer.accepted, "{answer:?}");
                }
            });
        }
    });
}

#[test]
fn the_module_is_small_and_says_what_it_is() {
    let module = std::fs::metadata(vdi_release::policy::build().unwrap()).unwrap();
    assert!(module.len() < 400 << 10, "{} bytes", module.len());
    let metadata = HOST.metadata();
    assert_eq!(metadata["protocolVersion"], "v1");
    assert_eq!(metadata["mutating"], true);
    assert_eq!(metadata["annotations"]["io.kubewarden.policy.version"], env!("CARGO_PKG_VERSION"));
}
