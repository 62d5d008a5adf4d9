//! The header `traceparent` of W3C Trace Context: whether a request belongs to a trace, and to which span of it.
//!
//! It is only read. Nothing is put into a request that its sender did not put there.

/// The span that a request was sent from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) trace: [u8; 16],
    pub(crate) span: [u8; 8],
}

/// The context in `value`, if it is one and its trace is recorded.
pub(super) fn sampled(value: &[u8]) -> Option<Context> {
    let [version, trace, span, flags] = [(0, 2), (3, 32), (36, 16), (53, 2)].map(|(at, length)| value.get(at..at + length));
    let dashes = [2, 35, 52].iter().all(|at| value.get(*at) == Some(&b'-'));
    // Later versions may say more behind another dash, and mean the same by what is here.
    let whole = match bytes::<1>(version?)? {
        [0] => value.len() == 55,
        [0xff] => false,
        _ => value.len() == 55 || value.get(55) == Some(&b'-'),
    };
    let context = Context { trace: bytes(trace?)?, span: bytes(span?)? };
    let [flags] = bytes(flags?)?;
    let valid = dashes && whole && context.trace != [0; 16] && context.span != [0; 8];
    (valid && flags & 1 == 1).then_some(context)
}

/// Pairs of lower-case hexadecimal digits.
fn bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    if pairs.len() != N {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn reads_what_the_standard_allows_and_nothing_else() {
        let context = sampled(VALID.as_bytes()).unwrap();
        assert_eq!((context.trace[0], context.trace[15], context.span[1], context.span[7]), (0x4b, 0x36, 0xf0, 0xb7));
        for (text, valid) in [
            (VALID.replace("-01", "-03"), true),
            (VALID.replace("00-4", "cc-4"), true),
            (VALID.replace("00-4", "cc-4") + "-what.comes", true),
            (VALID.replace("-01", "-00"), false),
            (VALID.replace("-01", "-02"), false),
            (VALID.to_owned() + "-more", false),
            (VALID.replace("00-4", "ff-4"), false),
            (VALID.replace("00-4", "cc-4") + ".", false),
            (VALID.to_uppercase(), false),
            (VALID.replace("00f067aa0ba902b7", "0000000000000000"), false),
            (VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)), false),
            (VALID.replacen('-', "_", 1), false),
            (VALID[..54].to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(sampled(text.as_bytes()).is_some(), valid, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in proptest::collection::vec(any::<u8>(), 0..80), cut in 0usize..56) {
            let _ = (sampled(&text), sampled(&VALID.as_bytes()[..cut.min(55)]));
        }
    }
}
