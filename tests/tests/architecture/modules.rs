//! Which modules of a crate use which others, from its source without its tests.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use syn::{
    Attribute, Item, ItemMod, ItemUse, Macro, UseTree, Visibility,
    spanned::Spanned as _,
    visit::{self, Visit},
};

use crate::graph::Graph;

/// A path below the crate, such as `cache::stores`; empty for its root.
type Name = Vec<String>;

#[derive(Default)]
pub struct Modules {
    files: BTreeMap<Name, PathBuf>,
    uses: Vec<Use>,
    /// The modules of the macros that the root exports, by `#[macro_export]`.
    macros: BTreeMap<String, Name>,
}

/// A path somewhere in a module.
struct Use {
    within: Name,
    path: Vec<String>,
    line: usize,
    /// The name under which the module exports it.
    exported_as: Option<String>,
}

impl Modules {
    /// Reads a crate from its `src`.
    pub fn read(src: &Path) -> anyhow::Result<Self> {
        let root = ["lib.rs", "main.rs"].map(|name| src.join(name)).into_iter().find(|path| path.is_file());
        let mut modules = Self::default();
        modules.read_file(Vec::new(), root.with_context(|| format!("no crate in {}", src.display()))?, src)?;
        Ok(modules)
    }

    fn read_file(&mut self, name: Name, path: PathBuf, children: &Path) -> anyhow::Result<()> {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let file = syn::parse_file(&text).with_context(|| path.display().to_string())?;
        let mut reader = Reader { within: &name, uses: Vec::new(), children: Vec::new(), macros: Vec::new() };
        reader.visit_file(&file);
        let Reader { uses, children: declared, macros, .. } = reader;
        self.uses.extend(uses);
        self.macros.extend(macros.into_iter().map(|exported| (exported, name.clone())));
        self.files.insert(name.clone(), path);
        for child in declared {
            let paths = [children.join(format!("{child}.rs")), children.join(&child).join("mod.rs")];
            let path = paths.into_iter().find(|path| path.is_file());
            let path = path.with_context(|| format!("no file for module {child} in {}", children.display()))?;
            let name = name.iter().chain([&child]).cloned().collect();
            self.read_file(name, path, &children.join(&child))?;
        }
        Ok(())
    }

    /// Which files use which others.
    pub fn files(&self) -> Graph {
        self.graph(|name| if name.is_empty() { "crate".to_owned() } else { name.join("::") })
    }

    /// Which top-level modules use which others, each including its submodules. The root is left out.
    pub fn top_level(&self) -> Graph {
        self.graph(|name| name.first().cloned().unwrap_or_default())
    }

    fn graph(&self, node: impl Fn(&Name) -> String) -> Graph {
        let mut graph = Graph::default();
        for used in &self.uses {
            let Some(to) = self.definition(&used.within, &used.path, 0) else { continue };
            let file = &self.files[&used.within];
            let file = file.strip_prefix(crate::workspace()).unwrap_or(file);
            let place = format!("{}:{}", file.display(), used.line);
            let (from, to) = (node(&used.within), node(&to));
            if !from.is_empty() && !to.is_empty() {
                graph.add(&from, &to, &place);
            }
        }
        graph
    }

    /// The module that defines a path's item, through re-exports; `None` if it is outside of the crate.
    fn definition(&self, within: &Name, path: &[String], depth: usize) -> Option<Name> {
        let (mut module, rest) = match path.first()?.as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (within.clone(), &path[1..]),
            "super" => {
                let ups = path.iter().take_while(|segment| *segment == "super").count();
                (within[..within.len().checked_sub(ups)?].to_vec(), &path[ups..])
            }
            child if self.files.contains_key(&joined(within, child)) => (within.clone(), path),
            _ => return None,
        };
        for (at, segment) in rest.iter().enumerate() {
            let child = joined(&module, segment);
            if self.files.contains_key(&child) {
                module = child;
                continue;
            }
            if let Some(exporter) = self.macros.get(segment).filter(|_| module.is_empty()) {
                return Some(exporter.clone());
            }
            let export =
                self.uses.iter().find(|used| used.within == module && used.exported_as.as_ref() == Some(segment));
            return match export.filter(|_| depth < 10) {
                Some(export) => {
                    let path: Vec<String> = export.path.iter().chain(&rest[at + 1..]).cloned().collect();
                    self.definition(&module, &path, depth + 1)
                }
                None => Some(module),
            };
        }
        Some(module)
    }
}

fn joined(module: &Name, child: &str) -> Name {
    module.iter().cloned().chain([child.to_owned()]).collect()
}

/// Collects what one file uses and the child modules that it declares.
struct Reader<'a> {
    within: &'a Name,
    uses: Vec<Use>,
    children: Vec<String>,
    macros: Vec<String>,
}

impl Reader<'_> {
    fn add(&mut self, path: Vec<String>, line: usize, exported_as: Option<String>) {
        self.uses.push(Use { within: self.within.clone(), path, line, exported_as });
    }

    fn add_tree(&mut self, tree: &UseTree, before: &[String], is_exported: bool) {
        let after = |name: &dyn ToString| before.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>();
        let line = tree.span().start().line;
        match tree {
            UseTree::Path(path) => self.add_tree(&path.tree, &after(&path.ident), is_exported),
            UseTree::Name(name) if name.ident == "self" => self.add(before.to_vec(), line, None),
            UseTree::Name(name) => {
                self.add(after(&name.ident), line, is_exported.then(|| name.ident.to_string()));
            }
            UseTree::Rename(rename) => {
                self.add(after(&rename.ident), line, is_exported.then(|| rename.rename.to_string()));
            }
            UseTree::Glob(_) => self.add(before.to_vec(), line, None),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(tree, before, is_exported)),
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if attributes(item).iter().any(is_test) {
            return;
        }
        if let Item::Macro(definition) = item
            && definition.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export"))
        {
            self.macros.extend(definition.ident.as_ref().map(ToString::to_string));
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        match module.content {
            None => self.children.push(module.ident.to_string()),
            Some(_) => visit::visit_item_mod(self, module),
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_tree(&item.tree, &[], !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.add(segments, path.span().start().line, None);
        }
        visit::visit_path(self, path);
    }

    /// Macros such as `format!` can hold paths anywhere.
    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        let mut paths = vec![(Vec::new(), 0)];
        flatten(call.tokens.clone(), &mut paths);
        for (path, line) in paths.into_iter().filter(|(path, _): &(Vec<String>, usize)| path.len() > 1) {
            self.add(path, line, None);
        }
    }
}

/// Appends the paths such as `a::b::c` in the tokens, with their lines.
fn flatten(tokens: proc_macro2::TokenStream, paths: &mut Vec<(Vec<String>, usize)>) {
    use proc_macro2::TokenTree;
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            TokenTree::Ident(ident) => {
                let continues = colons == 2;
                colons = 0;
                if !continues {
                    paths.push((Vec::new(), ident.span().start().line));
                }
                if let Some((path, _)) = paths.last_mut() {
                    path.push(ident.to_string());
                }
            }
            TokenTree::Group(group) => {
                colons = 0;
                paths.push((Vec::new(), 0));
                flatten(group.stream(), paths);
                paths.push((Vec::new(), 0));
            }
            _ => {
                colons = 0;
                paths.push((Vec::new(), 0));
            }
        }
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[test]`, or `#[cfg(...)]` with `test` in it.
fn is_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("test")
        || attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| {
                list.tokens.to_string().split(|c: char| !c.is_alphanumeric()).any(|word| word == "test")
            })
}

#[test]
fn uses_are_found_in_groups_exports_and_macros_and_not_in_tests() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("lib.rs", "mod a; mod b; mod c;\n#[cfg(test)] mod fixture;");
    write("a/mod.rs", "mod deep; mod wide;\npub use deep::Deep; pub use wide::Wide as Broad;");
    write("a/deep.rs", "pub struct Deep;");
    write("a/wide.rs", "pub struct Wide;\n#[cfg(test)] mod tests { use crate::c; }");
    write("b.rs", "use crate::{a::{Broad,\n Deep}};\nfn f() { println!(\"{}\", crate::c::value()) }");
    write("c.rs", "fn g(_: super::a::Deep) {}");
    let modules = Modules::read(folder.path()).unwrap();
    let graph = |graph: Graph| graph.differences(&Default::default());
    let files = graph(modules.files());
    let ends: Vec<&str> =
        files.iter().map(|line| line.split(": ").nth(1).unwrap().split(',').next().unwrap()).collect();
    let expected =
        ["a uses a::deep", "a uses a::wide", "b uses a::deep", "b uses a::wide", "b uses c", "c uses a::deep"];
    assert_eq!(ends, expected);
    assert!(files[4].contains("b.rs:3"), "{files:?}");
    assert_eq!(graph(modules.top_level()).len(), 3);
}
