//! A verdict, formatted for people.

use json_patch::PatchOperation;
use serde_json::Value;
use vdi_tests::policy::PolicyResponse;

use super::text::{harmless, indented, scalar};

/// One line for the request, one for the verdict, and one for each message, warning and change.
pub fn description(request: &Value, response: &PolicyResponse) -> String {
    let mut text = format!("{}\n", about(request));
    let message = response.message.as_deref().map(harmless).unwrap_or_default();
    match response.code {
        _ if response.accepted => text.push_str("ACCEPTED\n"),
        Some(code) => text.push_str(&format!("REJECTED {code}\n")),
        None => text.push_str("REJECTED\n"),
    }
    // A list of problems starts with a line that counts them.
    let problems = message.split_once('\n').map_or(message.as_str(), |(_, problems)| problems);
    text.extend(problems.lines().map(|problem| indented(problem.trim_start())));
    for warning in response.warnings.iter().flatten() {
        text.push_str(&indented(&format!("warning: {}", harmless(warning))));
    }
    if let Some(audit) = &response.audit_annotations {
        let audit: Vec<_> = audit.iter().map(|(name, value)| format!("{name}={value}")).collect();
        text.push_str(&indented(&harmless(&format!("audit: {}", audit.join(", ")))));
    }
    if let Some(mutated) = &response.mutated_object {
        let object = &request["object"];
        text.extend(
            json_patch::diff(object, mutated).iter().map(|change| indented(&harmless(&changed(object, change)))),
        );
    }
    text
}

/// `CREATE of the VDISession desktops/alice-desktop by alice@example.com`
fn about(request: &Value) -> String {
    let namespace = request["namespace"].as_str().map(|namespace| format!("{}/", harmless(namespace)));
    let name = request["name"].as_str().filter(|name| !name.is_empty()).map_or("(no name)".to_owned(), harmless);
    format!(
        "{} of the {} {}{name} by {}",
        scalar(&request["operation"]),
        scalar(&request["kind"]["kind"]),
        namespace.unwrap_or_default(),
        request["userInfo"]["username"].as_str().map_or("nobody".to_owned(), harmless),
    )
}

/// `+ /spec/timeout: "8h"`
fn changed(object: &Value, change: &PatchOperation) -> String {
    let was = |path: &str| object.pointer(path).cloned().unwrap_or_default();
    match change {
        PatchOperation::Add(add) => format!("+ {}: {}", add.path, add.value),
        PatchOperation::Remove(remove) => format!("- {}: {}", remove.path, was(remove.path.as_str())),
        PatchOperation::Replace(replace) => {
            format!("~ {}: {} -> {}", replace.path, was(replace.path.as_str()), replace.value)
        }
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mutation_is_shown_change_by_change() {
        let request = json!({
            "operation": "CREATE", "kind": {"kind": "VDISession"}, "namespace": "desktops", "name": "a",
            "userInfo": {"username": "alice@example.com"},
            "object": {"spec": {"a": 1, "b": 2}},
        });
        let response = PolicyResponse {
            accepted: true,
            mutated_object: Some(json!({"spec": {"a": 3, "timeout": "8h"}})),
            warnings: Some(vec!["careful".to_owned()]),
            ..PolicyResponse::default()
        };
        let shown = description(&request, &response);
        let mut lines: Vec<_> = shown.lines().collect();
        lines[3..].sort();
        let expected = [
            "CREATE of the VDISession desktops/a by alice@example.com",
            "ACCEPTED",
            "  warning: careful",
            "  + /spec/timeout: \"8h\"",
            "  - /spec/b: 2",
            "  ~ /spec/a: 1 -> 3",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn every_problem_has_a_line() {
        for message in ["2 problems\n  a\n  b", "a\nb"] {
            let response = PolicyResponse { code: Some(422), message: Some(message.to_owned()), ..Default::default() };
            let shown = description(&json!({"kind": {}}), &response);
            assert!(shown.contains("REJECTED 422\n") && shown.ends_with("  b\n"), "{shown}");
        }
    }
}
