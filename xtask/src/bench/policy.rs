use vdi_tests::{process, setup};

pub fn run() -> anyhow::Result<()> {
    setup::wasm_target()?;
    process::cargo(["bench", "--package=vdi-tests", "--bench=policy"])
}
