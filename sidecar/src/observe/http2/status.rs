//! What a gRPC status counts as: the HTTP status that stands for it in `google.rpc.Code`.
//!
//! Those that say that the server failed are 5xx, as a request over HTTP/1 would have been counted; those that the client
//! has brought about are 4xx.

/// The status of a response that came with `http` and, if not 0, `grpc`.
pub(super) fn of(http: u16, grpc: u16) -> u16 {
    match grpc {
        0 => http,
        // CANCELLED
        1 => 499,
        // INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE
        3 | 9 | 11 => 400,
        // DEADLINE_EXCEEDED
        4 => 504,
        // NOT_FOUND
        5 => 404,
        // ALREADY_EXISTS, ABORTED
        6 | 10 => 409,
        // PERMISSION_DENIED
        7 => 403,
        // RESOURCE_EXHAUSTED
        8 => 429,
        // UNIMPLEMENTED
        12 => 501,
        // UNAVAILABLE
        14 => 503,
        // UNAUTHENTICATED
        16 => 401,
        // UNKNOWN, INTERNAL, DATA_LOSS; clients take what they do not know for UNKNOWN.
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_brought_about_is_its_failure() {
        let failures: Vec<u16> = (0..20).filter(|grpc| of(200, *grpc) >= 500).collect();
        assert_eq!(failures, [2, 4, 12, 13, 14, 15, 17, 18, 19]);
        assert_eq!((of(200, 0), of(503, 0), of(200, 5)), (200, 503, 404));
    }
}
