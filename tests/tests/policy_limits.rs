//! The limits on a policy: time, memory and host capabilities.

#![allow(clippy::unwrap_used)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use vdi_tests::policy::{
    Limits, Played, PolicyHost,
    case::{create, valid_session},
};

#[test]
fn an_endless_policy_is_interrupted_at_its_deadline() {
    let limits = Limits { time: Duration::from_millis(300), ..Limits::default() };
    let endless = r#"(module
        (memory (export "memory") 1)
        (func (export "__guest_call") (param i32 i32) (result i32) (loop $again (br $again)) (unreachable)))"#;
    let host = PolicyHost::new(endless.as_bytes(), limits).unwrap();
    let start = Instant::now();
    let error = format!("{:#}", host.call_raw("validate", b"{}", None).unwrap_err());
    assert!(error.contains("deadline exceeded"), "{error}");
    assert!((300..2_000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

#[test]
fn memory_can_grow_to_the_limit_and_no_further() {
    // Fails with an error that says whether its memory, one page of 64 KiB, could grow by that many pages.
    let grow = |pages: u32| {
        format!(
            r#"(module
                (import "wapc" "__guest_error" (func $fail (param i32 i32)))
                (memory (export "memory") 1)
                (data (i32.const 0) "refused" "granted")
                (func (export "__guest_call") (param i32 i32) (result i32)
                    (if (i32.eq (memory.grow (i32.const {pages})) (i32.const -1))
                        (then (call $fail (i32.const 0) (i32.const 7)))
                        (else (call $fail (i32.const 7) (i32.const 7))))
                    (i32.const 0)))"#
        )
    };
    let limits = Limits { memory: 64 << 20, ..Limits::default() };
    let answer = |pages| {
        let host = PolicyHost::new(grow(pages).as_bytes(), limits).unwrap();
        format!("{:#}", host.call_raw("validate", b"{}", None).unwrap_err())
    };
    assert!(answer(1_023).ends_with("granted"), "{}", answer(1_023));
    assert!(answer(1_024).ends_with("refused"), "{}", answer(1_024));
}

#[test]
fn a_policy_is_granted_no_host_capability() {
    let call = r#"(module
        (import "wapc" "__host_call" (func $host_call (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "wapc" "__host_error_len" (func $error_len (result i32)))
        (import "wapc" "__host_error" (func $error (param i32)))
        (import "wapc" "__guest_error" (func $fail (param i32 i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "kubewarden" "kubernetes" "can_i")
        (func (export "__guest_call") (param i32 i32) (result i32)
            (drop (call $host_call (i32.const 0) (i32.const 10) (i32.const 10) (i32.const 10)
                (i32.const 20) (i32.const 5) (i32.const 0) (i32.const 0)))
            (call $error (i32.const 100))
            (call $fail (i32.const 100) (call $error_len))
            (i32.const 0)))"#;
    let host = PolicyHost::new(call.as_bytes(), Limits::default()).unwrap();
    let error = format!("{:#}", host.call_raw("validate", b"{}", None).unwrap_err());
    assert!(error.contains("has not been granted access to the 'kubernetes/can_i' host capability"), "{error}");
}

#[test]
fn a_host_that_answers_after_the_deadline_allows_nothing() {
    let host = PolicyHost::load(vdi_release::policy::build().unwrap()).unwrap();
    let mut session = valid_session();
    session["spec"]["user"] = json!("bob@example.com");
    let late = json!({"kubernetes/can_i": {"$slow": 2_500, "answer": {"allowed": true}}});
    let late: Played = serde_json::from_value(late).unwrap();
    let error = format!("{:#}", host.validate(&create(session), &json!({}), Arc::new(late)).unwrap_err());
    assert!(error.contains("deadline exceeded"), "{error}");
}
