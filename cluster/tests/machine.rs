//! What a node changes for the whole machine is put back. Alone in its program: another node beside it would rightly keep
//! the settings changed.

use assent_cluster::node;

const SETTINGS: [&str; 3] = ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"];

fn settings() -> anyhow::Result<Vec<String>> {
    SETTINGS.iter().map(|name| Ok(std::fs::read_to_string(format!("/proc/sys/{name}"))?)).collect()
}

#[tokio::test]
async fn kernel_settings_are_put_back() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        anyhow::ensure!(std::env::var("CI").as_deref() != Ok("true"), "this test needs root");
        eprintln!("SKIPPED: kernel_settings_are_put_back: a node needs root");
        return Ok(());
    }
    let before = settings()?;
    let node = node("machine").await?;
    anyhow::ensure!(settings()? == ["1\n", "10\n", "1\n"], "the kubelet no longer sets what this test looks at");
    drop(node);
    anyhow::ensure!(settings()? == before);
    Ok(())
}
