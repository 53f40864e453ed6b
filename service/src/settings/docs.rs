//! For the tests of each program: its table of settings, held to a page of the documentation.

use std::{env, fs, path::Path};

use clap::Command;

/// Fails unless the page has the table of the settings. With `UPDATE_SNAPSHOTS` in the environment, writes it there instead.
pub fn check_docs(command: &Command, page: &Path) -> Result<(), String> {
    let docs = fs::read_to_string(page).map_err(|error| format!("{}: {error}", page.display()))?;
    let (before, rest) = docs.split_once("| flag |").ok_or("the page has no table of settings")?;
    let (_, after) = rest.split_once("\n\n").ok_or("the page ends in its table")?;
    let wanted = format!("{before}{}\n{after}", table(command));
    if env::var_os("UPDATE_SNAPSHOTS").is_some() {
        return fs::write(page, wanted).map_err(|error| error.to_string());
    }
    match docs == wanted {
        true => Ok(()),
        false => Err(format!("{} differs; run with UPDATE_SNAPSHOTS=1:\n{}", page.display(), table(command))),
    }
}

/// A Markdown table with one row for each setting.
fn table(command: &Command) -> String {
    let mut table = "| flag | environment | default | |\n|---|---|---|---|\n".to_owned();
    for argument in command.get_arguments() {
        let (Some(flag), Some(variable), Some(help)) = (argument.get_long(), argument.get_env(), argument.get_help())
        else {
            continue;
        };
        let default = argument.get_default_values().first();
        let default = default.map_or_else(String::new, |value| format!("`{}`", value.to_string_lossy()));
        table += &format!("| `--{flag}` | `{}` | {default} | {help} |\n", variable.to_string_lossy());
    }
    table
}
