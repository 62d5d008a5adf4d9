//! The gate as a process.

use clap::Parser as _;

fn main() -> anyhow::Result<()> {
    // Reading deep CEL and JSON recurses; the stacks are only reserved, not used.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_stack_size(16 << 20).enable_all().build()?;
    runtime.block_on(assent_webhook::gate::run(assent_webhook::gate::Args::parse()))
}
