//! Somebody else's webhook: a real one, served over TLS from this process.

use assent_runtime::serving::{self, ServingArgs};
use assent_runtime::{CancellationToken, Limits};
use axum::Router;
use clap::Parser as _;
use serde_json::{Value, json};

#[derive(clap::Parser)]
struct Args {
    #[command(flatten)]
    serving: ServingArgs,
}

/// A webhook's server; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Hook {
    stop: CancellationToken,
    _files: tempfile::TempDir,
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves `router`; with it what a webhook configuration calls its `clientConfig`.
pub(crate) async fn serve(router: Router) -> (Hook, Value) {
    let files = tempfile::tempdir().unwrap();
    let bundle = crate::world::write_authority(files.path());
    let path = |name: &str| files.path().join(name).display().to_string();
    let args = Args::parse_from(["hook", "--serving-certificate-file", &path("ca.crt"), "--serving-key-file", &path("ca.key"), "--serving-mint", "localhost"]);
    let (certificate, upkeep) = serving::certificate(&args.serving).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = upkeep => {}
            served = serving::serve(listener, &certificate, Limits::default(), router, token) => served.unwrap(),
        }
    });
    (Hook { stop, _files: files }, json!({"url": url, "caBundle": bundle}))
}
