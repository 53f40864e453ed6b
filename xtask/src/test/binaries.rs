//! The workspace's test binaries, run several at a time: most of what they do is wait for a cluster.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::process::Command;
use vdi_release::command;
use vdi_tests::{process, workspace};

/// Those that take minutes, the longest first: begun last, each would be waited for alone.
const LONG: [&str; 9] = [
    "tests/faults",
    "tests/lifecycle",
    "tests/desktop",
    "tests/admission",
    "tests/controller",
    "tests/gateway_faults",
    "tests/activity",
    "tests/replicas",
    "tests/failures",
];

/// A test binary, as `cargo test` would run it.
struct Binary {
    /// Such as `tests/failures`, or `controller`.
    name: String,
    program: PathBuf,
    /// The folder of its crate, which it runs in.
    folder: PathBuf,
}

/// Builds all of the workspace's, and runs them.
pub async fn run() -> Result<()> {
    let binaries = process::blocking(build).await?;
    let count = binaries.len();
    // Each core is busy, and one more waits.
    let jobs = std::thread::available_parallelism().map_or(2, |cores| cores.get() + 1);
    let mut ended = stream::iter(binaries).map(run_one).buffer_unordered(jobs).enumerate();
    let mut failed = Vec::new();
    while let Some((number, result)) = ended.next().await {
        let Ended { name, took, output, passed } = result?;
        let verdict = if passed { "passed" } else { "FAILED" };
        println!("\n{name}: {verdict} in {:.0} s ({} of {count} have ended)", took.as_secs_f64(), number + 1);
        print!("{output}");
        if !passed {
            failed.push(name);
        }
    }
    ensure!(failed.is_empty(), "tests failed in {}; see above", failed.join(", "));
    Ok(())
}

fn build() -> Result<Vec<Binary>> {
    let mut cargo = command::cargo_in(workspace());
    cargo.args(["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
    let output = cargo.stderr(Stdio::inherit()).output().context("cargo can't be run")?;
    if !output.status.success() {
        bail!("the tests can't be built ({}); see above", output.status);
    }
    let messages = String::from_utf8(output.stdout)?;
    let binaries = messages.lines().filter_map(|line| binary(&serde_json::from_str(line).ok()?));
    let mut binaries: Vec<Binary> = binaries.collect();
    let rank = |binary: &Binary| LONG.iter().position(|long| binary.name == *long).unwrap_or(LONG.len());
    binaries.sort_by_key(rank);
    Ok(binaries)
}

/// Of [what cargo says] of each thing that it has built, the test binaries.
///
/// [what cargo says]: https://doc.rust-lang.org/cargo/reference/external-tools.html#artifact-messages
fn binary(message: &Value) -> Option<Binary> {
    let program = message["executable"].as_str().filter(|_| message["profile"]["test"] == true)?;
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    let room = folder.strip_prefix(workspace()).ok()?.display();
    let target = &message["target"];
    let name = match target["kind"][0].as_str()? {
        "test" => format!("{room}/{}", target["name"].as_str()?),
        _ => room.to_string(),
    };
    Some(Binary { name, program: program.into(), folder: folder.to_owned() })
}

struct Ended {
    name: String,
    took: Duration,
    /// What it printed.
    output: String,
    passed: bool,
}

async fn run_one(Binary { name, program, folder }: Binary) -> Result<Ended> {
    let began = Instant::now();
    let output = Command::new(&program).current_dir(folder).stdin(Stdio::null()).output().await;
    let output = output.with_context(|| format!("{} can't be run", program.display()))?;
    let printed = [output.stdout, output.stderr].concat();
    Ok(Ended {
        name,
        took: began.elapsed(),
        output: String::from_utf8_lossy(&printed).into_owned(),
        passed: output.status.success(),
    })
}
