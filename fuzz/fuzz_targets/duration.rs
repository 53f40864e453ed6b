//! A timeout equals what Go's syntax says in exact arithmetic.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use num_bigint::BigInt;
use num_traits::{Pow, ToPrimitive, Zero};
use regex::Regex;
use vdi_api::Timeout;

const PART: &str = r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|\x{b5}s|\x{3bc}s|ms|s|m|h)";
static GRAMMAR: LazyLock<Regex> = LazyLock::new(|| Regex::new(&format!(r"^\+?(?:{PART})+$")).unwrap());
static PARTS: LazyLock<Regex> = LazyLock::new(|| Regex::new(PART).unwrap());

fuzz_target!(|text: &str| {
    let timeout = text.parse::<Timeout>().ok();
    assert_eq!(timeout.map(|timeout| timeout.duration().as_nanos()), model(text), "{text:?}");
    if let Some(timeout) = timeout {
        assert_eq!(timeout.to_string().parse(), Ok(timeout), "{text:?}");
    }
});

/// The nanoseconds, each part rounded down, if they are more than 0 and fit Go's `int64`.
fn model(text: &str) -> Option<u128> {
    let grammatical = text.chars().count() <= 64 && GRAMMAR.is_match(text);
    let nanos = PARTS.captures_iter(text).map(|part| {
        let unit: i64 = match &part[2] {
            "ns" => 1,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3600 * 1_000_000_000,
            _ => 1_000,
        };
        let (whole, fraction) = part[1].split_once('.').unwrap_or((&part[1], ""));
        // As documented, digits after the eighteenth are ignored.
        let fraction = &fraction[..fraction.len().min(18)];
        let digits: BigInt = format!("0{whole}{fraction}").parse().unwrap();
        digits * unit / BigInt::from(10).pow(fraction.len())
    });
    let total: BigInt = Some(nanos.sum()).filter(|_| grammatical)?;
    (total > BigInt::zero() && total.to_i64().is_some()).then(|| total.to_u128())?
}
