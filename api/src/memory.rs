use std::{fmt, str::FromStr};

use crate::invalid::Invalid;

/// An amount of memory, in whole bytes: at least 1, less than 1Ei (no machine has an exbibyte).
///
/// Parsed as Kubernetes parses a [quantity], without floating point: `4Gi`, `4096Mi`, `4294967296` and `4.0Gi` are the same.
/// A fraction of a byte is rounded up, as Kubernetes does; `400m`, which is less than one byte, is refused.
///
/// [quantity]: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Memory(u64);

impl Memory {
    pub const ALLOWED: &str = "a Kubernetes quantity such as 4Gi, from 1 byte to less than 1Ei";
    /// The default of a session.
    pub const DEFAULT: &str = "4Gi";
    pub const MAX_CHARS: usize = 64;
    const LIMIT: u64 = 1 << 60;

    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Memory {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let short = Some(text).filter(|text| text.chars().count() <= Self::MAX_CHARS);
        short.and_then(parse).map(Self).ok_or_else(|| Invalid::text(text, Self::ALLOWED))
    }
}

impl fmt::Display for Memory {
    /// In the largest binary unit that is exact: `4Gi`, `1536Mi`, `1000000`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        const UNITS: [&str; 6] = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];
        let power = (self.0.trailing_zeros() as usize / 10).min(UNITS.len() - 1);
        write!(f, "{}{}", self.0 >> (10 * power), UNITS[power])
    }
}

#[cfg(feature = "crd")]
crate::schema::json_schema_of!(Memory, {
    "type": "string",
    "maxLength": Memory::MAX_CHARS,
    "x-kubernetes-validations": [{
        "rule": "isQuantity(self) && !quantity(self).isLessThan(quantity('1')) && quantity(self).isLessThan(quantity('1Ei'))",
        "message": format!("must be {}", Memory::ALLOWED),
    }],
});

fn parse(text: &str) -> Option<u64> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return None;
    }
    let (factor, exponent) = scale(suffix)?;
    let mut digits = product(whole.bytes().chain(fraction.bytes()).rev(), factor);
    let behind_the_point = fraction.len() as i32 - exponent;
    digits.splice(..0, std::iter::repeat_n(0, (-behind_the_point).max(0) as usize));
    let (rest, bytes) = digits.split_at((behind_the_point.max(0) as usize).min(digits.len()));
    let bytes = bytes.iter().rev().try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(*digit))?;
    let rounded_up = bytes.checked_add(rest.iter().any(|digit| *digit > 0).into())?;
    // Rounding up must not turn `400m` into a byte: less than one byte is a typo in the unit.
    (bytes > 0 && rounded_up < Memory::LIMIT).then_some(rounded_up)
}

/// Multiplies decimal digits, least significant first. There may be more of them than any integer type holds.
fn product(digits: impl Iterator<Item = u8>, factor: u64) -> Vec<u64> {
    let mut carry = 0;
    let mut product: Vec<_> = digits
        .map(|digit| {
            carry = carry / 10 + u64::from(digit - b'0') * factor;
            carry % 10
        })
        .collect();
    while carry >= 10 {
        carry /= 10;
        product.push(carry % 10);
    }
    product
}

/// The factor of a suffix: the first value, times ten to the power of the second.
fn scale(suffix: &str) -> Option<(u64, i32)> {
    if let Some(unit) = suffix.strip_suffix('i') {
        let power = ["K", "M", "G", "T", "P", "E"].iter().position(|power| *power == unit)?;
        return Some((1 << (10 * (power + 1)), 0));
    }
    let exponent: i32 = match suffix {
        "" => 0,
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        _ => suffix.strip_prefix(['e', 'E'])?.parse().ok()?,
    };
    // Given the limit on digits, any exponent outside this range is too much, or less than a byte.
    (exponent.unsigned_abs() < 100).then_some((1, exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_spellings_of_an_amount_are_the_same_amount() {
        for text in
            ["4Gi", "4096Mi", "4294967296", "4.0Gi", "+4Gi", "4294967296000m", "0.00390625Ti", "4194304Ki", "4.Gi"]
        {
            assert_eq!(text.parse(), Ok(Memory(4 << 30)), "{text}");
        }
        for text in ["2G", "2e9", "2E9", "2000M", "2000000k", "2e+9", "20e8", "2000000000000000000n"] {
            assert_eq!(text.parse(), Ok(Memory(2_000_000_000)), "{text}");
        }
        assert_eq!("1E".parse(), Ok(Memory(1_000_000_000_000_000_000)));
    }

    #[test]
    fn fractions_of_a_byte_round_up_but_less_than_a_byte_is_refused() {
        assert_eq!("0.1Ki".parse(), Ok(Memory(103)));
        assert_eq!("1".parse(), Ok(Memory(1)));
        assert_eq!(format!("1.{}1Gi", "0".repeat(58)).parse(), Ok(Memory((1 << 30) + 1)), "however small the fraction");
        assert_eq!(format!("4{}e-50", "0".repeat(50)).parse(), Ok(Memory(4)));
        for text in ["400m", "0.5", "999m", "1e-1"] {
            assert!(text.parse::<Memory>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_amount_of_memory_is_refused() {
        let long = "9".repeat(1000);
        for text in [
            "",
            " ",
            "4 Gi",
            "4GB",
            "4gi",
            "Gi",
            ".",
            "..1",
            "1.2.3",
            "-4Gi",
            "--1",
            "++1",
            "0",
            "0Gi",
            "NaN",
            "inf",
            "1e400",
            "1e",
            "1Ei",
            "9999999999Ei",
            "4Gi\n",
            "0x10",
            "1_000",
            "٤Gi",
            &long,
        ] {
            assert!(text.parse::<Memory>().is_err(), "{text:?}");
        }
        assert!("1023Pi".parse::<Memory>().is_ok());
    }

    #[test]
    fn it_prints_in_the_largest_unit_that_is_exact_and_reads_back_the_same() {
        for (bytes, text) in [(4 << 30, "4Gi"), (1536 << 20, "1536Mi"), (1_000_000, "1000000"), (1 << 59, "512Pi")] {
            assert_eq!(Memory(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(Memory(bytes)));
        }
    }
}
