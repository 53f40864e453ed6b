//! What holds for every answer of the policy, whatever the request. The fuzz targets include this file too, so it depends on
//! nothing else in this crate.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// The fields that the policy adds or changes.
const WRITTEN: &[&str] = &["/spec/user", "/metadata/annotations/vdi.kasm.io/created-by"];
const FILLED_IN: &[&str] = &[
    "/metadata",
    "/metadata/annotations",
    "/metadata/annotations/vdi.kasm.io/created-by",
    "/spec",
    "/spec/resources",
    "/spec/resources/gpu",
    "/spec/resources/memory",
    "/spec/timeout",
];

/// `Email::PATTERN` with RE2's meaning of `\s`.
static EMAIL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^[^\t\n\x0c\r ]+@[^\t\n\x0c\r ]+\.[^\t\n\x0c\r ]+$").ok());

/// Checks the answer (a ValidationResponse) to a payload. `ask` calls the same policy again.
///
/// # Errors
/// The invariant that is broken.
pub fn check(payload: &[u8], answer: &Value, ask: impl FnOnce(&[u8]) -> Value) -> Result<(), String> {
    check_form(answer)?;
    if answer["accepted"] != true {
        return Ok(());
    }
    // Members that the policy skips may be malformed.
    let Ok(payload) = serde_json::from_str(&String::from_utf8_lossy(payload)) else { return Ok(()) };
    let Value::Object(mut payload) = payload else { return Err("accepted what is no request".to_owned()) };
    let settings = payload.get("settings").cloned().unwrap_or_default();
    let request = payload.get_mut("request").ok_or("accepted without a request")?;
    check_user(request, &settings, answer)?;
    let mutated = &answer["mutated_object"];
    if mutated.is_null() {
        return Ok(());
    }
    check_kept(&request["object"], mutated, "")?;
    request["object"] = mutated.clone();
    let again = ask(Value::Object(payload).to_string().as_bytes());
    let settled = again["accepted"] == true && again["mutated_object"].is_null();
    if settled { Ok(()) } else { Err(format!("mutating it again is not the same: {again}")) }
}

/// The request is accepted, or rejected with a message that a terminal can show.
fn check_form(answer: &Value) -> Result<(), String> {
    let (message, code) = (answer["message"].as_str(), answer["code"].as_u64());
    let formed = match answer["accepted"].as_bool() {
        Some(true) => message.is_none() && code.is_none(),
        Some(false) => {
            message.is_some_and(|message| !message.is_empty())
                && matches!(code, Some(400 | 403 | 422 | 500))
                && answer["mutated_object"].is_null()
        }
        None => false,
    };
    if !formed {
        return Err("an answer is an acceptance, or a rejection with code and message".to_owned());
    }
    let length = answer.to_string().len() - answer["mutated_object"].to_string().len();
    if length >= 64 << 10 {
        return Err(format!("an answer of {length} bytes"));
    }
    // A warning is an HTTP header: not even a line break fits into it.
    let warnings = answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for text in message.into_iter().flat_map(|message| message.split('\n')).chain(warnings) {
        if let Some(hostile) = text.chars().find(|&c| acts_on_a_terminal(c)) {
            return Err(format!("{hostile:?} in {text:?}"));
        }
    }
    Ok(())
}

fn acts_on_a_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A new session's user matches the API server's pattern, unless the site turned that rule off.
fn check_user(request: &Value, settings: &Value, answer: &Value) -> Result<(), String> {
    let mode = &settings["rules"]["user-format"];
    let is_new_session = request["operation"] == "CREATE"
        && request["kind"]["group"] == "vdi.kasm.io"
        && request["kind"]["kind"] == "VDISession"
        && request["subResource"] != "status";
    if !is_new_session || !(mode.is_null() || mode == "enforce") {
        return Ok(());
    }
    let stored = if answer["mutated_object"].is_null() { &request["object"] } else { &answer["mutated_object"] };
    let user = &stored["spec"]["user"];
    let pattern = EMAIL.as_ref().ok_or("the pattern can't be read")?;
    let valid = user.as_str().is_some_and(|user| pattern.is_match(user) && user.chars().count() <= 254);
    if valid { Ok(()) } else { Err(format!("accepted for the user {user}")) }
}

/// Nothing is lost, and nothing is written but the fields that the policy may write.
fn check_kept(given: &Value, mutated: &Value, path: &str) -> Result<(), String> {
    if given == mutated || WRITTEN.contains(&path) {
        return Ok(());
    }
    let (Some(given), Some(mutated)) = (given.as_object(), mutated.as_object()) else {
        return Err(format!("{path} was {given} and is {mutated}"));
    };
    for (name, value) in given {
        let path = format!("{path}/{name}");
        match mutated.get(name) {
            Some(mutated) => check_kept(value, mutated, &path)?,
            None if WRITTEN.contains(&path.as_str()) => {}
            None => return Err(format!("{path} is lost")),
        }
    }
    let added = mutated.keys().filter(|name| !given.contains_key(*name)).map(|name| format!("{path}/{name}"));
    match added.into_iter().find(|path| !FILLED_IN.contains(&path.as_str())) {
        Some(path) => Err(format!("{path} is made up")),
        None => Ok(()),
    }
}
