//! The policy's settings: what the site allows, and what each rule does about a violation.

mod modes;

use kubewarden_policy_sdk::settings::SettingsValidationResponse;
use serde_json::{Value, json};
use vdi_api::Invalid;

use crate::{
    mode::Mode,
    rules::Rule,
    setting::{At, Findings, Member, Setting, Shape},
    site::Site,
    verdict::list,
};
use modes::Modes;

/// All settings, in one JSON object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub site: Site,
    rules: Modes,
}

const RULES: &str = "rules";

/// Those of [`Site`], and `rules`.
const MEMBERS: &[Member] = &{
    let about = "What each rule does about a violation: reject the request (enforce), warn the client (warn), or nothing (off).";
    let mut members = [Member { name: RULES, about, shape: &Modes::SHAPE }; Site::MEMBERS.len() + 1];
    let mut index = 0;
    while index < Site::MEMBERS.len() {
        members[index] = Site::MEMBERS[index];
        index += 1;
    }
    members
};

impl Setting for Settings {
    const SHAPE: Shape = Shape::Section(MEMBERS);

    fn read(value: &Value, at: &At) -> Option<Self> {
        let object = at.section(value, MEMBERS)?;
        let site = Site::read_members(object, at);
        let rules = object.get(RULES).and_then(|value| Modes::read(value, &at.member(RULES)));
        Some(Self { site, rules: rules.unwrap_or_default() })
    }
}

impl Settings {
    /// Reads the settings. Returns warnings about deprecated ones too.
    ///
    /// # Errors
    /// Everything that is wrong, one line each: `settings.gpu.max: found 0; allowed ...`.
    pub fn parse(settings: Option<&Value>) -> Result<(Self, Vec<String>), Vec<String>> {
        // An empty `settings:` is `null` in YAML. Deeper down, `null` may be a limit that a template engine left empty, and
        // is refused. Missing settings are refused too: a policy server always sends some.
        let empty = json!({});
        let settings = settings.map(|value| if value.is_null() { &empty } else { value });
        let findings = Findings::default();
        let at = At::root(&findings);
        let read = match settings {
            Some(settings) => Self::read(settings, &at),
            None => {
                at.refuse(&Invalid::value("nothing", "an object"));
                None
            }
        };
        let problems = findings.problems.into_inner();
        read.filter(|_| problems.is_empty()).map(|read| (read, findings.deprecated.into_inner())).ok_or(problems)
    }

    pub fn mode(&self, rule: &Rule) -> Mode {
        self.rules.of(rule)
    }
}

/// Answers waPC's `validate_settings`, whose payload is the settings alone.
pub fn validate(payload: &[u8]) -> SettingsValidationResponse {
    let read = serde_json::from_slice::<Value>(payload)
        .map_err(|error| vec![format!("settings can't be read: {error}")])
        .and_then(|settings| Settings::parse(Some(&settings)));
    match read {
        Ok(_) => SettingsValidationResponse { valid: true, message: None },
        Err(problems) => SettingsValidationResponse { valid: false, message: Some(list(&problems)) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(value: Value) -> Vec<String> {
        Settings::parse(Some(&value)).unwrap_err()
    }

    #[test]
    fn no_setting_is_needed() {
        for empty in [json!({}), json!(null), json!({"templates": [], "gpu": {}, "overrides": [], "rules": {}})] {
            assert_eq!(Settings::parse(Some(&empty)), Ok((Settings::default(), vec![])), "{empty}");
        }
    }

    #[test]
    fn every_problem_is_named_with_its_path() {
        let found = problems(json!({
            "template": {},
            "users": {"allowedDomains": ["example.com", "com"], "alowedDomains": []},
            "identity": {"usernamePrefix": "", "exemptGroups": ["system:authenticated"]},
            "templates": [{"allow": ["Ubuntu", 7]}, {"groups": ["a"]}, "x"],
            "templateMustExist": "yes",
            "gpu": {"min": 0, "maximum": 4},
            "memory": {"min": "8Gi", "max": "4Gi"},
            "timeout": {"max": null},
            "overrides": [{}, {"templates": ["[a]"], "gpu": {"max": 1, "default": 2}}],
            "perUser": {"sessions": 0},
            "images": {"registries": ["https://a.b"]},
            "rules": {"gpu-range": "maybe", "gpu-rage": "warn"},
        }));
        let paths: Vec<_> = found.iter().map(|problem| problem.split(": found").next().unwrap()).collect();
        let expected = [
            "settings.template",
            "settings.users.alowedDomains",
            "settings.users.allowedDomains[1]",
            "settings.identity.usernamePrefix",
            "settings.identity.exemptGroups[0]",
            "settings.templates[0].allow[0]",
            "settings.templates[0].allow[1]",
            "settings.templates[1].allow",
            "settings.templates[2]",
            "settings.templateMustExist",
            "settings.gpu.maximum",
            "settings.gpu.min",
            "settings.memory.min",
            "settings.timeout.max",
            "settings.overrides[0]",
            "settings.overrides[1].templates[0]",
            "settings.overrides[1].gpu.default",
            "settings.perUser.sessions",
            "settings.images.registries[0]",
            "settings.rules.gpu-rage",
            "settings.rules.gpu-range",
        ];
        assert_eq!(paths, expected, "{found:#?}");
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_nearest() {
        assert!(problems(json!({"gpus": {}}))[0].ends_with("did you mean gpu?"));
        assert!(problems(json!({"rules": {"gpu-rage": "warn"}}))[0].ends_with("did you mean gpu-range?"));
        assert!(!problems(json!({"colour": {}}))[0].contains("did you mean"));
    }

    #[test]
    fn a_single_list_of_templates_is_deprecated_and_still_works() {
        let (settings, deprecated) = Settings::parse(Some(&json!({"templates": {"allow": ["ubuntu"]}}))).unwrap();
        assert_eq!(settings.site.templates.0.len(), 1);
        assert_eq!(deprecated, ["settings.templates: deprecated; use a list: templates: [{allow: [...]}]"]);
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
