//! The API server's refusals, as sentences for the person who gets them.

use anyhow::{Error, anyhow};
use kube::core::Status;

/// The error, with what to do about it.
pub fn explain(error: kube::Error, namespace: &str) -> Error {
    match error {
        kube::Error::Api(status) => anyhow!("{}", refusal(&status, namespace)),
        kube::Error::Service(error) => anyhow!("can't reach the cluster: {error}"),
        kube::Error::Auth(error) => anyhow!("the cluster's credentials can't be used: {error}"),
        other => other.into(),
    }
}

fn refusal(status: &Status, namespace: &str) -> String {
    let message = &status.message;
    // What a policy says, without who says it to whom.
    for before in ["denied the request: ", "denied request: "] {
        if let Some((_, words)) = message.split_once(before) {
            return words.to_owned();
        }
    }
    match status.code {
        401 => "you are not signed in to this cluster, or no longer: renew your kubeconfig".to_owned(),
        403 => format!(
            "you may not do that in namespace {namespace}: ask your administrator, or choose another with -n ({message})"
        ),
        404 if message.contains("the server could not find the requested resource") => {
            "this cluster has no vdiwarden: its administrator can install it".to_owned()
        }
        409 => format!("somebody changed it at the same time: try again ({message})"),
        _ => message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: u16, message: &str) -> String {
        refusal(&Status { code, message: message.to_owned(), ..Status::default() }, "desktops")
    }

    #[test]
    fn a_policys_words_are_told_without_who_says_them() {
        let webhook =
            "admission webhook \"clusterwide-vdi.kubewarden.admission\" denied the request: spec.resources.gpu is 9";
        assert_eq!(told(400, webhook), "spec.resources.gpu is 9");
        let floor = "vdisessions.vdi.kasm.io \"a\" is forbidden: ValidatingAdmissionPolicy 'vdi-sessions' with binding \
                     'vdi-sessions' denied request: spec.user must be the requester";
        assert_eq!(told(403, floor), "spec.user must be the requester");
    }

    #[test]
    fn a_missing_right_names_the_namespace() {
        let told = told(403, "vdisessions.vdi.kasm.io is forbidden: User \"bob\" cannot list resource");
        assert!(told.starts_with("you may not do that in namespace desktops: ask your administrator"), "{told}");
    }
}
