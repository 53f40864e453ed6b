use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use vdi_tests::policy::{Capabilities, PolicyHost};

use super::{
    build,
    output::Output,
    request::{Circumstances, documents},
    text::{harmless, indented, show},
    verdict,
};

#[derive(clap::Args)]
pub struct Options {
    /// VDISessions and VDITemplates, an AdmissionRequest or an AdmissionReview, in YAML or JSON; - for standard input
    file: PathBuf,

    #[command(flatten)]
    circumstances: Circumstances,

    /// The old objects, for an update
    #[arg(long, value_name = "FILE")]
    old: Option<PathBuf>,

    /// The policy's settings: YAML, or a file that contains them or an AdmissionPolicy
    #[arg(long, value_name = "FILE or YAML")]
    settings: Option<String>,

    /// Let the requester act for others, as the verb assign-user on vdisessions does
    #[arg(long)]
    can_assign_user: bool,

    /// The module to run [default: the built one]
    #[arg(long, value_name = "MODULE")]
    policy: Option<PathBuf>,

    /// Print the policy's responses
    #[arg(long, short, value_enum)]
    output: Option<Output>,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let settings = options.settings.as_deref().map_or(Ok(json!({})), settings)?;
    let old = options.old.as_deref().map_or(Ok(Vec::new()), read)?;
    let requests = read(&options.file)?.into_iter().map(|document| options.circumstances.request(document, &old));
    let requests = requests.collect::<Result<Vec<_>>>().with_context(|| options.file.display().to_string())?;

    let host = PolicyHost::load(options.policy.clone().map_or_else(build::module, Ok)?)?;
    let valid = host.validate_settings(&settings)?;
    if !valid.valid {
        bail!("the settings are invalid\n{}", indented(&harmless(&valid.message.unwrap_or_default())).trim_end());
    }
    let capabilities = Arc::new(NoCluster { can_assign_user: options.can_assign_user });
    let mut verdicts = Vec::new();
    for request in &requests {
        let response = host.validate(request, &settings, capabilities.clone())?;
        verdicts.push(response.accepted);
        match options.output {
            Some(Output::Json) => show(&format!("{}\n", serde_json::to_string_pretty(&response)?))?,
            None if verdicts.len() == 1 => show(&verdict::description(request, &response))?,
            None => show(&format!("\n{}", verdict::description(request, &response)))?,
        }
    }
    // As with grep and diff, 1 is a negative answer, and 2 an error.
    Ok(if verdicts.into_iter().all(|accepted| accepted) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Answers by the command line alone.
struct NoCluster {
    can_assign_user: bool,
}

impl Capabilities for NoCluster {
    fn call(&self, capability: &str, _: &[u8]) -> Result<Vec<u8>> {
        ensure!(capability == "kubernetes/can_i", "{capability} needs a cluster, and there is none here");
        Ok(json!({"allowed": self.can_assign_user}).to_string().into())
    }
}

fn read(file: &Path) -> Result<Vec<Value>> {
    let text = match file.to_str() {
        Some("-") => io::read_to_string(io::stdin()),
        _ => fs::read_to_string(file),
    };
    let text = text.with_context(|| format!("can't read {}", file.display()))?;
    documents(&text).with_context(|| format!("can't read {}", file.display()))
}

/// Reads settings from the file `settings`, or parses the text itself.
fn settings(settings: &str) -> Result<Value> {
    let is_file = Path::new(settings).is_file();
    let text = if is_file { fs::read_to_string(settings)? } else { settings.to_owned() };
    let mut value: Value =
        serde_saphyr::from_str(&text).with_context(|| format!("can't read --settings {settings}"))?;
    if matches!(value["kind"].as_str(), Some("AdmissionPolicy" | "ClusterAdmissionPolicy")) {
        value = value["spec"]["settings"].take();
    }
    ensure!(!value.is_string(), "--settings {settings} is neither a file nor YAML such as 'gpu: {{max: 4}}'");
    Ok(if value.is_null() { json!({}) } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_yaml_or_a_file_with_it_or_with_a_policy() {
        assert_eq!(settings("gpu: {max: 4}").unwrap(), json!({"gpu": {"max": 4}}));
        assert!(settings("no/such/file.yaml").unwrap_err().to_string().contains("neither a file nor YAML"));
        let policy = vdi_tests::workspace().join("deploy/kubewarden/protect.yaml");
        assert!(settings(policy.to_str().unwrap()).unwrap()["spec"].is_null());
    }
}
