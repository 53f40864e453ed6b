//! nginx as a reverse proxy with TLS and websockets, in front of the desktop.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use vdi_tests::{gateway::DOMAIN, nginx::Nginx, stack::Stack};

#[derive(Clone, Copy)]
pub struct Size {
    pub workers: usize,
    /// Connections per worker, including those to the desktop.
    pub connections: u32,
    /// How much it reads from the desktop at once, in KiB.
    pub buffer: u32,
}

/// Starts nginx and returns its address. The configuration follows nginx's documentation for [websockets] and [keep-alive], and
/// logs no requests.
///
/// [websockets]: https://nginx.org/en/docs/http/websocket.html
/// [keep-alive]: https://nginx.org/en/docs/http/ngx_http_upstream_module.html#keepalive
pub async fn start(stack: &Stack, desktop_port: u16, size: Size) -> Result<(Nginx, SocketAddr)> {
    let Size { workers, connections, buffer } = size;
    let (certificate, key) = stack.cluster.certificate("nginx", &[DOMAIN, &format!("*.{DOMAIN}")])?;
    let (certificate, key) = (certificate.display(), key.display());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, vdi_cluster::free_port()?));
    let main = format!("worker_processes {workers};\nevents {{ worker_connections {connections}; }}");
    let site = format!(
        r#"
map $http_upgrade $changes_to {{ default upgrade; "" ""; }}
upstream desktop {{ server 127.0.0.1:{desktop_port}; keepalive 32; }}
server {{
    listen {address} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {{
        proxy_pass http://desktop;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $changes_to;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_read_timeout 1h;
        proxy_buffer_size {buffer}k;
        proxy_buffers 8 {buffer}k;
    }}
}}
"#
    );
    Ok((Nginx::with(stack, address, &main, &site).await?, address))
}
