//! Spans in the bytes of an OTLP export, read in place: nothing is allocated for what a sender repeats, so that a small body cannot
//! become large. Only what sums are made of is looked at.

/// Deepest and longest things that are ours to read are few; everything else is skipped.
const MAX_ATTRIBUTES: usize = 64;

/// One span, borrowed from the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span<'a> {
    pub(crate) trace: [u8; 16],
    pub(crate) id: [u8; 8],
    /// All zero at the root.
    pub(crate) parent: [u8; 8],
    pub(crate) name: &'a str,
    /// The caller's side of a call.
    pub(crate) is_client: bool,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    /// Whom the caller's side says that it calls; empty if it does not say.
    pub(crate) peer: &'a str,
}

/// Who sent spans, as their resource says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resource<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) deployment: &'a str,
    pub(crate) pod: &'a str,
    pub(crate) service: &'a str,
}

/// Why the bytes are no export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is no export of traces")]
pub(crate) struct Malformed;

/// Shows every span of an `ExportTraceServiceRequest` to `take`, with its resource.
pub(crate) fn spans<'a>(body: &'a [u8], mut take: impl FnMut(&Resource<'a>, Span<'a>)) -> Result<(), Malformed> {
    for field in Fields(body) {
        let (1, Value::Bytes(of_resource)) = field? else { continue };
        let mut resource = Resource::default();
        // The resource may stand behind its spans.
        for field in Fields(of_resource) {
            if let (1, Value::Bytes(bytes)) = field? {
                resource = read_resource(bytes)?;
            }
        }
        for field in Fields(of_resource) {
            let (2, Value::Bytes(of_scope)) = field? else { continue };
            for field in Fields(of_scope) {
                if let (2, Value::Bytes(bytes)) = field? {
                    take(&resource, read_span(bytes)?);
                }
            }
        }
    }
    Ok(())
}

fn read_resource(bytes: &[u8]) -> Result<Resource<'_>, Malformed> {
    let mut resource = Resource::default();
    for field in Fields(bytes).take(MAX_ATTRIBUTES) {
        let (1, Value::Bytes(bytes)) = field? else { continue };
        let (key, value) = attribute(bytes)?;
        match key {
            "k8s.namespace.name" => resource.namespace = value,
            "service.namespace" if resource.namespace.is_empty() => resource.namespace = value,
            "k8s.deployment.name" | "k8s.statefulset.name" | "k8s.daemonset.name" => resource.deployment = value,
            "k8s.pod.name" => resource.pod = value,
            "service.name" => resource.service = value,
            _ => {}
        }
    }
    Ok(resource)
}

fn read_span(bytes: &[u8]) -> Result<Span<'_>, Malformed> {
    let mut span = Span::default();
    let mut attributes = 0;
    for field in Fields(bytes) {
        match field? {
            // An id of another length is none.
            (1, Value::Bytes(id)) => span.trace = id.try_into().unwrap_or_default(),
            (2, Value::Bytes(id)) => span.id = id.try_into().unwrap_or_default(),
            (4, Value::Bytes(id)) => span.parent = id.try_into().unwrap_or_default(),
            (5, Value::Bytes(name)) => span.name = text(name),
            // SPAN_KIND_CLIENT and SPAN_KIND_PRODUCER.
            (6, Value::Number(kind)) => span.is_client = kind == 3 || kind == 4,
            (7, Value::Number(time)) => span.start_ns = time,
            (8, Value::Number(time)) => span.end_ns = time,
            (9, Value::Bytes(bytes)) if attributes < MAX_ATTRIBUTES => {
                attributes += 1;
                let (key, value) = attribute(bytes)?;
                match key {
                    "peer.service" => span.peer = value,
                    "server.address" | "net.peer.name" if span.peer.is_empty() => span.peer = value,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    Ok(span)
}

/// Key and value of an attribute; of values that are no text, none.
fn attribute(bytes: &[u8]) -> Result<(&str, &str), Malformed> {
    let (mut key, mut value) = ("", "");
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => key = text(bytes),
            (2, Value::Bytes(bytes)) => {
                for field in Fields(bytes) {
                    if let (1, Value::Bytes(bytes)) = field? {
                        value = text(bytes);
                    }
                }
            }
            _ => {}
        }
    }
    Ok((key, value))
}

/// What is no UTF-8 says nothing.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// The value of a field.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message, one after the other; it ends with the first that is malformed.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(Malformed))
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Number(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.bytes(length)?)
            }
            5 => Value::Number(u64::from(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?))),
            // Groups are of another age.
            _ => return None,
        };
        let number = key >> 3;
        (number > 0).then_some((number, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}
