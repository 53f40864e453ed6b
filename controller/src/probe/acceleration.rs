//! What a desktop renders with: asked once, when it has just come up.

use std::{net::IpAddr, time::Duration};

use vdi_planner::{
    model::{PodState, Renderer},
    plan::acceleration::is_known,
};
use vdi_service::Reach;

use super::fetch;
use crate::cache::SessionView;

/// A desktop that is up answers at once, and other sessions wait for this pass.
const PATIENCE: Duration = Duration::from_secs(1);

pub async fn renderer(view: &SessionView<'_>, reach: &Reach) -> Renderer {
    let (PodState::Ready { ip: Some(ip) }, Some(pinned)) = (&view.pod, view.pinned()) else {
        return Renderer::NotPublished;
    };
    let is_known = view.session.status.as_ref().is_some_and(is_known);
    let Some(path) = pinned.renderer_path.as_ref().filter(|_| !is_known) else { return Renderer::NotPublished };
    let (Ok(ip), Ok(port)) = (ip.parse::<IpAddr>(), u16::try_from(pinned.port)) else { return Renderer::Unreadable };
    let (session, namespace) = (&view.name, &view.namespace);
    // Whoever can write a pod's status could otherwise have the controller ask any address.
    if !reach.includes(ip) {
        tracing::warn!(
            session,
            namespace,
            "the desktop can't be asked for its renderer: the controller may not connect to its address, {ip}: the pods' \
             networks have to be in --pod-cidr (in the Helm chart, podCIDRs)"
        );
        return Renderer::Unreadable;
    }
    match fetch::text((ip, port).into(), pinned.protocol, path, PATIENCE).await {
        Ok(text) => Renderer::parse(&text),
        Err(error) => {
            tracing::debug!(session, namespace, %error, "the renderer can't be read");
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
    use vdi_planner::{
        fixture,
        model::{PinnedTemplate, Template},
    };

    use super::*;

    #[tokio::test]
    async fn a_pod_address_outside_the_pod_networks_is_not_asked_for_its_renderer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pinned = PinnedTemplate {
            port: listener.local_addr().unwrap().port().into(),
            renderer_path: Some("/renderer".to_owned()),
            ..fixture::template().pinned
        };
        let pod = PodState::Ready { ip: Some("127.0.0.1".to_owned()) };
        let session = fixture::session("a");
        let view = SessionView {
            session: &session,
            name: "a".to_owned(),
            namespace: "team".to_owned(),
            uid: String::new(),
            spec: Ok(fixture::spec()),
            template: Some(Ok(Template { pinned, ..fixture::template() })),
            pod,
            own_pod: None,
            former_desktop: None,
            fits_nowhere: false,
        };
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
                renderer = renderer(&view, &reach) => assert_eq!(renderer, Renderer::Unreadable),
            }
        }
        let here = Reach { pod_cidr: vec!["127.0.0.0/8".parse().unwrap()] };
        let (renderer, ()) = tokio::join!(renderer(&view, &here), answer(&listener));
        assert_eq!(renderer, Renderer::Named("NVIDIA".to_owned()));
    }
}
