use std::fmt::Display;

use vdi_api::Invalid;

/// What a site allows: from `min` to `max`, both included, both optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<T> {
    pub min: Option<T>,
    pub max: Option<T>,
}

impl<T> Default for Range<T> {
    fn default() -> Self {
        Self { min: None, max: None }
    }
}

impl<T: Copy + Ord + Display> Range<T> {
    /// # Errors
    /// When `value` is outside.
    pub fn check(&self, value: T) -> Result<(), Invalid> {
        let inside = self.min.is_none_or(|min| min <= value) && self.max.is_none_or(|max| value <= max);
        if inside { Ok(()) } else { Err(Invalid::value(value, self.allowed())) }
    }

    fn allowed(&self) -> String {
        match (self.min, self.max) {
            (Some(min), Some(max)) if min == max => format!("{min} and nothing else"),
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (None, Some(max)) => format!("at most {max}"),
            (None, None) => "any".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_included_and_optional() {
        let (one_to_four, at_most_four) = (Range { min: Some(1), max: Some(4) }, Range { min: None, max: Some(4) });
        assert!(one_to_four.check(1).is_ok() && one_to_four.check(4).is_ok() && at_most_four.check(-9).is_ok());
        assert!(Range::default().check(i64::MAX).is_ok());
        assert_eq!(one_to_four.check(5).unwrap_err().to_string(), "found 5; allowed 1 to 4");
        assert_eq!(at_most_four.check(5).unwrap_err().to_string(), "found 5; allowed at most 4");
    }
}
