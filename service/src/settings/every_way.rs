//! A check for the tests of each program: every setting works from every source.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt::Debug,
    fs,
    path::Path,
};

use clap::Parser;

use super::sources::{names, parse};

/// A setting and three different values of it: for the flag, the environment and the file.
pub type Sample<'a> = (&'a str, [&'a str; 3]);

/// The combinations of flag, environment and file that set a setting.
const COMBINATIONS: usize = 7;

/// Sets every setting of `S` by flag, by environment, in the file at `config`, and by several of them, alone and together with
/// the others, and compares the result with that of the same values set by flags.
///
/// # Errors
/// When results differ, or a setting has no sample.
pub fn check_every_way<S: Parser + Debug>(samples: &[Sample], config: &Path) -> Result<(), String> {
    let command = S::command();
    for (name, _) in names(&command) {
        samples.iter().find(|(sample, _)| *sample == name).ok_or(format!("there is no sample of --{name}"))?;
    }
    let variable_of = |name: &str| {
        let found = command.get_arguments().find(|argument| argument.get_long() == Some(name));
        found.and_then(|argument| argument.get_env()).map(OsStr::to_owned).ok_or(format!("--{name} has no variable"))
    };
    let read = |flags: &[String], variables: &BTreeMap<OsString, String>, file: &str| {
        fs::write(config, file).map_err(|error| error.to_string())?;
        let arguments = ["".into(), "--config".into(), config.into()].into_iter().chain(flags.iter().map(Into::into));
        let settings = parse::<S>(arguments.collect(), |variable| variables.get(variable).map(Into::into));
        settings.map(|settings| format!("{settings:?}")).map_err(|error| error.to_string())
    };
    let by_flag = |flags: &[String]| read(flags, &BTreeMap::new(), "");

    // Each setting with its combination, as bits: flag, environment, file.
    let compare = |set: &[(&Sample, usize)]| {
        let (mut flags, mut variables, mut file, mut expected) =
            (Vec::new(), BTreeMap::new(), String::new(), Vec::new());
        for ((name, values), ways) in set {
            if ways & 1 != 0 {
                flags.push(format!("--{name}={}", values[0]));
            }
            if ways & 2 != 0 {
                variables.insert(variable_of(name)?, values[1].to_owned());
            }
            if ways & 4 != 0 {
                file += &format!("{name}: {}\n", yaml(values[2]));
            }
            let wins = ways.trailing_zeros() as usize;
            expected.push(format!("--{name}={}", values[wins]));
        }
        let (found, expected) = (read(&flags, &variables, &file), by_flag(&expected));
        let is_same = match (&found, &expected) {
            (Ok(found), Ok(expected)) => found == expected,
            (found, expected) => found.is_err() && expected.is_err(),
        };
        let ways = || format!("flags {flags:?}, environment {variables:?}, file {file:?}");
        is_same.then_some(expected.is_ok()).ok_or_else(|| format!("{} gave {found:?}, not {expected:?}", ways()))
    };

    for sample in samples {
        for ways in 1..=COMBINATIONS {
            // Some are refused alone, and must then be refused from every source.
            compare(&[(sample, ways)])?;
        }
        let others = |value: usize| {
            let of = |(name, values): &Sample| {
                format!("--{name}={}", if *name == sample.0 { values[value] } else { values[0] })
            };
            by_flag(&samples.iter().map(of).collect::<Vec<_>>())
        };
        if others(0)? == others(1)? || others(1)? == others(2)? {
            return Err(format!("the samples of --{} make no difference", sample.0));
        }
    }
    // Because the number of combinations is prime, nearly any two settings meet in each pair of combinations.
    for (step, offset) in (0..COMBINATIONS).flat_map(|step| (0..COMBINATIONS).map(move |offset| (step, offset))) {
        let ways = |place: usize| (place * step + offset) % COMBINATIONS + 1;
        let set: Vec<_> = samples.iter().enumerate().map(|(place, sample)| (sample, ways(place))).collect();
        if !compare(&set)? {
            return Err("the samples can't be set together".to_owned());
        }
    }
    Ok(())
}

/// Numbers and booleans bare, any other text quoted.
fn yaml(text: &str) -> String {
    let is_bare = text.parse::<f64>().is_ok() || text.parse::<bool>().is_ok();
    if is_bare { text.to_owned() } else { format!("{text:?}") }
}
