use std::ffi::OsString;

use clap::CommandFactory;
use vdi_service::LogFormat;

use super::*;

fn load(flags: &[&str], file: &str) -> Result<Settings, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    std::fs::write(&path, file).unwrap();
    let mut arguments: Vec<OsString> = vec!["vdi-controller".into(), "--config".into(), path.into()];
    arguments.extend(flags.iter().map(Into::into));
    settings::parse::<Settings>(arguments, |_| None).map_err(|error| error.to_string())
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let file = "concurrency: 7\nleader-elect: false\nlog-format: text\ndomain: from.file\n";
    let settings = load(&["--domain", "from.flag"], file).unwrap();
    assert_eq!((settings.concurrency, settings.leader_elect), (7, false));
    assert!(matches!(settings.log.log_format, LogFormat::Text));
    assert_eq!(settings.domain, "from.flag");
    assert_eq!(settings.listen.port(), 8080);
    assert!(load(&["--leader-elect"], file).unwrap().leader_elect);
    assert!(load(&[], "").unwrap().leader_elect);
    let several = "activity-url: [http://a:1/x, http://b:2/y]";
    assert_eq!(load(&[], several).unwrap().activity_url.len(), 2);
    assert_eq!(load(&["--activity-url=http://c:3/z"], several).unwrap().activity_url.len(), 1);
}

#[test]
fn every_setting_is_set_by_flag_environment_or_file_together_with_any_other() {
    let samples = [
        ("domain", ["a.example.com", "b.example.com", "c.example.com"]),
        ("url-template", ["https://{user}-a.{domain}", "https://{user}-b.{domain}", "https://{user}-c.{domain}"]),
        ("gateway-namespace", ["a-gateways", "b-gateways", "c-gateways"]),
        ("activity-url", ["http://a:1/x,http://aa:1/x", "http://b:1/x,http://bb:1/x", "http://c:1/x,http://cc:1/x"]),
        ("activity-token-file", ["a.token", "b.token", "c.token"]),
        ("activity-token-secret", ["a-token", "b-token", "c-token"]),
        ("login-keys-file", ["a.keys", "b.keys", "c.keys"]),
        ("login-keys-secret", ["a-keys", "b-keys", "c-keys"]),
        ("pod-cidr", ["10.1.0.0/16,fd01::/16", "10.2.0.0/16,fd02::/16", "10.3.0.0/16,fd03::/16"]),
        ("listen", ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]),
        ("concurrency", ["1", "2", "3"]),
        ("leader-elect", ["true", "false", "true"]),
        ("namespace", ["a", "b", "c"]),
        ("lease-name", ["a-lease", "b-lease", "c-lease"]),
        ("otlp-endpoint", ["http://a:4318", "http://b:4318", "http://c:4318"]),
        ("log-format", ["text", "json", "text"]),
        ("log", ["debug", "info", "warn"]),
    ];
    let directory = tempfile::tempdir().unwrap();
    settings::check_every_way::<Settings>(&samples, &directory.path().join("config.yaml")).unwrap();
}

#[test]
fn what_is_wrong_in_the_file_is_named_with_the_file_and_the_key() {
    for (file, message) in [
        ("concurency: 7", r#"config.yaml: unknown setting "concurency"; did you mean "concurrency"?"#),
        ("config: other.yaml", r#"config.yaml: unknown setting "config""#),
        ("zzz: 1", r#"config.yaml: unknown setting "zzz"; see --help"#),
        ("concurrency: 0", "config.yaml: concurrency: invalid value '0' for '--concurrency <NUMBER>'"),
        ("concurrency: many", "config.yaml: concurrency: invalid value 'many'"),
        ("url-template: ftp://x", "config.yaml: url-template: invalid value 'ftp://x'"),
        ("domain: [a, b]", r#"config.yaml: domain: expected one value, found ["a","b"]"#),
        ("activity-url: {a: b}", r#"config.yaml: activity-url: expected a value or a list of values, found {"a":"b"}"#),
        ("activity-url: [x]", "config.yaml: activity-url: invalid value 'x'"),
        ("domain:", "config.yaml: domain: expected one value, found null"),
        ("- domain", "config.yaml: "),
        ("domain: a\ndomain: b", "config.yaml: "),
    ] {
        let error = load(&["--domain", "a", "--concurrency=1"], file).unwrap_err();
        assert!(error.contains(message), "{file:?} gave {error:?}");
    }
    let error = settings::parse::<Settings>(vec!["vdi-controller".into(), "--config=/nowhere".into()], |_| None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nowhere: No such file"), "{error}");
}

#[test]
fn what_is_wrong_in_the_flags_is_named() {
    let error = load(&["--concurency=1"], "").unwrap_err();
    assert!(error.contains("--concurency") && error.contains("--concurrency"), "{error}");
}

#[test]
fn what_comes_from_a_secret_comes_from_no_file() {
    for name in ["activity-token", "login-keys"] {
        let (file, secret) = (format!("--{name}-file=x"), format!("--{name}-secret=x"));
        assert!(load(&[&file], "").unwrap().shared.check().is_ok());
        assert!(load(&[&secret], "").unwrap().shared.check().is_ok());
        let both = load(&[&file], &format!("{name}-secret: x")).unwrap().shared.check().unwrap_err().to_string();
        assert!(both.contains(&format!("--{name}-file")) && both.contains(&format!("--{name}-secret")), "{both}");
    }
}

#[test]
fn every_setting_is_in_the_docs() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    settings::check_docs(&Settings::command(), page.as_ref()).unwrap();
}

#[test]
fn the_schema_of_the_settings_file_is_up_to_date() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/settings.schema.json");
    settings::check_schema(&Settings::command(), file.as_ref()).unwrap();
}
