//! Runs one test binary.

use std::{
    io,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures::{Stream, StreamExt, stream};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Child,
    time::timeout,
};

use super::{
    binaries::Binary,
    event::{FLAGS, Progress, Verdict},
};

/// A binary that has ended.
pub struct Ended {
    pub name: String,
    pub took: Duration,
    pub progress: Progress,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// Runs a binary, or only those of its tests whose name contains `name`. It is killed after `deadline`.
pub async fn run(binary: Binary, name: Option<&str>, deadline: Duration) -> Result<Ended> {
    let start = Instant::now();
    let mut command = binary.command();
    command.args(FLAGS).args(name).env("RUSTC_BOOTSTRAP", "1").stdout(Stdio::piped()).stderr(Stdio::piped());
    // The backtrace of an error that a test returns is long, and leads to the test at best.
    if std::env::var_os("RUST_BACKTRACE").is_none_or(|value| value != "full") {
        command.env("RUST_BACKTRACE", "0");
    }
    let mut group = Group(command.process_group(0).spawn().with_context(|| format!("can't run {}", binary.name))?);
    let mut progress = Progress::default();
    let failure = match timeout(deadline, follow(&mut group.0, &mut progress)).await {
        Ok(result) => result?,
        Err(_) => Some(hang(&progress, deadline)),
    };
    Ok(Ended { name: binary.name, took: start.elapsed(), progress, failure })
}

/// Reads what the binary prints until it ends. Returns why it failed, if it did.
async fn follow(child: &mut Child, progress: &mut Progress) -> Result<Option<String>> {
    let (stdout, stderr) = (child.stdout.take().context("no stdout")?, child.stderr.take().context("no stderr")?);
    let mut lines = stream::select(lines(stdout), lines(stderr));
    while let Some(line) = lines.next().await {
        progress.line(&line?);
    }
    let status = child.wait().await?;
    Ok((!status.success()).then(|| match progress.count(Verdict::Failed) {
        0 => status.to_string(),
        failed => format!("{failed} tests failed"),
    }))
}

fn lines(output: impl AsyncRead + Unpin + Send + 'static) -> impl Stream<Item = io::Result<String>> + Unpin {
    let lines = stream::try_unfold(BufReader::new(output).split(b'\n'), async |mut lines| {
        let line = lines.next_segment().await?;
        Ok(line.map(|line| (String::from_utf8_lossy(&line).into_owned(), lines)))
    });
    Box::pin(lines)
}

fn hang(progress: &Progress, deadline: Duration) -> String {
    let running: Vec<&str> = progress.running.iter().map(String::as_str).collect();
    format!("killed after {} s while running {}; its output is above", deadline.as_secs(), running.join(", "))
}

/// A binary and what it has started, in a process group. Dropping it kills those that still run.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // There is no ID once it has ended, and its number may be another process's.
        let Some(id) = self.0.id() else { return };
        let mut kill = std::process::Command::new("kill");
        // What can't be killed has ended by itself.
        let _ = kill.args(["-KILL", "--", &format!("-{id}")]).stderr(Stdio::null()).status();
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    async fn run_script(script: &str) -> Ended {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("binary");
        fs::write(&program, format!("#!/bin/sh\n{script}")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let binary = Binary { name: "tests/binary".to_owned(), program, folder: folder.path().to_owned() };
        run(binary, None, Duration::from_secs(2)).await.unwrap()
    }

    #[tokio::test]
    async fn a_binary_that_hangs_is_killed_with_its_children_and_the_test_is_named() {
        // Its child has the pipe as well, and would keep it open.
        let script = r#"echo '{ "type": "test", "event": "started", "name": "hangs" }'; echo Waiting >&2; sleep 600"#;
        let ended = run_script(script).await;
        assert_eq!(ended.failure.unwrap(), "killed after 2 s while running hangs; its output is above");
        assert_eq!(ended.progress.output, "Waiting\n");
        assert!(ended.took < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn a_binary_that_ends_with_an_error_has_failed_even_without_a_failed_test() {
        assert_eq!(run_script("exit 0").await.failure, None);
        assert_eq!(run_script("exit 7").await.failure.unwrap(), "exit status: 7");
    }
}
