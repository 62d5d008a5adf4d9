//! What a test does to a pod from the machine under its node: the processes of one container, and signals to them.

use anyhow::{Context as _, bail, ensure};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::place::Place;

/// The pods of `namespace` that `selector` names.
///
/// # Errors
/// If there is none.
pub async fn names(place: &Place, namespace: &str, selector: &str) -> anyhow::Result<Vec<String>> {
    let running = ["-n", namespace, "get", "pods", "-l", selector, "--field-selector=status.phase=Running", "-o", "jsonpath={.items[*].metadata.name}"];
    let names: Vec<String> = place.kubectl(&running).await?.split_whitespace().map(str::to_owned).collect();
    if names.is_empty() {
        bail!("no pod of `{selector}` runs in {namespace}");
    }
    Ok(names)
}

/// Every process of a container, found by its cgroup, the oldest first.
///
/// # Errors
/// If there is none.
pub async fn processes(place: &Place, namespace: &str, pod: &str, container: &str) -> anyhow::Result<Vec<Pid>> {
    let id = container_id(place, namespace, pod, container).await?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if std::fs::read_to_string(entry.path().join("cgroup")).is_ok_and(|groups| groups.contains(&id)) {
            found.push(Pid::from_raw(process));
        }
    }
    if found.is_empty() {
        bail!("no process of container {container} of {pod} was found");
    }
    // The first of them all, by its parent: numbers begin anew when they run out.
    let is_child = |process: &Pid| parent(*process).is_some_and(|parent| found.contains(&parent));
    let (children, mut ordered): (Vec<Pid>, Vec<Pid>) = found.iter().partition(|process| is_child(process));
    ordered.extend(children);
    Ok(ordered)
}

/// A process's parent, while both are there.
fn parent(process: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
    parent.parse().ok().map(Pid::from_raw)
}

/// Sends `to` to every process of a container: children outlive a stopped parent. How many there were; one that ends meanwhile, as a
/// server's children do, is none.
///
/// # Errors
/// If there is none.
pub async fn signal(place: &Place, namespace: &str, pod: &str, container: &str, to: Signal) -> anyhow::Result<usize> {
    let processes = processes(place, namespace, pod, container).await?;
    let mut signalled = 0;
    for process in processes {
        match kill(process, to) {
            Ok(()) => signalled += 1,
            Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("signal process {process}")),
        }
    }
    ensure!(signalled > 0, "every process of container {container} of {pod} has ended");
    Ok(signalled)
}

async fn container_id(place: &Place, namespace: &str, pod: &str, container: &str) -> anyhow::Result<String> {
    // A node, because only its own machine sees the processes.
    let node = place.node()?;
    let of = |list: &str| format!("{{.status.{list}[?(@.name==\"{container}\")].containerID}}");
    let path = format!("jsonpath={} {}", of("containerStatuses"), of("initContainerStatuses"));
    let ids = node.kubectl(&["-n", namespace, "get", "pod", pod, "-o", &path]).await?;
    let id = ids.trim().rsplit('/').next().filter(|id| id.len() >= 32);
    id.map(str::to_owned).with_context(|| format!("container {container} of {pod} has no id"))
}
