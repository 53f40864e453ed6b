use anyhow::Result;
use futures::AsyncBufReadExt as _;
use futures::TryStreamExt as _;
use http::{Request, header};
use serde_json::Value;

use crate::{cluster::Cluster, options::List, output::Output, table::table, words};

/// The API server makes the table, as for `kubectl get`: its columns are the CRD's, and no object can be too odd for it.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>
const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

pub async fn run(cluster: &Cluster, List { all_namespaces, watch, output }: &List) -> Result<()> {
    let path = path(cluster, *all_namespaces);
    match output.output.filter(|output| *output != Output::Wide) {
        Some(output) => print!("{}", output.print("vdisession", &cluster.get(&path).await?)?.unwrap_or_default()),
        None => {
            let columns = Columns { wide: output.output.is_some(), namespace: *all_namespaces };
            print_table(cluster, &path, columns, *watch).await?;
        }
    }
    Ok(())
}

pub fn path(cluster: &Cluster, all_namespaces: bool) -> String {
    match all_namespaces {
        true => "/apis/vdi.kasm.io/v1alpha1/vdisessions".to_owned(),
        false => format!("/apis/vdi.kasm.io/v1alpha1/namespaces/{}/vdisessions", cluster.namespace),
    }
}

async fn print_table(cluster: &Cluster, path: &str, columns: Columns, watch: bool) -> Result<()> {
    let request = Request::get(path).header(header::ACCEPT, AS_TABLE).body(Vec::new())?;
    let listed = cluster.client.request::<Value>(request).await;
    let listed = listed.map_err(|error| words::explain(error, &cluster.namespace))?;
    let (header, rows) = columns.of(&listed, &listed);
    if rows.is_empty() && !watch {
        eprintln!(
            "No desktops{}. Start one: kubectl vdi start TEMPLATE",
            if columns.namespace { String::new() } else { format!(" in namespace {}", cluster.namespace) }
        );
        return Ok(());
    }
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    print!("{}", table(&header, &rows));
    if watch {
        let version = listed["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        follow(cluster, path, columns, &listed, version).await?;
    }
    Ok(())
}

/// Prints a line for each change, as `kubectl get --watch` does.
async fn follow(cluster: &Cluster, path: &str, columns: Columns, listed: &Value, version: &str) -> Result<()> {
    let path = format!("{path}?watch=true&resourceVersion={version}");
    let request = Request::get(path).header(header::ACCEPT, AS_TABLE).body(Vec::new())?;
    let lines = cluster.client.request_stream(request).await;
    let mut lines = lines.map_err(|error| words::explain(error, &cluster.namespace))?.lines();
    while let Some(line) = lines.try_next().await? {
        let event: Value = serde_json::from_str(&line)?;
        let (header, rows) = columns.of(&event["object"], listed);
        // Without a header, but as wide as one.
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        print!("{}", table(&header, &rows).lines().skip(1).map(|line| format!("{line}\n")).collect::<String>());
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Columns {
    /// Those of lesser importance too.
    wide: bool,
    namespace: bool,
}

impl Columns {
    /// Header and rows of a table. A watch's later events have no header of their own.
    fn of(self, table: &Value, with_header: &Value) -> (Vec<String>, Vec<Vec<String>>) {
        let definitions: Vec<&Value> = with_header["columnDefinitions"].as_array().into_iter().flatten().collect();
        let shown: Vec<usize> =
            (0..definitions.len()).filter(|index| self.wide || definitions[*index]["priority"] == 0).collect();
        let name = |index: &usize| definitions[*index]["name"].as_str().unwrap_or_default().to_uppercase();
        let namespace = self.namespace.then(|| "NAMESPACE".to_owned());
        let header = namespace.into_iter().chain(shown.iter().map(name)).collect();
        let rows = table["rows"].as_array().into_iter().flatten().map(|row| {
            let namespace = &row["object"]["metadata"]["namespace"];
            let namespace = self.namespace.then(|| namespace.as_str().unwrap_or_default().to_owned());
            let cell = |index: &usize| match &row["cells"][*index] {
                Value::Null => "<none>".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            namespace.into_iter().chain(shown.iter().map(cell)).collect()
        });
        (header, rows.collect())
    }
}
