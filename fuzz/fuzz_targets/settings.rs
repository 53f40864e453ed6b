//! Invalid settings stop every request, valid ones none; and the message about them is readable.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use vdisession_policy::{Answer, Code, host::Host, review, settings};

struct NoHost;

impl Host for NoHost {
    fn kubernetes(&self, _: &str, _: &Value) -> Result<Value, String> {
        Err("denied".to_owned())
    }
}

fuzz_target!(|text: &[u8]| {
    let response = settings::validate(text);
    assert_eq!(response.valid, response.message.is_none());
    if let Some(message) = response.message {
        assert!(message.len() < 64 << 10, "a message of {} bytes", message.len());
        assert!(!message.chars().any(|c| c.is_control() && c != '\n'), "{message:?}");
    }
    let Ok(settings) = serde_json::from_slice::<Value>(text) else { return assert!(!response.valid) };
    let session = json!({
        "metadata": {"name": "alice-desktop"},
        "spec": {"user": "alice@example.com", "template": "ubuntu", "resources": {}},
    });
    for operation in ["CREATE", "UPDATE", "DELETE"] {
        let request = json!({
            "kind": {"group": "vdi.kasm.io", "version": "v1alpha1", "kind": "VDISession"},
            "operation": operation, "object": session, "oldObject": session,
            "userInfo": {"username": "alice@example.com", "groups": ["artists"]},
        });
        let payload = json!({"settings": settings, "request": request}).to_string();
        let answer = review::validate(payload.as_bytes(), &NoHost).answer;
        let refused = matches!(answer, Answer::Rejected(Code::InternalServerError, _));
        assert_eq!(refused, !response.valid, "{answer:?}");
    }
});
