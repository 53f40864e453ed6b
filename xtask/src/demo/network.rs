//! Loads the gateway's pages while network interfaces come and go, as on a laptop.

use anyhow::Result;
use vdi_tests::{
    browser::Browser,
    installed::Installed,
    loading::Reader,
    stack::{DESKTOPS, alice},
    step,
    test_namespace::TestNamespace,
};

use super::running::SESSION;

pub(super) async fn run(demo: &Installed, times: u64) -> Result<()> {
    let namespace = TestNamespace::existing(&demo.stack, DESKTOPS);
    namespace.wait_running(SESSION).await?;
    let browser = Browser::start(&demo.stack.cluster.logs()).await?;
    let (stack, gateway) = (&demo.stack, &demo.entrance);
    let reader = Reader { browser: &browser, stack, gateway, namespace: &namespace, name: SESSION, user: &alice() };
    let pages = browser.witness(reader.come_and_go(times, 1));
    step("Loading each page while network interfaces come and go", pages).await
}
