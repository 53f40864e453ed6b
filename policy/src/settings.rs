//! What an administrator sets. Nothing has to be set for the policy to be safe.

mod section;

use kubewarden_policy_sdk::settings::SettingsValidationResponse;
use serde_json::{Value, json};
use vdi_api::{Gpus, Memory, Timeout};

use crate::{
    defaults::Defaults,
    range::Range,
    rules::{Mode, Rule},
    verdict::list,
};
use section::{Problems, Section};

/// ```yaml
/// templates: {allow: [ubuntu-desktop, blender]}   # none: any
/// gpu: {min: 1, max: 4}
/// memory: {min: 1Gi, max: 64Gi}
/// timeout: {min: 10m, max: 24h}
/// defaults: {gpu: 1, memory: 4Gi, timeout: 8h}
/// rules: {gpu-range: warn}                        # enforce, warn or off
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The names that a session may give; any, when empty.
    pub templates: Vec<String>,
    pub gpu: Range<Gpus>,
    pub memory: Range<Memory>,
    pub timeout: Range<Timeout>,
    pub defaults: Defaults,
    modes: Vec<(&'static str, Mode)>,
}

impl Settings {
    /// # Errors
    /// Everything that is wrong, one line each: `settings.gpu.max: found 0; allowed ...`.
    pub fn read(settings: Option<&Value>) -> Result<Self, Vec<String>> {
        // `null` is what an empty `settings:` is in YAML. Anywhere deeper it may be a limit that a template engine left
        // out, and is refused. So are settings that are not there at all: a policy server always sends some.
        let empty = json!({});
        let settings = settings.map(|value| if value.is_null() { &empty } else { value });

        let problems = Problems::default();
        let root = Section::root(settings, &["templates", "gpu", "memory", "timeout", "defaults", "rules"], &problems);
        let (gpu, memory, timeout) = (root.range("gpu"), root.range("memory"), root.range("timeout"));
        let (defaults, built_in) = (root.section("defaults", &["gpu", "memory", "timeout"]), Defaults::default());
        let settings = Self {
            templates: root.section("templates", &["allow"]).template_names("allow"),
            defaults: Defaults {
                gpu: defaults.within("gpu", &gpu).unwrap_or(built_in.gpu),
                memory: defaults.within("memory", &memory).unwrap_or(built_in.memory),
                timeout: defaults.within("timeout", &timeout).unwrap_or(built_in.timeout),
            },
            modes: root.modes("rules"),
            gpu,
            memory,
            timeout,
        };
        let problems = problems.into_inner();
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    pub fn mode(&self, rule: &Rule) -> Mode {
        self.modes.iter().find(|(id, _)| *id == rule.id).map_or(rule.mode, |(_, mode)| *mode)
    }
}

/// Answers waPC's `validate_settings`, whose payload is the settings alone.
pub fn validate(payload: &[u8]) -> SettingsValidationResponse {
    let read = serde_json::from_slice::<Value>(payload)
        .map_err(|error| vec![format!("settings can't be read: {error}")])
        .and_then(|settings| Settings::read(Some(&settings)));
    match read {
        Ok(_) => SettingsValidationResponse { valid: true, message: None },
        Err(problems) => SettingsValidationResponse { valid: false, message: Some(list(&problems)) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(settings: Value) -> Vec<String> {
        Settings::read(Some(&settings)).unwrap_err()
    }

    #[test]
    fn no_setting_is_needed() {
        for empty in [json!({}), json!(null), json!({"templates": {}, "gpu": {}, "defaults": {}, "rules": {}})] {
            assert_eq!(Settings::read(Some(&empty)), Ok(Settings::default()), "{empty}");
        }
    }

    #[test]
    fn every_setting_can_be_given() {
        let settings = Settings::read(Some(&json!({
            "templates": {"allow": ["ubuntu-desktop"]},
            "gpu": {"min": 1, "max": 4},
            "memory": {"min": "1Gi", "max": "64Gi"},
            "timeout": {"min": "10m", "max": "24h"},
            "defaults": {"gpu": 2, "memory": "8192Mi", "timeout": "90m"},
            "rules": {"gpu-range": "warn", "user-format": "off", "timeout-range": "enforce"},
        })))
        .unwrap();
        assert_eq!(settings.defaults, Defaults { gpu: json!(2), memory: json!("8192Mi"), timeout: json!("90m") });
        assert_eq!(settings.modes.len(), 3);
    }

    #[test]
    fn every_problem_is_named_with_its_path() {
        let found = problems(json!({
            "template": {},
            "templates": {"allow": ["Ubuntu", 7], "deny": []},
            "gpu": {"min": 0, "maximum": 4},
            "memory": {"min": "8Gi", "max": "4Gi"},
            "timeout": {"max": null},
            "defaults": {"gpu": "1"},
            "rules": {"gpu-range": "maybe", "gpu-rage": "warn"},
        }));
        let paths: Vec<_> = found.iter().map(|problem| problem.split(": found").next().unwrap()).collect();
        let expected = [
            "settings.template",
            "settings.gpu.maximum",
            "settings.gpu.min",
            "settings.memory.min",
            "settings.timeout.max",
            "settings.templates.deny",
            "settings.templates.allow[0]",
            "settings.templates.allow[1]",
            "settings.defaults.gpu",
            "settings.rules.gpu-rage",
            "settings.rules.gpu-range",
        ];
        assert_eq!(paths, expected, "{found:#?}");
    }

    #[test]
    fn a_default_that_the_ranges_would_refuse_is_refused() {
        assert_eq!(
            problems(json!({"gpu": {"max": 4}, "defaults": {"gpu": 8}})),
            ["settings.defaults.gpu: found 8; allowed at most 4"]
        );
        assert_eq!(
            problems(json!({"timeout": {"min": "1h", "max": "2h"}, "defaults": {"timeout": "30m"}})),
            ["settings.defaults.timeout: found \"30m\"; allowed 1h to 2h"]
        );
    }

    #[test]
    fn a_payload_that_is_no_settings_is_not_valid() {
        for payload in [&b""[..], b"[]", b"7", b"{", b"\"x\""] {
            let response = validate(payload);
            assert!(!response.valid && response.message.is_some_and(|message| message.starts_with("settings")));
        }
        assert!(validate(b"{}").valid);
    }
}
