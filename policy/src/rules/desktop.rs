//! Rules for VDITemplates. An absent field has a default in the CRD, and breaks no rule.

use serde_json::Value;
use vdi_api::{Cidr, Invalid, METADATA_ADDRESSES, Memory};

use super::rule::{Context, Field};
use crate::{
    field::{self, FromJson, refused},
    values::{domain::is_domain, image::Image},
};

pub fn image(field: &Field, context: &Context) -> Result<(), Invalid> {
    let image = read_image(field)?;
    let registries = &context.site.images.registries;
    if registries.is_empty() || registries.iter().any(|registry| registry.contains(&image.repository)) {
        return Ok(());
    }
    let registries: Vec<_> = registries.iter().map(ToString::to_string).collect();
    Err(refused(field.value, &format!("an image from {}", registries.join(", "))))
}

pub fn image_digest(field: &Field, _: &Context) -> Result<(), Invalid> {
    match read_image(field) {
        // A malformed image is for the other rule.
        Err(_) => Ok(()),
        Ok(image) if image.has_digest => Ok(()),
        Ok(_) => Err(refused(field.value, "an image pinned by its digest, as in ubuntu@sha256:...")),
    }
}

fn read_image(field: &Field) -> Result<Image, Invalid> {
    field::parse(field.value, Image::ALLOWED, |text| Image::parse(text).ok())
}

pub fn privileges(field: &Field, context: &Context) -> Result<(), Invalid> {
    let Some(value) = field.value else { return Ok(()) };
    match field.path {
        "spec.securityProfile" => match value.as_str() {
            Some("restricted" | "baseline") => Ok(()),
            _ => Err(refused(Some(value), "restricted or baseline")),
        },
        "spec.gpu.resourceName" => {
            field::parse(Some(value), EXTENDED_RESOURCE, |name| is_extended_resource(name).then_some(()))
        }
        "spec.gpu.tolerations" => {
            let tolerations = value.as_array().ok_or_else(|| refused(Some(value), "a list of tolerations"))?;
            let wrong = tolerations.iter().find(|toleration| tolerates_too_much(toleration));
            wrong.map_or(Ok(()), |toleration| Err(Invalid::value(toleration_text(toleration), TOLERATION)))
        }
        "spec.runAsUser" => {
            let user = value.as_u64().ok_or_else(|| refused(Some(value), "a numeric user ID"))?;
            let profile = field::at(context.object, "spec.securityProfile").and_then(Value::as_str);
            match user {
                0 if profile != Some("baseline") => {
                    Err(refused(Some(value), "a user other than root, or the securityProfile baseline"))
                }
                _ => Ok(()),
            }
        }
        "spec.podLabels" => {
            no_key(value, "pod labels", is_reserved, "labels other than app.kubernetes.io/... and vdi.kasm.io/...")
        }
        "spec.home.mountPath" => field::parse(Some(value), MOUNT_PATH, |path| is_place_for_a_home(path).then_some(())),
        "spec.network.egress" => {
            let list = value.as_array().ok_or_else(|| refused(Some(value), "a list of networks"))?;
            let cidrs = list.iter().map(|reachable| reachable.get("cidr"));
            cidrs.into_iter().try_for_each(|cidr| field::parse(cidr, NETWORK, |text| is_network(text).then_some(())))
        }
        _ => no_key(value, "node labels", is_control_plane, "labels of worker nodes"),
    }
}

fn no_key(value: &Value, what: &str, is_wrong: fn(&str) -> bool, allowed: &str) -> Result<(), Invalid> {
    let labels = value.as_object().ok_or_else(|| refused(Some(value), what))?;
    let wrong = labels.keys().find(|key| is_wrong(key));
    wrong.map_or(Ok(()), |key| Err(Invalid::text(key, allowed)))
}

/// Whether the controller and the network policies identify desktops by this label.
fn is_reserved(key: &str) -> bool {
    key.starts_with("app.kubernetes.io/") || key.starts_with("vdi.kasm.io/")
}

const MOUNT_PATH: &str = "a plain absolute path below /home, /root, /config, /data, /mnt, /opt, /srv or /var/lib, or one of the first four itself";

/// A volume over `/etc` or `/usr` would let one session replace programs of the next.
fn is_place_for_a_home(path: &str) -> bool {
    let itself = ["/root", "/config", "/data", "/home"];
    let above = ["/home/", "/root/", "/config/", "/data/", "/mnt/", "/opt/", "/srv/", "/var/lib/"];
    is_path(path)
        && !path.ends_with('/')
        && !path.contains(['?', ':'])
        && (itself.contains(&path) || above.iter().any(|above| path.starts_with(above)))
}

const NETWORK: &str = "a network such as 10.20.0.0/16, not link-local, and without a cloud metadata service";

fn is_network(text: &str) -> bool {
    let is_link_local = |network: &Cidr| {
        ["169.254.0.0/16", "fe80::/10"].iter().filter_map(|it| it.parse::<Cidr>().ok()).any(|it| it.overlaps(network))
    };
    let has_metadata = |network: &Cidr| METADATA_ADDRESSES.iter().any(|address| network.contains(*address));
    text.parse::<Cidr>().is_ok_and(|network| !is_link_local(&network) && !has_metadata(&network))
}

const EXTENDED_RESOURCE: &str =
    "an extended resource such as nvidia.com/gpu: a domain other than kubernetes.io, a slash and a name";
const TOLERATION: &str = "tolerations with a key, except the keys of the control plane and of Kubernetes' own taints";

/// [Extended resources] are outside the domain that Kubernetes reserves for itself.
///
/// [Extended resources]: https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#extended-resources
fn is_extended_resource(name: &str) -> bool {
    let is_inner = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    name.split_once('/').is_some_and(|(domain, name)| {
        is_domain(domain)
            && domain != "kubernetes.io"
            && !domain.ends_with(".kubernetes.io")
            && (1..=63).contains(&name.len())
            && name.bytes().all(is_inner)
            && name.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric())
            && name.bytes().last().is_some_and(|c| c.is_ascii_alphanumeric())
    })
}

/// Without a key it tolerates every taint. The taints of kubernetes.io mark nodes that are going away or belong to the control
/// plane.
fn tolerates_too_much(toleration: &Value) -> bool {
    match toleration.get("key").and_then(Value::as_str) {
        None | Some("") => true,
        Some(key) => is_control_plane(key) || key.starts_with("node.kubernetes.io/"),
    }
}

fn is_control_plane(key: &str) -> bool {
    matches!(
        key,
        "node-role.kubernetes.io/control-plane" | "node-role.kubernetes.io/master" | "node-role.kubernetes.io/etcd"
    )
}

fn toleration_text(toleration: &Value) -> String {
    match toleration.get("key").and_then(Value::as_str) {
        None | Some("") => "a toleration without a key, which tolerates every taint".to_owned(),
        Some(key) => Invalid::text(key, "").found,
    }
}

pub fn shared_memory(field: &Field, context: &Context) -> Result<(), Invalid> {
    let Some(value) = field.value else { return Ok(()) };
    let shared = Memory::from_json(Some(value))?;
    let name = field::at(context.object, "metadata.name").and_then(Value::as_str);
    let range = context.site.ranges(name, context.request.requester.as_ref()).memory;
    let default = range.and_then(|range| range.default.as_ref()).and_then(Value::as_str).unwrap_or(Memory::DEFAULT);
    let memory: Memory = default.parse()?;
    if shared < memory {
        return Ok(());
    }
    let allowed = format!("less than {default}, the default memory of a session: /dev/shm counts against it");
    Err(refused(Some(value), &allowed))
}

pub fn endpoint(field: &Field, _: &Context) -> Result<(), Invalid> {
    match field.path {
        "spec.port" => match field.value.and_then(Value::as_u64) {
            Some(1..=65_535) => Ok(()),
            _ => Err(refused(field.value, "a port from 1 to 65535")),
        },
        _ => {
            let Some(value) = field.value else { return Ok(()) };
            field::parse(Some(value), PATH, |path| is_path(path).then_some(()))
        }
    }
}

const PATH: &str =
    "an absolute path such as /healthz, of printable ASCII without spaces or .., at most 1024 characters";

fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= 1024
        && path.bytes().all(|c| c.is_ascii_graphic())
        && !path.split(['/', '?']).any(|segment| segment == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_extended_resources_outside_kubernetes_own_domain() {
        for name in ["nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "amd.com/gpu", "gpu.intel.com/xe"] {
            assert!(is_extended_resource(name), "{name}");
        }
        for name in [
            "",
            "cpu",
            "memory",
            "hugepages-2Mi",
            "kubernetes.io/x",
            "a.kubernetes.io/x",
            "nvidia.com/",
            "/gpu",
            "nvidia.com/-",
            "nvidia.com/gpu/x",
        ] {
            assert!(!is_extended_resource(name), "{name}");
        }
    }

    #[test]
    fn a_home_is_mounted_where_nothing_of_the_system_is() {
        for path in ["/home/alice", "/home", "/config", "/root", "/data/x", "/var/lib/desktop"] {
            assert!(is_place_for_a_home(path), "{path}");
        }
        for path in [
            "",
            "/",
            "/etc",
            "/usr/bin",
            "/dev/shm",
            "/proc",
            "/home/",
            "/home/../etc",
            "/var",
            "/opt",
            "/homes",
            "home",
        ] {
            assert!(!is_place_for_a_home(path), "{path}");
        }
    }

    #[test]
    fn networks_with_metadata_services_in_them_are_refused() {
        for network in ["10.0.0.0/8", "192.168.7.1/32", "169.253.0.0/16", "168.63.128.0/24", "fd00:20::/32", "2000::/3"]
        {
            assert!(is_network(network), "{network}");
        }
        for network in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "0.0.0.0/0",
            "169.254.0.0/16",
            "169.254.169.254/32",
            "168.0.0.0/6",
            "168.63.0.0/16",
            "100.64.0.0/10",
            "192.0.0.0/24",
            "fd00::/8",
            "fd00:ec2::254/128",
            "fd20:ce::/32",
            "::ffff:169.254.169.254/128",
            "::ffff:0.0.0.0/96",
            "::/0",
            "fe80::1/128",
            "fc00::/6",
            "x/8",
        ] {
            assert!(!is_network(network), "{network}");
        }
    }

    #[test]
    fn no_metadata_address_can_be_opened_by_whichever_network_it_is_in() {
        for address in METADATA_ADDRESSES {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            for length in 0..=bits {
                assert!(!is_network(&format!("{address}/{length}")), "{address}/{length}");
            }
        }
    }

    #[test]
    fn a_probes_path_is_plain() {
        assert!(is_path("/") && is_path("/healthz?x=1") && is_path("/a/b.c/..d"));
        for path in
            ["", "healthz", "//evil.example", "/a b", "/..", "/a/../b", "/ä", "/a\n", &format!("/{}", "a".repeat(1024))]
        {
            assert!(!is_path(path), "{path:?}");
        }
    }
}
