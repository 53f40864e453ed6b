//! Whether the floor is there: the ValidatingAdmissionPolicies that hold whatever the admission policy says.

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::{Api, Client};

use super::finding::{Finding, Problem};

/// Each has a binding of its own name, without which it does nothing. Where an admission webhook refuses a session first, nothing
/// else shows that they are missing.
pub async fn check(client: &Client, names: &[String]) -> Finding {
    if names.is_empty() {
        return Ok("the floor isn't checked, as floor.enabled is false".to_owned());
    }
    let mut missing = vec![];
    for name in names {
        match exists(client, name).await {
            Ok(true) => {}
            Ok(false) => missing.push(name.as_str()),
            Err(error) => {
                let remedy = "run `helm test`, which gives the test's pod its rights while it runs";
                return Err(Problem::new(format!("the floor can't be read: {error}"), remedy));
            }
        }
    }
    if missing.is_empty() {
        return Ok(format!("the floor is in place: {}", names.join(", ")));
    }
    Err(Problem::new(
        format!("of the floor, a ValidatingAdmissionPolicy or its binding is missing: {}", missing.join(", ")),
        "users may not be kept apart. Restore it: `helm upgrade` with the release's chart and values, or `helm rollback`",
    ))
}

async fn exists(client: &Client, name: &str) -> kube::Result<bool> {
    let policy = Api::<ValidatingAdmissionPolicy>::all(client.clone()).get_opt(name).await?;
    let binding = Api::<ValidatingAdmissionPolicyBinding>::all(client.clone()).get_opt(name).await?;
    let denies = binding.and_then(|binding| binding.spec?.validation_actions).unwrap_or_default();
    Ok(policy.is_some() && denies.iter().any(|action| action == "Deny"))
}
