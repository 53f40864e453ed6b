//! `cargo xtask bench gateway`: the gateway compared with nginx and with a direct connection, on loopback.

mod desktop;
mod measure;
mod nginx;
mod options;
mod report;
mod route;

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    thread::available_parallelism,
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use vdi_cluster::SimulatedNodes;
use vdi_release::command;
use vdi_tests::{
    gateway::{DOMAIN, Gateway, GatewayLaunch},
    process, setup,
    stack::{Settings, Stack, alice},
    step, target,
    test_namespace::TestNamespace,
    visitor,
};

pub use self::options::Options;
use self::{
    measure::{Measured, Round, idle_memory},
    nginx::Size,
    report::Report,
    route::{Route, Visitor},
};
use super::{cluster::on_a_cluster, cpu};

/// The namespace, and the template in it.
const BENCH: &str = "bench";
/// The gateway allows 128 per session.
const WEBSOCKETS_PER_SESSION: u32 = 100;
/// Open files besides those of the idle websockets.
const OTHER_FILES: u32 = 512;

pub async fn run(options: &Options) -> Result<()> {
    on_a_cluster(async |directory| measure(options, directory).await).await
}

async fn measure(options: &Options, directory: &Path) -> Result<Report> {
    let connections = 2 * options.idle + OTHER_FILES;
    ensure_files(connections)?;
    setup::nginx().await?;
    step("Building the controller", process::blocking(build_controller)).await?;
    let program = match &options.program {
        Some(program) => program.clone(),
        None => step("Building the gateway in release mode (about 4 minutes the first time)", release()).await?,
    };
    let workers = available_parallelism()?.get();

    let site = Site::start(directory, &program, options.idle.div_ceil(WEBSOCKETS_PER_SESSION)).await?;
    let size = Size { workers, connections, buffer: options.nginx_buffer };
    let (nginx, nginx_address) = nginx::start(&site.stack, site.desktop_port, size).await?;
    let routes = [
        Route { name: "direct", address: (Ipv4Addr::LOCALHOST, site.desktop_port).into(), tls: None, proxy: None },
        Route {
            name: "nginx",
            address: nginx_address,
            tls: Some(route::tls()?),
            proxy: Some(cpu::pid(nginx.server())?),
        },
        Route {
            name: "gateway",
            address: site.gateway.address(),
            tls: Some(route::tls()?),
            proxy: Some(cpu::pid(site.gateway.replica.server())?),
        },
    ];
    let [direct, nginx, gateway] = step("Measuring", measure_all(options, &routes, &site.visitors)).await?;
    Ok(Report { options: options.clone(), workers, direct, nginx, gateway })
}

/// The routes take turns, in a different order each round, so that other work on the machine affects all of them.
async fn measure_all<const N: usize>(
    options: &Options,
    routes: &[Route; N],
    visitors: &[Visitor],
) -> Result<[Measured; N]> {
    let mut measured =
        routes.each_ref().map(|route| Measured { name: route.name, rounds: Vec::new(), idle_memory: None });
    for (route, measured) in routes.iter().zip(&mut measured) {
        measured.idle_memory = idle_memory(route, visitors, options.idle as usize).await?;
    }
    let visitor = visitors.first().context("there is no visitor")?;
    for round in 0..options.rounds as usize {
        for turn in 0..N {
            let which = (round + turn) % N;
            measured[which].rounds.push(Round::measure(&routes[which], visitor).await?);
        }
    }
    Ok(measured)
}

/// The gateway in front of alice's running sessions. They share one desktop server.
struct Site {
    // The gateway goes first.
    gateway: Gateway,
    desktop_port: u16,
    visitors: Vec<Visitor>,
    _nodes: SimulatedNodes,
    stack: Stack,
}

impl Site {
    async fn start(directory: &Path, program: &Path, sessions: u32) -> Result<Self> {
        let (desktop_port, gateway_port) = (desktop::start().await?, vdi_cluster::free_port()?);
        let urls = format!("https://{{user}}.{{domain}}:{gateway_port}");
        let controller = ["--domain", DOMAIN, "--url-template", &urls].map(str::to_owned).into();
        let settings = Settings { webhook: false, controller, ..Settings::default() };
        let mut stack = Stack::without_controller(directory, settings).await?;
        stack.start_controller().await?;
        let nodes = SimulatedNodes::start(&stack.cluster, 1, sessions).await?;
        let launch = GatewayLaunch {
            name: "vdi-gateway",
            port: gateway_port,
            public_port: gateway_port,
            // Simulated pods have loopback addresses, which the gateway otherwise never connects to.
            flags: ["--pod-cidr", "127.64.0.0/16"].map(str::to_owned).into(),
        };
        let gateway = step("Starting the gateway", Gateway::start_program(&stack, program, launch)).await?;
        let namespace = TestNamespace::new(&stack, BENCH).await?;
        namespace.template(json!({ "port": desktop_port })).await?;
        let visitors = step("Starting sessions", visitors(&stack, &gateway, &namespace, sessions)).await?;
        Ok(Self { gateway, desktop_port, visitors, _nodes: nodes, stack })
    }
}

/// Starts sessions, and signs a visitor in to each.
async fn visitors(stack: &Stack, gateway: &Gateway, namespace: &TestNamespace, sessions: u32) -> Result<Vec<Visitor>> {
    let mut visitors = Vec::new();
    for number in 0..sessions {
        let name = format!("desktop-{number}");
        namespace.session(&name).await?;
        namespace.wait_running(&name).await?;
        let (guest, host) = visitor::Visitor::enter(gateway, stack, &alice(), BENCH, &name).await?;
        let cookie = guest.cookies(&host).context("no session token in a cookie")?;
        visitors.push(Visitor { authority: gateway.authority(&host), host, cookie });
    }
    Ok(visitors)
}

/// The controller isn't measured, so a debug build will do.
fn build_controller() -> Result<()> {
    command::cargo(["build", "--workspace", "--bin=vdi-controller"])
}

/// Builds the gateway as it ships.
async fn release() -> Result<PathBuf> {
    process::blocking(|| command::cargo(["build", "--release", "--package=vdi-gateway"])).await?;
    Ok(target().join("release/vdi-gateway"))
}

/// This process is both the clients and the desktop, so it holds both ends of every websocket. A proxy holds as many.
fn ensure_files(needed: u32) -> Result<()> {
    let limits = std::fs::read_to_string("/proc/self/limits").context("can't read /proc/self/limits")?;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    let allowed = soft.and_then(|soft| soft.parse().ok()).unwrap_or(u32::MAX);
    ensure!(
        allowed >= needed,
        "the benchmark opens {needed} files, but the limit is {allowed}: run `ulimit -n {needed}` first, or use a smaller --idle"
    );
    Ok(())
}
