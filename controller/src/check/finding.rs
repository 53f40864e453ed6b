//! What a check found, and how it says so.

use std::fmt::{self, Display};

/// What a check found.
pub type Finding = Result<String, Problem>;

#[derive(Debug, PartialEq)]
pub struct Problem {
    pub found: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    pub fn new(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { found: found.into(), remedy: remedy.into() }
    }
}

/// A finding, for people.
pub struct Line<'a>(pub &'a Finding);

impl Display for Line<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            Ok(found) => write!(formatter, "ok    {found}"),
            Err(Problem { found, remedy }) => write!(formatter, "FAIL  {found}\n      To do: {remedy}"),
        }
    }
}
