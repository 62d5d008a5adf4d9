//! Cases of the proof; see `tests` of the gate for the same against a real API server.
