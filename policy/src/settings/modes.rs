use serde_json::Value;
use strum::VariantNames as _;

use crate::{
    field::refused,
    mode::Mode,
    rules::{RULES, Rule},
    setting::{At, Member, Setting, Shape},
};

/// The section `rules`: the ids of rules whose mode differs from the default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Modes(Vec<(&'static str, Mode)>);

impl Modes {
    pub fn of(&self, rule: &Rule) -> Mode {
        self.0.iter().find(|(id, _)| *id == rule.id).map_or(rule.mode, |(_, mode)| *mode)
    }
}

const MODE: Shape = Shape::Choice(Mode::VARIANTS);

const MEMBERS: &[Member] = &{
    let mut members = [Member { name: "", about: "", shape: &MODE }; RULES.len()];
    let mut index = 0;
    while index < RULES.len() {
        members[index] = Member { name: RULES[index].id, about: RULES[index].about, shape: &MODE };
        index += 1;
    }
    members
};

impl Setting for Modes {
    const SHAPE: Shape = Shape::Section(MEMBERS);

    fn read(value: &Value, at: &At) -> Option<Self> {
        let object = at.section(value, MEMBERS)?;
        let mut modes = Vec::new();
        for Rule { id, .. } in RULES {
            let Some(value) = object.get(*id) else { continue };
            let mode = match value {
                // YAML 1.1, which Kubernetes tools read, takes a bare `off` for `false`.
                Value::Bool(false) => Some(Mode::Off),
                value => value.as_str().and_then(|name| name.parse().ok()),
            };
            match mode {
                Some(mode) => modes.push((*id, mode)),
                None => at.member(id).refuse(&refused(Some(value), "enforce, warn or off")),
            }
        }
        Some(Self(modes))
    }
}
