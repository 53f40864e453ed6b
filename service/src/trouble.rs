//! What the API server's errors mean for whoever has to do something about them. The same trouble has the same words each time.

use std::error::Error;

use kube::{Resource, core::Status, runtime::watcher};

/// Why objects of this kind can't be watched.
pub fn of_watch<K: Resource<DynamicType = ()>>(error: &watcher::Error) -> String {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status)) if status.code == 404 => not_served::<K>(),
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => of_request(error),
        WatchError(status) => refused(status),
        NoResourceVersion => error.to_string(),
    }
}

/// Why a request failed.
pub fn of_request(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => refused(status),
        error => format!("the API server can't be reached: {}", innermost(error)),
    }
}

fn not_served<K: Resource<DynamicType = ()>>() -> String {
    let (plural, group) = (K::plural(&()), K::group(&()));
    format!("the CRD {plural}.{group} is not installed; it is part of vdiwarden's Helm chart and of its install.yaml")
}

fn refused(status: &Status) -> String {
    let Status { code, message, .. } = status;
    match code {
        401 => format!("the API server does not accept this program's credentials: {message}"),
        // Its words name the user, the verb and the resource.
        403 => format!("{message}; vdiwarden's Helm chart and its install.yaml have the roles that allow it"),
        _ => format!("the API server answers {code}: {message}"),
    }
}

/// The cause that says something: the errors around it are only which step failed.
fn innermost(error: &dyn Error) -> &dyn Error {
    error.source().map_or(error, innermost)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn answer(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status { code, message: message.to_owned(), ..Status::default() }))
    }

    #[test]
    fn each_trouble_says_what_lacks_and_what_to_do() {
        let list = |code, message| of_watch::<Pod>(&watcher::Error::InitialListFailed(answer(code, message)));
        assert!(list(404, "the server could not find it").starts_with("the CRD pods. is not installed; it is part of"));
        assert!(
            list(403, "pods is forbidden: X cannot list").starts_with("pods is forbidden: X cannot list; vdiwarden's")
        );
        assert!(list(401, "Unauthorized").contains("credentials"));
        assert_eq!(list(500, "etcd is away"), "the API server answers 500: etcd is away");
        let gone = watcher::Error::WatchStartFailed(answer(404, "gone"));
        assert_eq!(of_watch::<Pod>(&gone), "the API server answers 404: gone");
        let refused = kube::Error::Service(Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)));
        assert_eq!(of_request(&refused), "the API server can't be reached: connection refused");
    }
}
