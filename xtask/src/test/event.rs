//! What a test binary prints with `--format json --report-time`: an event per line, and whatever its tests don't capture.

use std::{collections::BTreeSet, time::Duration};

use serde::Deserialize;

/// The flags that make it print events. They are unstable, and libtest takes them from a stable toolchain only if
/// `RUSTC_BOOTSTRAP=1` is set. Nothing else reports the time of each test, or which tests are running.
pub const FLAGS: [&str; 3] = ["-Zunstable-options", "--format=json", "--report-time"];

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    event: String,
    name: Option<String>,
    exec_time: Option<f64>,
    stdout: Option<String>,
    message: Option<String>,
}

/// A test that has ended.
#[derive(Debug, PartialEq)]
pub struct Test {
    pub name: String,
    pub took: Duration,
    pub verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Passed,
    Failed,
    Ignored,
}

/// What is known about the tests of a binary so far.
#[derive(Debug, Default)]
pub struct Progress {
    pub running: BTreeSet<String>,
    pub ended: Vec<Test>,
    /// The output of failed tests, and what no test captured.
    pub output: String,
}

impl Progress {
    /// Takes a line that the binary printed. The other events about a test are `started` and, after a minute, `timeout`.
    pub fn line(&mut self, line: &str) {
        match serde_json::from_str(line) {
            Ok(Event { kind, name: Some(name), event, exec_time, stdout, message }) if kind == "test" => {
                let verdict = match &*event {
                    "ok" => Verdict::Passed,
                    "failed" => Verdict::Failed,
                    "ignored" => Verdict::Ignored,
                    _ => {
                        self.running.insert(name);
                        return;
                    }
                };
                self.running.remove(&name);
                if verdict == Verdict::Failed {
                    let output = [stdout, message].map(Option::unwrap_or_default).concat();
                    self.output += &format!("---- {name} ----\n{}\n", output.trim_end());
                }
                let took = Duration::try_from_secs_f64(exec_time.unwrap_or_default()).unwrap_or_default();
                self.ended.push(Test { name, took, verdict });
            }
            Ok(_) => {}
            Err(_) => self.output += &format!("{line}\n"),
        }
    }

    pub fn count(&self, verdict: Verdict) -> usize {
        self.ended.iter().filter(|test| test.verdict == verdict).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_say_which_tests_run_and_how_long_the_others_took() {
        let mut progress = Progress::default();
        for line in [
            r#"{ "type": "suite", "event": "started", "test_count": 3 }"#,
            r#"{ "type": "test", "event": "started", "name": "quick" }"#,
            r#"{ "type": "test", "event": "started", "name": "wrong" }"#,
            "Starting the control plane ...",
            r#"{ "type": "test", "name": "quick", "event": "ok", "exec_time": 0.25 }"#,
            r#"{ "type": "test", "event": "started", "name": "hangs" }"#,
            r#"{ "type": "test", "name": "wrong", "event": "failed", "exec_time": 2.0, "stdout": "Error: no\n" }"#,
            r#"{ "type": "test", "event": "timeout", "name": "hangs" }"#,
        ] {
            progress.line(line);
        }
        assert_eq!(progress.running.iter().collect::<Vec<_>>(), ["hangs"]);
        assert_eq!((progress.count(Verdict::Passed), progress.count(Verdict::Failed)), (1, 1));
        assert_eq!(progress.ended[0].took, Duration::from_millis(250));
        assert_eq!(progress.output, "Starting the control plane ...\n---- wrong ----\nError: no\n");
    }
}
