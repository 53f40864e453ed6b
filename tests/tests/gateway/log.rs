//! What is written down about people, and what isn't.

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde_json::Value;
use vdi_tests::{gateway::DOMAIN, stack::alice, visitor::Visitor};

use crate::with_site;

#[test]
fn the_log_tells_who_came_in_and_nothing_by_which_anybody_could() -> Result<()> {
    with_site(async |site| {
        site.running("logged").await?;
        let gateway = site.gateway("gateway-logged", vdi_cluster::free_port()?, &[]).await?;
        let (host, code) = gateway.link(&site.stack, &alice(), "logged", "desktop").await?;
        let mut visitor = Visitor::default();
        ensure!(visitor.post(&gateway, &host, "/.vdi/enter", &code).await?.status == 200);
        ensure!(visitor.post(&gateway, &host, "/.vdi/enter", &code).await?.status == 401, "it was used");
        visitor.until_at_desktop(&gateway, &host).await?;
        visitor.get(&gateway, &host, "/vnc.html?password=hunter2").await?;
        // As somebody might who takes the code for a part of the path, or has it in a page that asks for another.
        for path in [format!("/.vdi/enter?code={code}"), format!("/?state={code}")] {
            let headers = [("referer", format!("https://{host}/.vdi/enter?code={code}"))];
            visitor.ask(&gateway, &host, Method::GET, &path, &headers, String::new()).await?;
            visitor.ask(&gateway, DOMAIN, Method::GET, &path, &headers, String::new()).await?;
        }

        let log = gateway.replica.log()?;
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let entered = lines.iter().find(|line| line["path"] == "/.vdi/enter" && line["status"] == 200);
        let entered = entered.with_context(|| format!("nobody came in: {log}"))?;
        ensure!(entered["user"] == "alice@example.com" && entered["target"] == "access", "{entered}");
        ensure!(lines.iter().any(|line| line["path"] == "/vnc.html"), "{log}");
        let cookies = visitor.cookies(&host).context("nobody is signed in")?;
        let (_, token) = cookies.split_once('=').context("no token")?;
        let kubernetes = site.stack.cluster.token(&alice())?;
        // Of each JWT, the signature is what nobody can make up.
        for secret in [&*code, token, kubernetes, "hunter2", "?code=", "?state=", "?password="] {
            let secret = secret.rsplit('.').next().unwrap_or(secret);
            ensure!(!log.contains(secret), "{secret} is in the log: {log}");
        }
        Ok(())
    })
}
