//! Running a command to its end.

use std::path::Path;

use tokio::process::Command;

use crate::error::{Error, IoContext};

/// Returns its standard output, or an error with all of its output.
pub(crate) async fn run(mut command: Command) -> Result<String, Error> {
    let program = command.as_std().get_program().to_owned();
    let output = command.output().await.context("running", Path::new(&program))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let words = std::iter::once(program.as_os_str()).chain(command.as_std().get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    Err(Error::Command {
        command: words.join(" "),
        status: output.status,
        output: text(&output.stdout) + &text(&output.stderr),
    })
}
