//! The mermaid diagrams of ARCHITECTURE.md. A line `%% modules of NAME` or `%% crates` names a diagram.

use std::collections::{BTreeMap, BTreeSet};

pub type Arrow = (String, String);

pub struct Map(BTreeMap<String, BTreeSet<Arrow>>);

impl Map {
    /// Reads lines such as `a & b --> c --> d`.
    pub fn parse(text: &str) -> Self {
        let mut map = BTreeMap::<String, BTreeSet<Arrow>>::new();
        let mut diagram = None;
        for line in text.lines().map(str::trim) {
            if line.starts_with("```") {
                diagram = None;
            } else if let Some(title) = line.strip_prefix("%% ") {
                diagram = Some(title.strip_prefix("modules of ").unwrap_or(title).to_owned());
            } else if let Some(diagram) = &diagram {
                let sides: Vec<Vec<String>> = line.split("-->").map(names).collect();
                for pair in sides.windows(2) {
                    let arrows = pair[0].iter().flat_map(|from| pair[1].iter().map(|to| (from.clone(), to.clone())));
                    map.entry(diagram.clone()).or_default().extend(arrows);
                }
            }
        }
        Self(map)
    }

    pub fn diagrams(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The arrows of a diagram; none if there is no such diagram.
    pub fn diagram(&self, name: &str) -> BTreeSet<Arrow> {
        self.0.get(name).cloned().unwrap_or_default()
    }
}

fn names(side: &str) -> Vec<String> {
    side.split('&').map(|name| name.trim().to_owned()).collect()
}

#[test]
fn several_arrows_share_a_line() {
    let map = Map::parse("```mermaid\n%% modules of x\n  a & b --> c & d --> e\n```\nf --> g\n");
    let arrows: Vec<_> = map.diagram("x").iter().map(|(from, to)| format!("{from}{to}")).collect();
    assert_eq!(arrows, ["ac", "ad", "bc", "bd", "ce", "de"]);
}
