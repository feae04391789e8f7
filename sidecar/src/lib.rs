//! The finality sidecar.
