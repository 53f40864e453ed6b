//! For the tests of each program: the JSON schema of its settings file. The chart's schema contains it.

use std::{env, fs, path::Path};

use clap::{Arg, ArgAction, Command};
use serde_json::{Map, Value, json};

use super::sources::{check, names};

/// Whole numbers that are the highest of a type.
const HIGHEST: [u64; 3] = [u8::MAX as u64, u16::MAX as u64, u32::MAX as u64];
const DURATION: &str = "^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$";

/// Fails unless the file has the schema of the settings, none of which may be required. With `UPDATE_SNAPSHOTS` in the environment,
/// writes it there instead.
pub fn check_schema(command: &Command, file: &Path) -> Result<(), String> {
    let wanted = serde_json::to_string_pretty(&schema(command)).map_err(|error| error.to_string())? + "\n";
    if env::var_os("UPDATE_SNAPSHOTS").is_some() {
        return fs::write(file, wanted).map_err(|error| error.to_string());
    }
    match fs::read_to_string(file).is_ok_and(|found| found == wanted) {
        true => Ok(()),
        false => Err(format!("{} differs; run with UPDATE_SNAPSHOTS=1:\n{wanted}", file.display())),
    }
}

fn schema(command: &Command) -> Value {
    let arguments = command.get_arguments().filter_map(|argument| Some((argument.get_long()?, argument)));
    let settings = arguments.filter(|(name, _)| names(command).any(|(it, _)| it == *name));
    let settings: Map<String, Value> =
        settings.map(|(name, it)| (name.to_owned(), setting(command, name, it))).collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": format!("Generated from the settings of {} by its tests, with UPDATE_SNAPSHOTS=1.", command.get_name()),
        "type": "object",
        "properties": settings,
        "additionalProperties": false,
    })
}

fn setting(command: &Command, name: &str, argument: &Arg) -> Value {
    let mut schema = value(argument, |value| check(command, &format!("--{name}={value}")).is_ok());
    if matches!(argument.get_action(), ArgAction::Append) {
        schema = json!({ "type": "array", "items": schema });
    }
    if let Some(help) = argument.get_help() {
        schema["description"] = json!(help.to_string());
    }
    schema
}

/// What one value may be. Parsers can't say that themselves, so it is found by asking them.
fn value(argument: &Arg, accepts: impl Fn(&str) -> bool) -> Value {
    let choices = argument.get_possible_values();
    let choices: Vec<&str> = choices.iter().map(|choice| choice.get_name()).collect();
    match &choices[..] {
        ["true", "false"] => json!({ "type": "boolean" }),
        [] if accepts("x") => json!({ "type": "string", "minLength": 1 }),
        [] if accepts("7") => {
            let highest = HIGHEST.into_iter().find(|number| !accepts(&(number + 1).to_string()));
            json!({ "type": "integer", "minimum": u8::from(!accepts("0")), "maximum": highest })
        }
        [] if accepts("7h") => json!({ "type": "string", "pattern": DURATION }),
        [] if accepts("http://a.example.com:1/a") => json!({ "type": "string", "pattern": "^https?://" }),
        [] => json!({ "type": "string", "minLength": 1 }),
        choices => json!({ "enum": choices }),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser, ValueEnum, value_parser};

    use super::*;

    #[derive(Clone, Debug, ValueEnum)]
    enum Format {
        Json,
        Text,
    }

    #[derive(Debug, Parser)]
    #[command(name = "sample")]
    struct Settings {
        #[arg(long)]
        config: Option<String>,
        /// How many
        #[arg(long, default_value_t = 16, value_parser = value_parser!(u16).range(1..))]
        many: u16,
        #[arg(long, default_value_t = false, action = ArgAction::Set)]
        really: bool,
        #[arg(long)]
        format: Option<Format>,
        #[arg(long)]
        networks: Vec<ipnet::IpNet>,
        #[arg(long)]
        text: Option<String>,
    }

    #[test]
    fn a_schema_says_what_the_parser_of_each_setting_accepts() {
        let schema = schema(&Settings::command());
        let expected = json!({
            "many": { "type": "integer", "minimum": 1, "maximum": 65535, "description": "How many" },
            "really": { "type": "boolean" },
            "format": { "enum": ["json", "text"] },
            "networks": { "type": "array", "items": { "type": "string", "minLength": 1 } },
            "text": { "type": "string", "minLength": 1 },
        });
        assert_eq!(schema["properties"], expected);
        assert_eq!(schema["additionalProperties"], json!(false));
    }
}
