//! From an admission request and the settings to a verdict.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{
    broker, field,
    host::{self, Host},
    mode::Mode,
    mutation,
    request::{Kind, Object, Operation, Request, Wanted},
    rules::{Context, Field, RULES, Rule, When},
    settings::Settings,
    verdict::{Answer, Code, Verdict, list},
};

/// Reviews `{"request": AdmissionRequest, "settings": {...}}`, as a policy server sends it.
///
/// Fails closed: malformed input is rejected, with a message that says what is wrong.
pub fn validate(payload: &[u8], host: &dyn Host) -> Verdict {
    // serde would also accept a list of the struct's fields.
    let is_object = payload.trim_ascii_start().starts_with(b"{");
    let payload: Payload = match serde_json::from_slice(payload) {
        Ok(payload) if is_object => payload,
        Ok(_) => {
            return Verdict::refused(Code::BadRequest, "the request can't be read: it is not an object".to_owned());
        }
        Err(error) => {
            let message = format!("the request can't be read: {}", host::readable(&error.to_string()));
            return Verdict::refused(Code::BadRequest, message);
        }
    };
    match Settings::parse(payload.settings.as_ref()) {
        Ok((settings, deprecated)) => {
            let mut verdict = review(&payload.request.0, &settings, host);
            verdict.warnings.extend(deprecated);
            verdict
        }
        Err(problems) => {
            let message = format!("the policy's settings are invalid: {}", list(&problems));
            Verdict::refused(Code::InternalServerError, message)
        }
    }
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    request: Wanted,
    /// `None` if absent, in contrast to `null`.
    #[serde(default, deserialize_with = "present")]
    settings: Option<Value>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Reviews one AdmissionRequest. Defaults are filled in first, so that the rules check what will be stored.
pub fn review(request: &Value, settings: &Settings, host: &dyn Host) -> Verdict {
    match Request::read(request) {
        Err(problem) => Verdict::refused(Code::BadRequest, problem),
        Ok(None) => Verdict::accepted(),
        Ok(Some(request)) => match broker::resolve(request, &settings.site.identity) {
            Ok(request) => judge(&request, settings, host),
            Err(problem) => Verdict::refused(Code::Forbidden, problem),
        },
    }
}

/// The fields that must be objects, if present: the rules look for fields in them.
const SESSION_SHAPE: &[&str] = &["metadata", "metadata.annotations", "spec", "spec.resources"];
const TEMPLATE_SHAPE: &[&str] = &["metadata", "spec", "spec.probe", "spec.gpu"];

fn judge(request: &Request, settings: &Settings, host: &dyn Host) -> Verdict {
    let ((object, mut warnings), old) = match request.kind {
        Kind::Session => {
            let old = request.old().map(|old| mutation::with_defaults(old, request, &settings.site));
            (mutation::complete(request, &settings.site), old)
        }
        Kind::Template => {
            let object = request.object().or(request.old()).map_or_else(Cow::default, Cow::Borrowed);
            ((object, Vec::new()), request.old().map(Cow::Borrowed))
        }
    };
    let context = Context { request, object: &object, site: &settings.site, host };
    let misshapen = misshapen(request);
    let mut violations: Vec<_> = misshapen
        .iter()
        .map(|path| field::problem(path, &field::refused(field::at(&object, path), "an object")))
        .collect();
    // Forbidden only if no correction of the object would help.
    let mut code = if violations.is_empty() { Code::Forbidden } else { Code::UnprocessableEntity };
    let mut broken = Vec::new();
    for rule in RULES.iter().filter(|rule| rule.kind == request.kind) {
        let mode = settings.mode(rule);
        if mode == Mode::Off {
            continue;
        }
        let fields = rule.fields.iter().filter(|field| !misshapen.iter().any(|parent| is_below(field, parent)));
        let found: Vec<_> = fields.filter_map(|path| check(rule, path, &context, old.as_deref())).collect();
        if found.is_empty() {
            continue;
        }
        broken.push((rule.id, mode));
        if mode == Mode::Warn {
            warnings.extend(found);
        } else {
            violations.extend(found);
            code = if rule.code == Code::Forbidden { code } else { rule.code };
        }
    }
    let answer = if violations.is_empty() {
        Answer::Accepted(match object {
            Cow::Owned(object) => Some(Value::Object(object)),
            Cow::Borrowed(_) => None,
        })
    } else {
        Answer::Rejected(code, list(&violations))
    };
    Verdict { answer, warnings, broken }
}

/// Settings can't turn this check off. Deleted objects may have any shape.
fn misshapen(request: &Request) -> Vec<&'static str> {
    let shape = match request.kind {
        Kind::Session => SESSION_SHAPE,
        Kind::Template => TEMPLATE_SHAPE,
    };
    let is_object = |object: &Object, path: &str| field::at(object, path).is_none_or(Value::is_object);
    request
        .object()
        .map_or(Vec::new(), |object| shape.iter().copied().filter(|path| !is_object(object, path)).collect())
}

fn is_below(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.'))
}

fn check(rule: &Rule, path: &'static str, context: &Context, old: Option<&Object>) -> Option<String> {
    let is_delete = matches!(context.request.operation, Operation::Delete { .. });
    let field = Field { path, value: field::at(context.object, path), old: old.map(|old| field::at(old, path)) };
    if rule.when == When::Changed && (is_delete || field.old == Some(field.value)) {
        return None;
    }
    let invalid = (rule.check)(&field, context).err()?;
    Some(format!("{} ({})", field::problem(path, &invalid), rule.id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The rules that are tested here never call it.
    struct NoHost;

    impl Host for NoHost {
        fn kubernetes(&self, operation: &str, _: &Value) -> Result<Value, String> {
            panic!("{operation} is not needed")
        }
    }

    fn review(request: &Value, settings: &Settings) -> Verdict {
        super::review(request, settings, &NoHost)
    }

    fn validate(payload: &[u8]) -> Verdict {
        super::validate(payload, &NoHost)
    }

    fn settings(value: Value) -> Settings {
        Settings::parse(Some(&value)).unwrap().0
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
        match verdict.answer {
            Answer::Rejected(_, message) => message,
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
        let verdict = review(&request, &at_most_two("warn"));
        assert_eq!(verdict.answer, Answer::Accepted(None));
        assert_eq!(verdict.warnings, ["spec.resources.gpu: found 9; allowed at most 2 (gpu-range)"]);
        assert_eq!(verdict.broken, [("gpu-range", Mode::Warn)]);
        assert_eq!(review(&request, &at_most_two("off")), Verdict::accepted());
        assert!(message(review(&request, &at_most_two("enforce"))).starts_with("spec.resources.gpu"));
    }

    #[test]
    fn a_payload_that_is_no_json_object_is_a_bad_request() {
        let (nested, long) = (b"[".repeat(10_000), format!("{:?}", "a".repeat(1 << 20)));
        let list: &[u8] = br#"[{"kind": {"group": "", "kind": "Pod"}}, {}]"#;
        for payload in
            [&b""[..], b"{", b"[]", list, b"null", b"\xff", b"{\"settings\":{}}", &nested[..], long.as_bytes()]
        {
            let answer = validate(payload).answer;
            let Answer::Rejected(Code::BadRequest | Code::InternalServerError, message) = answer else {
                panic!("{answer:?}")
            };
            assert!(message.len() < 1_000, "{} bytes", message.len());
        }
    }

    #[test]
    fn a_request_that_is_no_object_is_told_what_it_should_be() {
        let verdict = validate(br#"{"settings": {}, "request": 7}"#);
        assert!(message(verdict).contains("invalid type: integer `7`, expected an AdmissionRequest"));
    }

    #[test]
    fn of_a_key_that_is_given_twice_the_last_counts_and_is_the_one_returned() {
        let payload = br#"{"settings": {}, "request": {
            "kind": {"group": "vdi.kasm.io", "version": "v1alpha1", "kind": "VDISession"}, "operation": "CREATE",
            "object": {"metadata": {"name": "a"}, "spec": {"user": "nobody", "user": "alice@example.com", "template": "ubuntu"}}}}"#;
        let Answer::Accepted(Some(object)) = validate(payload).answer else { panic!() };
        assert_eq!(object["spec"]["user"], "alice@example.com");
    }
}
