use vdi_release::command;
use vdi_tests::setup;

pub fn run() -> anyhow::Result<()> {
    setup::wasm_target()?;
    command::cargo(["bench", "--package=vdi-tests", "--bench=policy"])
}
