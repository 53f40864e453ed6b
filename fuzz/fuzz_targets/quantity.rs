//! Memory equals what a Kubernetes quantity says in exact arithmetic.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Pow, ToPrimitive};
use regex::Regex;
use vdi_api::Memory;

static GRAMMAR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\+?([0-9]*)\.?([0-9]*)(?:([KMGTPE])i|([numkMGTPE])|[eE]([+-]?[0-9]+))?$").unwrap());

fuzz_target!(|text: &str| {
    let memory = text.parse::<Memory>().ok();
    assert_eq!(memory.map(Memory::bytes), model(text), "{text:?}");
    if let Some(memory) = memory {
        assert_eq!(memory.to_string().parse(), Ok(memory), "{text:?}");
    }
});

/// The bytes, rounded up, if they are at least 1 and less than 1Ei.
fn model(text: &str) -> Option<u64> {
    let parts = GRAMMAR.captures(text).filter(|_| text.len() <= 64)?;
    let (whole, fraction) = (&parts[1], &parts[2]);
    let digits: BigInt = format!("{whole}{fraction}").parse().ok()?;
    let ten = |exponent: i64| BigRational::from(BigInt::from(10)).pow(exponent as i32);
    let factor = if let Some(binary) = parts.get(3) {
        BigRational::from(BigInt::from(1024).pow(1 + "KMGTPE".find(binary.as_str())? as u32))
    } else if let Some(decimal) = parts.get(4) {
        ten(3 * ("num.kMGTPE".find(decimal.as_str())? as i64 - 3))
    } else {
        // With 64 digits at most, any exponent outside this range is too much, or less than a byte.
        ten(parts.get(5).map_or(Some(0), |exponent| exponent.as_str().parse().ok()).filter(|e: &i64| e.abs() < 100)?)
    };
    let amount = BigRational::from(digits) * ten(-(fraction.len() as i64)) * factor;
    let bytes = amount.ceil().to_integer();
    (amount >= BigRational::one() && bytes < BigInt::one() << 60).then(|| bytes.to_u64())?
}
