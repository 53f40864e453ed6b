//! The API server's reviews of tokens and of access.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};
use vdi_api::{GROUP, VERSION};

use crate::sessions::Session;

#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The reason is in the log: the API server's words are not for strangers.
    #[error("invalid token: show one that this cluster issued for this gateway's audience and that has not expired")]
    Token,
    /// The same answer for a session that doesn't exist, so that strangers can't tell the two apart.
    #[error("there is no session of that name that you may open")]
    Session,
    #[error("the API server does not answer; try again")]
    Api(#[from] kube::Error),
}

/// A user, as RBAC knows them.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    pub name: String,
    uid: Option<String>,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

/// A [TokenReview]. It fails unless the token is valid for this audience: a token for another service opens nothing
/// here.
///
/// [TokenReview]: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
pub async fn review(client: &Client, token: &str, audience: &str) -> Result<Person, AuthError> {
    let audiences = Some(vec![audience.to_owned()]);
    let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: audiences.clone() };
    let review = TokenReview { spec, ..Default::default() };
    let answer = Api::<TokenReview>::all(client.clone()).create(&PostParams::default(), &review).await?;
    let status = answer.status.unwrap_or_default();
    // An API server that does not support audiences returns none, and has not checked them.
    let is_for_us = status.audiences == audiences;
    let user = status.user.filter(|_| status.authenticated == Some(true) && is_for_us).unwrap_or_default();
    match user.username.filter(|name| !name.is_empty()) {
        Some(name) => Ok(Person {
            name,
            uid: user.uid,
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        }),
        None => {
            tracing::info!(error = status.error, audiences = ?status.audiences, "a token was rejected");
            Err(AuthError::Token)
        }
    }
}

/// A [SubjectAccessReview] for the verb `connect` on this session.
///
/// [SubjectAccessReview]: https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/subject-access-review-v1/
pub async fn may_connect(client: &Client, person: &Person, session: &Session) -> Result<bool, kube::Error> {
    let attributes = ResourceAttributes {
        group: Some(GROUP.to_owned()),
        version: Some(VERSION.to_owned()),
        resource: Some("vdisessions".to_owned()),
        verb: Some("connect".to_owned()),
        namespace: Some(session.namespace.clone()),
        name: Some(session.name.clone()),
        ..Default::default()
    };
    let Person { name, uid, groups, extra } = person.clone();
    let spec = SubjectAccessReviewSpec {
        user: Some(name),
        uid,
        groups: Some(groups),
        extra: Some(extra),
        resource_attributes: Some(attributes),
        ..Default::default()
    };
    let review = SubjectAccessReview { spec, ..Default::default() };
    let answer = Api::<SubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await?;
    let status = answer.status.unwrap_or_default();
    Ok(status.allowed && status.denied != Some(true))
}
