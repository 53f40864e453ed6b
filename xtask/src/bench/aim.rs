//! What is aimed at, and whether it is so.

pub fn at_least(aim: f64, value: f64) -> String {
    format!("at least {aim:.0}: {}", verdict(value >= aim))
}

pub fn at_most(aim: f64, unit: &str, value: f64) -> String {
    format!("at most {aim}{unit}: {}", verdict(value <= aim))
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}
