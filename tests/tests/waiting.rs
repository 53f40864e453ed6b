//! Programs that start before what they need exists: they say what they wait for, and go on when it is there.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::rbac::v1::{ClusterRoleBinding, RoleBinding},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{DeleteParams, ObjectMeta, PostParams},
};
use tokio::{net::TcpStream, time::sleep};
use vdi_tests::{
    gateway::{DOMAIN, Gateway, GatewayLaunch},
    http,
    objects::{create, wait_gone},
    process::signal,
    replica::Replica,
    setup,
    shared::with_stack_alone,
    stack::{Stack, controller, program},
    wait,
};

fn launch(stack: &Stack, name: &'static str, port: u16, flags: &[&str]) -> Result<Replica> {
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    Gateway::launch(stack, &program("vdi-gateway"), GatewayLaunch { name, port, public_port: port, flags })
}

/// Checks for a while, in which the program tries again and again, that a reason isn't logged a second time, except behind news.
async fn ensure_said_once(replica: &Replica, reason: &str) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        let log = replica.log()?;
        let times = log.lines().filter(|line| line.contains(reason) && !line.contains("; still waiting")).count();
        ensure!(times == 1, "{reason}: {log}");
        sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

async fn page(replica: &mut Replica, path: &str) -> Result<(u16, String)> {
    http::get(replica.address().await?, path).await
}

#[test]
fn without_the_crds_both_programs_say_which_are_missing_and_start_once_they_are_installed() -> Result<()> {
    with_stack_alone(async |stack| {
        let crds = Api::<CustomResourceDefinition>::all(stack.cluster.admin());
        let mut kept = Vec::new();
        for name in ["vdisessions.vdi.kasm.io", "vditemplates.vdi.kasm.io"] {
            let CustomResourceDefinition { metadata, spec, .. } = crds.get(name).await?;
            let ObjectMeta { name: Some(name), labels, annotations, .. } = metadata else { continue };
            let metadata = ObjectMeta { name: Some(name.clone()), labels, annotations, ..ObjectMeta::default() };
            kept.push(CustomResourceDefinition { metadata, spec, status: None });
            crds.delete(&name, &DeleteParams::default()).await?;
            wait_gone(&crds, &name).await?;
        }
        let waited = wait_for_crds(stack).await;
        // Installed first, since other tests use this cluster too.
        for crd in &kept {
            create(&crds, crd).await?;
        }
        let (mut controller, mut gateway) = waited?;
        controller.wait_until_leading().await?;
        gateway.wait_until_ready().await?;
        ensure!(controller.stop()?.success() && gateway.stop()?.success());
        Ok(())
    })
}

async fn wait_for_crds(stack: &Stack) -> Result<(Replica, Replica)> {
    let mut controller = stack.start_replica("controller-without-crds", &[])?;
    let mut gateway = launch(stack, "gateway-without-crds", vdi_cluster::free_port()?, &[])?;
    let missing = |name: &str| {
        format!(
            "the CRD {name}.vdi.kasm.io is not installed; it is part of vdiwarden's Helm chart and of its install.yaml"
        )
    };
    let all = async |replica: &mut Replica, lines: &[String]| {
        let what = format!("{lines:?}");
        wait::until(&what, async || Ok(page(replica, "/readyz").await? == (503, lines.join("")))).await
    };
    let [sessions, templates] =
        ["vdisessions", "vditemplates"].map(|name| format!("waiting for {name}: {}\n", missing(name)));
    all(&mut controller, &[sessions.clone(), templates]).await.with_context(|| controller.log().unwrap_or_default())?;
    all(&mut gateway, &[sessions]).await.with_context(|| gateway.log().unwrap_or_default())?;
    gateway.wait_until_waiting(&missing("vdisessions")).await?;
    for name in ["vdisessions", "vditemplates"] {
        ensure_said_once(&controller, &missing(name)).await?;
    }
    ensure_said_once(&gateway, &missing("vdisessions")).await?;
    ensure!(page(&mut controller, "/healthz").await?.0 == 200 && page(&mut gateway, "/healthz").await?.0 == 200);
    Ok((controller, gateway))
}

#[test]
fn without_their_roles_both_programs_say_which_right_is_missing_and_start_once_they_have_it() -> Result<()> {
    with_stack_alone(async |stack| {
        let (everywhere, ours) = (
            Api::<ClusterRoleBinding>::all(stack.cluster.admin()),
            Api::<RoleBinding>::namespaced(stack.cluster.admin(), "vdiwarden-system"),
        );
        let mut bindings = Vec::new();
        for name in ["vdi-controller", "vdi-gateway"] {
            let (mut cluster, mut namespaced) = (everywhere.get(name).await?, ours.get(name).await?);
            for metadata in [&mut cluster.metadata, &mut namespaced.metadata] {
                *metadata = ObjectMeta {
                    name: metadata.name.clone(),
                    namespace: metadata.namespace.clone(),
                    ..ObjectMeta::default()
                };
            }
            everywhere.delete(name, &DeleteParams::default()).await?;
            ours.delete(name, &DeleteParams::default()).await?;
            bindings.push((cluster, namespaced));
        }
        let waited = wait_for_roles(stack).await;
        for (cluster, namespaced) in &bindings {
            everywhere.create(&PostParams::default(), cluster).await?;
            ours.create(&PostParams::default(), namespaced).await?;
        }
        let (mut controller, mut gateway) = waited?;
        controller.wait_until_leading().await?;
        gateway.wait_until_ready().await?;
        ensure!(controller.stop()?.success() && gateway.stop()?.success());
        Ok(())
    })
}

async fn wait_for_roles(stack: &Stack) -> Result<(Replica, Replica)> {
    let mut controller = stack.start_replica("controller-without-roles", &[])?;
    let mut gateway = launch(stack, "gateway-without-roles", vdi_cluster::free_port()?, &[])?;
    for (is_gateway, user, resource) in [
        (
            false,
            "vdi-controller",
            r#"nodes is forbidden: User "system:serviceaccount:vdiwarden-system:USER" cannot list resource "nodes" in API group """#,
        ),
        (
            false,
            "vdi-controller",
            r#"secrets "vdi-login-keys" is forbidden: User "system:serviceaccount:vdiwarden-system:USER" cannot list resource "secrets""#,
        ),
        (
            true,
            "vdi-gateway",
            r#"vdisessions.vdi.kasm.io is forbidden: User "system:serviceaccount:vdiwarden-system:USER" cannot list resource "vdisessions" in API group "vdi.kasm.io""#,
        ),
        (
            true,
            "vdi-gateway",
            r#"secrets "vdi-gateway-keys" is forbidden: User "system:serviceaccount:vdiwarden-system:USER" cannot list resource "secrets""#,
        ),
    ] {
        let reason = resource.replace("USER", user);
        let replica = if is_gateway { &mut gateway } else { &mut controller };
        let says = async || {
            let (status, page) = page(replica, "/readyz").await?;
            Ok(status == 503
                && page.lines().any(|line| line.contains(&reason) && line.ends_with("have the roles that allow it")))
        };
        wait::until(&reason, says).await.with_context(|| replica.log().unwrap_or_default())?;
        ensure_said_once(replica, &reason.replace('"', "\\\"")).await?;
    }
    Ok((controller, gateway))
}

#[test]
fn while_the_api_server_is_away_both_programs_say_so_once_and_start_when_it_is_back() -> Result<()> {
    with_stack_alone(async |stack| {
        let [_, api_server, ..] = stack.cluster.servers();
        api_server.crash(30)?;
        let mut controller = stack.start_replica("controller-without-api-server", &[])?;
        let mut gateway = launch(stack, "gateway-without-api-server", vdi_cluster::free_port()?, &[])?;
        for replica in [&mut controller, &mut gateway] {
            let reason = "the API server can't be reached: Connection refused";
            // Everything that it reads lacks for the same reason, which is said for the first of them.
            replica.wait_until_waiting(reason).await?;
            ensure_said_once(replica, reason).await?;
            ensure!(page(replica, "/readyz").await?.1.matches(reason).count() > 2);
        }
        controller.wait_until_leading().await?;
        gateway.wait_until_ready().await?;
        ensure!(controller.stop()?.success() && gateway.stop()?.success());
        Ok(())
    })
}

/// Writes a certificate of the cluster's authority, as a mounted Secret has it.
fn write_certificate(stack: &Stack, folder: &Path, name: &str, names: &[&str], files: &[&str]) -> Result<()> {
    let (certificate, key) = stack.cluster.certificate(name, names)?;
    for (file, from) in [("tls.crt", certificate), ("tls.key", key)] {
        if files.contains(&file) {
            std::fs::copy(from, folder.join(file))?;
        }
    }
    Ok(())
}

#[test]
fn a_gateway_waits_for_its_certificate_and_serves_browsers_once_it_can_be_used() -> Result<()> {
    with_stack_alone(async |stack| {
        let (folder, port) = (tempfile::tempdir()?, vdi_cluster::free_port()?);
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let flags = ["--tls-cert", &certificate.display().to_string(), "--tls-key", &key.display().to_string()];
        let mut gateway = launch(stack, "gateway-without-certificate", port, &flags)?;
        let missing =
            format!("waiting for the certificate: {} does not exist; create the TLS Secret", certificate.display());
        gateway.wait_until_waiting(&missing).await?;
        ensure_said_once(&gateway, &missing).await?;
        // Everything else is there by now.
        ensure!(page(&mut gateway, "/readyz").await? == (503, format!("{missing}\n")));
        ensure!(page(&mut gateway, "/healthz").await? == (200, "ok\n".to_owned()));
        ensure!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "nobody can be served yet");

        std::fs::write(&certificate, "no certificate")?;
        std::fs::write(&key, "no key")?;
        gateway.wait_until_waiting("tls.crt has no PEM certificate").await?;
        write_certificate(stack, folder.path(), "first", &["desktops.example.com"], &["tls.crt"])?;
        gateway.wait_until_waiting("tls.key has no PEM private key").await?;
        write_certificate(stack, folder.path(), "second", &["desktops.example.com"], &["tls.key"])?;
        gateway.wait_until_waiting("cannot use this certificate and key").await?;
        write_certificate(stack, folder.path(), "third", &["desktops.example.com"], &["tls.crt", "tls.key"])?;
        gateway.wait_until_ready().await?;
        TcpStream::connect(("127.0.0.1", port)).await?;
        let warning = format!("tls.crt is not for {DOMAIN} and *.{DOMAIN}: browsers will warn");
        ensure!(gateway.logged_times(&warning)? == 1, "{}", gateway.log()?);
        ensure!(gateway.stop()?.success());

        // With the right certificate, the whole way.
        std::fs::remove_file(&certificate)?;
        let mut gateway = launch(stack, "gateway-with-certificate", port, &flags)?;
        gateway.wait_until_waiting(&missing).await?;
        write_certificate(stack, folder.path(), "right", &[DOMAIN, &format!("*.{DOMAIN}")], &["tls.crt", "tls.key"])?;
        gateway.wait_until_ready().await?;
        ensure!(gateway.logged_times("browsers will warn")? == 0, "{}", gateway.log()?);
        ensure!(gateway.stop()?.success());
        Ok(())
    })
}

#[test]
fn a_gateway_waits_for_the_files_of_its_openid_provider_and_ends_at_once_when_it_has_to_stop() -> Result<()> {
    with_stack_alone(async |stack| {
        let (folder, port) = (tempfile::tempdir()?, vdi_cluster::free_port()?);
        let (secret, authority) = (folder.path().join("client-secret"), folder.path().join("ca.crt"));
        let (secret_flag, authority_flag) = (secret.display().to_string(), authority.display().to_string());
        let flags = [
            "--oidc-issuer",
            "https://login.example.com",
            "--oidc-client-id",
            "vdi",
            "--oidc-client-secret-file",
            &secret_flag,
            "--oidc-ca",
            &authority_flag,
        ];
        let mut gateway = launch(stack, "gateway-without-files", port, &flags)?;
        let missing = |path: &Path| {
            format!(
                "waiting for the OpenID provider's files: {} does not exist; create what it is mounted from",
                path.display()
            )
        };
        gateway.wait_until_waiting(&missing(&authority)).await?;
        let began = Instant::now();
        signal("TERM", gateway.process().await?)?;
        wait::until("it ends", async || Ok(gateway.check().is_err())).await?;
        ensure!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
        ensure!(gateway.stop()?.success());

        let mut gateway = launch(stack, "gateway-with-files", port, &flags)?;
        std::fs::write(&authority, "no certificate")?;
        gateway.wait_until_waiting("ca.crt has no PEM certificate").await?;
        std::fs::copy(stack.cluster.certificate_authority(), &authority)?;
        gateway.wait_until_waiting(&missing(&secret)).await?;
        ensure_said_once(&gateway, &missing(&secret)).await?;
        std::fs::write(&secret, "\n")?;
        gateway.wait_until_waiting("client-secret is empty").await?;
        std::fs::write(&secret, "the client's\n")?;
        gateway.wait_until_ready().await?;
        ensure!(gateway.stop()?.success());
        Ok(())
    })
}

/// With process ID 1, a root file system that can't be written, no environment but Kubernetes' own, and credentials where
/// Kubernetes mounts them.
#[test]
fn a_program_runs_as_the_first_process_of_a_pod_and_ends_when_it_is_told_to() -> Result<()> {
    if let Some(why) = setup::why_no_real_node() {
        eprintln!("skipped: {why}");
        return Ok(());
    }
    with_stack_alone(async |stack| {
        let (folder, port) = (tempfile::tempdir()?, vdi_cluster::free_port()?);
        std::fs::write(folder.path().join("token"), stack.cluster.token(&controller())?)?;
        std::fs::copy(stack.cluster.certificate_authority(), folder.path().join("ca.crt"))?;
        std::fs::write(folder.path().join("namespace"), "vdiwarden-system")?;
        let api_server: hyper::Uri = stack.cluster.url().parse()?;
        let script = r#"
            mount -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io/serviceaccount &&
            cp "$FILES"/* /run/secrets/kubernetes.io/serviceaccount/ &&
            mount -o remount,ro /run && mount -o remount,bind,ro / &&
            exec env -i KUBERNETES_SERVICE_HOST="$HOST" KUBERNETES_SERVICE_PORT="$PORT" "$PROGRAM" \
                --listen "127.0.0.1:$LISTEN" --login-keys-secret vdi-login-keys 2> /proc/self/fd/1
        "#;
        let log = std::fs::File::create(stack.cluster.logs().join("controller-in-a-pod.log"))?;
        let mut pod = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", script])
            .env("FILES", folder.path())
            .env("HOST", api_server.host().context("no host")?)
            .env("PORT", api_server.port_u16().context("no port")?.to_string())
            .env("PROGRAM", program("vdi-controller"))
            .env("LISTEN", port.to_string())
            .stdout(Stdio::from(log))
            .spawn()?;
        let result = in_a_pod(stack, port, pod.id()).await;
        if result.is_err() {
            pod.kill()?;
        }
        let ended = pod.wait()?;
        let log = std::fs::read_to_string(stack.cluster.logs().join("controller-in-a-pod.log"))?;
        result.with_context(|| log.clone())?;
        ensure!(log.contains(r#""pid":1,"#) && log.contains("stopped"), "{log}");
        ensure!(ended.success(), "{ended}: {log}");
        Ok(())
    })
}

async fn in_a_pod(stack: &Stack, port: u16, outside: u32) -> Result<()> {
    let leads = async || {
        let answer = http::get(([127, 0, 0, 1], port).into(), "/metrics").await;
        Ok(answer.is_ok_and(|(_, page)| page.contains("\nvdi_controller_leader 1\n")))
    };
    wait::until("the program leads", leads).await?;
    let leases =
        Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(stack.cluster.admin(), "vdiwarden-system");
    ensure!(leases.get("vdi-controller").await?.spec.and_then(|spec| spec.holder_identity).is_some());
    let children = std::fs::read_to_string(format!("/proc/{outside}/task/{outside}/children"))?;
    signal("TERM", children.trim().parse()?)
}
