//! Which sessions the API server accepts: dry runs, which create nothing.

use clap::Args;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, PostParams},
    core::Status,
};
use serde_json::json;
use vdi_api::VDISession;

use super::finding::{Finding, Problem};

#[derive(Debug, Args)]
pub struct Sessions {
    /// A namespace in which sessions may be created, and this program may create them for others
    #[arg(long)]
    namespace: String,

    /// The installation's namespace, in which this program may create sessions, but not for others
    #[arg(long)]
    own_namespace: String,
}

/// What the API server says to a session.
enum Answer {
    Accepted,
    /// By a ValidatingAdmissionPolicy of the floor.
    RefusedByFloor(String),
    /// By a webhook, such as the admission policy's.
    RefusedByWebhook(String),
    /// By the CRD.
    Invalid(String),
    /// Anything else, which is no judgement of the session.
    Failed(Problem),
}

impl Sessions {
    pub async fn accepted(&self, client: &Client) -> Finding {
        match try_to_create(client, &self.namespace, "somebody@example.com").await {
            Answer::Accepted => Ok(format!("a session is accepted (as a dry run in the namespace {})", self.namespace)),
            Answer::RefusedByWebhook(why) => Ok(format!(
                "an admission webhook judges sessions, and refuses that of this test by the site's rules: {why}"
            )),
            Answer::RefusedByFloor(why) | Answer::Invalid(why) => Err(Problem::new(
                format!("a correct session is refused in the namespace {}: {why}", self.namespace),
                "upgrade the release, so that CRDs and policies have its version; or choose a namespace for desktops as the value test.namespace",
            )),
            Answer::Failed(problem) => Err(problem),
        }
    }

    pub async fn malformed(&self, client: &Client) -> Finding {
        match try_to_create(client, &self.namespace, "somebody").await {
            Answer::Invalid(_) => Ok("a session for no e-mail address is refused, by the CRD".to_owned()),
            Answer::RefusedByWebhook(_) => {
                Ok("a session for no e-mail address is refused, by an admission webhook".to_owned())
            }
            Answer::Accepted | Answer::RefusedByFloor(_) => Err(Problem::new(
                "a session for no e-mail address is not refused by the CRD",
                "the CRDs are not those of this version: upgrade the release with the value crds.install=true",
            )),
            Answer::Failed(problem) => Err(problem),
        }
    }

    pub async fn of_others(&self, client: &Client) -> Finding {
        match try_to_create(client, &self.own_namespace, "somebody@example.com").await {
            Answer::RefusedByFloor(_) => {
                Ok("a session for somebody else is refused, by the floor's ValidatingAdmissionPolicies".to_owned())
            }
            Answer::RefusedByWebhook(_) => {
                Ok("a session for somebody else is refused, by an admission webhook".to_owned())
            }
            Answer::Accepted => Err(Problem::new(
                "a session for somebody else is accepted: the ValidatingAdmissionPolicy vdi-sessions or its binding is missing",
                "users are not kept apart. Restore the floor: `helm upgrade` with the release's chart and values, or `helm rollback`",
            )),
            Answer::Invalid(why) => Err(Problem::new(
                format!("a correct session for somebody else is not judged, but found invalid: {why}"),
                "the CRDs are not those of this version: upgrade the release with the value crds.install=true",
            )),
            Answer::Failed(problem) => Err(problem),
        }
    }
}

async fn try_to_create(client: &Client, namespace: &str, user: &str) -> Answer {
    let kind = ApiResource::erase::<VDISession>(&());
    let sessions: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    match sessions.create(&dry_run, &session(&kind, user)).await {
        Ok(_) => Answer::Accepted,
        Err(kube::Error::Api(status)) => refusal(&status, namespace),
        Err(error) => Answer::Failed(Problem::new(
            format!("the API server doesn't answer: {error}"),
            "the test's pod must reach the API server: see the NetworkPolicies of this namespace",
        )),
    }
}

/// With a name that no session has.
fn session(kind: &ApiResource, user: &str) -> DynamicObject {
    let mut session = DynamicObject::new("", kind).data(json!({ "spec": { "user": user, "template": "desktop" } }));
    session.metadata.name = None;
    session.metadata.generate_name = Some("check-installation-".to_owned());
    session
}

/// What a refusal is about. Kubernetes tells the admission plugins apart in its messages alone.
fn refusal(status: &Status, namespace: &str) -> Answer {
    let message = status.message.clone();
    let failed = |remedy: &str| Answer::Failed(Problem::new(format!("no session can be tried: {message}"), remedy));
    match status.code {
        _ if message.contains("ValidatingAdmissionPolicy 'vdi-") => Answer::RefusedByFloor(message),
        _ if message.contains("admission webhook") && message.contains("denied the request") => {
            Answer::RefusedByWebhook(message)
        }
        422 => Answer::Invalid(message),
        404 if message.contains("namespaces") => {
            failed(&format!("create the namespace {namespace}, or choose another one as the value test.namespace"))
        }
        404 => failed("install the CRDs: upgrade the release with the value crds.install=true"),
        403 if message.contains("cannot create resource") => {
            failed("run `helm test`, which gives the test's pod its rights while it runs")
        }
        _ if message.contains("failed calling webhook") => {
            failed("an admission webhook doesn't answer: see whether Kubewarden's policy server is running")
        }
        _ => failed("see what in the cluster refuses it, such as a ResourceQuota or another admission policy"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the messages of Kubernetes 1.35.
    #[test]
    fn a_refusal_of_a_session_is_told_from_one_of_the_request() {
        let read = |code: u16, message: &str| {
            let status = Status { code, message: message.to_owned(), ..Status::default() };
            match refusal(&status, "default") {
                Answer::Accepted => "accepted".to_owned(),
                Answer::RefusedByFloor(_) => "floor".to_owned(),
                Answer::RefusedByWebhook(_) => "webhook".to_owned(),
                Answer::Invalid(_) => "invalid".to_owned(),
                Answer::Failed(problem) => problem.remedy,
            }
        };
        let floor = r#"vdisessions.vdi.kasm.io "a" is forbidden: ValidatingAdmissionPolicy 'vdi-sessions' with binding 'vdi-sessions' denied request: spec.user must be the requester"#;
        assert_eq!(read(403, floor), "floor");
        let other = floor.replace("'vdi-sessions'", "'no-desktops-here'");
        assert!(read(403, &other).contains("another admission policy"));
        assert_eq!(
            read(400, r#"admission webhook "vdisession.kubewarden.admission" denied the request: no"#),
            "webhook"
        );
        assert_eq!(read(422, r#"VDISession.vdi.kasm.io "a" is invalid: spec.user: Invalid value"#), "invalid");
        let lacks_right = r#"vdisessions.vdi.kasm.io is forbidden: User "system:serviceaccount:a:vdi-check" cannot create resource "vdisessions" in API group "vdi.kasm.io" in the namespace "default""#;
        assert!(read(403, lacks_right).contains("run `helm test`"));
        let broken =
            r#"Internal error occurred: failed calling webhook "vdisession.kubewarden.admission": connection refused"#;
        assert!(read(500, broken).contains("policy server"));
        assert!(read(404, "the server could not find the requested resource").contains("crds.install"));
        assert!(read(404, r#"namespaces "default" not found"#).contains("test.namespace"));
    }
}
