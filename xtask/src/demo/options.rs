#[derive(clap::Args)]
pub struct Options {
    /// Do in headless Chromium what alice and bob would do, save the picture of her desktop to target/demo.png, and end
    #[arg(long)]
    pub check: bool,

    /// Sign in through the login form of a real OpenID provider. --check does that too
    #[arg(long)]
    pub oidc: bool,

    /// Load each page so many times in headless Chromium while network interfaces of this machine come and go, and end
    #[arg(long, value_name = "TIMES", conflicts_with_all = ["check", "simulated"])]
    pub network: Option<u64>,

    /// Simulate the nodes: needs neither root nor a browser, and there is no desktop to see
    #[arg(long)]
    pub simulated: bool,
}
