//! A real Selkies desktop, with its own compositor and with sound.

use std::{ffi::OsString, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path};

use anyhow::Result;
use vdi_cluster::{Launch, Server};

use crate::{http, setup, wait::until};

/// Dropping it stops it.
pub struct Selkies {
    _server: Server,
    _sound: Server,
    _files: tempfile::TempDir,
}

impl Selkies {
    /// Starts it at an address, and waits until it serves. Logs go to `logs`.
    pub async fn start(logs: &Path, address: SocketAddr) -> Result<Self> {
        let installed = setup::selkies().await?;
        let files = tempfile::Builder::new().prefix("vdi-selkies-").tempdir()?;
        std::fs::set_permissions(files.path(), std::fs::Permissions::from_mode(0o700))?;
        let socket = files.path().join("sound");
        let environment = || {
            let path = || OsString::from(files.path());
            let mut sound = OsString::from("unix:");
            sound.push(&socket);
            vec![("HOME", path()), ("XDG_RUNTIME_DIR", path()), ("PULSE_SERVER", sound)]
        };
        let modules = [
            format!("--load=module-native-protocol-unix auth-anonymous=1 socket={}", socket.display()),
            "--load=module-null-sink sink_name=output".to_owned(),
            "--load=module-sine sink=output frequency=440".to_owned(),
        ];
        let flags = ["--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "-n"].map(str::to_owned);
        let sound = Launch {
            arguments: flags.into_iter().chain(modules).map(Into::into).collect(),
            environment: environment(),
            ..Launch::new("pulseaudio", Path::new("/usr/bin/pulseaudio"))
        };
        let mut sound = Server::start(logs, sound)?;
        wait("pulseaudio", &mut sound, async || socket.exists()).await?;

        let (host, port, python) =
            (address.ip().to_string(), address.port().to_string(), installed.join("bin/python3"));
        let arguments = [
            &["-m", "selkies", "--addr", &host, "--port", &port, "--mode", "websockets", "--wayland", "true"][..],
            &["--use-cpu", "true", "--audio-enabled", "true", "--enable-basic-auth", "false"],
        ];
        let server = Launch {
            arguments: arguments.concat().into_iter().map(Into::into).collect(),
            environment: environment(),
            ..Launch::new("selkies", &python)
        };
        let mut server = Server::start(logs, server)?;
        let is_up = async || http::get(address, "/api/health").await.is_ok_and(|(status, _)| status == 200);
        wait("selkies", &mut server, is_up).await?;
        Ok(Self { _server: server, _sound: sound, _files: files })
    }
}

async fn wait(name: &str, server: &mut Server, is_up: impl AsyncFn() -> bool) -> Result<()> {
    until(&format!("{name} is up; see {name}.log"), async || {
        server.check()?;
        Ok(is_up().await)
    })
    .await
}
