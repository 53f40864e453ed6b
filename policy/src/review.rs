//! From an admission request and the settings to a verdict.

use serde_json::{Map, Value};

use crate::{
    field,
    request::{Object, Request},
    rules::{Field, Mode, RULES, Rule},
    settings::Settings,
    verdict::{Code, Verdict, list},
};

/// Judges `{"request": AdmissionRequest, "settings": {...}}`, as a policy server sends it.
///
/// Fails closed: what can't be read is rejected, with a message that says what it was.
pub fn validate(payload: &[u8]) -> Verdict {
    let payload: Map<String, Value> = match serde_json::from_slice(payload) {
        Ok(payload) => payload,
        Err(error) => return Verdict::refused(Code::BadRequest, format!("the request can't be read: {error}")),
    };
    let settings = match Settings::read(payload.get("settings")) {
        Ok(settings) => settings,
        Err(problems) => {
            let message = format!("the policy's settings are not valid: {}", list(&problems));
            return Verdict::refused(Code::InternalServerError, message);
        }
    };
    review(payload.get("request").unwrap_or(&Value::Null), &settings)
}

/// Judges one AdmissionRequest. The object is completed first: what is judged is what will be stored.
pub fn review(request: &Value, settings: &Settings) -> Verdict {
    match Request::read(request) {
        Err(problem) => Verdict::refused(Code::BadRequest, problem),
        Ok(None) => Verdict::accepted(),
        Ok(Some(request)) => judge(&request, settings),
    }
}

fn judge(request: &Request, settings: &Settings) -> Verdict {
    let (new, old) = match *request {
        Request::Create { object } => (object, None),
        Request::Update { object, old } => (object, Some(old)),
    };
    let old = old.map(|old| settings.defaults.complete(old, None));
    let complete = settings.defaults.complete(new, old.as_ref());
    // Not a rule that a setting can turn off: without these there is nowhere to look for the fields.
    let misshapen: Vec<_> = ["spec", "spec.resources"].into_iter().filter(|path| !is_object(new, path)).collect();
    let mut violations: Vec<_> =
        misshapen.iter().map(|path| field::problem(path, &field::refused(field::at(new, path), "an object"))).collect();
    let mut warnings = Vec::new();
    for rule in RULES {
        let found = match settings.mode(rule) {
            Mode::Enforce => &mut violations,
            Mode::Warn => &mut warnings,
            Mode::Off => continue,
        };
        let fields = rule.fields.iter().filter(|field| !misshapen.iter().any(|parent| field.starts_with(parent)));
        found.extend(fields.filter_map(|field| check(rule, field, &complete, old.as_ref(), settings)));
    }
    if violations.is_empty() {
        Verdict::Accepted { mutated: (complete != *new).then_some(Value::Object(complete)), warnings }
    } else {
        Verdict::Rejected { code: Code::UnprocessableEntity, message: list(&violations), warnings }
    }
}

/// Or absent.
fn is_object(object: &Object, path: &str) -> bool {
    field::at(object, path).is_none_or(Value::is_object)
}

/// In an update, only what it changes is judged: settings that have become stricter must not keep the controller from
/// releasing a session that was fine when it was made. The API server's own validation ratchets in the same way
/// (KEP-4008).
fn check(rule: &Rule, path: &str, new: &Object, old: Option<&Object>, settings: &Settings) -> Option<String> {
    let field = Field { value: field::at(new, path), old: old.map(|old| field::at(old, path)) };
    if field.old == Some(field.value) {
        return None;
    }
    let invalid = (rule.check)(&field, settings).err()?;
    Some(format!("{} ({})", field::problem(path, &invalid), rule.id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(value: Value) -> Settings {
        Settings::read(Some(&value)).unwrap()
    }

    fn request(operation: &str, spec: Value, old_spec: Value) -> Value {
        json!({
            "kind": {"group": "vdi.kasm.io", "version": "v1alpha1", "kind": "VDISession"},
            "operation": operation,
            "object": {"metadata": {"name": "a"}, "spec": spec},
            "oldObject": {"metadata": {"name": "a"}, "spec": old_spec},
        })
    }

    fn spec(gpu: i64, timeout: &str) -> Value {
        json!({
            "user": "alice@example.com", "template": "ubuntu", "timeout": timeout,
            "resources": {"gpu": gpu, "memory": "4Gi"},
        })
    }

    fn message(verdict: Verdict) -> String {
        match verdict {
            Verdict::Rejected { message, .. } => message,
            accepted => panic!("{accepted:?}"),
        }
    }

    #[test]
    fn a_complete_and_valid_session_is_accepted_as_it_is() {
        let verdict = review(&request("CREATE", spec(1, "8h"), json!(null)), &Settings::default());
        assert_eq!(verdict, Verdict::accepted());
    }

    #[test]
    fn every_violation_is_in_one_answer() {
        let spec =
            json!({"user": 7, "template": "Ubuntu", "resources": {"gpu": "two", "memory": "lots"}, "timeout": 8});
        let message = message(review(&request("CREATE", spec, json!(null)), &Settings::default()));
        let fields: Vec<_> = message.lines().skip(1).map(|line| line.trim().split(':').next().unwrap()).collect();
        let all = ["spec.user", "spec.template", "spec.resources.gpu", "spec.resources.memory", "spec.timeout"];
        assert_eq!(fields, all, "{message}");
    }

    #[test]
    fn what_is_beside_a_misshapen_field_is_still_judged() {
        let spec = json!({"user": 7, "template": "ubuntu", "resources": "many", "timeout": 8});
        let message = message(review(&request("CREATE", spec, json!(null)), &Settings::default()));
        let fields: Vec<_> = message.lines().skip(1).map(|line| line.trim().split(':').next().unwrap()).collect();
        assert_eq!(fields, ["spec.resources", "spec.user", "spec.timeout"], "{message}");
    }

    #[test]
    fn an_update_that_leaves_a_value_alone_is_not_judged_for_it() {
        let strict = settings(json!({"gpu": {"max": 2}}));
        let verdict = review(&request("UPDATE", spec(4, "9h"), spec(4, "8h")), &strict);
        assert_eq!(verdict, Verdict::accepted());
        assert!(message(review(&request("UPDATE", spec(4, "0"), spec(4, "8h")), &strict)).starts_with("spec.timeout"));
    }

    #[test]
    fn a_rule_can_warn_or_be_off() {
        let request = request("CREATE", spec(9, "8h"), json!(null));
        let at_most_two = |mode: &str| settings(json!({"gpu": {"max": 2}, "rules": {"gpu-range": mode}}));
        let Verdict::Accepted { warnings, .. } = review(&request, &at_most_two("warn")) else { panic!() };
        assert_eq!(warnings, ["spec.resources.gpu: found 9; allowed at most 2 (gpu-range)"]);
        assert_eq!(review(&request, &at_most_two("off")), Verdict::accepted());
        assert!(matches!(review(&request, &at_most_two("enforce")), Verdict::Rejected { .. }));
    }

    #[test]
    fn a_payload_that_is_no_json_object_is_a_bad_request() {
        for payload in [&b""[..], b"{", b"[]", b"null", b"\xff", b"{\"settings\":{}}", &b"[".repeat(10_000)] {
            let verdict = validate(payload);
            assert!(matches!(verdict, Verdict::Rejected { code: Code::BadRequest | Code::InternalServerError, .. }));
        }
    }

    #[test]
    fn of_a_key_that_is_given_twice_the_last_counts_and_is_the_one_returned() {
        let payload = br#"{"settings": {}, "request": {
            "kind": {"group": "vdi.kasm.io", "version": "v1alpha1", "kind": "VDISession"}, "operation": "CREATE",
            "object": {"spec": {"user": "nobody", "user": "alice@example.com", "template": "ubuntu"}}}}"#;
        let Verdict::Accepted { mutated: Some(object), .. } = validate(payload) else { panic!() };
        assert_eq!(object["spec"]["user"], "alice@example.com");
    }
}
