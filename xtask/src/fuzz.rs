//! `cargo xtask fuzz`: fuzzes the parsers of requests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use vdi_cluster::progress;
use vdi_release::{command, target, workspace};
use vdi_tests::setup;

#[derive(clap::Args)]
pub struct Options {
    /// Seconds to fuzz each target
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Targets in fuzz/fuzz_targets to fuzz; all of them by default
    targets: Vec<String>,
}

impl Options {
    /// All targets, just long enough to run the seeds.
    pub fn brief() -> Self {
        Self { seconds: 5, targets: Vec::new() }
    }
}

/// cargo-fuzz's version.
const VERSION: &str = "0.13.2";

pub async fn run(options: &Options) -> Result<()> {
    let all = targets()?;
    if let Some(unknown) = options.targets.iter().find(|name| !all.contains(name)) {
        bail!("there is no target {unknown}; the targets are {}", all.join(", "));
    }
    let cargo_fuzz = setup::cargo_tool("cargo-fuzz", VERSION).await?;
    progress::step("Building the fuzz targets", async { command::run(&mut cargo_fuzz_command(&cargo_fuzz, "build")) })
        .await?;
    let chosen = if options.targets.is_empty() { &all } else { &options.targets };
    let crashes: Vec<_> = chosen.iter().filter_map(|name| fuzz(&cargo_fuzz, name, options.seconds).err()).collect();
    let crashes: Vec<_> = crashes.iter().map(|crash| format!("{crash:#}")).collect();
    ensure!(crashes.is_empty(), "{}", crashes.join("\n"));
    Ok(())
}

fn targets() -> Result<Vec<String>> {
    let files = fs::read_dir(workspace().join("fuzz/fuzz_targets"))?;
    let name = |file: PathBuf| Some(file.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<_> = files.filter_map(|file| name(file.ok()?.path())).collect();
    names.sort();
    Ok(names)
}

/// Without a sanitizer: sanitizers need a nightly toolchain, and look for errors that safe Rust doesn't make. The instrumentation
/// that guides the fuzzer works without.
fn cargo_fuzz_command(program: &Path, subcommand: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(subcommand).args(["--sanitizer", "none", "--target-dir"]).arg(folder());
    command.current_dir(workspace());
    command
}

fn folder() -> PathBuf {
    target().join("fuzz")
}

/// Fuzzes a target, and prints the number of runs.
fn fuzz(cargo_fuzz: &Path, name: &str, seconds: u32) -> Result<()> {
    let (found, crashes) = (folder().join("corpus").join(name), folder().join("crashes").join(name));
    fs::create_dir_all(&found).and_then(|()| fs::create_dir_all(&crashes))?;
    let definition = workspace().join("fuzz");
    let mut command = cargo_fuzz_command(cargo_fuzz, "run");
    // New inputs are kept in the first folder. The second has the seeds, which are in git and stay unchanged.
    command.arg(name).arg(found).arg(definition.join("corpus").join(name)).arg("--");
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", crashes.display()));
    command
        .arg(format!("-dict={}", definition.join("words.dict").display()))
        .args(["-timeout=10", "-print_final_stats=1"]);
    let output = command.output().context("can't run cargo-fuzz")?;
    let log = String::from_utf8_lossy(&output.stderr);
    let after = |label: &str| log.lines().rev().find_map(|line| Some(line.split_once(label)?.1.trim()));
    let runs: u64 = after("stat::number_of_executed_units:").and_then(|runs| runs.parse().ok()).unwrap_or(0);
    println!("{name}: {runs} runs, {} per second", runs / u64::from(seconds.max(1)));
    if output.status.success() {
        return Ok(());
    }
    let path = folder().join(name).with_extension("log");
    fs::write(&path, &output.stderr)?;
    let why =
        log.lines().skip_while(|line| !line.contains("panicked at")).nth(1).unwrap_or("it failed without a panic");
    let input = after("Test unit written to ").map_or_else(String::new, |input| format!("; the input is {input}"));
    Err(anyhow!("{name}: {why}{input}; its output is in {}", path.display()))
}
