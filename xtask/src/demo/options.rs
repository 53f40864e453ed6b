#[derive(clap::Args)]
pub struct Options {
    /// Play alice and bob in headless Chromium, save a picture of her desktop to target/demo.png, and exit
    #[arg(long)]
    pub check: bool,

    /// Sign in through the login form of a real OpenID provider; --check does that too
    #[arg(long)]
    pub oidc: bool,

    /// Load each page this many times in headless Chromium while network interfaces come and go, and exit
    #[arg(long, value_name = "TIMES", conflicts_with_all = ["check", "simulated"])]
    pub network: Option<u64>,

    /// Simulate the nodes; needs neither root nor a browser, and there is no desktop to see
    #[arg(long)]
    pub simulated: bool,
}
