use serde_json::Value;
use vdi_api::{Email, Invalid};

use super::rule::{Context, Field};
use crate::{
    broker,
    field::{self, refused},
    host::{Right, may},
    request::{Object, Operation, Requester},
    values::address,
};

/// Kubernetes' own controllers, under their user names with and without service account credentials. They delete the
/// contents of namespaces and the dependents of deleted objects, and rewrite objects unchanged. They never create sessions.
const KUBERNETES: &[&str] = &[
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:kube-system:namespace-controller",
    "system:serviceaccount:kube-system:storage-version-migrator-controller",
    "system:kube-controller-manager",
];

/// Whether the requester is exempt from rules about ownership, by the settings or as a part of Kubernetes.
pub fn is_exempt(requester: &Requester, context: &Context) -> bool {
    let is_new = matches!(context.request.operation, Operation::Create { .. });
    context.site.identity.is_exempt(requester) || (!is_new && KUBERNETES.contains(&requester.name))
}

/// An update may neither take over a session nor give it away: the old and the new user must be the requester.
pub fn owner_or_delegate(field: &Field, context: &Context) -> Result<(), Invalid> {
    // A background audit has no requester. The rule was checked when the session was created.
    let Some(requester) = &context.request.requester else { return Ok(()) };
    if is_exempt(requester, context) && !context.request.is_brokered {
        return Ok(());
    }
    let email = email_of(requester, context);
    let is_requester = |owner: Option<&Value>| match (owner.and_then(Value::as_str), &email) {
        (Some(owner), Some(email)) => owner.parse::<Email>().is_ok_and(|owner| owner.is_same_person(email)),
        _ => false,
    };
    let users = [field.old, context.request.object().map(|_| field.value)];
    let Some(other) = users.into_iter().flatten().find(|user| !is_requester(*user)) else { return Ok(()) };
    if context.request.is_brokered {
        let who = Invalid::text(requester.name, "").found;
        return Err(refused(
            other,
            &format!("{who}, for whom the gateway writes: it acts for nobody on others' sessions"),
        ));
    }
    let may = |right| may(context.host, requester, right, context.request.namespace);
    let asked = may(Right::AssignUser);
    if asked == Ok(true) || changes_its_time_alone(context) && may(Right::Extend) == Ok(true) {
        return Ok(());
    }
    let who = match &email {
        Some(email) => format!("{:?}, the requester", email.as_str()),
        None => format!("nobody: the requester, {}, is not an e-mail address", Invalid::text(requester.name, "").found),
    };
    let mut allowed = format!("{who}; acting for others requires the verb assign-user on vdisessions");
    if let Err(why) = asked {
        allowed += &format!(", and whether RBAC grants it could not be determined: {why}");
    }
    Err(refused(other, &allowed))
}

/// Only a broker says whom it acts for: anybody else could borrow another person's groups. What is there may stay or go.
pub fn no_claims(_: &Field, context: &Context) -> Result<(), Invalid> {
    if context.request.is_brokered {
        return Ok(());
    }
    match broker::claim(context.object, context.request.old()) {
        None => Ok(()),
        Some((annotation, claimed)) => {
            let found = format!("{annotation}: {}", refused(Some(claimed), "").found);
            Err(Invalid::value(found, "what was there; only the gateway says for whom it writes"))
        }
    }
}

/// Whether the update changes `spec.timeout` and nothing else that users write.
fn changes_its_time_alone(context: &Context) -> bool {
    let Operation::Update { old, .. } = context.request.operation else { return false };
    let spec = |session: &Object| {
        let mut spec = session.get("spec").cloned();
        spec.as_mut().and_then(Value::as_object_mut).map(|spec| spec.remove("timeout"));
        spec
    };
    let metadata =
        ["labels", "annotations", "finalizers", "ownerReferences"].map(|member| format!("metadata.{member}"));
    spec(context.object) == spec(old)
        && metadata.iter().all(|path| field::at(context.object, path) == field::at(old, path))
}

/// The requester's e-mail address, if the user name is one.
fn email_of(requester: &Requester, context: &Context) -> Option<Email> {
    let prefix = context.site.identity.username_prefix.as_deref().unwrap_or_default();
    requester.name.strip_prefix(prefix).and_then(address::parse)
}
