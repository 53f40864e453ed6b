//! `questions-ui.yml`: Rancher's form for the policy's settings.
//! <https://docs.kubewarden.io/tutorials/writing-policies/policy-authors/rancher-ui>

use serde_json::{Value, json};
use vdisession_policy::{
    setting::{Member, Setting, Shape},
    settings::Settings,
};

pub fn questions() -> Value {
    let Shape::Section(members) = Settings::SHAPE else { return json!({}) };
    json!({"questions": members.iter().flat_map(|member| questions_of(member, "", group_of(member))).collect::<Vec<_>>()})
}

/// One question for each value; those of a section are named by their path.
fn questions_of(member: &Member, parent: &str, group: &str) -> Vec<Value> {
    let variable = format!("{parent}{}", member.name);
    let question = |kind: &str, allowed: &str| {
        let tooltip = format!("{} {allowed}", member.about.trim());
        json!({"variable": variable, "label": label(&variable), "tooltip": tooltip.trim(), "type": kind, "group": group, "required": false})
    };
    let allowed = |words: &str| if words == "a string" { String::new() } else { format!("Allowed: {words}.") };
    match member.shape {
        Shape::Section(members) => {
            members.iter().flat_map(|inner| questions_of(inner, &format!("{variable}."), group)).collect()
        }
        Shape::List(Shape::Section(members)) => {
            let mut list = question("sequence[", "");
            list["sequence_questions"] = members.iter().flat_map(|inner| questions_of(inner, "", group)).collect();
            vec![list]
        }
        Shape::List(item) => {
            let words = match item {
                Shape::Text(words) => allowed(words),
                _ => String::new(),
            };
            let mut list = question("array[", &words);
            list["value_multiline"] = json!(false);
            vec![list]
        }
        Shape::Text(words) => vec![question("string", &allowed(words))],
        Shape::Whole(least, words) => {
            let mut number = question("int", &allowed(words));
            number["min"] = json!(least);
            vec![number]
        }
        Shape::Choice(choices) => {
            let mut choice = question("enum", "");
            choice["options"] = json!(choices);
            vec![choice]
        }
        Shape::Flag => {
            let mut flag = question("boolean", "");
            flag["default"] = json!(false);
            vec![flag]
        }
    }
}

fn group_of(member: &Member) -> &'static str {
    match member.name {
        "rules" => "Rules",
        "users" | "identity" => "Users",
        "templates" | "templateMustExist" | "images" => "Templates",
        _ => "Limits",
    }
}

/// `users.allowedDomains` -> `Users: allowed domains`
fn label(variable: &str) -> String {
    let mut words = String::new();
    for c in variable.chars() {
        match c {
            '.' => words.push_str(": "),
            c if c.is_ascii_uppercase() => {
                words.push(' ');
                words.push(c.to_ascii_lowercase());
            }
            c => words.push(c),
        }
    }
    words.get(..1).map(|first| first.to_uppercase() + &words[1..]).unwrap_or_default()
}
