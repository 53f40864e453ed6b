//! `cargo xtask demo`: one desktop, end to end.

mod check;
mod network;
mod options;
mod running;
mod simulated;

use std::{io::BufRead, pin::pin};

use anyhow::{Context, Result, bail};
use kube::Api;
use tokio::sync::mpsc;
use vdi_api::VDISession;
use vdi_cluster::User;
use vdi_service::stop_signal_or_hangup;
use vdi_tests::{
    gateway::DOMAIN,
    installation::NAMESPACE,
    setup,
    stack::{DESKTOPS, alice},
    step, target,
};

pub use self::options::Options;
use self::running::{Demo, SESSION, apply_session, link};
use crate::follow::follow;

pub async fn run(options: &Options) -> Result<()> {
    if let Some(why) = setup::why_no_real_node().filter(|_| !options.simulated) {
        bail!("{why}; `cargo xtask demo --simulated` works without one");
    }
    let directory = target().join("clusters/demo");
    let where_to_look = || format!("the demo failed; logs are in {}", directory.join("logs").display());
    let mut stop = pin!(stop_signal_or_hangup()?);
    let mut demo = tokio::select! {
        demo = Demo::start(options, &directory) => demo.with_context(where_to_look)?,
        () = &mut stop => bail!("interrupted; everything that was started has been stopped"),
    };
    let result = tokio::select! {
        result = show(options, &mut demo) => result.with_context(where_to_look),
        () = &mut stop => Ok(()),
    };
    eprintln!("\nStopping everything ...");
    drop(demo);
    eprintln!("Everything has been stopped; the logs are in {}", directory.join("logs").display());
    result
}

async fn show(options: &Options, demo: &mut Demo) -> Result<()> {
    if let Demo::Installed(installed) = demo {
        println!("\n$ helm install vdiwarden oci://{}/charts/vdiwarden -n {NAMESPACE} ...", installed.registry());
        println!("{}\n$ kubectl get pods -n {NAMESPACE}\n{}", installed.notes.trim_end(), installed.pods().await?);
    }
    apply_session(demo.stack()).await?;
    if let Demo::Installed(installed) = demo {
        if options.check {
            return check::run(installed).await;
        }
        if let Some(times) = options.network {
            return network::run(installed, times).await;
        }
    }
    let stack = demo.stack();
    let sessions: Api<VDISession> = Api::namespaced(stack.cluster.client(&alice()).await?, DESKTOPS);
    step("Following the session to Running", follow(&sessions, SESSION)).await?;
    println!("\n$ kubectl get vdi -n {DESKTOPS}");
    println!("{}", stack.kubectl_ok(&alice(), ["get", "vdi", "-n", DESKTOPS]).await?);
    if options.check {
        return Ok(());
    }
    if options.simulated {
        println!("The nodes are simulated, so there is no desktop behind this address.");
    }
    println!("To look around from another terminal, as alice or as an administrator:");
    for user in [alice(), User::admin()] {
        println!("  export KUBECONFIG={}", stack.cluster.kubeconfig(&user)?.display());
    }
    println!("  {} get vdi -n {DESKTOPS}", stack.cluster.kubectl_path().display());
    println!("\nCtrl-C stops everything.");
    println!(
        "\nYour browser will warn about the certificate, because it doesn't know this cluster's certificate authority."
    );
    if demo.signs_in() {
        println!("\nAlice's desktop. Sign in as {}, with any password:\n", alice().name);
        println!("  https://{}/\n", demo.entrance().authority(&format!("alice.{DOMAIN}")));
        println!("All of her desktops:\n\n  https://{}/", demo.entrance().authority(DOMAIN));
        return std::future::pending().await;
    }
    links(demo).await
}

/// Prints a link that signs alice in, and another one each time Enter is pressed. Never returns.
async fn links(demo: &Demo) -> Result<()> {
    let mut lines = lines();
    loop {
        println!("\nAlice's desktop. The link works once, within a minute; press Enter for another one.");
        println!("\n  {}", link(demo.stack(), demo.entrance()).await?);
        if lines.recv().await.is_none() {
            return std::future::pending().await;
        }
    }
}

/// A message for each line that is typed. The thread ends with the process.
fn lines() -> mpsc::UnboundedReceiver<()> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let typed = std::io::stdin().lock().lines();
        typed.map_while(Result::ok).map_while(|_| sender.send(()).ok()).for_each(drop);
    });
    lines
}
