//! One negative case per rule of the certificate authority, and what a signed leaf looks like.

use std::time::{Duration, SystemTime};

use assent_runtime::workload::{Name, Roots, Usage, request};
use k8s_openapi::api::authentication::v1::TokenReviewStatus;
use k8s_openapi::api::core::v1::Pod;
use rcgen::{Attribute, CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType};
use rustls_pki_types::UnixTime;
use tonic::Code;
use x509_parser::prelude::FromDer as _;

use super::{Bound, Error, Issuer, bound, check_pod, create, examine, validity};

const CART: &str = "cart.shop.serviceaccount.identity.assent-system.cluster.local";
const DAY: Duration = Duration::from_secs(24 * 3600);
const OTHER: &str = "bank.shop.serviceaccount.identity.assent-system.cluster.local";

fn params(sans: Vec<SanType>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = sans;
    params
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn csr(params: &CertificateParams, algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
    let key = KeyPair::generate_for(algorithm).unwrap();
    params.serialize_request(&key).unwrap().der().to_vec()
}

fn p256(params: &CertificateParams) -> Vec<u8> {
    csr(params, &rcgen::PKCS_ECDSA_P256_SHA256)
}

#[track_caller]
fn refuses(code: Code, reason: &str, identity: &str, token: &[u8], csr: &[u8]) {
    let refusal = examine(identity, token, csr).unwrap_err();
    assert_eq!((refusal.code(), refusal.to_string().as_str()), (code, reason));
}

#[test]
fn rule_1_refuses_what_is_missing_too_long_or_no_der_request() {
    let good = p256(&params(vec![dns(CART)]));
    refuses(Code::InvalidArgument, "missing identity", "", b"t", &good);
    refuses(Code::InvalidArgument, "missing token", CART, b"", &good);
    refuses(Code::InvalidArgument, "missing certificate signing request", CART, b"t", b"");
    let long = vec![b'a'; (16 << 10) + 1];
    refuses(Code::InvalidArgument, "token is longer than 16384 bytes", CART, &long, &good);
    refuses(Code::InvalidArgument, "certificate signing request is longer than 16384 bytes", CART, b"t", &long);
    refuses(Code::InvalidArgument, "identity is longer than 253 bytes", &"a".repeat(254), b"t", &good);
    let not_der = "certificate signing request is not a der pkcs#10 request";
    refuses(Code::InvalidArgument, not_der, CART, b"t", b"-----BEGIN CERTIFICATE REQUEST-----");
    refuses(Code::InvalidArgument, not_der, CART, b"t", &good[..good.len() - 1]);
    let trailing = [good.as_slice(), b"\0"].concat();
    refuses(Code::InvalidArgument, "certificate signing request is followed by other bytes", CART, b"t", &trailing);
}

#[test]
fn rule_1_refuses_a_request_without_proof_of_possession() {
    let mut forged = p256(&params(vec![dns(CART)]));
    *forged.last_mut().unwrap() ^= 1;
    let reason = "certificate signing request is not signed by its own key";
    refuses(Code::InvalidArgument, reason, CART, b"t", &forged);
}

#[test]
fn rule_2_refuses_any_name_but_the_requested_one() {
    let mut named = params(vec![dns(CART)]);
    named.distinguished_name.push(DnType::CommonName, OTHER);
    let exactly = "exactly one dns name must be requested";
    let only = "only a dns name may be requested";
    let not_it = "dns name is not the requested identity";
    for (params, reason) in [
        (params(vec![]), exactly),
        (params(vec![dns(CART), dns(CART)]), exactly),
        (params(vec![dns(OTHER)]), not_it),
        (params(vec![dns(CART), dns(OTHER)]), not_it),
        (params(vec![dns(CART), SanType::IpAddress("10.0.0.1".parse().unwrap())]), only),
        (params(vec![dns(CART), SanType::URI("spiffe://x/y".try_into().unwrap())]), only),
        (params(vec![dns(CART), SanType::Rfc822Name("a@b.c".try_into().unwrap())]), only),
        (named, "common name is not the requested identity"),
    ] {
        refuses(Code::FailedPrecondition, reason, CART, b"t", &p256(&params));
    }
    let mut equal = params(vec![dns(CART)]);
    equal.distinguished_name.push(DnType::CommonName, CART);
    examine(CART, b"t", &p256(&equal)).unwrap();
}

#[test]
fn rule_2_looks_into_every_extension_request() {
    // A second extensionRequest attribute whose only extension is another alternative name.
    let names = [&[0x30, OTHER.len() as u8 + 2, 0x82, OTHER.len() as u8][..], OTHER.as_bytes()].concat();
    let octets = [&[0x04, names.len() as u8][..], &names].concat();
    let oid = [0x06, 0x03, 0x55, 0x1d, 0x11];
    let extension = [&[0x30, (oid.len() + octets.len()) as u8][..], &oid, &octets].concat();
    let extensions = [&[0x30, extension.len() as u8][..], &extension].concat();
    let values = [&[0x31, extensions.len() as u8][..], &extensions].concat();
    let key = KeyPair::generate().unwrap();
    let attribute = Attribute { oid: &[1, 2, 840, 113_549, 1, 9, 14], values };
    let request = params(vec![dns(CART)]).serialize_request_with_attributes(&key, vec![attribute]).unwrap();
    refuses(Code::FailedPrecondition, "dns name is not the requested identity", CART, b"t", request.der());
}

#[test]
fn rule_3_accepts_only_a_reviewed_pod_bound_token_for_us() {
    let good = serde_json::json!({
        "authenticated": true,
        "audiences": ["identity.assent.dev"],
        "user": {
            "username": "system:serviceaccount:shop:cart",
            "extra": {
                "authentication.kubernetes.io/pod-name": ["cart-1"],
                "authentication.kubernetes.io/pod-uid": ["u-1"],
            },
        },
    });
    let read = |value: &serde_json::Value| bound(&serde_json::from_value::<TokenReviewStatus>(value.clone()).unwrap());
    let expected = Bound { namespace: "shop".into(), account: "cart".into(), pod: "cart-1".into(), uid: "u-1".into() };
    assert_eq!(read(&good).unwrap(), expected);
    let with = |pointer: &str, value: serde_json::Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        read(&changed).unwrap_err().code()
    };
    let extra = "/user/extra/authentication.kubernetes.io~1pod-uid";
    assert_eq!(with("/authenticated", false.into()), Code::FailedPrecondition);
    assert_eq!(with("/audiences", serde_json::json!(["identity.l5d.io"])), Code::FailedPrecondition);
    assert_eq!(with("/audiences", serde_json::json!([])), Code::FailedPrecondition);
    assert_eq!(with("/user/extra", serde_json::json!({})), Code::FailedPrecondition);
    assert_eq!(with(extra, serde_json::json!([])), Code::FailedPrecondition);
    assert_eq!(with(extra, serde_json::json!(["a", "b"])), Code::FailedPrecondition);
    for user in ["jane", "system:node:n1", "system:serviceaccount:shop", "system:serviceaccount:shop:a.b", "system:serviceaccount:shop:a:b"] {
        assert_eq!(with("/user/username", user.into()), Code::InvalidArgument, "{user}");
    }
    let mut rejected = good.clone();
    rejected["error"] = "token expired".into();
    assert_eq!(read(&rejected).unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn rule_3_reads_the_pod_back() {
    let bound = Bound { namespace: "shop".into(), account: "cart".into(), pod: "cart-1".into(), uid: "u-1".into() };
    let good = serde_json::json!({
        "metadata": { "name": "cart-1", "uid": "u-1" },
        "spec": { "serviceAccountName": "cart", "containers": [] },
        "status": { "phase": "Pending" },
    });
    let check = |value: &serde_json::Value| check_pod(&bound, Some(&serde_json::from_value::<Pod>(value.clone()).unwrap()));
    check(&good).unwrap();
    let refused = |pointer: &str, value: &str| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value.into();
        check(&changed).unwrap_err().to_string()
    };
    assert_eq!(check_pod(&bound, None).unwrap_err().to_string(), "the pod does not exist");
    assert_eq!(refused("/metadata/uid", "u-2"), "the pod is not the one the token was issued to");
    assert_eq!(refused("/spec/serviceAccountName", "bank"), "the pod runs as another service account");
    assert_eq!(refused("/status/phase", "Succeeded"), "the pod is terminating");
    let mut leaving = good.clone();
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    assert_eq!(check(&leaving).unwrap_err().to_string(), "the pod is terminating");
}

fn issuer() -> Issuer {
    Issuer::load(&create("assent-system.cluster.local", SystemTime::now()).unwrap()).unwrap()
}

#[test]
fn rule_4_refuses_a_name_that_was_not_proven() {
    let examined = examine(OTHER, b"t", &p256(&params(vec![dns(OTHER)]))).unwrap();
    let proven: Name = CART.parse().unwrap();
    let error = issuer().sign(&examined, &proven, validity(&proven, DAY, SystemTime::now()), [1; 16]).unwrap_err();
    let Error::Refused(refusal) = error else { panic!("{error}") };
    assert_eq!(refusal.code(), Code::FailedPrecondition);
}

#[test]
fn rule_5_signs_ecdsa_p256_only() {
    let (issuer, proven) = (issuer(), CART.parse::<Name>().unwrap());
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_RSA_SHA256] {
        let examined = examine(CART, b"t", &csr(&params(vec![dns(CART)]), algorithm)).unwrap();
        let error = issuer.sign(&examined, &proven, validity(&proven, DAY, SystemTime::now()), [1; 16]).unwrap_err();
        let Error::Refused(refusal) = error else { panic!("{error}") };
        assert_eq!(refusal.to_string(), "the key must be ecdsa p-256");
    }
}

#[test]
fn a_leaf_carries_the_proven_name_and_nothing_of_the_request() {
    let material = create("assent-system.cluster.local", SystemTime::now()).unwrap();
    let issuer = Issuer::load(&material).unwrap();
    let proven: Name = CART.parse().unwrap();
    let mut greedy = params(vec![dns(CART)]);
    greedy.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    greedy.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    greedy.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99], vec![5, 0])];
    let now = SystemTime::now();
    let leaf = issuer.sign(&examine(CART, b"t", &p256(&greedy)).unwrap(), &proven, validity(&proven, DAY, now), [0; 16]).unwrap();
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(&leaf).unwrap();
    assert!(!parsed.is_ca());
    let mut oids: Vec<_> = parsed.extensions().iter().map(|extension| extension.oid.to_id_string()).collect();
    oids.sort();
    let expected = ["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.35", "2.5.29.37"];
    assert_eq!(oids.iter().filter(|oid| *oid != "2.5.29.14").collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth && !usage.any && !usage.code_signing);
    assert_eq!(assent_runtime::workload::name(&leaf).unwrap(), proven);
    assert!(parsed.raw_serial().len() == 16 && parsed.raw_serial()[0] & 0x80 == 0);
    let roots = Roots::parse(material.bundle.as_bytes()).unwrap();
    for usage in [Usage::Server, Usage::Client] {
        roots.verify(&leaf, &[issuer.certificate().clone()], usage, UnixTime::now()).unwrap();
    }
    let tomorrow = UnixTime::since_unix_epoch((now + Duration::from_secs(24 * 3600 + 11)).duration_since(SystemTime::UNIX_EPOCH).unwrap());
    roots.verify(&leaf, &[issuer.certificate().clone()], Usage::Client, tomorrow).unwrap_err();
}

#[test]
fn seats_live_an_hour_and_workloads_a_day() {
    let now = SystemTime::now();
    let life = |namespace: &str, account: &str| {
        let name = Name::new(namespace, account, "assent-system", "cluster.local").unwrap();
        let validity = validity(&name, DAY, now);
        assert_eq!(validity.not_before, now - Duration::from_secs(10));
        validity.not_after.duration_since(now).unwrap().as_secs() - 10
    };
    assert_eq!(life("assent-system", "assent-seat-network"), 3600);
    assert_eq!(life("shop", "cart"), 24 * 3600);
    assert_eq!(life("shop", "assent-seat-network"), 24 * 3600);
    assert_eq!(life("assent-system", "other"), 24 * 3600);
}

#[test]
fn the_request_of_our_own_client_passes() {
    let name: Name = CART.parse().unwrap();
    let (_, csr) = request(&name).unwrap();
    assert_eq!(examine(CART, b"t", &csr).unwrap().identity(), CART);
}
