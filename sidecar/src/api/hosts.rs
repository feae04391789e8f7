//! The hosts under which the API answers, against DNS rebinding: a page of another site can point
//! its own name at this address, and its scripts would then read the API as their own server.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header, uri::Authority};

/// The cluster in the shipped Envoy configuration: without `sidecar_authority`, the filter's
/// requests have its name.
const SHIPPED: &str = "finality_sidecar";
const LOCALHOST: &str = "localhost";

/// The names under which the API answers, besides IP addresses.
#[derive(Debug, Clone)]
pub struct Hosts {
    /// None: any name.
    names: Option<Vec<String>>,
}

impl Hosts {
    /// On a loopback address names are always checked, since only programs of this machine belong
    /// there; elsewhere only if names are allowed by a setting.
    #[must_use]
    pub fn new(listen_addr: IpAddr, allowed: Option<&[String]>) -> Self {
        let is_checked = listen_addr.is_loopback() || allowed.is_some();
        let names = [SHIPPED, LOCALHOST].map(str::to_owned);
        let names = names.into_iter().chain(allowed.unwrap_or_default().iter().cloned());
        Self { names: is_checked.then(|| names.collect()) }
    }

    /// Whether a request names only hosts that are allowed. One without a name cannot come from a
    /// browser.
    pub(super) fn allow(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let target = uri.authority().map(Authority::as_str);
        let named = headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or(""));
        target.into_iter().chain(named).all(|host| self.allows(host))
    }

    fn allows(&self, authority: &str) -> bool {
        let Some(names) = &self.names else { return true };
        let host = without_port(authority);
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        address.unwrap_or(host).parse::<IpAddr>().is_ok()
            || [authority, host.strip_suffix('.').unwrap_or(host)]
                .iter()
                .any(|host| names.iter().any(|name| name.eq_ignore_ascii_case(host)))
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];

    fn hosts(listen: &str, allowed: Option<&[&str]>) -> Hosts {
        let allowed: Option<Vec<_>> =
            allowed.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        Hosts::new(listen.parse().unwrap(), allowed.as_deref())
    }

    #[test]
    fn on_loopback_only_names_of_this_machine_are_allowed() {
        for hosts in LOOPBACK.map(|listen| hosts(listen, None)) {
            for host in [
                "127.0.0.1:8090",
                "127.0.0.1",
                "10.1.2.3:80",
                "[::1]:8090",
                "[::1]",
                "localhost:8090",
                "LocalHost",
                "localhost.:8090",
                "finality_sidecar",
                "finality_sidecar:8090",
            ] {
                assert!(hosts.allows(host), "{host}");
            }
            for host in [
                "evil.test",
                "evil.test:8090",
                "localhost.evil.test",
                "127.0.0.1.evil.test:8090",
                "evil.test:127.0.0.1",
                "[::1].evil.test",
                "finality_sidecar.evil.test",
                "",
                ":8090",
            ] {
                assert!(!hosts.allows(host), "{host}");
            }
        }
    }

    #[test]
    fn a_setting_adds_names_and_elsewhere_restricts_them() {
        assert!(hosts("0.0.0.0", None).allows("anything.test"));
        for listen in ["127.0.0.1", "0.0.0.0"] {
            let hosts = hosts(listen, Some(&["sidecar.test", "odd|8090||name"]));
            for host in ["Sidecar.test:1", "odd|8090||name", "10.0.0.1:8090", "finality_sidecar"] {
                assert!(hosts.allows(host), "{host}");
            }
            assert!(!hosts.allows("evil.test"));
        }
    }
}
