//! `cargo xtask demo`: one desktop, end to end.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kube::Api;
use vdi_api::VDISession;
use vdi_cluster::{RealNode, RealNodeOptions, SimulatedNodes, User};
use vdi_tests::{
    browser::Browser,
    desktop, setup,
    stack::{DESKTOPS, Settings, Stack, alice},
    step, target, workspace,
};

use crate::{follow::follow, stop::Stop};

#[derive(clap::Args)]
pub struct Options {
    /// Open the desktop in headless Chromium, check that it is drawn, save the picture to target/demo.png, and end
    #[arg(long)]
    check: bool,

    /// Simulate the nodes: needs neither root nor a browser, and there is no desktop to see
    #[arg(long)]
    simulated: bool,
}

const SESSION: &str = "alice-desktop";

/// What is up while the demo is. Dropping it takes everything down.
struct Demo {
    // The nodes go first: their pods are processes on this machine.
    _nodes: Box<dyn Send>,
    stack: Stack,
    url: String,
}

pub async fn run(options: &Options) -> Result<()> {
    if let Some(why) = setup::why_no_real_node().filter(|_| !options.simulated) {
        bail!("{why}; `cargo xtask demo --simulated` works without");
    }
    let directory = target().join("clusters/demo");
    let where_to_look = || format!("the demo failed; logs are in {}", directory.join("logs").display());
    let mut stop = Stop::new()?;
    let demo = tokio::select! {
        demo = start(options, &directory) => demo.with_context(where_to_look)?,
        () = stop.asked() => bail!("interrupted; everything that was started is gone again"),
    };
    let result = tokio::select! {
        result = show(options, &demo) => result.with_context(where_to_look),
        () = stop.asked() => Ok(()),
    };
    eprintln!("\nTaking everything down ...");
    drop(demo);
    eprintln!("Everything is gone; the logs are in {}", directory.join("logs").display());
    result
}

async fn start(options: &Options, directory: &Path) -> Result<Demo> {
    setup::wasm_target()?;
    let images = if options.simulated { Vec::new() } else { vec![setup::desktop_image().await?] };
    if options.check && !options.simulated {
        setup::browser().await?;
    }
    let link = ["--url-template", "http://{podIP}:{port}/"].map(String::from);
    let stack = Stack::start(directory, Settings { controller: link.into(), ..Settings::default() }).await?;
    let nodes = start_nodes(options, &stack, images).await?;

    stack.kubectl_ok(&User::admin(), apply("ubuntu-desktop")).await?;
    println!("\n$ kubectl apply -f deploy/samples/alice-desktop.yaml    # as {}", alice().name);
    print!("{}", stack.kubectl_ok(&alice(), apply(SESSION)).await?);
    let sessions: Api<VDISession> = Api::namespaced(stack.cluster.client(&alice()).await?, DESKTOPS);
    let url = step("Following the session to Running", follow(&sessions, SESSION)).await?;
    Ok(Demo { _nodes: nodes, stack, url })
}

async fn start_nodes(options: &Options, stack: &Stack, images: Vec<PathBuf>) -> Result<Box<dyn Send>> {
    Ok(match options.simulated {
        true => Box::new(SimulatedNodes::start(&stack.cluster, 3, 8).await?),
        false => Box::new(RealNode::start(&stack.cluster, RealNodeOptions { gpus: 1, images }).await?),
    })
}

fn apply(sample: &str) -> [String; 3] {
    let path = workspace().join("deploy/samples").join(sample).with_extension("yaml");
    ["apply".to_owned(), "-f".to_owned(), path.display().to_string()]
}

async fn show(options: &Options, demo: &Demo) -> Result<()> {
    let Demo { stack, url, .. } = demo;
    println!("\n$ kubectl get vdi -n {DESKTOPS}");
    println!("{}", stack.kubectl_ok(&alice(), ["get", "vdi", "-n", DESKTOPS]).await?);
    if options.check {
        return if options.simulated { Ok(()) } else { check(stack, url).await };
    }
    match options.simulated {
        true => println!("The nodes are simulated: there is no desktop behind {url}"),
        false => println!("Alice's desktop:  {url}"),
    }
    println!("\nTo look around from another terminal, as alice or as administrator:");
    for user in [alice(), User::admin()] {
        println!("  export KUBECONFIG={}", stack.cluster.kubeconfig(&user)?.display());
    }
    println!("  {} get vdi -n {DESKTOPS}", stack.cluster.kubectl_path().display());
    println!("\nCtrl-C takes everything down again.");
    std::future::pending().await
}

/// What a person would see, looked at by a program.
async fn check(stack: &Stack, url: &str) -> Result<()> {
    let picture = target().join("demo.png");
    step("Opening the desktop in Chromium", async {
        let browser = Browser::start(&stack.cluster.logs()).await?;
        desktop::wait_until_drawn(&browser, url, &picture).await
    })
    .await?;
    println!("A desktop is drawn: {}", picture.display());
    Ok(())
}
