//! The JSON schema of the policy's settings, for editors and CI.

use serde_json::{Map, Value, json};
use vdisession_policy::{
    setting::{Setting, Shape},
    settings::Settings,
};

pub fn file() -> anyhow::Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(&schema())?))
}

pub fn schema() -> Value {
    let mut schema = schema_of(&Settings::SHAPE, "The settings of the admission policy vdisession.");
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["$comment"] = json!("Generated from policy/ by `cargo xtask generate`.");
    schema
}

fn schema_of(shape: &Shape, about: &str) -> Value {
    let about = about.trim();
    match shape {
        Shape::Section(members) => {
            let properties = members.iter().map(|it| (it.name.to_owned(), schema_of(it.shape, it.about)));
            let properties: Map<String, Value> = properties.collect();
            json!({"type": "object", "description": about, "properties": properties, "additionalProperties": false})
        }
        Shape::List(item) => json!({"type": "array", "description": about, "items": schema_of(item, "")}),
        Shape::Text(allowed) => json!({"type": "string", "description": described(about, allowed)}),
        Shape::Whole(least, allowed) => {
            json!({"type": "integer", "minimum": least, "maximum": i32::MAX, "description": described(about, allowed)})
        }
        Shape::Choice(choices) => json!({"enum": choices, "description": about}),
        Shape::Flag => json!({"type": "boolean", "description": about}),
    }
}

fn described(about: &str, allowed: &str) -> String {
    format!("{about} Allowed: {allowed}.").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use vdi_tests::workspace;

    use super::*;

    /// The cases in tests/cases/settings: path, settings, and whether the policy accepts them.
    fn cases() -> Vec<(String, Value, bool)> {
        let folder = workspace().join("tests/cases/settings").read_dir().unwrap();
        let case = |path: std::path::PathBuf| {
            let case: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            (path.display().to_string(), case["settings"].clone(), case["expect"]["valid"] == true)
        };
        folder.map(|entry| case(entry.unwrap().path())).collect()
    }

    #[test]
    fn the_schema_accepts_what_the_policy_accepts() {
        let schema = jsonschema::validator_for(&schema()).unwrap();
        // Deprecated or a convenience, and not for new settings.
        let tolerated = ["null-settings", "the-deprecated-form"];
        for (path, settings, valid) in cases() {
            if valid && !tolerated.iter().any(|name| path.contains(name)) {
                assert!(schema.is_valid(&settings), "{path}");
            }
        }
    }

    #[test]
    fn the_schema_rejects_unknown_names_and_wrong_types() {
        let schema = jsonschema::validator_for(&schema()).unwrap();
        for settings in [
            json!({"gpus": {}}),
            json!({"gpu": {"maximum": 1}}),
            json!({"gpu": {"max": 0}}),
            json!({"gpu": {"max": "1"}}),
            json!({"overrides": [{"gpu": {"most": 1}}]}),
            json!({"templates": {"allow": ["a"]}}),
            json!({"rules": {"gpu-range": "maybe"}}),
            json!({"rules": {"gpu-rage": "warn"}}),
            json!({"templateMustExist": "yes"}),
            json!([]),
        ] {
            assert!(!schema.is_valid(&settings), "{settings}");
        }
    }
}
