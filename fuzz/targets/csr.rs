//! Certificate requests: what is examined names one identity and nothing else, whoever signed it.
#![no_main]

#[path = "../../identity/src/ca/request.rs"]
mod request;

use libfuzzer_sys::fuzz_target;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

/// As the authority has it.
#[derive(Debug)]
pub enum Refusal {
    Invalid(String),
    Denied(String),
}

fn invalid<T>(text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Invalid(text.into()))
}

fn denied<T>(text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Denied(text.into()))
}

const NAME: &str = "web.shop.serviceaccount.identity.assent-system.cluster.local";

fuzz_target!(|data: &[u8]| {
    match request::examine(NAME, b"token", data) {
        Ok(examined) => {
            assert_eq!(examined.identity(), NAME);
            let _ = examined.key();
        }
        Err(Refusal::Invalid(why) | Refusal::Denied(why)) => assert!(!why.is_empty() && why.len() < 256, "{why}"),
    }
    // No mutation has a good signature: look behind it.
    if let Ok((_, parsed)) = X509CertificationRequest::from_der(data)
        && request::check_names(NAME, &parsed).is_ok()
    {
        assert!(data.windows(NAME.len()).any(|window| window == NAME.as_bytes()), "a name that is not there");
    }
});
