//! `cargo xtask fuzz`: what reads requests is fed with what nobody would think of.

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
    /// How long to feed each target
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Which targets of fuzz/fuzz_targets to feed, all of them if none is named
    targets: Vec<String>,
}

impl Options {
    /// All targets, long enough to see that they hold what they hold on the seeds.
    pub fn for_a_moment() -> Self {
        Self { seconds: 5, targets: Vec::new() }
    }
}

/// Of cargo-fuzz.
const VERSION: &str = "0.13.2";

pub async fn run(options: &Options) -> Result<()> {
    let all = targets()?;
    if let Some(unknown) = options.targets.iter().find(|name| !all.contains(name)) {
        bail!("there is no target {unknown}, but there are {}", all.join(", "));
    }
    let cargo_fuzz = setup::cargo_tool("cargo-fuzz", VERSION).await?;
    progress::step("Building the fuzz targets", async { command::run(&mut cargo_fuzz_command(&cargo_fuzz, "build")) })
        .await?;
    let chosen = if options.targets.is_empty() { &all } else { &options.targets };
    let crashes: Vec<_> = chosen.iter().filter_map(|name| feed(&cargo_fuzz, name, options.seconds).err()).collect();
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

/// Without a sanitizer. Those need nightly, and look for what safe Rust doesn't do; the instrumentation that guides the
/// fuzzer doesn't.
fn cargo_fuzz_command(program: &Path, subcommand: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(subcommand).args(["--sanitizer", "none", "--target-dir"]).arg(folder());
    command.current_dir(workspace());
    command
}

fn folder() -> PathBuf {
    target().join("fuzz")
}

/// Feeds a target for so long, and prints how often that was.
fn feed(cargo_fuzz: &Path, name: &str, seconds: u32) -> Result<()> {
    let (found, crashes) = (folder().join("corpus").join(name), folder().join("crashes").join(name));
    fs::create_dir_all(&found).and_then(|()| fs::create_dir_all(&crashes))?;
    let fuzz = workspace().join("fuzz");
    let mut command = cargo_fuzz_command(cargo_fuzz, "run");
    // What is found is kept in the first folder; the seeds, which are in git, stay as they are.
    command.arg(name).arg(found).arg(fuzz.join("corpus").join(name)).arg("--");
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", crashes.display()));
    command.arg(format!("-dict={}", fuzz.join("words.dict").display())).args(["-timeout=10", "-print_final_stats=1"]);
    let output = command.output().context("cargo-fuzz can't be run")?;
    let log = String::from_utf8_lossy(&output.stderr);
    let after = |label: &str| log.lines().rev().find_map(|line| Some(line.split_once(label)?.1.trim()));
    let runs: u64 = after("stat::number_of_executed_units:").and_then(|runs| runs.parse().ok()).unwrap_or(0);
    println!("{name}: {runs} runs, {} a second", runs / u64::from(seconds.max(1)));
    if output.status.success() {
        return Ok(());
    }
    let path = folder().join(name).with_extension("log");
    fs::write(&path, &output.stderr)?;
    let why = log.lines().skip_while(|line| !line.contains("panicked at")).nth(1).unwrap_or("it doesn't run");
    let input = after("Test unit written to ").map_or_else(String::new, |input| format!("; the input is {input}"));
    Err(anyhow!("{name}: {why}{input}; all it said is in {}", path.display()))
}
