//! The life of a certificate: first request, renewal with a fresh key, outage, restart, and a
//! trust bundle that changes on disk.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use assent_runtime::workload::testing::Authority;
use assent_runtime::workload::{ClientAuth, Renewal, Workload, WorkloadArgs};

use super::{PATIENCE, Running, start};

fn args(running: &Running, directory: &Path) -> WorkloadArgs {
    WorkloadArgs {
        identity_service: running.address.clone(),
        control_namespace: "assent-system".to_owned(),
        trust_domain: "cluster.local".to_owned(),
        identity_token_file: directory.join("token"),
        trust_bundle_file: directory.join("ca-bundle.pem"),
        workload_namespace: "shop".to_owned(),
        workload_service_account: "cart".to_owned(),
        identity_state_dir: Some(directory.to_owned()),
    }
}

async fn identity(life: Duration) -> (Arc<Authority>, Running, tempfile::TempDir) {
    let authority = Arc::new(Authority::new());
    let server = authority.workload("assent-system", "assent-identity");
    let running = start(server, ClientAuth::Optional, authority.clone(), life).await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("token"), "token\n").unwrap();
    std::fs::write(directory.path().join("ca-bundle.pem"), authority.pem()).unwrap();
    (authority, running, directory)
}

async fn open(args: &WorkloadArgs) -> (Workload, tokio::task::JoinHandle<()>) {
    let (workload, renewal): (Workload, Renewal) = Workload::open(args).await.unwrap();
    (workload, tokio::spawn(renewal.run()))
}

async fn patient<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap()
}

#[tokio::test]
async fn renews_with_a_fresh_key_before_expiry() {
    // Ten seconds of the life lie in the past, so renewal is due as soon as it may be.
    let (_authority, mut running, directory) = identity(Duration::from_secs(4)).await;
    let (workload, task) = open(&args(&running, directory.path())).await;
    let mut watch = workload.watch();
    let first = patient(workload.ready()).await.unwrap();
    assert_eq!(running.seen.recv().await.unwrap().name, None, "no certificate is offered to the identity service");
    let second = patient(watch.wait_for(|now| now.as_ref().is_some_and(|now| !Arc::ptr_eq(now, &first)))).await;
    let second = second.unwrap().clone().unwrap();
    assert!(SystemTime::now() < first.not_after(), "renewed only after expiry");
    let (a, b) = (first.sign(b"m").unwrap(), second.sign(b"m").unwrap());
    let key = |certified: &assent_runtime::workload::Certified| certified.tls().key.public_key().unwrap().to_vec();
    assert_ne!(key(&first), key(&second), "the key was reused");
    assert!(!a.is_empty() && !b.is_empty());
    task.abort();
}

#[tokio::test]
async fn a_restart_during_an_outage_serves_the_kept_certificate() {
    let (_authority, running, directory) = identity(Duration::from_secs(3600)).await;
    let args = args(&running, directory.path());
    let (workload, task) = open(&args).await;
    let before = patient(workload.ready()).await.unwrap();
    let state = directory.path().join("identity.pem");
    assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o600);
    task.abort();
    drop(running);
    let (restarted, task) = open(&args).await;
    let after = patient(restarted.ready()).await.unwrap();
    assert_eq!(before.chain(), after.chain());
    task.abort();
    // Somebody else's or a broken file is no identity.
    std::fs::write(&state, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    let (broken, task) = open(&args).await;
    let waited = tokio::time::timeout(Duration::from_millis(300), broken.ready()).await;
    assert!(waited.is_err(), "certified without an authority");
    task.abort();
}

#[tokio::test]
async fn a_changed_bundle_is_followed_and_a_broken_one_is_not() {
    let (authority, running, directory) = identity(Duration::from_secs(3600)).await;
    let bundle = directory.path().join("ca-bundle.pem");
    std::fs::remove_file(&bundle).unwrap();
    let (workload, task) = open(&args(&running, directory.path())).await;
    assert!(workload.trust().current().certificates().is_empty());
    // Appears late: trusted from then on, and certification succeeds without waiting out a backoff.
    std::fs::write(&bundle, authority.pem()).unwrap();
    patient(workload.ready()).await.unwrap();
    let mut watch = workload.trust().watch();
    watch.mark_unchanged();
    std::fs::write(&bundle, "not a certificate").unwrap();
    let other = Authority::new();
    assert!(tokio::time::timeout(Duration::from_secs(3), watch.changed()).await.is_err(), "a broken bundle was taken");
    assert_eq!(workload.trust().current().certificates().len(), 1);
    std::fs::write(&bundle, format!("{}{}", authority.pem(), other.pem())).unwrap();
    patient(watch.changed()).await.unwrap();
    assert_eq!(workload.trust().current().certificates().len(), 2);
    task.abort();
}

#[tokio::test]
async fn another_root_that_comes_first_is_followed_long_before_renewal_is_due() {
    // Fifty seconds with those in the past: due after fifteen from now at the earliest, and followed within five.
    let (authority, mut running, directory) = identity(Duration::from_secs(40)).await;
    let args = args(&running, directory.path());
    let (workload, task) = open(&args).await;
    let first = patient(workload.ready()).await.unwrap();
    patient(running.seen.recv()).await.unwrap();
    let turned = format!("{}{}", Authority::new().pem(), authority.pem());
    std::fs::write(&args.trust_bundle_file, turned).unwrap();
    patient(running.seen.recv()).await.unwrap();
    assert!(SystemTime::now() < first.not_before() + Duration::from_secs(25), "only when it was due");
    let mut watch = workload.watch();
    patient(watch.wait_for(|now| now.as_ref().is_some_and(|now| !Arc::ptr_eq(now, &first)))).await.unwrap();
    task.abort();
}
