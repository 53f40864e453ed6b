//! Runs test binaries, several at a time: most of what they do is wait for a cluster.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures::{StreamExt, stream};

use super::{
    binaries::Binary,
    event::Verdict,
    run::{self, Ended},
    summary,
};

/// No binary takes this long: the longest take six minutes.
const DEADLINE: Duration = Duration::from_secs(20 * 60);

/// Runs the binaries, or only those of their tests whose name contains `name`.
pub async fn run(mut binaries: Vec<Binary>, name: Option<&str>) -> Result<()> {
    if let Some(name) = name {
        binaries = with_test(binaries, name).await?;
    }
    let count = binaries.len();
    // One more than there are cores, as one usually waits.
    let jobs = std::thread::available_parallelism().map_or(2, |cores| cores.get() + 1);
    let runs = stream::iter(binaries).map(|binary| run::run(binary, name, DEADLINE));
    let mut runs = runs.buffer_unordered(jobs);
    let mut ended = Vec::new();
    while let Some(binary) = runs.next().await {
        let binary = binary?;
        report(&binary, ended.len() + 1, count);
        ended.push(binary);
    }
    print!("{}", summary::slowest(&ended));
    let failed = ended.iter().filter(|binary| binary.failure.is_some()).map(|binary| &*binary.name);
    let failed: Vec<&str> = failed.collect();
    ensure!(failed.is_empty(), "tests failed in {}; see above", failed.join(", "));
    Ok(())
}

async fn with_test(binaries: Vec<Binary>, name: &str) -> Result<Vec<Binary>> {
    let mut found = Vec::new();
    for binary in binaries {
        if binary.has(name).await? {
            found.push(binary);
        }
    }
    ensure!(!found.is_empty(), "no test has a name that contains {name:?}");
    Ok(found)
}

fn report(Ended { name, took, progress, failure }: &Ended, number: usize, count: usize) {
    println!();
    for test in &progress.ended {
        let verdict = match test.verdict {
            Verdict::Passed => "ok",
            Verdict::Failed => "FAILED",
            Verdict::Ignored => "ignored",
        };
        println!("test {} ... {verdict} ({:.1} s)", test.name, test.took.as_secs_f64());
    }
    print!("{}", progress.output);
    let (tests, seconds) = (progress.count(Verdict::Passed), took.as_secs_f64());
    println!("{name}: {tests} tests passed in {seconds:.0} s ({number} of {count} binaries)");
    if let Some(failure) = failure {
        println!("{name}: FAILED: {failure}");
    }
}
