//! A server process that can't outlive its owner.
//!
//! `Drop` is not enough: it doesn't run when the owner is killed. So each server is the child of a small shell script
//! (guard.sh), which waits for the end of a pipe that the kernel closes however this process dies.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use crate::error::{Error, IoContext};

const GUARD: &str = include_str!("guard.sh");

/// The command that stops most servers.
const TERMINATE: &str = r#"kill -TERM "$server""#;

/// What to run, and what to clean up afterwards.
pub struct Launch<'a> {
    /// Its log is `<name>.log`.
    pub name: &'static str,
    pub program: &'a Path,
    pub arguments: Vec<OsString>,
    /// Environment variables of the server and of the clean-up script.
    pub environment: Vec<(&'static str, OsString)>,
    /// A POSIX shell command that stops the server, whose process ID is `$server`.
    pub stop: &'static str,
    /// A POSIX shell script that runs once the server is gone, even if the owner is gone too; empty for none.
    pub cleanup: &'static str,
    /// Whether the server is restarted when it exits by itself after a while, as a control plane's supervisor does.
    pub supervised: bool,
    /// A lock to hold until the clean-up is done.
    pub lock: Option<&'a File>,
}

impl<'a> Launch<'a> {
    /// A program without arguments that stops on SIGTERM and needs no clean-up.
    pub fn new(name: &'static str, program: &'a Path) -> Self {
        Self {
            name,
            program,
            arguments: vec![],
            environment: vec![],
            stop: TERMINATE,
            cleanup: "",
            supervised: false,
            lock: None,
        }
    }
}

/// A running server. Dropping it stops the server, by SIGKILL after five seconds, and then runs its clean-up. This also
/// happens when the process that owns it is killed.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    log: PathBuf,
    guard: Child,
    lifeline: Option<ChildStdin>,
}

impl Server {
    /// Starts the server, with its output in `<logs>/<name>.log`, which replaces the log of an earlier run.
    pub fn start(logs: &Path, launch: Launch) -> Result<Self, Error> {
        let log = logs.join(launch.name).with_extension("log");
        let output = File::create(&log).context("creating", &log)?;
        let lock = match launch.lock {
            Some(lock) => Stdio::from(lock.try_clone().context("sharing the lock of", logs)?),
            None => Stdio::null(),
        };
        let mut guard = Command::new("sh")
            .args(["-c", r#"eval "$GUARD""#, "guard"])
            .arg(launch.program)
            .args(launch.arguments)
            .envs(launch.environment)
            .env("GUARD", GUARD)
            .env("STOP", launch.stop)
            .env("CLEANUP", launch.cleanup)
            .env("SUPERVISED", if launch.supervised { "yes" } else { "" })
            .stdin(Stdio::piped())
            .stdout(lock)
            .stderr(output)
            // Ctrl-C in the terminal must only reach the owner, which then stops the servers in order.
            .process_group(0)
            .spawn()
            .context("running", Path::new("sh"))?;
        let lifeline = guard.stdin.take();
        Ok(Self { name: launch.name, log, guard, lifeline })
    }

    /// Returns an error if the server has exited.
    pub fn check(&mut self) -> Result<(), Error> {
        match self.guard.try_wait().context("waiting for", Path::new(self.name))? {
            None => Ok(()),
            Some(status) => {
                Err(Error::ServerExited { name: self.name, status, log: self.log.clone(), tail: log_tail(&self.log) })
            }
        }
    }

    /// Stops the server and returns its exit status.
    pub fn stop(mut self) -> Result<ExitStatus, Error> {
        drop(self.lifeline.take());
        self.guard.wait().context("waiting for", Path::new(self.name))
    }

    /// The name of the launch.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The server's own process ID; `None` while it is not running.
    pub fn pid(&self) -> Option<u32> {
        let guard = self.guard.id();
        let program = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
        let children = std::fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).ok()?;
        // The guard's other child is a shell, like the guard itself.
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid| program(*pid) != program(guard))
    }

    /// Kills the server with SIGKILL, and restarts it unchanged after this many seconds.
    pub fn crash(&self, seconds: u32) -> Result<(), Error> {
        let mut lifeline = self.lifeline.as_ref();
        let ask = |lifeline: &mut &ChildStdin| writeln!(lifeline, "crash {seconds}");
        lifeline.as_mut().map_or(Ok(()), ask).context("restarting", Path::new(self.name))
    }

    /// Kills the server with SIGKILL, as a crash would.
    pub fn kill(mut self) -> Result<(), Error> {
        let ask = |lifeline: &mut ChildStdin| lifeline.write_all(b"kill\n");
        self.lifeline.as_mut().map_or(Ok(()), ask).context("killing", Path::new(self.name))?;
        self.stop().map(drop)
    }

    /// The error for a server that runs, but never became ready.
    pub(crate) fn not_ready(&self, seconds: u64, last: String) -> Error {
        Error::ServerNotReady { name: self.name, seconds, last, log: self.log.clone(), tail: log_tail(&self.log) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // A failure can't be reported here, and the guard ends by itself.
        let _ = self.guard.wait();
    }
}

/// The last lines of a log file, indented, for an error message; empty if it can't be read.
pub(crate) fn log_tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].iter().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use std::{thread::sleep, time::Duration};

    use super::*;

    /// A supervised shell that records each start in the returned file, and then runs `script`.
    fn start(folder: &Path, script: &str) -> (Server, std::path::PathBuf) {
        let starts = folder.join("starts");
        let arguments = ["-c", r#"echo >>"$0"; eval "$1""#].map(OsString::from).into_iter();
        let arguments = arguments.chain([starts.clone().into(), script.into()]).collect();
        let launch = Launch { arguments, supervised: true, ..Launch::new("shell", Path::new("/bin/sh")) };
        (Server::start(folder, launch).unwrap(), starts)
    }

    fn lines(file: &Path) -> usize {
        std::fs::read_to_string(file).map_or(0, |text| text.lines().count())
    }

    #[test]
    fn a_supervised_server_that_gives_up_after_a_while_is_started_again_and_still_stops_when_it_is_told_to() {
        let folder = tempfile::tempdir().unwrap();
        let (mut server, starts) = start(folder.path(), "sleep 11; exit 1");
        while lines(&starts) < 2 {
            server.check().unwrap();
            sleep(Duration::from_millis(100));
        }
        server.stop().unwrap();
        assert_eq!(lines(&starts), 2);
    }

    #[test]
    fn a_supervised_server_that_can_not_run_at_all_is_not_started_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut server, starts) = start(folder.path(), "exit 3");
        while server.check().is_ok() {
            sleep(Duration::from_millis(10));
        }
        assert_eq!((server.stop().unwrap().code(), lines(&starts)), (Some(3), 1));
    }
}
