//! Somebody else's cluster: which one is decided by one named kubeconfig and a person who confirms its context. After that
//! only the demo's own copy of that context is used. Nothing here changes the cluster, but for removing what the demo made.

use std::io::BufRead;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use assent_cluster::{Access, Image};
use assent_core::canonical::Digest;
use clap::builder::FalseyValueParser;
use serde_json::{Value, json};

use super::{Place, Source, needs, registry, removal};
use crate::install::Progress;

/// Which cluster, if not a node of our own.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "A cluster of your own")]
pub struct ForeignArgs {
    /// Run on the current context of this kubeconfig instead of a local node; $KUBECONFIG and ~/.kube are never read.
    #[arg(long, global = true, env = "DEMO_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context that is expected to be the current one, for scripts: nobody is asked then.
    #[arg(long, global = true, env = "DEMO_CONTEXT", value_name = "NAME", requires = "kubeconfig")]
    pub context: Option<String>,
    /// Registry that images are pushed to and nodes pull from: host[:port]/path.
    #[arg(long, global = true, env = "DEMO_REGISTRY", value_name = "REGISTRY", requires = "kubeconfig", value_parser = registry::parse)]
    pub registry: Option<String>,
    /// Push over plain HTTP.
    #[arg(long, global = true, env = "DEMO_REGISTRY_INSECURE", value_parser = FalseyValueParser::new())]
    pub registry_insecure: bool,
    /// The images have been pushed by hand.
    #[arg(long, global = true, env = "DEMO_PUSHED", value_parser = FalseyValueParser::new())]
    pub pushed: bool,
    /// Believe kubelets whose certificate the cluster's CA did not sign, as kubeadm and kind leave them.
    #[arg(long, global = true, env = "DEMO_KUBELET_INSECURE", value_parser = FalseyValueParser::new())]
    pub kubelet_insecure: bool,
}

/// Somebody else's cluster, confirmed.
#[derive(Debug)]
pub struct Foreign {
    access: Access,
    context: String,
    args: ForeignArgs,
    /// Whether its directory was made just now.
    fresh: bool,
    /// Made from what the images hold, so that a node never mistakes an old image for a new one.
    tag: Option<String>,
}

// === impl ForeignArgs ===

impl ForeignArgs {
    /// The cluster they name, once somebody has confirmed it: `context` did, or else whoever sits at `terminal`.
    ///
    /// # Errors
    /// If the kubeconfig cannot be read or nobody confirms its context.
    pub async fn confirmed(&self, terminal: Option<&mut dyn BufRead>, tell: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Option<Foreign>> {
        let Some(file) = &self.kubeconfig else { return Ok(None) };
        let text = Access::flatten(file).await.with_context(|| format!("read the current context of `{}`", file.display()))?;
        let config: Value = serde_json::from_str(&text).context("read what kubectl made of the kubeconfig")?;
        let word = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (context, server) = (word("/current-context"), word("/clusters/0/cluster/server"));
        ensure!(!context.is_empty() && !server.is_empty(), "`{}` has no current context with a cluster", file.display());
        tell("A cluster of your own:");
        for (what, is) in [("context", &context), ("server", &server), ("user", &word("/contexts/0/context/user"))] {
            tell(&format!("  {what:<8} {is}"));
        }
        confirm(&context, self.context.as_deref(), terminal, tell)?;
        // By the server: two contexts of one cluster are one demo.
        let digest = Digest::of(&json!(server))?.to_string();
        let key = digest.rsplit(':').next().unwrap_or_default().chars().take(12).collect::<String>();
        let dir = assent_cluster::cache_dir().join("demo").join(key);
        let fresh = !dir.exists();
        let access = Access::create(&dir, &text).await?;
        Ok(Some(Foreign { access, context, args: self.clone(), fresh, tag: None }))
    }
}

/// Whether somebody means this context.
///
/// # Errors
/// If the name that was given or typed is another, or nobody can be asked.
pub fn confirm(context: &str, given: Option<&str>, terminal: Option<&mut dyn BufRead>, tell: &(dyn Fn(&str) + Sync)) -> anyhow::Result<()> {
    let said = match (given, terminal) {
        (Some(given), _) => given.to_owned(),
        (None, Some(terminal)) => {
            tell("The demo installs Assent and a shop there, and breaks the shop. Type the context's name to go on:");
            let mut line = String::new();
            terminal.read_line(&mut line).context("read the context's name")?;
            line.trim().to_owned()
        }
        (None, None) => bail!("nobody can be asked without a terminal: set DEMO_CONTEXT={context} if this is the cluster you mean"),
    };
    ensure!(said == context, "the current context is `{context}`, not `{said}`: nothing was touched");
    Ok(())
}

// === impl Foreign ===

impl Foreign {
    /// How to reach it.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The context's name.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.context
    }

    /// Whether the demo may come here, and says why not; changes nothing.
    ///
    /// # Errors
    /// If it holds an Assent or a shop that the demo did not make, lacks something, or no registry is named.
    pub async fn welcomes(&self) -> anyhow::Result<()> {
        let verdict = self.judge().await;
        if verdict.is_err() && self.fresh {
            std::fs::remove_dir_all(self.access.dir()).with_context(|| format!("remove `{}`", self.access.dir().display()))?;
        }
        verdict
    }

    async fn judge(&self) -> anyhow::Result<()> {
        ensure!(self.args.registry.is_some(), "name the registry that the cluster's nodes pull from: DEMO_REGISTRY=host/path");
        let found = removal::look(&self.access).await?;
        if !found.strangers.is_empty() {
            bail!("the demo did not make what is there already, and leaves it alone:\n{}", removal::lines(&found.strangers));
        }
        needs::plain(&self.access).await
    }

    pub(super) fn source(&self) -> Source {
        Source { registry: self.args.registry.clone().unwrap_or_default(), tag: self.tag.clone(), kubelet_insecure: self.args.kubelet_insecure }
    }

    pub(super) async fn push(&mut self, images: &[Image], progress: Progress<'_>) -> anyhow::Result<()> {
        let needs = tokio::task::spawn_blocking(needs::image).await??;
        let images: Vec<Image> = images.iter().cloned().chain([needs]).collect();
        self.tag = Some(registry::tag(&images)?);
        let source = self.source();
        if self.args.pushed {
            return Ok(());
        }
        registry::push(&images, &source, self.args.registry_insecure, progress).await
    }
}

impl Place {
    /// Removes everything that the demo made on somebody else's cluster; `false` when there was nothing.
    ///
    /// # Errors
    /// If something cannot be removed, or is still listed afterwards.
    pub async fn leave(&self, progress: Progress<'_>) -> anyhow::Result<bool> {
        let was = removal::remove(self, progress).await?;
        std::fs::remove_dir_all(self.dir()).with_context(|| format!("remove `{}`", self.dir().display()))?;
        Ok(was)
    }
}

impl From<Foreign> for Place {
    fn from(foreign: Foreign) -> Self {
        Self::Foreign(Box::new(foreign))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> anyhow::Result<()> {
        confirm("prod", None, Some(&mut text.as_bytes()), &|_| ())
    }

    #[test]
    fn a_context_is_meant_by_its_whole_name_or_not_at_all() {
        confirm("prod", Some("prod"), None, &|_| ()).unwrap();
        typed("prod\n").unwrap();
        for wrong in ["", "\n", "y\n", "prod-2\n", "Prod\n"] {
            assert!(typed(wrong).unwrap_err().to_string().contains("nothing was touched"), "{wrong:?}");
        }
        // What a script says is not asked again.
        assert!(confirm("prod", Some("staging"), Some(&mut "prod\n".as_bytes()), &|_| ()).is_err());
        assert!(confirm("prod", None, None, &|_| ()).unwrap_err().to_string().contains("DEMO_CONTEXT=prod"));
    }
}
