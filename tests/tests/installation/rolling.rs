//! A rolling update of the gateways, as somebody sees it who opens the portal meanwhile.

use std::{pin::pin, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::{select, time::sleep};
use vdi_cluster::User;
use vdi_tests::{gateway::DOMAIN, installation::NAMESPACE, visitor::Visitor, wait};

use crate::{own_pods, with_installed};

#[test]
fn a_rolling_update_of_the_gateways_refuses_no_new_connection() -> Result<()> {
    with_installed(async |installed| {
        let rollout = async |verb| {
            let arguments = ["rollout", verb, "deployment/vdi-gateway", "-n", NAMESPACE];
            installed.stack.kubectl_ok(&User::admin(), arguments).await
        };
        let before = own_pods(installed).await?.len();
        let mut replaced = pin!(async {
            rollout("restart").await?;
            rollout("status").await?;
            let gone = async || Ok(own_pods(installed).await?.len() == before);
            wait::until("the old gateways are gone", gone).await
        });
        let mut opened = 0;
        loop {
            let answer = Visitor::default().open(&installed.entrance, DOMAIN, "/").await;
            let answer = answer.with_context(|| format!("after {opened} connections"))?;
            ensure!(answer.status == 200, "{answer:?}");
            opened += 1;
            select! {
                replaced = &mut replaced => break replaced?,
                () = sleep(Duration::from_millis(20)) => {}
            }
        }
        ensure!(opened > 100, "{opened}");
        Ok(())
    })
}
