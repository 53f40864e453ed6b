//! Checks the code against the map in ARCHITECTURE.md: which crates and modules may use which others. Files must not use each
//! other in a cycle.

mod crates;
mod graph;
mod map;
mod modules;

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Result, ensure};
use graph::Graph;
use map::Map;
use modules::Modules;

fn workspace() -> &'static Path {
    vdi_tests::workspace()
}

#[test]
fn no_files_of_a_crate_use_each_other_in_a_cycle() -> Result<()> {
    check_for_cycles(Modules::files)
}

#[test]
fn no_modules_of_a_crate_use_each_other_in_a_cycle() -> Result<()> {
    check_for_cycles(Modules::top_level)
}

#[test]
fn crates_depend_on_each_other_as_the_map_says() -> Result<()> {
    compare("crates", &crates::dependencies(workspace())?)
}

#[test]
fn modules_use_each_other_as_the_map_says() -> Result<()> {
    let map = read_map()?;
    let drawn: BTreeSet<&str> = map.diagrams().filter(|name| *name != "crates").collect();
    assert_eq!(drawn, BTreeSet::from(["controller", "gateway", "planner", "policy"]));
    drawn.into_iter().try_for_each(|name| compare(name, &modules(name)?.top_level()))
}

fn check_for_cycles(graph: fn(&Modules) -> Graph) -> Result<()> {
    let mut cycles = Vec::new();
    for name in crates::all(workspace())? {
        cycles.extend(graph(&modules(&name)?).cycle());
    }
    ensure!(cycles.is_empty(), "\n{}\nMove the shared code into a file below both.", cycles.join("\n\n"));
    Ok(())
}

fn compare(diagram: &str, code: &Graph) -> Result<()> {
    let differences = code.differences(&read_map()?.diagram(diagram));
    ensure!(differences.is_empty(), "ARCHITECTURE.md, diagram of {diagram}:\n{}", differences.join("\n"));
    Ok(())
}

fn modules(name: &str) -> Result<Modules> {
    Modules::read(&workspace().join(name).join("src"))
}

fn read_map() -> Result<Map> {
    Ok(Map::parse(&fs::read_to_string(workspace().join("ARCHITECTURE.md"))?))
}
