//! promtool, from Debian's package of Prometheus.

use super::{Tool, Version, apt};

pub(crate) const PROMTOOL: Tool = Tool {
    name: "promtool",
    variable: "PROMTOOL",
    oldest: Version(2, 40, 0),
    // Debian 12 has 2.42; a later Debian has a later version.
    fetched: Version(2, 42, 0),
    // Installing the package would start a server.
    fetch: |_, folder| {
        apt::unpack("prometheus", folder)?;
        Ok(folder.join("usr/bin/promtool"))
    },
};
