//! What the access log contains about users, and what it must not contain.

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde_json::Value;
use vdi_tests::{gateway::DOMAIN, stack::alice, visitor::Visitor};

use crate::with_site;

#[test]
fn the_log_says_who_entered_and_contains_no_secrets() -> Result<()> {
    with_site(async |site| {
        site.running("logged").await?;
        let gateway = site.gateway("gateway-logged", vdi_cluster::free_port()?, &[]).await?;
        let (host, code) = gateway.link(&site.stack, &alice(), "logged", "desktop").await?;
        let mut visitor = Visitor::default();
        ensure!(visitor.post(&gateway, &host, "/.vdi/enter", &code).await?.status == 200);
        ensure!(visitor.post(&gateway, &host, "/.vdi/enter", &code).await?.status == 401, "the code worked twice");
        visitor.until_at_desktop(&gateway, &host).await?;
        visitor.get(&gateway, &host, "/vnc.html?password=hunter2").await?;
        // The code may end up in a query or a Referer by mistake.
        for path in [format!("/.vdi/enter?code={code}"), format!("/?state={code}")] {
            let headers = [("referer", format!("https://{host}/.vdi/enter?code={code}"))];
            visitor.ask(&gateway, &host, Method::GET, &path, &headers, String::new()).await?;
            visitor.ask(&gateway, DOMAIN, Method::GET, &path, &headers, String::new()).await?;
        }

        let log = gateway.replica.log()?;
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let entered = lines.iter().find(|line| line["path"] == "/.vdi/enter" && line["status"] == 200);
        let entered = entered.with_context(|| format!("nobody entered: {log}"))?;
        ensure!(entered["user"] == "alice@example.com" && entered["target"] == "access", "{entered}");
        ensure!(lines.iter().any(|line| line["path"] == "/vnc.html"), "{log}");
        let cookies = visitor.cookies(&host).context("nobody is signed in")?;
        let (_, token) = cookies.split_once('=').context("no token")?;
        let kubernetes = site.stack.cluster.token(&alice())?;
        // The secret part of a JWT is its signature.
        for secret in [&*code, token, kubernetes, "hunter2", "?code=", "?state=", "?password="] {
            let secret = secret.rsplit('.').next().unwrap_or(secret);
            ensure!(!log.contains(secret), "{secret} is in the log: {log}");
        }
        Ok(())
    })
}
