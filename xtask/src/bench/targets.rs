//! Target values, and whether a measurement meets them.

pub fn at_least(target: f64, value: f64) -> String {
    format!("at least {target:.0}: {}", verdict(value >= target))
}

pub fn at_most(target: f64, unit: &str, value: f64) -> String {
    format!("at most {target}{unit}: {}", verdict(value <= target))
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}
