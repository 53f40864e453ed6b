use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::options::Arguments;

pub fn run(shell: Shell) {
    // By the file's name: a shell completes `kubectl vdi` through kubectl, which asks `kubectl_complete-vdi`.
    clap_complete::generate(shell, &mut Arguments::command(), "kubectl-vdi", &mut std::io::stdout());
}
