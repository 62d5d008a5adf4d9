//! The demo on somebody else's cluster, as far as an API server without nodes can tell: whose word it takes, what it refuses to
//! touch, and that it removes what it made and nothing else. Installing and repairing there is shown by hand.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use assent_cluster::{Access, Cluster, api_only};
use assent_tests::install;
use assent_tests::place::{ForeignArgs, Place};
use serde_json::{Value, json};

/// Everything that it said, and whether it succeeded.
fn demo(command: &str, variables: &[(&str, &str)]) -> (bool, String) {
    // Whoever reads these gets nothing that parses.
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".kube")).unwrap();
    for broken in [".kube/config", ".kube/kuberc", "inherited"] {
        std::fs::write(home.path().join(broken), "{not a kubeconfig").unwrap();
    }
    let mut demo = Command::new(env!("CARGO_BIN_EXE_demo"));
    for inherited in std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("DEMO_")) {
        demo.env_remove(inherited);
    }
    demo.arg(command).stdin(Stdio::null()).envs(variables.iter().copied());
    demo.env("HOME", home.path()).env("KUBECONFIG", home.path().join("inherited")).env("ASSENT_CACHE", assent_cluster::cache_dir());
    let output = demo.output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn refusal(command: &str, variables: &[(&str, &str)]) -> String {
    let (well, said) = demo(command, variables);
    assert!(!well, "`demo {command}` with {variables:?} went on: {said}");
    said
}

fn guest(kubeconfig: &Path) -> ForeignArgs {
    let (kubeconfig, context) = (Some(kubeconfig.to_owned()), Some("assent".to_owned()));
    ForeignArgs { kubeconfig, context, registry: Some("registry.invalid/x".into()), ..ForeignArgs::default() }
}

async fn place(cluster: &Cluster) -> Place {
    guest(&cluster.kubeconfig_path()).confirmed(None, &|_| ()).await.unwrap().unwrap().into()
}

#[tokio::test]
async fn only_a_named_and_confirmed_context_is_used() {
    let cluster = api_only("guest-asks").await.unwrap();
    let file = cluster.kubeconfig_path().display().to_string();
    let config = ("DEMO_KUBECONFIG", file.as_str());

    let said = refusal("down", &[config]);
    assert!(said.contains("DEMO_CONTEXT=assent") && said.contains(cluster.url()) && said.contains("cluster-admin"), "{said}");
    let said = refusal("down", &[config, ("DEMO_CONTEXT", "production")]);
    assert!(said.contains("`assent`, not `production`"), "{said}");
    for alone in [("DEMO_CONTEXT", "assent"), ("DEMO_REGISTRY", "registry.invalid/x")] {
        assert!(refusal("down", &[alone]).contains("--kubeconfig"), "{alone:?} alone would mean the local node");
    }
    let said = refusal("up", &[config, ("DEMO_CONTEXT", "assent")]);
    assert!(said.contains("DEMO_REGISTRY"), "{said}");

    // Nothing in the environment is read beside what is named: everything else there is broken.
    let (well, said) = demo("down", &[config, ("DEMO_CONTEXT", "assent")]);
    assert!(well && said.contains("nothing to remove"), "{said}");
}

#[tokio::test]
async fn what_others_made_is_named_and_left_alone() {
    let cluster = api_only("guest-refuses").await.unwrap();
    let file = cluster.kubeconfig_path().display().to_string();
    let variables = [("DEMO_KUBECONFIG", file.as_str()), ("DEMO_CONTEXT", "assent"), ("DEMO_REGISTRY", "registry.invalid/x")];
    for (kind, made, named) in [
        ("namespace", vec!["shop"], "Namespace/shop"),
        ("namespace", vec!["assent-system"], "Namespace/assent-system"),
        ("clusterrole", vec!["assent-gate", "--verb=get", "--resource=pods"], "ClusterRole.rbac.authorization.k8s.io/assent-gate"),
    ] {
        cluster.kubectl(&[&["create", kind], &made[..]].concat()).await.unwrap();
        let said = refusal("up", &variables);
        assert!(said.contains("did not make") && said.contains(named), "{said}");
        let (well, said) = demo("down", &variables);
        assert!(well && said.contains("nothing to remove"), "{said}");
        cluster.kubectl(&["delete", kind, made[0]]).await.unwrap();
    }
    cluster.kubectl(&["label", "namespace", "default", "assent.dev/inject=enabled"]).await.unwrap();
    assert!(refusal("up", &variables).contains("Namespace/default"), "a namespace that is opted in would get sidecars");
    cluster.kubectl(&["label", "namespace", "default", "assent.dev/inject-"]).await.unwrap();
    place(&cluster).await.leave(&|_| ()).await.unwrap();
}

#[tokio::test]
async fn the_demo_removes_what_it_made_and_nothing_else() {
    let cluster = api_only("guest-leaves").await.unwrap();
    let before = everything(&cluster).await;
    let place = place(&cluster).await;
    let overlay = install::overlay(&place).unwrap().display().to_string();
    install::shop_namespace(&place).await.unwrap();
    cluster.kubectl(&["apply", "--server-side", "-k", &format!("{overlay}/gate")]).await.unwrap();
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).await.unwrap();
    // No gate answers here, so what must pass it is not made; a pause is one of our objects that only the gate lets go.
    let pause = place.dir().join("pause.json");
    let object =
        json!({"apiVersion": "assent.dev/v1alpha1", "kind": "Pause", "metadata": {"name": "all", "namespace": "assent-system"}, "spec": {"reason": "test"}});
    std::fs::write(&pause, object.to_string()).unwrap();
    cluster.kubectl(&["apply", "-f", &pause.display().to_string()]).await.unwrap();
    cluster.kubectl(&["apply", "-k", &format!("{overlay}/base/protection")]).await.unwrap();
    cluster.kubectl(&["label", "validatingadmissionpolicybinding", "assent-gate-protection", "assent.dev/made-by=demo"]).await.unwrap();
    refused_while_protected(&cluster).await;

    // Somebody opts a namespace of theirs in: the identity service would write the bundle there.
    let bundle = cluster.kubectl(&["-n", "assent-system", "get", "configmap", "assent-trust", "-o", "jsonpath={.data['ca-bundle\\.pem']}"]).await.unwrap();
    cluster.kubectl(&["create", "namespace", "bystander"]).await.unwrap();
    cluster.kubectl(&["-n", "bystander", "create", "configmap", "assent-trust", &format!("--from-literal=ca-bundle.pem={bundle}")]).await.unwrap();
    cluster.kubectl(&["-n", "bystander", "create", "configmap", "mine", "--from-literal=a=b"]).await.unwrap();
    cluster.kubectl(&["create", "clusterrole", "assent-mine", "--verb=get", "--resource=pods"]).await.unwrap();

    let file = cluster.kubeconfig_path().display().to_string();
    let (well, said) = demo("down", &[("DEMO_KUBECONFIG", &file), ("DEMO_CONTEXT", "assent")]);
    assert!(well && said.contains("nothing of them is listed"), "{said}");
    let at = |what: &str| said.find(what).unwrap_or_else(|| panic!("`{what}` was not removed: {said}"));
    assert!(
        at("assent-gate-protection") < at("/assent-gate\n") && at("/assent-gate\n") < at("/assent-injector") && at("/assent-injector") < at("Namespace/shop")
    );
    assert!(!place.dir().exists(), "the private kubeconfig stayed");
    cluster.kubectl(&["-n", "bystander", "get", "configmap", "mine"]).await.unwrap();
    cluster.kubectl(&["delete", "clusterrole/assent-mine", "namespace/bystander", "--wait=true"]).await.unwrap();
    let after = everything(&cluster).await;
    // A cluster this young still makes things of its own.
    let (gone, new) = (before.difference(&after).collect::<Vec<_>>(), after.difference(&before).collect::<Vec<_>>());
    assert!(gone.is_empty(), "was there before the demo: {gone:?}");
    assert!(!new.iter().any(|line| ["assent", "shop", "bystander"].iter().any(|word| line.contains(word))), "stayed: {new:?}");
}

async fn refused_while_protected(cluster: &Cluster) {
    for _ in 0..100 {
        let deleted = cluster.kubectl(&["delete", "validatingwebhookconfiguration", "assent-gate", "--dry-run=server"]).await;
        if deleted.is_err() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("the binding never came into force");
}

/// Every object whose kind Assent or the shop use, by kind, namespace and name.
async fn everything(cluster: &Cluster) -> BTreeSet<String> {
    let kinds = "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings,validatingwebhookconfigurations,mutatingwebhookconfigurations,\
                 validatingadmissionpolicies,validatingadmissionpolicybindings,configmaps,secrets,services,serviceaccounts,deployments,networkpolicies,roles,\
                 rolebindings,poddisruptionbudgets";
    let columns = "custom-columns=K:.kind,S:.metadata.namespace,N:.metadata.name";
    cluster.kubectl(&["get", kinds, "--all-namespaces", "-o", columns]).await.unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn the_demo_keeps_a_private_copy_of_one_context() {
    let cluster = api_only("guest-flattens").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), cluster.ca_pem()).unwrap();
    let own: Value = serde_json::from_str(cluster.kubeconfig()).unwrap();
    let user = own["users"][0]["user"].clone();
    let elsewhere = json!({"server": "https://elsewhere.invalid", "certificate-authority": "absent.pem"});
    let here = json!({"server": cluster.url(), "certificate-authority": "ca.pem"});
    let file = folder.path().join("config");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "elsewhere", "cluster": elsewhere}, {"name": "here", "cluster": here}],
        "users": [{"name": "somebody", "user": {"token": "another-secret"}}, {"name": "admin", "user": user}],
        "contexts": [
            {"name": "elsewhere", "context": {"cluster": "elsewhere", "user": "somebody"}},
            {"name": "here", "context": {"cluster": "here", "user": "admin"}},
        ],
    });
    std::fs::write(&file, config.to_string()).unwrap();

    let text = Access::flatten(&file).await.unwrap();
    assert!(!text.contains("elsewhere") && !text.contains("another-secret") && !text.contains("ca.pem"), "{text}");
    let access = Access::create(&folder.path().join("private"), &text).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(access.dir()), mode(&access.kubeconfig_path())), (0o700, 0o600));
    // The original is not needed any more.
    std::fs::remove_file(folder.path().join("ca.pem")).unwrap();
    std::fs::remove_file(&file).unwrap();
    access.client().await.unwrap().apiserver_version().await.unwrap();
    assert!(access.kubectl(&["get", "namespaces", "-o", "name"]).await.unwrap().contains("namespace/default"));
    let token = access.kubectl(&["create", "token", "default"]).await.unwrap();
    let as_token: Value = serde_json::from_str(&access.kubeconfig_with_token(token.trim())).unwrap();
    assert_eq!(as_token["users"][0]["user"], json!({"token": token.trim()}), "a token stands beside no other credential");
    access.client_with_token(token.trim()).await.unwrap().apiserver_version().await.unwrap();

    // What is run anew each time is found from the copy too.
    let mut plugin = config.clone();
    plugin["users"][1]["user"] = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "interactiveMode": "Never"}});
    std::fs::write(&file, plugin.to_string()).unwrap();
    std::fs::write(folder.path().join("ca.pem"), cluster.ca_pem()).unwrap();
    let answer = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token.trim()}});
    let script = folder.path().join("plugin");
    std::fs::write(&script, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let access = Access::create(&folder.path().join("plugged"), &Access::flatten(&file).await.unwrap()).await.unwrap();
    let who = access.kubectl(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]).await.unwrap();
    assert_eq!(who, "system:serviceaccount:default:default");
    access.client().await.unwrap().apiserver_version().await.unwrap();

    let mut without = config;
    without["current-context"] = json!("");
    std::fs::write(&file, without.to_string()).unwrap();
    assert!(Access::flatten(&file).await.is_err(), "no context is current, and none was chosen");
}
