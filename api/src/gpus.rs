use std::fmt;

use crate::invalid::Invalid;

/// A desktop's number of GPUs: a whole number, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gpus(u32);

impl Gpus {
    pub const DEFAULT: Self = Self(1);
    pub const ALLOWED: &str = "a whole number of GPUs, at least 1";

    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for Gpus {
    type Error = Invalid;

    fn try_from(count: i64) -> Result<Self, Invalid> {
        // At most an int32, as in the schema, so that the policy and the API server agree.
        match i32::try_from(count) {
            Ok(n) if n >= 1 => Ok(Self(n.unsigned_abs())),
            _ => Err(Invalid::value(count, Self::ALLOWED)),
        }
    }
}

impl fmt::Display for Gpus {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_more_gpus_are_allowed_and_nothing_else() {
        assert_eq!(Gpus::try_from(1), Ok(Gpus::DEFAULT));
        for count in [0, -1, i64::MIN, i64::MAX, i64::from(i32::MAX) + 1] {
            assert!(Gpus::try_from(count).is_err(), "{count}");
        }
    }
}
