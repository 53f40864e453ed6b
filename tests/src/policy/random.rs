//! Random requests: cases whose parts are removed, duplicated, swapped and replaced, to find what nobody thought of.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use fastrand::Rng;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{
    capabilities::Played,
    case::{Case, SettingsCase},
};

/// The material for requests: the cases, and their parts.
pub struct Material {
    requests: Vec<Value>,
    settings: Vec<Value>,
    hosts: Vec<Played>,
}

/// A payload for the policy, and the answers to its calls.
#[derive(Clone, Debug)]
pub struct Sample {
    pub payload: Vec<u8>,
    pub host: Played,
}

/// Written into the payload verbatim: most of it is not JSON, or JSON that parsers read differently.
#[rustfmt::skip]
const RAW: &[&str] = &[
    "1e400", "-1e400", "1e-400", "-0", "-0.0", "1E2", "1.0", "01", "+1", ".5", "1.", "0x10", "NaN", "Infinity", "nul",
    "'a'", "\"\\ud800\"", "\"\\ud83d\\ude00\"", "\"\\u0000\"", "\"\\q\"", "\"\t\"", "{\"a\":1,\"a\":2}", "[1,]", "//", "",
    "18446744073709551615", "18446744073709551616", "-9223372036854775809", "340282366920938463463374607431768211456",
    "0.1000000000000000055511151231257827", "5e-324", "1.7976931348623157e308", "123456789012345678901234567890.5",
];
const MARK: &str = "@raw:";

#[rustfmt::skip]
const TEXTS: &[&str] = &[
    "", " ", "a", "A", "*", "?", "-", ".", "..", "@", "NaN", "inf", "null", "0", "-1", "1e400", "4Gi", "4096Mi", "4.0Gi",
    "400m", "1Ei", "1023Pi", "1e18", "8h", "90m", "1.5h", "0s", "9223372036854775807ns", "1µs", "2562048h", "1d", "+8h",
    "alice@example.com", "alice@EXAMPLE.com", "ALICE@example.com", "bob@example.com", "a@b", "a@b@c.d", "a b@c.de",
    "a\u{b}@b.cd", "日本@example.com", "alice@exämple.com", "alice@example.com\n", "\u{202e}alice@example.com",
    "alice\u{200b}@example.com", "oidc:alice@example.com", "system:anonymous", "system:authenticated", "artists",
    "system:serviceaccount:kube-system:generic-garbage-collector", "vdi-admins", "ubuntu-desktop", "blender-4", "Ubuntu",
    "CREATE", "UPDATE", "DELETE", "CONNECT", "PATCH", "status", "VDISession", "VDITemplate", "vdi.kasm.io", "v1alpha1",
    "enforce", "warn", "off", "example.com", "*.example.com", "com", "docker.io/library/debian", "a:b@sha256:0",
    "nvidia.com/gpu", "node-role.kubernetes.io/control-plane", "restricted", "Failed", "Terminating", "Running",
    "\u{0}", "\u{1b}[31m", "\u{7f}\u{85}", "\u{2066}a\u{2069}", "\u{feff}", "e\u{301}", "\u{fffd}", "👩‍👩‍👧", "\r\n", "\"\\",
];

/// Names that mean something somewhere, and some that don't.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "user", "template", "resources", "gpu", "memory", "timeout", "suspend", "name", "namespace", "generateName", "spec",
    "metadata", "annotations", "vdi.kasm.io/created-by", "status", "object", "oldObject", "operation", "kind", "userInfo",
    "username", "groups", "subResource", "image", "port", "probe", "path", "sharedMemory", "min", "max", "default",
    "allow", "rules", "overrides", "perUser", "sessions", "gpus", "templates", "items", "allowed", "denied", "tolerations",
    "", "x", "é", "\u{202e}", "a.b", "a/b", "__proto__",
];

impl Material {
    /// Reads the cases.
    ///
    /// # Errors
    /// When one can't be read.
    pub fn load() -> Result<Self> {
        let cases: Vec<Case> = [read_all("policy")?, read_all("rules")?].into_iter().flatten().collect();
        let settings_cases: Vec<SettingsCase> = read_all("settings")?;
        let settings = cases.iter().map(|case| &case.settings).chain(settings_cases.iter().map(|case| &case.settings));
        let mut hosts: Vec<_> = cases.iter().map(|case| case.host.clone()).collect();
        // Waiting is tested elsewhere, and would take most of the time here.
        hosts.iter_mut().for_each(|host| host.0.retain(|_, answer| answer.get("$slow").is_none()));
        hosts.extend(every_answer_there_may_be());
        let short = |request: &Value| request.to_string().len() < 16 << 10;
        Ok(Self {
            settings: settings.cloned().collect(),
            hosts,
            requests: cases.iter().map(Case::request).filter(short).collect(),
        })
    }

    /// Deterministic for a seed.
    pub fn sample(&self, seed: u64) -> Sample {
        let rng = &mut Rng::with_seed(seed);
        let mut request = pick(rng, &self.requests).clone();
        for _ in 0..few(rng) {
            let part = match rng.u8(..10) {
                0 => Some(&mut request),
                1 => request.get_mut("userInfo"),
                2..4 => request.get_mut("oldObject"),
                _ => request.get_mut("object"),
            };
            if let Some(part) = part {
                self.change(rng, part);
            }
        }
        let settings = self.settings(rng);
        let mut host = pick(rng, &self.hosts).clone();
        for _ in 0..few(rng) / 2 {
            if let Some(answer) = rng.choice(host.0.values_mut()) {
                self.change(rng, answer);
            }
        }
        let mut payload = unmarked(&json!({"request": request, "settings": settings}));
        if rng.u8(..10) == 0 {
            (0..=few(rng)).for_each(|_| damage(rng, &mut payload));
        }
        Sample { payload, host }
    }

    /// Combines settings of several cases. Most are valid, because invalid ones stop every request.
    pub fn settings(&self, rng: &mut Rng) -> Value {
        let mut settings = pick(rng, &self.settings).clone();
        for _ in 0..few(rng) / 2 {
            let Value::Object(others) = pick(rng, &self.settings) else { continue };
            let (Some(settings), Some((name, value))) = (settings.as_object_mut(), rng.choice(others)) else {
                continue;
            };
            match (settings.get_mut(name), value) {
                (Some(Value::Object(section)), Value::Object(members)) => section.extend(members.clone()),
                _ => drop(settings.insert(name.clone(), value.clone())),
            }
        }
        if rng.u8(..8) == 0 {
            self.change(rng, &mut settings);
        }
        settings
    }

    /// Changes something somewhere in `value`.
    fn change(&self, rng: &mut Rng, value: &mut Value) {
        let deeper = match value {
            Value::Array(items) => rng.choice(items),
            Value::Object(members) => rng.choice(members.values_mut()),
            _ => None,
        };
        match deeper {
            Some(deeper) if rng.u8(..4) > 0 => return self.change(rng, deeper),
            _ => {}
        }
        let other = self.anything(rng);
        match (rng.u8(..8), value) {
            (0..3, Value::Object(members)) => drop(members.insert(name(rng), other)),
            (3, Value::Object(members)) => {
                let removed = rng.choice(members.keys()).cloned();
                removed.map(|name| members.remove(&name));
            }
            (4, Value::Object(members)) => {
                let doubled = rng.choice(members.values()).cloned();
                doubled.map(|value| members.insert(name(rng), value));
            }
            (5, Value::Object(members)) => {
                let (one, another) = (rng.choice(members.keys()).cloned(), rng.choice(members.keys()).cloned());
                if let (Some(one), Some(another)) = (one, another) {
                    let moved = members.get(&one).cloned().unwrap_or_default();
                    if let Some(moved) = members.insert(another, moved) {
                        members.insert(one, moved);
                    }
                }
            }
            (0..3, Value::Array(items)) => items.push(other),
            (3, Value::Array(items)) => drop(items.pop()),
            (4, Value::Array(items)) => items.extend(items.clone()),
            (0..5, Value::String(text)) => edit(rng, text),
            (6, value) => {
                let depth = if rng.u8(..50) == 0 { rng.u8(..) } else { 1 };
                *value = (0..depth).fold(value.take(), |inner, _| match rng.bool() {
                    true => json!([inner]),
                    false => Map::from_iter([(name(rng), inner)]).into(),
                });
            }
            (_, value) => *value = other,
        }
    }

    /// A scalar, or a part of some request.
    fn anything(&self, rng: &mut Rng) -> Value {
        match rng.u8(..16) {
            0 => Value::Null,
            1 => rng.bool().into(),
            2 => json!({}),
            3 => json!([]),
            4 => rng.i64(-2..20).into(),
            5 => json!(pick(rng, &[0, 1, 65_535, 65_536, i64::MIN, i64::MAX, 1 << 31, (1 << 31) - 1])),
            6 => json!(pick(rng, &[0.5, -0.0, 1e300, 1.0, f64::MIN_POSITIVE, 1e19, u64::MAX as f64])),
            7 => format!("{MARK}{}", pick(rng, RAW)).into(),
            8 => part(rng, &self.requests),
            9 => part(rng, &self.settings),
            10 if rng.u8(..100) == 0 => "aé\u{202e}".repeat(rng.usize(..20_000)).into(),
            11 => random_name(rng).into(),
            _ => (*pick(rng, TEXTS)).into(),
        }
    }
}

fn read_all<C: DeserializeOwned>(folder: &str) -> Result<Vec<C>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(folder);
    // Sorted, so that a seed means the same everywhere.
    let mut files = folder.read_dir()?.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    let read = |file: &std::path::PathBuf| {
        serde_json::from_slice(&fs::read(file)?).with_context(|| format!("can't read {}", file.display()))
    };
    files.iter().map(read).collect()
}

/// Answers to each of the policy's calls, in every way that an API server or a host may answer.
fn every_answer_there_may_be() -> Vec<Played> {
    let sessions = json!([
        {"metadata": {"name": "a", "namespace": "b"}, "spec": {"user": "alice@example.com", "resources": {"gpu": 2}}},
        {"metadata": {"name": "c", "namespace": "b"}, "spec": {"user": "bob@example.com", "suspend": true}},
        {"metadata": {"name": "d"}, "spec": {"user": "alice@example.com", "resources": {"gpu": u64::MAX}}},
    ]);
    let answers = [
        json!({"allowed": true}),
        json!({"allowed": false, "denied": true}),
        json!({"allowed": "yes"}),
        json!({}),
        json!({"items": sessions}),
        json!({"items": []}),
        json!({"items": 7}),
        json!({"metadata": {"name": "ubuntu-desktop"}}),
        json!({"$raw": ""}),
        json!({"$raw": "{"}),
        json!({"$raw": "\u{0}"}),
        json!({"$raw": "1e400"}),
        json!({"$error": ""}),
        json!({"$error": "the API server does not answer"}),
        json!({"$error": "\u{1b}[2J\u{202e}\r\n"}),
        json!(null),
        json!([]),
    ];
    let capabilities = ["kubernetes/can_i", "kubernetes/list_resources_all", "kubernetes/get_resource"];
    let all = |answer: &Value| Played(capabilities.iter().map(|name| ((*name).to_owned(), answer.clone())).collect());
    answers.iter().map(all).chain([Played::default()]).collect()
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

/// Mostly 0 to 2, sometimes more.
fn few(rng: &mut Rng) -> usize {
    [0, 0, 1, 1, 1, 1, 2, 2, 3, 8][rng.usize(..10)]
}

fn name(rng: &mut Rng) -> String {
    if rng.u8(..3) == 0 { random_name(rng) } else { (*pick(rng, NAMES)).to_owned() }
}

fn random_name(rng: &mut Rng) -> String {
    (0..rng.usize(1..12)).map(|_| rng.alphanumeric()).collect()
}

/// A random part, at any depth, of one of these.
fn part(rng: &mut Rng, wholes: &[Value]) -> Value {
    let mut part = pick(rng, wholes);
    loop {
        let deeper = match part {
            Value::Array(items) => rng.choice(items),
            Value::Object(members) => rng.choice(members.values()),
            _ => None,
        };
        match deeper {
            Some(deeper) if rng.u8(..5) > 0 => part = deeper,
            _ => return part.clone(),
        }
    }
}

/// One typo.
fn edit(rng: &mut Rng, text: &mut String) {
    let mut chars: Vec<char> = text.chars().collect();
    let at = rng.usize(..=chars.len());
    let until = (at + rng.usize(..3)).min(chars.len());
    match rng.u8(..5) {
        0 => drop(chars.drain(at..until)),
        1 => drop(chars.splice(at..until, [rng.char('!'..='~')])),
        2 => drop(chars.splice(at..until, pick(rng, TEXTS).chars())),
        3 => chars.insert(at, rng.char(..)),
        _ => chars.iter_mut().skip(at).for_each(|c| c.make_ascii_uppercase()),
    }
    *text = chars.into_iter().collect();
}

/// Serializes the payload, with marked text written verbatim.
fn unmarked(value: &Value) -> Vec<u8> {
    let mut text = value.to_string();
    for raw in RAW.iter().filter(|_| text.contains(MARK)).collect::<Vec<_>>() {
        text = text.replace(&Value::from(format!("{MARK}{raw}")).to_string(), raw);
    }
    text.into()
}

/// Corrupts bytes, as a broken connection or a hex editor does.
fn damage(rng: &mut Rng, payload: &mut Vec<u8>) {
    let at = rng.usize(..=payload.len());
    let until = (at + rng.usize(1..40)).min(payload.len());
    match rng.u8(..7) {
        0 => payload.truncate(at),
        1 => drop(payload.drain(at..until)),
        2 => payload.extend_from_within(at..until),
        3 => payload.insert(at, rng.u8(..)),
        4 if at < payload.len() => payload[at] ^= 1 << rng.u8(..8),
        5 => drop(payload.splice(at..at, pick(rng, RAW).bytes())),
        _ => {
            // A duplicate key.
            let braces: Vec<_> = payload.iter().enumerate().filter(|(_, byte)| **byte == b'{').collect();
            if let Some((brace, _)) = rng.choice(braces) {
                let twice = format!("{}:{},", json!(pick(rng, NAMES)), json!(pick(rng, TEXTS)));
                payload.splice(brace + 1..=brace, twice.into_bytes());
            }
        }
    }
}
