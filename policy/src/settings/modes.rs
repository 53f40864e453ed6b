use serde_json::Value;

use super::setting::{At, Member, Setting, Shape};
use crate::{
    field::refused,
    rules::{Mode, RULES, Rule},
};

/// The section `rules`: the ids of rules, and what they do instead of what they do by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Modes(Vec<(&'static str, Mode)>);

impl Modes {
    pub fn of(&self, rule: &Rule) -> Mode {
        self.0.iter().find(|(id, _)| *id == rule.id).map_or(rule.mode, |(_, mode)| *mode)
    }
}

const MODE: Shape = Shape::Choice(&["enforce", "warn", "off"]);

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
            match object.get(*id).map(|mode| (mode, mode.as_str())) {
                None => {}
                Some((_, Some("enforce"))) => modes.push((*id, Mode::Enforce)),
                Some((_, Some("warn"))) => modes.push((*id, Mode::Warn)),
                Some((_, Some("off"))) => modes.push((*id, Mode::Off)),
                // A bare `off` is `false` to YAML 1.1, which is what the Kubernetes tools read.
                Some((Value::Bool(false), _)) => modes.push((*id, Mode::Off)),
                Some((other, _)) => at.member(id).refuse(&refused(Some(other), "enforce, warn or off")),
            }
        }
        Some(Self(modes))
    }
}
