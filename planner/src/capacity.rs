//! How many GPUs are free for a template's desktops, from what the nodes offer and what the pods on them hold.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Taint, Toleration},
    apimachinery::pkg::apis::meta::v1::Time,
};
use vdi_api::Capacity;

use crate::model::{GpuSource, Template};

/// A node, as far as it matters for whether desktops may run on it.
pub struct Node<'a> {
    pub name: &'a str,
    pub labels: &'a BTreeMap<String, String>,
    pub taints: &'a [Taint],
    /// What it offers, as quantities by resource.
    pub allocatable: &'a BTreeMap<String, String>,
}

/// A pod that has a node and hasn't ended.
pub struct Holder<'a> {
    pub node: &'a str,
    /// How much of each extended resource it holds.
    pub devices: &'a [(String, i64)],
    /// When it ends by itself, where it is a desktop and that is known.
    pub until: Option<Timestamp>,
}

/// What all nodes have and all pods hold, at one moment.
pub struct Supply<'a> {
    nodes: Vec<Node<'a>>,
    held: HashMap<(&'a str, &'a str), Held>,
}

#[derive(Default)]
struct Held {
    count: i64,
    /// The earliest end of those who hold it.
    until: Option<Timestamp>,
}

impl<'a> Supply<'a> {
    pub fn new(nodes: Vec<Node<'a>>, holders: impl IntoIterator<Item = Holder<'a>>) -> Self {
        let mut held = HashMap::<_, Held>::new();
        for Holder { node, devices, until } in holders {
            for (resource, count) in devices {
                let held = held.entry((node, resource.as_str())).or_default();
                held.count = held.count.saturating_add(*count);
                held.until = held.until.into_iter().chain(until).min();
            }
        }
        Self { nodes, held }
    }

    /// What a new session of the template would find, behind `waiting` others.
    pub fn capacity(&self, template: &Template, waiting: i64) -> Capacity {
        let unknown = Capacity { waiting, ..Capacity::default() };
        let GpuSource::ExtendedResource(resource) = &template.gpu else { return unknown };
        let (mut gpus, mut free, mut until) = (0_i64, 0_i64, None);
        for node in self.nodes.iter().filter(|node| node.accepts(template)) {
            let Some(offered) = node.offers(resource) else { return unknown };
            let held = self.held.get(&(node.name, resource));
            gpus = gpus.saturating_add(offered);
            // A device that has failed is no longer offered, and may still be held.
            free = free.saturating_add(offered.saturating_sub(held.map_or(0, |held| held.count)).max(0));
            until = until.into_iter().chain(held.and_then(|held| held.until)).min();
        }
        let next_free = until.filter(|_| free == 0).map(Time);
        Capacity { gpus: Some(gpus), free: Some(free), next_free, ..unknown }
    }
}

impl Node<'_> {
    /// As the scheduler sees it. A node that is cordoned or not ready has a taint that says so.
    fn accepts(&self, template: &Template) -> bool {
        let is_selected = template.node_selector.iter().all(|(key, value)| self.labels.get(key) == Some(value));
        // PreferNoSchedule is no more than a wish.
        let mut taints = self.taints.iter().filter(|taint| matches!(&*taint.effect, "NoSchedule" | "NoExecute"));
        is_selected && taints.all(|taint| template.tolerations.iter().any(|toleration| tolerates(toleration, taint)))
    }

    /// `None` if it is no whole number.
    fn offers(&self, resource: &str) -> Option<i64> {
        self.allocatable.get(resource).map_or(Some(0), |amount| whole(amount))
    }
}

/// A [quantity] of devices. Kubernetes writes 2000 as `2k`. `None` if it is no whole number.
///
/// [quantity]: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
pub fn whole(amount: &str) -> Option<i64> {
    let (digits, unit) = match amount.strip_suffix('k') {
        Some(thousands) => (thousands, 1000),
        None => (amount, 1),
    };
    digits.parse::<i64>().ok().filter(|count| *count >= 0)?.checked_mul(unit)
}

/// [As Kubernetes matches them]. An operator of a newer version tolerates nothing: better too few GPUs are shown than too many.
///
/// [As Kubernetes matches them]: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let Toleration { effect, key, operator, value, .. } = toleration;
    let is_or_any =
        |wanted: &Option<String>, there: &str| wanted.as_deref().is_none_or(|it| it.is_empty() || it == there);
    let value_matches = match operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default(),
        Some(_) => false,
    };
    is_or_any(effect, &taint.effect) && is_or_any(key, &taint.key) && value_matches
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::fixture::{noon, template};

    const GPU: &str = "nvidia.com/gpu";

    struct Machine {
        name: &'static str,
        labels: BTreeMap<String, String>,
        taints: Vec<Taint>,
        allocatable: BTreeMap<String, String>,
    }

    impl Machine {
        /// One that the template's selector matches.
        fn new(name: &'static str, gpus: &str) -> Self {
            let strings = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
            Self { name, labels: strings("gpu", "yes"), taints: Vec::new(), allocatable: strings(GPU, gpus) }
        }

        fn tainted(mut self, key: &str, value: &str, effect: &str) -> Self {
            let value = Some(value.to_owned()).filter(|value| !value.is_empty());
            self.taints.push(Taint { key: key.to_owned(), value, effect: effect.to_owned(), time_added: None });
            self
        }
    }

    /// Pods by node: how many GPUs, and in how many minutes they end.
    fn capacity(
        machines: &[Machine],
        pods: &[(&str, i64, Option<i64>)],
        template: &Template,
        waiting: i64,
    ) -> Capacity {
        let nodes = machines.iter().map(|Machine { name, labels, taints, allocatable }| Node {
            name,
            labels,
            taints,
            allocatable,
        });
        let devices: Vec<_> = pods.iter().map(|(_, gpus, _)| [(GPU.to_owned(), *gpus)]).collect();
        let holders = pods.iter().zip(&devices).map(|((node, _, minutes), devices)| Holder {
            node,
            devices,
            until: minutes.map(|minutes| noon() + SignedDuration::from_mins(minutes)),
        });
        Supply::new(nodes.collect(), holders).capacity(template, waiting)
    }

    fn known(free: i64, gpus: i64) -> Capacity {
        Capacity { gpus: Some(gpus), free: Some(free), waiting: 0, next_free: None }
    }

    #[test]
    fn what_no_pod_holds_is_free() {
        let machines = [Machine::new("a", "4"), Machine::new("b", "4")];
        assert_eq!(capacity(&machines, &[], &template(), 0), known(8, 8));
        let pods = [("a", 1, Some(10)), ("a", 2, None), ("b", 2, Some(5)), ("gone", 8, Some(1))];
        assert_eq!(capacity(&machines, &pods, &template(), 0), known(3, 8));
        assert_eq!(capacity(&[], &[], &template(), 0), known(0, 0));
    }

    #[test]
    fn while_none_is_free_the_earliest_end_of_a_desktop_that_holds_some_is_told() {
        let machines = [Machine::new("a", "2"), Machine::new("b", "1")];
        let until =
            |pods: &[_]| capacity(&machines, pods, &template(), 2).next_free.map(|time| time.0.duration_since(noon()));
        let minutes = |minutes| Some(SignedDuration::from_mins(minutes));
        assert_eq!(until(&[("a", 1, Some(10)), ("a", 1, None), ("b", 1, Some(7))]), minutes(7));
        assert_eq!(until(&[("a", 1, Some(10)), ("b", 1, Some(7))]), None, "one is free");
        assert_eq!(until(&[("a", 2, None), ("b", 1, None)]), None, "nobody knows");
        assert_eq!(until(&[("a", 2, Some(9)), ("b", 1, None), ("gone", 1, Some(1))]), minutes(9), "on other nodes");
    }

    #[test]
    fn a_node_with_fewer_gpus_than_are_held_takes_nothing_from_others() {
        let machines = [Machine::new("a", "1"), Machine::new("b", "4")];
        assert_eq!(capacity(&machines, &[("a", 3, None)], &template(), 0), known(4, 5));
    }

    #[test]
    fn only_nodes_that_accept_the_desktops_count() {
        let elsewhere = Machine { labels: BTreeMap::new(), ..Machine::new("elsewhere", "8") };
        let machines = [
            Machine::new("plain", "1"),
            elsewhere,
            Machine::new("dedicated", "2").tainted("gpu", "desktops", "NoSchedule"),
            Machine::new("cordoned", "4").tainted("node.kubernetes.io/unschedulable", "", "NoSchedule"),
            Machine::new("lost", "16").tainted("node.kubernetes.io/unreachable", "", "NoExecute"),
            Machine::new("unloved", "32").tainted("old", "", "PreferNoSchedule"),
        ];
        let total = |tolerations: Vec<Toleration>| {
            capacity(&machines, &[], &Template { tolerations, ..template() }, 0).gpus.unwrap()
        };
        let toleration = |key: &str, operator: &str, value: &str, effect: &str| {
            let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            vec![Toleration {
                key: text(key),
                operator: text(operator),
                value: text(value),
                effect: text(effect),
                toleration_seconds: None,
            }]
        };
        assert_eq!(total(Vec::new()), 33);
        assert_eq!(total(toleration("gpu", "", "desktops", "")), 35);
        assert_eq!(total(toleration("gpu", "Equal", "training", "")), 33);
        assert_eq!(total(toleration("gpu", "Exists", "", "NoSchedule")), 35);
        assert_eq!(total(toleration("gpu", "Exists", "", "NoExecute")), 33);
        assert_eq!(total(toleration("gpu", "Gt", "1", "")), 33, "an operator that isn't known");
        assert_eq!(total(toleration("", "Exists", "", "")), 55, "of all that is selected");
    }

    #[test]
    fn what_cannot_be_counted_is_unknown_and_how_many_wait_is_told_all_the_same() {
        let unknown = Capacity { waiting: 2, ..Capacity::default() };
        let claims = Template { gpu: GpuSource::ClaimTemplate("one-gpu".to_owned()), ..template() };
        assert_eq!(capacity(&[Machine::new("a", "1")], &[], &claims, 2), unknown);
        assert_eq!(capacity(&[Machine::new("a", "many")], &[], &template(), 2), unknown);
        assert_eq!(capacity(&[Machine::new("a", "-1")], &[], &template(), 2), unknown);
        assert_eq!(capacity(&[Machine::new("a", "2k")], &[("a", 500, None)], &template(), 0), known(1500, 2000));
    }
}
