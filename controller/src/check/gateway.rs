//! Whether the gateway answers, with the right certificate, where browsers' connections arrive.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Args;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use vdi_service::{any_certificate, certificate};

use super::finding::{Finding, Problem};

#[derive(Debug, Args)]
pub struct Gateway {
    /// The domain of the desktops
    #[arg(long)]
    domain: String,

    /// The port that browsers connect to
    #[arg(long, default_value_t = 443)]
    public_port: u16,

    /// The Service in front of the gateways that are ready, as HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    gateway: String,

    /// The Service that has the addresses of all gateways, as HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    gateways: String,

    /// The Secret with the gateway's certificate. Default: a proxy ends TLS
    #[arg(long, value_name = "NAME", requires = "tls_cert")]
    tls_secret: Option<String>,

    /// A file with the certificate in that Secret
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
}

/// How long the gateway may take for each step.
const LIMIT: Duration = Duration::from_secs(3);

impl Gateway {
    pub async fn check(&self) -> Finding {
        if let Some((secret, file)) = self.tls_secret.as_ref().zip(self.tls_cert.as_ref())
            && !file.exists()
        {
            return Err(Problem::new(
                format!("the gateway has no certificate: there is no Secret {secret} with a tls.crt"),
                format!(
                    "`kubectl create secret tls {secret} --cert FILE --key FILE` in this namespace, for {domain} and \
                     *.{domain}; if cert-manager makes it, `kubectl describe certificate vdi-gateway` says what is missing",
                    domain = self.domain,
                ),
            ));
        }
        let stream = match within(TcpStream::connect(&self.gateway)).await {
            Ok(stream) => stream,
            Err(error) => return Err(self.unreachable(&error).await),
        };
        let answer = match &self.tls_secret {
            None => within(self.ask(stream)).await.map(|()| None),
            Some(_) => within(self.ask_with_tls(stream)).await.map(Some),
        };
        let answers = format!("the gateway answers at {}", self.gateway);
        let names = format!("{domain} and *.{domain}", domain = self.domain);
        match answer {
            Err(error) => Err(Problem::new(
                format!("the gateway at {} doesn't answer as it should: {error:#}", self.gateway),
                "see the last lines of `kubectl logs -l app.kubernetes.io/name=vdi-gateway` in this namespace",
            )),
            Ok(None) => Ok(format!("{answers}, without TLS, which ends at the proxy")),
            Ok(Some(lacking)) if lacking.is_empty() => Ok(format!("{answers}, with a certificate for {names}")),
            Ok(Some(lacking)) => Err(Problem::new(
                format!("the gateway's certificate is not for {}", lacking.join(" and ")),
                format!("put one for {names} into the Secret {}", self.tls_secret.as_deref().unwrap_or_default()),
            )),
        }
    }

    /// Why nobody can connect. Gateways that aren't ready have addresses, too.
    async fn unreachable(&self, error: &anyhow::Error) -> Problem {
        if let Err(unknown) = within(lookup_host(&self.gateway)).await {
            return Problem::new(
                format!("the gateway's Service {} has no address: {unknown:#}", self.gateway),
                "see whether the cluster's DNS is running, and `kubectl get service vdi-gateway` in this namespace",
            );
        }
        let found = format!("nobody can connect to the gateway at {}: {error:#}", self.gateway);
        let all = within(lookup_host(&self.gateways)).await.map(|addresses| addresses.count()).unwrap_or_default();
        match all {
            0 => Problem::new(
                format!("{found}; no gateway is running"),
                "see `kubectl describe deployment vdi-gateway` in this namespace: is it scaled to 0, or can't its pods start?",
            ),
            all => Problem::new(
                format!("{found}; of {all} gateways, none is ready"),
                "the last line of `kubectl logs -l app.kubernetes.io/name=vdi-gateway` in this namespace says what they wait for",
            ),
        }
    }

    /// Returns the names that browsers need and the certificate isn't for.
    async fn ask_with_tls(&self, stream: TcpStream) -> anyhow::Result<Vec<String>> {
        let tls = TlsConnector::from(Arc::new(any_certificate::client()?));
        let stream = tls.connect(self.domain.clone().try_into()?, stream).await.context("TLS")?;
        let presented = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate: CertificateDer = presented.context("it presents no certificate")?.clone().into_owned();
        self.ask(stream).await?;
        Ok(certificate::lacking_names(&certificate, &self.domain))
    }

    /// For the public keys: it has them once it has read and shared its private ones.
    async fn ask(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> anyhow::Result<()> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let host = format!("{}:{}", self.domain, self.public_port);
        let request = Request::get("/.well-known/jwks.json").header(HOST, host).body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let body = String::from_utf8_lossy(&body);
        ensure!(
            status.is_success() && body.contains("\"keys\""),
            "{status} {}",
            body.lines().next().unwrap_or_default()
        );
        Ok(())
    }
}

async fn within<T, E: Into<anyhow::Error>>(step: impl Future<Output = Result<T, E>>) -> anyhow::Result<T> {
    timeout(LIMIT, step).await.with_context(|| format!("no answer within {LIMIT:?}"))?.map_err(Into::into)
}
