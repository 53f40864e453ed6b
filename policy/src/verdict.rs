use kubewarden_policy_sdk::response::ValidationResponse;
use serde_json::Value;

/// What the policy says to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Accepted {
        /// The whole object with its defaults, when any were missing.
        mutated: Option<Value>,
        warnings: Vec<String>,
    },
    Rejected {
        code: Code,
        message: String,
        warnings: Vec<String>,
    },
}

/// The HTTP status that the client sees. `403` is left for what depends on who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request isn't an admission request that this policy knows how to read.
    BadRequest = 400,
    /// The object breaks a rule. As with the API server's own validation, the client can correct it.
    UnprocessableEntity = 422,
    /// The policy's settings are wrong: the client can do nothing about it.
    InternalServerError = 500,
}

impl Verdict {
    /// For what there is nothing to say about.
    pub fn accepted() -> Self {
        Self::Accepted { mutated: None, warnings: Vec::new() }
    }

    /// For what could not be judged at all.
    pub fn refused(code: Code, message: String) -> Self {
        Self::Rejected { code, message, warnings: Vec::new() }
    }
}

/// One problem on the line that the API server has begun (`admission webhook "..." denied the request: `); several below
/// it, one a line. kubectl prints line breaks as they are.
pub fn list(problems: &[String]) -> String {
    match problems {
        [only] => only.clone(),
        several => several.iter().fold(format!("{} problems", several.len()), |all, one| format!("{all}\n  {one}")),
    }
}

impl From<Verdict> for ValidationResponse {
    fn from(verdict: Verdict) -> Self {
        let (accepted, code, message, mutated_object, warnings) = match verdict {
            Verdict::Accepted { mutated, warnings } => (true, None, None, mutated, warnings),
            Verdict::Rejected { code, message, warnings } => (false, Some(code as u16), Some(message), None, warnings),
        };
        Self {
            accepted,
            message,
            code,
            mutated_object,
            audit_annotations: None,
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
}
