use std::{collections::BTreeMap, path::Path, sync::Arc, thread, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use vdi_release::policy::metadata;
use wapc::WapcHost;
use wasmtime_provider::{
    EpochDeadlines, ResourceLimits, WasmtimeEngineProviderBuilder, WasmtimeEngineProviderPre,
    wasmtime::{Config, Engine},
};

use super::capabilities::{Capabilities, denied};

/// Runs a policy as Kubewarden's policy server does: compiled once, with a new instance for every request, and with limits on
/// time and memory. The policy may call the host capabilities that its metadata names.
pub struct PolicyHost {
    module: WasmtimeEngineProviderPre,
    deadlines: EpochDeadlines,
    metadata: Arc<Value>,
}

/// The limits of one call.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub time: Duration,
    /// Linear memory, in bytes.
    pub memory: usize,
}

impl Default for Limits {
    /// The policy server's own limits, many times what an ordinary session needs. A request of nothing but tiny values may still
    /// exceed the time, and is then rejected.
    fn default() -> Self {
        Self { time: Duration::from_secs(2), memory: 128 << 20 }
    }
}

/// Kubewarden's `ValidationResponse`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyResponse {
    pub accepted: bool,
    pub message: Option<String>,
    pub code: Option<u16>,
    /// The whole object.
    pub mutated_object: Option<Value>,
    pub audit_annotations: Option<BTreeMap<String, String>>,
    pub warnings: Option<Vec<String>>,
}

/// Kubewarden's `SettingsValidationResponse`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct SettingsResponse {
    pub valid: bool,
    pub message: Option<String>,
}

impl PolicyHost {
    /// Loads an annotated module.
    ///
    /// # Errors
    /// When it can't be read or compiled, has no metadata, or speaks another version of the protocol.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let module = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
        let metadata = metadata::read(&module)?;
        let host = Self { metadata: metadata.into(), ..Self::new(&module, Limits::default())? };
        let version: String = host.call("protocol_version", &Value::Null, None)?;
        ensure!(version == "v1", "the policy speaks protocol {version}, not v1");
        Ok(host)
    }

    /// Compiles a module that has no metadata, in wasm's binary or text format.
    ///
    /// # Errors
    /// When it can't be compiled, or imports something that policies don't get.
    pub fn new(module: &[u8], limits: Limits) -> Result<Self> {
        const TICK: Duration = Duration::from_millis(10);
        let engine = Engine::new(Config::new().epoch_interruption(true)).map_err(|error| anyhow!("{error:#}"))?;
        let module = WasmtimeEngineProviderBuilder::new()
            .engine(engine.clone())
            .module_bytes(module)
            .enable_resource_limits(ResourceLimits {
                max_memory_size: Some(limits.memory),
                max_table_elements: Some(100_000),
            })
            .build_pre()?;
        let weak = engine.weak();
        // The thread ends with the last use of the engine.
        thread::Builder::new().name("policy-clock".to_owned()).spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(TICK);
            }
        })?;
        // One more: the first tick may come at once.
        let ticks = u64::try_from(limits.time.div_duration_f64(TICK).ceil() as u128)? + 1;
        let deadlines = EpochDeadlines { wapc_init: ticks, wapc_func: ticks };
        Ok(Self { module, deadlines, metadata: Value::Null.into() })
    }

    /// The content of `metadata.yml`, with `protocolVersion`.
    pub fn metadata(&self) -> &Value {
        &self.metadata
    }

    /// Reviews an AdmissionRequest. Blocks for up to the time limit.
    ///
    /// # Errors
    /// When the policy fails to answer, which a policy server treats as a rejection.
    pub fn validate(
        &self,
        request: &Value,
        settings: &Value,
        capabilities: Arc<dyn Capabilities>,
    ) -> Result<PolicyResponse> {
        self.call("validate", &json!({"request": request, "settings": settings}), Some(capabilities))
    }

    /// # Errors
    /// As [`Self::validate`].
    pub fn validate_settings(&self, settings: &Value) -> Result<SettingsResponse> {
        self.call("validate_settings", settings, None)
    }

    fn call<T: DeserializeOwned>(
        &self,
        function: &str,
        payload: &Value,
        capabilities: Option<Arc<dyn Capabilities>>,
    ) -> Result<T> {
        let answer = self.call_raw(function, &serde_json::to_vec(payload)?, capabilities)?;
        serde_json::from_slice(&answer).with_context(|| format!("can't read the policy's answer to {function}"))
    }

    /// Calls a function of the module by its waPC name, with or without host capabilities.
    ///
    /// # Errors
    /// When the module traps, runs into a limit, or answers with an error.
    pub fn call_raw(
        &self,
        function: &str,
        payload: &[u8],
        capabilities: Option<Arc<dyn Capabilities>>,
    ) -> Result<Vec<u8>> {
        self.instance(capabilities)?.call(function, payload).with_context(|| format!("the policy failed in {function}"))
    }

    /// A new instance of the module.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn instance(&self, capabilities: Option<Arc<dyn Capabilities>>) -> Result<WapcHost> {
        let instance = self.module.rehydrate(Some(self.deadlines))?;
        let metadata = self.metadata.clone();
        let call = move |_, binding: &str, namespace: &str, operation: &str, request: &[u8]| {
            let capability = format!("{namespace}/{operation}");
            let capabilities = capabilities.as_ref().filter(|_| binding == "kubewarden");
            let capabilities = capabilities.filter(|_| is_granted(&metadata, &capability, request));
            let answer = capabilities.map_or_else(|| Err(denied(&capability)), |it| it.call(&capability, request));
            answer.map_err(Into::into)
        };
        Ok(WapcHost::new(Box::new(instance), Some(Box::new(call)))?)
    }
}

/// Whether the metadata names the capability and the requested kind of object, because ClusterAdmissionPolicies grant what it
/// names.
fn is_granted(metadata: &Value, capability: &str, request: &[u8]) -> bool {
    let holds = |list: &Value, wanted: &Value| list.as_array().is_some_and(|list| list.contains(wanted));
    let request: Value = serde_json::from_slice(request).unwrap_or_default();
    let resource = json!({"apiVersion": request["api_version"], "kind": request["kind"]});
    holds(&metadata["hostCapabilities"], &capability.into())
        && (request["kind"].is_null() || holds(&metadata["contextAwareResources"], &resource))
}
