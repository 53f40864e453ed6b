//! Image names, parsed as container runtimes parse them.

use std::fmt;

use serde_json::Value;
use vdi_api::Invalid;

use crate::{
    field::{FromJson, parse},
    setting::{Shape, scalars},
};

/// `[registry/]path[:tag][@digest]`, following the [grammar] of the distribution project.
///
/// [grammar]: https://pkg.go.dev/github.com/distribution/reference
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub repository: Repository,
    /// Whether a digest pins the image.
    pub has_digest: bool,
}

/// A registry and the path in it: `docker.io/library/debian`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository(String);

impl Image {
    pub const ALLOWED: &str =
        "an image such as registry.example.com/desktops/ubuntu:24.04, optionally with @sha256:...";

    /// # Errors
    /// When a container runtime could not parse it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        read(text).ok_or_else(|| Invalid::text(text, Self::ALLOWED))
    }
}

impl Repository {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_host(text: &str) -> bool {
        let (host, port) = text.rsplit_once(':').unwrap_or((text, "443"));
        let is_inner = |c: u8| c.is_ascii_alphanumeric() || b"-.".contains(&c);
        let is_label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
        host.len() <= 253
            && host.bytes().all(is_inner)
            && host.split('.').all(is_label)
            && port.bytes().all(|c| c.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    }

    pub fn is_path(text: &str) -> bool {
        text.len() <= 255 && text.split('/').all(is_component)
    }
}

/// Letters and digits, with one `.`, one or two `_`, or any number of `-` in between.
fn is_component(text: &str) -> bool {
    let is_alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_separator = |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|c| c == b'-');
    text.bytes().next().is_some_and(is_alphanumeric)
        && text.bytes().last().is_some_and(is_alphanumeric)
        && separators.into_iter().all(is_separator)
}

fn read(text: &str) -> Option<Image> {
    let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
    // A colon after the last slash starts a tag; one before it starts a port.
    let name_start = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[name_start..].split_once(':') {
        Some((name, tag)) => (&rest[..name_start + name.len()], Some(tag)),
        None => (rest, None),
    };
    let valid = tag.is_none_or(is_tag) && digest.is_none_or(is_digest);
    valid.then(|| repository(name)).flatten().map(|repository| Image { repository, has_digest: digest.is_some() })
}

/// A name without a registry means Docker Hub, as for Docker, containerd and the kubelet.
fn repository(name: &str) -> Option<Repository> {
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path.to_owned()),
        Some(_) => ("docker.io", name.to_owned()),
        None => ("docker.io", format!("library/{name}")),
    };
    let host = host.to_ascii_lowercase();
    let host = if host == "index.docker.io" { "docker.io" } else { &host };
    (Repository::is_host(host) && Repository::is_path(&path)).then(|| Repository(format!("{host}/{path}")))
}

fn is_tag(text: &str) -> bool {
    let is_inner = |c: u8| c.is_ascii_alphanumeric() || b"_.-".contains(&c);
    (1..=128).contains(&text.len()) && text.bytes().all(is_inner) && !text.starts_with(['.', '-'])
}

fn is_digest(text: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    match text.split_once(':') {
        Some(("sha256", hex)) => hex.len() == 64 && is_hex(hex),
        Some(("sha512", hex)) => hex.len() == 128 && is_hex(hex),
        _ => false,
    }
}

/// A registry, optionally with a path prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry(String);

impl Registry {
    const ALLOWED: &str =
        "a registry such as registry.example.com, optionally with a path prefix, as in docker.io/library";

    pub fn contains(&self, repository: &Repository) -> bool {
        let rest = repository.as_str().strip_prefix(&self.0);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromJson for Registry {
    fn from_json(value: Option<&Value>) -> Result<Self, Invalid> {
        parse(value, Self::ALLOWED, |text| {
            let (host, path) = text.split_once('/').unwrap_or((text, "x"));
            let valid = Repository::is_host(host) && Repository::is_path(path);
            valid.then(|| Self(text.replacen(host, &host.to_ascii_lowercase(), 1)))
        })
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

scalars! {
    Registry: Shape::Text(Registry::ALLOWED),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_registry_is_docker_hubs() {
        for (text, repository) in [
            ("debian", "docker.io/library/debian"),
            ("kasmweb/desktop:1.17", "docker.io/kasmweb/desktop"),
            ("index.docker.io/kasmweb/desktop", "docker.io/kasmweb/desktop"),
            ("localhost/a", "localhost/a"),
            ("localhost:5000/a:b", "localhost:5000/a"),
            ("Registry.Example.com/a/b__c/d-e.f:V1_0-x.y", "registry.example.com/a/b__c/d-e.f"),
            ("10.0.0.1:5000/a", "10.0.0.1:5000/a"),
        ] {
            let image = Image::parse(text).unwrap();
            assert_eq!((image.repository.as_str(), image.has_digest), (repository, false), "{text}");
        }
        for pinned in ["0a".repeat(32), "f9".repeat(64)] {
            let pinned = format!("a.example/b:1@sha{}:{pinned}", pinned.len() * 4);
            assert!(Image::parse(&pinned).unwrap().has_digest, "{pinned}");
        }
    }

    #[test]
    fn what_no_runtime_can_read_is_refused() {
        let (short, upper) = ("a@sha256:0a".to_owned(), format!("a@sha256:{}", "0A".repeat(32)));
        let (md5, word) = (format!("a@md5:{}", "0".repeat(32)), format!("a@sha512:{}", "word".repeat(32)));
        let (long_tag, long_path) = (format!("a:{}", "t".repeat(129)), format!("a.b/{}", "p".repeat(256)));
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a/B",
            "a:",
            "a:-b",
            "a:b:c",
            "a@",
            "a b",
            " a",
            "a\n",
            "https://a.b/c",
            "a_.b/c",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a.b:0/c",
            "a.b:65536/c",
            "a.b:x/c",
            "a.b:/c",
            ".a/b",
            "a.-b.c/d",
            "ä",
            "a@sha256",
            &short,
            &upper,
            &md5,
            &word,
            "a@sha512:0a",
            &long_tag,
            &long_path,
        ] {
            assert!(Image::parse(text).is_err(), "{text:?}");
        }
    }
}
