use std::collections::HashMap;

use kubewarden_policy_sdk::response::ValidationResponse;
use serde_json::Value;

use crate::mode::Mode;

/// The policy's answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub answer: Answer,
    pub warnings: Vec<String>,
    /// The violated rules and their modes, for the API server's audit log.
    pub broken: Vec<(&'static str, Mode)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// With the whole object, if the policy changes it.
    Accepted(Option<Value>),
    Rejected(Code, String),
}

/// The HTTP status that the client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The admission request is malformed.
    BadRequest = 400,
    /// The object is valid, but not for this requester, or not now.
    Forbidden = 403,
    /// The object violates a rule, whoever the requester is. As with the API server's own validation, the client can correct it.
    UnprocessableEntity = 422,
    /// The policy's settings are invalid; the client can do nothing about it.
    InternalServerError = 500,
}

impl Verdict {
    /// Without changes or warnings.
    pub fn accepted() -> Self {
        Self { answer: Answer::Accepted(None), warnings: Vec::new(), broken: Vec::new() }
    }

    /// For a request that could not be reviewed.
    pub fn refused(code: Code, message: String) -> Self {
        Self { answer: Answer::Rejected(code, message), warnings: Vec::new(), broken: Vec::new() }
    }
}

/// Formats problems: a single one on the API server's own line (`admission webhook "..." denied the request: `), several below
/// it, one a line, because kubectl prints line breaks as they are. Long lists are cut.
pub fn list(problems: &[String]) -> String {
    const SHOWN: usize = 30;
    let lines = |shown: &[String]| shown.iter().fold(String::new(), |all, one| format!("{all}\n  {one}"));
    match (problems, problems.split_at_checked(SHOWN)) {
        ([only], _) => only.clone(),
        (all, Some((shown, more))) if !more.is_empty() => {
            format!("{} problems{}\n  and {} more", all.len(), lines(shown), more.len())
        }
        (all, _) => format!("{} problems{}", all.len(), lines(all)),
    }
}

impl From<Verdict> for ValidationResponse {
    fn from(Verdict { answer, warnings, broken }: Verdict) -> Self {
        let (accepted, code, message, mutated_object) = match answer {
            Answer::Accepted(mutated) => (true, None, None, mutated),
            Answer::Rejected(code, message) => (false, Some(code as u16), Some(message), None),
        };
        let annotations = broken.into_iter().map(|(rule, mode)| (rule.to_owned(), mode.to_string()));
        Self {
            accepted,
            message,
            code,
            mutated_object,
            audit_annotations: Some(annotations.collect())
                .filter(|annotations: &HashMap<_, _>| !annotations.is_empty()),
            warnings: Some(warnings).filter(|warnings| !warnings.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_problem_is_one_line_and_several_are_a_line_each() {
        assert_eq!(list(&["a".into()]), "a");
        assert_eq!(list(&["a".into(), "b".into()]), "2 problems\n  a\n  b");
    }

    #[test]
    fn of_more_problems_than_anybody_reads_the_first_are_shown() {
        let problems: Vec<_> = (1..=31).map(|number| number.to_string()).collect();
        let (all, most) = (list(&problems[..30]), list(&problems));
        assert!(all.starts_with("30 problems\n  1\n") && all.ends_with("\n  30"), "{all}");
        assert!(most.starts_with("31 problems\n  1\n") && most.ends_with("\n  30\n  and 1 more"), "{most}");
    }
}
