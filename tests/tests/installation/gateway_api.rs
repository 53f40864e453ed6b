//! The chart's routes with a real implementation of the Gateway API: Traefik.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use hyper::Method;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use vdi_cluster::User;
use vdi_tests::{
    entrance::Entrance,
    gateway::DOMAIN,
    installation::{NAMESPACE, manifest},
    installed::Installed,
    setup,
    stack::{DESKTOPS, alice, bob},
    traefik::Traefik,
    visitor::{Answer, Visitor},
    wait,
};

use super::{SESSION, with_installed};

/// An address that only a liar comes from.
const FORGED: &str = "203.0.113.7";

/// A Gateway of Traefik's with a listener for each kind of route.
struct Site {
    https: SocketAddr,
    passthrough: SocketAddr,
    _traefik: Traefik,
}

impl Site {
    async fn start(installed: &Installed) -> Result<Self> {
        let definitions = setup::go_module("sigs.k8s.io/gateway-api").await?.join("config/crd/standard");
        let definitions = definitions.display().to_string();
        kubectl(installed, &["apply", "--server-side", "--filename", &definitions]).await?;
        kubectl(installed, &["wait", "--for=condition=Established", "--all", "crd"]).await?;
        let [https, passthrough] = [vdi_cluster::free_port()?, vdi_cluster::free_port()?];
        let api = "gateway.networking.k8s.io/v1";
        let class = json!({
            "apiVersion": api, "kind": "GatewayClass", "metadata": { "name": "traefik" },
            "spec": { "controllerName": "traefik.io/gateway-controller" },
        });
        let gateway = json!({
            "apiVersion": api, "kind": "Gateway", "metadata": { "name": "public", "namespace": NAMESPACE },
            "spec": { "gatewayClassName": "traefik", "listeners": [
                { "name": "https", "protocol": "HTTPS", "port": https,
                  "tls": { "certificateRefs": [{ "name": "vdi-gateway-tls" }] } },
                { "name": "passthrough", "protocol": "TLS", "port": passthrough, "tls": { "mode": "Passthrough" } },
            ] },
        });
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), manifest(&[class, gateway]))?;
        kubectl(installed, &["apply", "--filename", &file.path().display().to_string()]).await?;
        let [https, passthrough] = [https, passthrough].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let traefik = Traefik::start(&installed.stack, &[https, passthrough]).await?;
        Ok(Self { https, passthrough, _traefik: traefik })
    }
}

async fn kubectl(installed: &Installed, arguments: &[&str]) -> Result<String> {
    installed.stack.kubectl_ok(&User::admin(), arguments).await
}

/// Has the chart make a route to a listener, and waits until Traefik serves it.
async fn expose(installed: &Installed, route: &str, listener: &str, address: SocketAddr) -> Result<Entrance> {
    let parent = json!([{ "name": "public", "sectionName": listener }]);
    let exposure = json!({ "type": "gatewayAPI", "gatewayAPI": { "route": route, "parentRefs": parent } });
    let old = gateways(installed).await?;
    installed.upgrade(&json!({ "exposure": exposure })).await?;
    until_gone(installed, &old).await?;
    // A session keeps its address, with the public port, while it runs.
    let entrance = installed.entrance.behind(address);
    wait::until(&format!("Traefik serves the {route}"), async || answers(&entrance).await).await?;
    let route =
        kubectl(installed, &["get", route, "vdi-gateway", "--namespace", NAMESPACE, "--output", "json"]).await?;
    let route: Value = serde_json::from_str(&route)?;
    let conditions = route["status"]["parents"][0]["conditions"].as_array().context("Traefik says nothing")?;
    ensure!(conditions.iter().all(|condition| condition["status"] == "True"), "{conditions:?}");
    Ok(entrance)
}

/// The names of the gateways' pods.
async fn gateways(installed: &Installed) -> Result<String> {
    let pods = ["get", "pods", "--namespace", NAMESPACE, "--selector", "app.kubernetes.io/name=vdi-gateway"];
    kubectl(installed, &[&pods[..], &["--output", "name"]].concat()).await
}

async fn until_gone(installed: &Installed, old: &str) -> Result<()> {
    let are_gone = async || Ok(gateways(installed).await?.lines().all(|pod| !old.lines().any(|it| it == pod)));
    wait::until("the old gateways are gone", are_gone).await
}

/// Whether a gateway answers on a new connection.
async fn answers(entrance: &Entrance) -> Result<bool> {
    let answer = Visitor::default().get(entrance, DOMAIN, "/.well-known/jwks.json").await;
    Ok(answer.is_ok_and(|answer| answer.status == 200))
}

/// Replaces the gateways' pods, while people come all the time. Traefik learns of it later than the pods.
async fn nobody_is_turned_away_while_gateways_are_replaced(installed: &Installed, entrance: &Entrance) -> Result<()> {
    let old = gateways(installed).await?;
    let restart = async {
        let deployment = ["deployment/vdi-gateway", "--namespace", NAMESPACE];
        kubectl(installed, &[&["rollout", "restart"], &deployment[..]].concat()).await?;
        kubectl(installed, &[&["rollout", "status"], &deployment[..]].concat()).await?;
        until_gone(installed, &old).await
    };
    let (mut restart, mut tries) = (std::pin::pin!(restart), 0);
    loop {
        tokio::select! {
            restarted = &mut restart => break restarted?,
            answers = answers(entrance) => ensure!(answers?, "somebody was turned away, after {tries} who weren't"),
        }
        tries += 1;
    }
    ensure!(tries > 50, "only {tries} people came");
    Ok(())
}

/// Claims of a browser about who it is and what it asks for.
fn claims(host: &str) -> Vec<(&'static str, String)> {
    let mut claims = vec![
        ("x-forwarded-for", FORGED.to_owned()),
        ("x-real-ip", FORGED.to_owned()),
        ("forwarded", format!("for={FORGED};host={host};proto=http")),
        ("x-forwarded-host", host.to_owned()),
        ("x-forwarded-proto", "http".to_owned()),
    ];
    for name in ["x-vdi-user", "x-forwarded-user", "x-forwarded-email", "x-auth-request-email", "remote-user"] {
        claims.push((name, alice().name));
    }
    claims
}

/// Whether the server in the desktop's image answered, and not the gateway.
fn is_of_desktop(answer: &Answer) -> bool {
    answer.header("server") == "vdi-desktop"
}

/// Opens a websocket like the desktop's page, and checks that the desktop's VNC server greets it.
async fn vnc_speaks(owner: &mut Visitor, entrance: &Entrance, host: &str) -> Result<()> {
    let headers = [
        ("connection", "Upgrade".to_owned()),
        ("upgrade", "websocket".to_owned()),
        ("origin", format!("https://{}", entrance.authority(host))),
        ("sec-websocket-version", "13".to_owned()),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==".to_owned()),
        ("sec-websocket-protocol", "binary".to_owned()),
    ];
    let answer = owner.send(entrance, host, Method::GET, "/websockify", &headers, String::new()).await?;
    ensure!(answer.status() == 101, "{answer:?}");
    let mut greeting = [0; 5];
    let mut websocket = TokioIo::new(hyper::upgrade::on(answer).await?);
    wait::within("the desktop's greeting", websocket.read_exact(&mut greeting)).await??;
    // A binary frame of twelve bytes: https://www.rfc-editor.org/rfc/rfc6143#section-7.1.1
    ensure!(&greeting == b"\x82\x0cRFB", "{greeting:?}");
    Ok(())
}

/// Checks what a liar, a stranger and the wrong person get at a desktop's host, and that its owner reaches the desktop itself.
async fn only_the_owner_gets_in(installed: &Installed, entrance: &Entrance) -> Result<()> {
    let (mut owner, host) = Visitor::enter(entrance, &installed.stack, &alice(), DESKTOPS, SESSION).await?;
    let page = owner.get(entrance, &host, "/").await?;
    ensure!(page.status == 200 && is_of_desktop(&page), "{page:?}");
    vnc_speaks(&mut owner, entrance, &host).await?;
    let method = Method::GET;
    for path in ["/", "/websockify", "/.vdi/sessions"] {
        let liar = Visitor::default().ask(entrance, &host, method.clone(), path, &claims(&host), String::new()).await?;
        ensure!([401, 403, 404].contains(&liar.status.as_u16()) && !is_of_desktop(&liar), "{path}: {liar:?}");
    }
    // The host of a request is the one that it is sent to, whatever else it says.
    let portal = Visitor::default().ask(entrance, DOMAIN, method, "/", &claims(&host), String::new()).await?;
    ensure!(!is_of_desktop(&portal), "{portal:?}");
    let answer = entrance.launch(&installed.stack, &bob(), DESKTOPS, SESSION).await?;
    ensure!(answer.status != 200, "bob gets a link to alice's desktop: {answer:?}");

    // Whose address the access log has: the last hop's, and nobody's claim.
    let logs = ["logs", "--namespace", NAMESPACE, "--selector", "app.kubernetes.io/name=vdi-gateway", "--tail=-1"];
    let logs = kubectl(installed, &logs).await?;
    ensure!(logs.contains("/websockify") && !logs.contains(FORGED), "{logs}");
    Ok(())
}

#[test]
fn through_traefiks_gateway_an_owner_reaches_the_desktop_and_claims_about_a_request_gain_nothing() -> Result<()> {
    with_installed(async |installed| {
        let site = Site::start(installed).await?;

        let entrance = expose(installed, "HTTPRoute", "https", site.https).await?;
        only_the_owner_gets_in(installed, &entrance).await?;
        nobody_is_turned_away_while_gateways_are_replaced(installed, &entrance).await?;
        let (passes, said) = installed.test(4).await?;
        ensure!(passes && said.contains("without TLS, which ends at the proxy"), "{said}");

        // The gateway's own TLS.
        let entrance = expose(installed, "TLSRoute", "passthrough", site.passthrough).await?;
        only_the_owner_gets_in(installed, &entrance).await?;
        installed.upgrade(&json!({})).await
    })
}
