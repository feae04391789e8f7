//! etcd, from Debian's package.

use super::{Tool, Version, apt};

pub(crate) const ETCD: Tool = Tool {
    name: "etcd",
    variable: "ETCD",
    oldest: Version(3, 4, 0),
    // Debian 12 and 13 have 3.4.23 or later.
    fetched: Version(3, 4, 23),
    // Installing the package would start a server.
    fetch: |_, folder| {
        apt::unpack("etcd-server", folder)?;
        Ok(folder.join("usr/bin/etcd"))
    },
};
