//! A graph of arrows between names, each with a place in the code that causes it.

use std::collections::{BTreeMap, BTreeSet};

use crate::map::Arrow;

#[derive(Debug, Default)]
pub struct Graph(BTreeMap<Arrow, String>);

impl Graph {
    /// `place` is a file, and a line if there is one.
    pub fn add(&mut self, from: &str, to: &str, place: &str) {
        if from != to {
            self.0.entry((from.to_owned(), to.to_owned())).or_insert_with(|| place.to_owned());
        }
    }

    fn from(&self, node: &str) -> impl Iterator<Item = &str> {
        self.0.keys().filter(move |(from, _)| from == node).map(|(_, to)| to.as_str())
    }

    /// A cycle if there is one, with one arrow per line.
    pub fn cycle(&self) -> Option<String> {
        let mut done = BTreeSet::new();
        let nodes: BTreeSet<&str> = self.0.keys().map(|(from, _)| from.as_str()).collect();
        let path = nodes.into_iter().find_map(|node| self.search(node, &mut Vec::new(), &mut done))?;
        let lines = path.windows(2).map(|pair| {
            let place = &self.0[&(pair[0].clone(), pair[1].clone())];
            format!("{place}: {} -> {}", pair[0], pair[1])
        });
        Some(lines.collect::<Vec<_>>().join("\n"))
    }

    /// Searches depth first for a path from a node back to itself.
    fn search<'a>(
        &'a self,
        node: &'a str,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        if let Some(start) = path.iter().position(|seen| *seen == node) {
            return Some(path[start..].iter().chain([&node]).map(|node| (*node).to_owned()).collect());
        }
        if !done.insert(node) {
            return None;
        }
        path.push(node);
        let cycle = self.from(node).find_map(|next| self.search(next, path, done));
        path.pop();
        cycle
    }

    /// How the code differs from the drawn arrows. A node may use whatever its arrows lead to, in one step or several.
    pub fn differences(&self, drawn: &BTreeSet<Arrow>) -> Vec<String> {
        let undrawn = self.0.iter().filter(|((from, to), _)| !is_reachable(drawn, from, to));
        let undrawn =
            undrawn.map(|((from, to), place)| format!("{place}: {from} uses {to}, which the map doesn't allow"));
        let unused = drawn.iter().filter(|arrow| !self.0.contains_key(*arrow));
        let unused = unused.map(|(from, to)| format!("{from} --> {to} is drawn, and no code uses it"));
        undrawn.chain(unused).collect()
    }
}

fn is_reachable(drawn: &BTreeSet<Arrow>, from: &str, to: &str) -> bool {
    let (mut reached, mut waiting) = (BTreeSet::new(), vec![from]);
    while let Some(node) = waiting.pop() {
        waiting.extend(
            drawn.iter().filter(|(from, next)| from == node && reached.insert(next)).map(|(_, next)| next.as_str()),
        );
    }
    reached.iter().any(|node| *node == to)
}

#[test]
fn a_cycle_is_found_with_the_places_that_cause_it() {
    let mut graph = Graph::default();
    for (from, to) in [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")] {
        graph.add(from, to, "x.rs:1");
    }
    assert_eq!(graph.cycle(), None);
    graph.add("d", "b", "d.rs:7");
    assert_eq!(graph.cycle().unwrap(), "x.rs:1: b -> c\nx.rs:1: c -> d\nd.rs:7: d -> b");
}

#[test]
fn a_use_without_an_arrow_and_an_unused_arrow_are_both_reported() {
    let mut graph = Graph::default();
    for (from, to, place) in [("a", "b", "a.rs:1"), ("b", "c", "b.rs:2"), ("a", "c", "a.rs:3"), ("c", "a", "c.rs:4")] {
        graph.add(from, to, place);
    }
    let drawn = [("a", "b"), ("b", "c"), ("d", "a")].map(|(from, to)| (from.to_owned(), to.to_owned()));
    let expected = ["c.rs:4: c uses a, which the map doesn't allow", "d --> a is drawn, and no code uses it"];
    assert_eq!(graph.differences(&drawn.into()), expected);
}
