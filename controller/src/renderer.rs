//! Asks a desktop what it renders with. Once, when it has just come up; nothing else about it is asked.

use std::{net::IpAddr, time::Duration};

use vdi_service::Reach;

use crate::{
    accelerated::{self, Renderer},
    fetch,
    observe::Observed,
    pod_state::PodState,
};

/// A desktop that is up answers at once, and others wait to be looked at.
const PATIENCE: Duration = Duration::from_secs(1);

/// Not where the pod's address is none that pods may have: whoever can write its status could have anything asked.
pub async fn read(seen: &Observed, reach: &Reach) -> Renderer {
    let (PodState::Ready { ip: Some(ip) }, Some(terms)) = (&seen.pod, &seen.terms) else {
        return Renderer::NotPublished;
    };
    let Some(path) = terms.renderer_path.as_ref().filter(|_| !accelerated::is_known(seen)) else {
        return Renderer::NotPublished;
    };
    let (Ok(ip), Ok(port)) = (ip.parse::<IpAddr>(), u16::try_from(terms.port)) else { return Renderer::Unreadable };
    if !reach.includes(ip) {
        tracing::warn!(session = seen.name, namespace = seen.namespace, %ip, "no pod may have this address: see --pod-cidr");
        return Renderer::Unreadable;
    }
    match fetch::text((ip, port).into(), terms.protocol, path, PATIENCE).await {
        Ok(text) => Renderer::parse(&text),
        Err(error) => {
            tracing::debug!(session = seen.name, namespace = seen.namespace, %error, "the renderer can't be read");
            Renderer::Unreadable
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::{fixture, terms::Terms};

    #[tokio::test]
    async fn a_pod_that_leads_elsewhere_is_not_asked_what_it_renders_with() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let terms = Terms {
            port: listener.local_addr().unwrap().port().into(),
            renderer_path: Some("/renderer".to_owned()),
            ..fixture::template().terms
        };
        let pod = PodState::Ready { ip: Some("127.0.0.1".to_owned()) };
        let seen = Observed { pod, terms: Some(terms), ..fixture::observed() };
        let answer = async |listener: &TcpListener| {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nNVIDIA").await.unwrap();
        };
        let elsewhere = Reach { pod_cidr: vec!["10.0.0.0/8".parse().unwrap()] };
        for reach in [Reach::default(), elsewhere] {
            tokio::select! {
                biased;
                () = answer(&listener) => panic!("it was asked"),
                renderer = read(&seen, &reach) => assert_eq!(renderer, Renderer::Unreadable),
            }
        }
        let here = Reach { pod_cidr: vec!["127.0.0.0/8".parse().unwrap()] };
        let (renderer, ()) = tokio::join!(read(&seen, &here), answer(&listener));
        assert_eq!(renderer, Renderer::Named("NVIDIA".to_owned()));
    }
}
