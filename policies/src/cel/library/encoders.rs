//! `base64.encode` and `base64.decode`, which the API server lacks: for conformance only.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::args::{made, text};
use super::{Call, Function, Overload};
use crate::cel::error::EvalError;
use crate::cel::types::Type;
use crate::cel::value::Value;

/// With or without padding, as upstream tries both.
const ENGINE: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true));

pub(crate) fn functions() -> Vec<Function> {
    vec![
        Function::new("base64.decode", [Overload::global("base64_decode_string", [Type::String], Type::Bytes, Call::Values(decode))]),
        Function::new("base64.encode", [Overload::global("base64_encode_bytes", [Type::Bytes], Type::String, Call::Values(encode))]),
    ]
}

fn decode<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let text = text(args, 0, "base64.decode")?.replace(['\r', '\n'], "");
    ENGINE.decode(text).map(Value::bytes).map_err(|e| EvalError::invalid(format!("illegal base64 data: {e}")))
}

fn encode<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    match args.first() {
        Some(Value::Bytes(bytes)) => made(ENGINE.encode(bytes)),
        _ => Err(EvalError::no_overload("base64.encode")),
    }
}
