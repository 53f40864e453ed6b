use std::{fmt, str::FromStr};

use crate::invalid::Invalid;

/// An amount of CPU time: thousandths of a core, at least 1, less than 10,000 cores.
///
/// Parsed as Kubernetes parses a [quantity], in the two forms that are used for CPUs: `500m` and `1.5`.
///
/// [quantity]: https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#meaning-of-cpu
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cpu(u32);

impl Cpu {
    pub const ALLOWED: &str = "an amount of CPU such as 2, 1.5 or 500m, at least 1m and less than 10000";
    #[cfg(feature = "crd")]
    const PATTERN: &str = "^([0-9]{1,7}m|[0-9]{1,4}([.][0-9]{1,3})?)$";
}

impl FromStr for Cpu {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse(text).filter(|millis| *millis > 0).map(Self).ok_or_else(|| Invalid::text(text, Self::ALLOWED))
    }
}

fn parse(text: &str) -> Option<u32> {
    let number = |digits: &str, most: usize| -> Option<u32> {
        let is_number = (1..=most).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit());
        if is_number { digits.parse().ok() } else { None }
    };
    if let Some(millis) = text.strip_suffix('m') {
        return number(millis, 7);
    }
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, number(fraction, 3)? * 10u32.pow(3 - fraction.len() as u32)),
        None => (text, 0),
    };
    Some(number(whole, 4)? * 1000 + fraction)
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 % 1000 {
            0 => write!(f, "{}", self.0 / 1000),
            _ => write!(f, "{}m", self.0),
        }
    }
}

#[cfg(feature = "crd")]
crate::schema::json_schema_of!(Cpu, {
    "type": "string",
    "maxLength": 8,
    "x-kubernetes-validations": [{
        "rule": format!("self.matches('{}') && quantity(self).isGreaterThan(quantity('0'))", Cpu::PATTERN),
        "message": format!("must be {}", Cpu::ALLOWED),
    }],
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_and_thousandths_are_read_and_printed_as_kubernetes_prints_them() {
        for (text, printed) in [
            ("2", "2"),
            ("1.5", "1500m"),
            ("0.001", "1m"),
            ("500m", "500m"),
            ("2000m", "2"),
            ("9999.999", "9999999m"),
            ("0.50", "500m"),
        ] {
            assert_eq!(text.parse::<Cpu>().map(|cpu| cpu.to_string()), Ok(printed.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_of_cpu_is_refused() {
        for text in
            ["", "0", "0m", "-1", "+1", "1.", ".5", "1.0001", "10000", "1e3", "1k", "two", "1 ", "m", "٢", "12345678m"]
        {
            assert!(text.parse::<Cpu>().is_err(), "{text:?}");
        }
    }
}
