use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use clap::{ArgAction, ArgMatches, Command, Parser, builder::Resettable, error::ErrorKind, parser::ValueSource};
use serde_json::Value;

/// The namespace of the pod that this process runs in, or else the product's usual one.
pub fn own_namespace() -> String {
    const OF_THE_POD: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
    let of_the_pod = std::fs::read_to_string(OF_THE_POD).map(|name| name.trim().to_owned());
    of_the_pod.unwrap_or_else(|_| "vdiwarden-system".to_owned())
}

/// Reads the settings of this process. On an error, prints it and exits, as clap does.
pub fn load<S: Parser>() -> S {
    parse(std::env::args_os().collect(), |variable| std::env::var_os(variable)).unwrap_or_else(|error| error.exit())
}

/// Reads the settings from all sources. Flags override the environment, which overrides the file. The flag `--config`, which `S`
/// must have, names the file.
///
/// # Errors
/// When a setting is unknown, malformed or missing.
pub fn parse<S: Parser>(
    arguments: Vec<OsString>,
    environment: impl Fn(&OsStr) -> Option<OsString>,
) -> Result<S, clap::Error> {
    let command = S::command();
    let arguments = above(&command, arguments, of_environment(&command, environment))?;
    let arguments = match given(&command, &arguments)?.get_one::<PathBuf>("config") {
        Some(path) => above(&command, arguments, of_file(&command, path)?)?,
        None => arguments,
    };
    S::from_arg_matches(&command.try_get_matches_from(arguments)?)
}

/// A setting from another source, written as a flag.
struct Flag {
    id: String,
    text: OsString,
}

/// The arguments, preceded by those flags of `below` that they don't set themselves.
fn above(command: &Command, mut arguments: Vec<OsString>, below: Vec<Flag>) -> Result<Vec<OsString>, clap::Error> {
    let given = given(command, &arguments)?;
    let is_given = |flag: &Flag| given.value_source(&flag.id) == Some(ValueSource::CommandLine);
    let lacking = below.into_iter().filter(|flag| !is_given(flag)).map(|flag| flag.text);
    let program = arguments.len().min(1);
    arguments.splice(program..program, lacking);
    Ok(arguments)
}

/// Parses as far as possible; errors are reported once all sources are combined.
fn given(command: &Command, arguments: &[OsString]) -> Result<ArgMatches, clap::Error> {
    command.clone().ignore_errors(true).try_get_matches_from(arguments)
}

fn of_environment(command: &Command, environment: impl Fn(&OsStr) -> Option<OsString>) -> Vec<Flag> {
    let flag = |argument: &clap::Arg| {
        let mut text = OsString::from(format!("--{}=", argument.get_long()?));
        text.push(environment(argument.get_env()?)?);
        Some(Flag { id: argument.get_id().to_string(), text })
    };
    command.get_arguments().filter_map(flag).collect()
}

/// Checks all values in the file, including those that are overridden.
fn of_file(command: &Command, path: &Path) -> Result<Vec<Flag>, clap::Error> {
    let wrong =
        |problem: String| command.clone().error(ErrorKind::InvalidValue, format!("{}: {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let values: Option<BTreeMap<String, Value>> =
        serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let mut flags = Vec::new();
    for (key, value) in values.unwrap_or_default() {
        let id = setting(command, &key).ok_or_else(|| wrong(unknown(command, &key)))?;
        let texts = texts(command, &id, &value).map_err(|problem| wrong(format!("{key}: {problem}")))?;
        for text in texts {
            let text = format!("--{key}={text}");
            check(command, &text).map_err(|problem| wrong(format!("{key}: {problem}")))?;
            flags.push(Flag { id: id.clone(), text: text.into() });
        }
    }
    Ok(flags)
}

pub(super) fn names(command: &Command) -> impl Iterator<Item = (&str, &str)> {
    let named = command.get_arguments().filter_map(|argument| Some((argument.get_long()?, argument.get_id().as_str())));
    named.filter(|(name, _)| !matches!(*name, "config" | "help" | "version"))
}

fn setting(command: &Command, key: &str) -> Option<String> {
    names(command).find(|(name, _)| *name == key).map(|(_, id)| id.to_owned())
}

/// A value as the text of a flag, or several where the flag can be repeated.
fn texts(command: &Command, id: &str, value: &Value) -> Result<Vec<String>, String> {
    let many = command
        .get_arguments()
        .any(|argument| argument.get_id() == id && matches!(argument.get_action(), ArgAction::Append));
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Bool(_) | Value::Number(_) => Ok(vec![value.to_string()]),
        Value::Array(values) if many => {
            let texts = values.iter().map(|value| texts(command, id, value));
            Ok(texts.collect::<Result<Vec<_>, _>>()?.concat())
        }
        _ if many => Err(format!("expected a value or a list of values, found {value}")),
        _ => Err(format!("expected one value, found {value}")),
    }
}

fn unknown(command: &Command, key: &str) -> String {
    let likeness = |name: &str| strsim::jaro_winkler(name, key);
    let nearest = names(command).map(|(name, _)| name).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest.filter(|name| likeness(name) > 0.7) {
        Some(name) => format!("unknown setting {key:?}; did you mean {name:?}?"),
        None => format!("unknown setting {key:?}; see --help"),
    }
}

/// Checks a flag by itself, without the flags that it requires.
pub(super) fn check(command: &Command, flag: &str) -> Result<(), String> {
    let alone = command.clone().mut_args(|argument| argument.env(Resettable::Reset).requires(Resettable::Reset));
    let Err(error) = alone.try_get_matches_from(["", flag]) else { return Ok(()) };
    let message = error.render().to_string();
    Err(message.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned())
}
