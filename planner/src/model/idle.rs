use jiff::Timestamp;

/// How long a desktop has gone without input: there was none after `since`, and that is known until `as_of`.
#[derive(Clone, Debug, PartialEq)]
pub struct Idle {
    pub since: Timestamp,
    pub as_of: Timestamp,
}
