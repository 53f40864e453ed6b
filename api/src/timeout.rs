use std::{fmt, str::FromStr, time::Duration};

use crate::invalid::Invalid;

/// How long something may last: more than zero, at most about 292 years.
///
/// In Go's syntax, as everywhere in Kubernetes: `8h`, `90m`, `1h30m`, `1.5h` (see Go's [time.ParseDuration]). Parsed without
/// floating point; fractions of a nanosecond are truncated.
///
/// [time.ParseDuration]: https://pkg.go.dev/time#ParseDuration
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timeout(Duration);

impl Timeout {
    pub const ALLOWED: &str = "a duration greater than zero, such as 8h, 90m or 1h30m";
    /// The default of a session.
    pub const DEFAULT: &str = "8h";
    pub const MAX_CHARS: usize = 64;
    /// What [`Timeout::from_str`] accepts, except for the bounds.
    #[cfg(feature = "crd")]
    const PATTERN: &str = r"^[+]?(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+$";

    pub fn duration(self) -> Duration {
        self.0
    }

    /// `None` when the result is out of range.
    pub fn longer_by(self, more: Duration) -> Option<Self> {
        self.0.checked_add(more).filter(|sum| i64::try_from(sum.as_nanos()).is_ok()).map(Self)
    }
}

impl FromStr for Timeout {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match nanoseconds(text) {
            Some(nanos) if nanos > 0 && text.chars().count() <= Self::MAX_CHARS => {
                Ok(Self(Duration::from_nanos(nanos)))
            }
            _ => Err(Invalid::text(text, Self::ALLOWED)),
        }
    }
}

/// `None` also when the sum exceeds Go's `Duration`, an `int64`.
fn nanoseconds(text: &str) -> Option<u64> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    let mut total: u128 = 0;
    loop {
        let number = take_while(&mut rest, |c| c.is_ascii_digit() || c == '.');
        let unit = unit(take_while(&mut rest, |c| !c.is_ascii_digit() && c != '.'))?;
        total = total.checked_add(amount(number, unit)?)?;
        if rest.is_empty() {
            return u64::try_from(total).ok().filter(|&nanos| i64::try_from(nanos).is_ok());
        }
    }
}

fn take_while<'a>(rest: &mut &'a str, belongs: impl Fn(char) -> bool) -> &'a str {
    let (head, tail) = rest.split_at(rest.find(|c| !belongs(c)).unwrap_or(rest.len()));
    *rest = tail;
    head
}

fn unit(name: &str) -> Option<u128> {
    Some(match name {
        "ns" => 1,
        // Both micro signs: U+00B5 and the Greek letter U+03BC.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

fn amount(number: &str, unit: u128) -> Option<u128> {
    /// More digits than any unit has nanoseconds. Further digits are truncated.
    const FRACTION_DIGITS: usize = 18;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS)];
    let whole_nanos = format!("0{whole}").parse::<u128>().ok()?.checked_mul(unit)?;
    let fraction_nanos = format!("0{fraction}").parse::<u128>().ok()? * unit / 10u128.pow(fraction.len() as u32);
    whole_nanos.checked_add(fraction_nanos)
}

impl fmt::Display for Timeout {
    /// Without the zero parts that Go prints: `8h`, `1h30m`, `90s` is `1m30s`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        for (amount, unit) in
            [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"), (nanos.into(), "ns")]
        {
            if amount > 0 {
                write!(f, "{amount}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(feature = "crd")]
// The pattern is part of the rule: `duration()` would fail on text that doesn't match, and the whole rule with it.
crate::schema::json_schema_of!(Timeout, {
    "type": "string",
    "maxLength": Timeout::MAX_CHARS,
    "x-kubernetes-validations": [{
        "rule": format!("self.matches('{}') && duration(self) > duration('0s')", Timeout::PATTERN),
        "message": format!("must be {}", Timeout::ALLOWED),
    }],
});

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Duration> {
        text.parse::<Timeout>().ok().map(Timeout::duration)
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, seconds) in [
            ("8h", 28_800),
            ("90m", 5_400),
            ("1.5h", 5_400),
            ("1h30m", 5_400),
            ("30m1h", 5_400),
            ("+8h", 28_800),
            ("1.h", 3_600),
            (".5h", 1_800),
            ("5400000ms", 5_400),
            ("1h1h", 7_200),
            ("0h1s", 1),
            ("1000000us", 1),
            ("1000000µs", 1),
            ("1000000μs", 1),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("0.3333333333333333333h"), Some(Duration::from_nanos(1_199_999_999_999)));
        assert_eq!(parse("9223372036854775807ns"), Some(Duration::from_nanos(i64::MAX as u64)));
    }

    #[test]
    fn what_is_not_a_positive_duration_is_refused() {
        let long = format!("{}h", "9".repeat(1000));
        for text in [
            "",
            "0",
            "0s",
            "-8h",
            "8",
            "8 h",
            "8 hours",
            "8H",
            "1d",
            "h",
            ".h",
            "1.2.3h",
            "8h ",
            " 8h",
            "NaN",
            "inf",
            "1e3s",
            "8h-1m",
            "9223372036854775808ns",
            "2562048h",
            "0.1ns",
            "٨h",
            "++1h",
            &long,
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn it_prints_without_zero_parts_and_reads_back_the_same() {
        for (text, printed) in
            [("8h", "8h"), ("90m", "1h30m"), ("90s", "1m30s"), ("1500ms", "1s500000000ns"), ("24h1s", "24h1s")]
        {
            let timeout: Timeout = text.parse().unwrap();
            assert_eq!(timeout.to_string(), printed);
            assert_eq!(printed.parse(), Ok(timeout));
        }
    }
}
