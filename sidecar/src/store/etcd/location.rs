//! Where an etcd is, as `store` says it.

use std::fmt;

use percent_encoding::percent_decode_str;
use reqwest::Url;

/// The members of an etcd, who asks them, and below which key.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdLocation {
    /// The members' base URLs.
    pub(super) members: Vec<Url>,
    /// User and password.
    pub(super) credentials: Option<(String, String)>,
    /// The start of every key, without slashes at its ends.
    pub(super) prefix: String,
}

/// The port of etcd's clients.
const PORT: u16 = 2379;

impl EtcdLocation {
    /// Reads `etcd://user:password@host:2379,host:2379/prefix`; `etcds://` for TLS.
    ///
    /// # Errors
    /// What is wrong with it, without what may be secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("etcd", rest)) => ("http", rest),
            Some(("etcds", rest)) => ("https", rest),
            _ => {
                return Err(
                    "expected etcd://HOST:PORT,HOST:PORT/PREFIX, or etcds:// for TLS".into()
                );
            }
        };
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(self::credentials(credentials)?), hosts),
            None => (None, authority),
        };
        let members = hosts.split(',').map(|host| member(scheme, host));
        let members = members.collect::<Result<Vec<_>, _>>()?;
        for (index, member) in members.iter().enumerate() {
            if members.iter().take(index).any(|earlier| earlier == member) {
                return Err("a host is named twice".into());
            }
        }
        Ok(Self { members, credentials, prefix: self::prefix(prefix)? })
    }

    /// Whether the members are asked over TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.members.iter().all(|member| member.scheme() == "https")
    }
}

fn credentials(text: &str) -> Result<(String, String), String> {
    let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok((decoded(user), decoded(password)))
        }
        _ => Err("expected USER:PASSWORD before the @".into()),
    }
}

fn member(scheme: &str, host: &str) -> Result<Url, String> {
    // What is wrong with a host is not repeated: it may be a part of a password.
    let bad = || "expected hosts, such as 10.0.0.1:2379,10.0.0.2:2379".to_owned();
    let mut url = Url::parse(&format!("{scheme}://{host}")).map_err(|_| bad())?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !is_bare || url.host_str().is_none_or(str::is_empty) || !url.username().is_empty() {
        return Err(bad());
    }
    // A URL leaves out its scheme's own port.
    let named = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !named {
        url.set_port(Some(PORT)).map_err(|()| bad())?;
    }
    Ok(url)
}

fn prefix(text: &str) -> Result<String, String> {
    let prefix = text.trim_matches('/');
    let is_plain = |segment: &str| {
        let plain = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
        !segment.is_empty() && segment != "." && segment != ".." && segment.chars().all(plain)
    };
    if prefix.is_empty() || prefix.split('/').all(is_plain) {
        Ok(if prefix.is_empty() { "finality".into() } else { prefix.into() })
    } else {
        Err("the prefix may have letters, digits, dots, hyphens and underscores between slashes, and no `..`".into())
    }
}

impl fmt::Display for EtcdLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_encrypted() { "etcds://" } else { "etcd://" })?;
        for (index, member) in self.members.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            let port = member.port_or_known_default().unwrap_or(PORT);
            write!(f, "{}:{port}", member.host_str().unwrap_or_default())?;
        }
        write!(f, "/{}", self.prefix)
    }
}

impl fmt::Debug for EtcdLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_credentials_and_prefix_are_read_and_the_password_is_never_shown() {
        let location = EtcdLocation::parse("etcd://u:p%40ss@10.0.0.1,[::1]:23/a/b-c/").unwrap();
        assert_eq!(location.to_string(), "etcd://10.0.0.1:2379,[::1]:23/a/b-c");
        assert_eq!(location.credentials, Some(("u".into(), "p@ss".into())));
        assert!(!format!("{location:?}").contains("ss@"));
        let location = EtcdLocation::parse("etcds://host:443").unwrap();
        assert_eq!(location.to_string(), "etcds://host:443/finality");
    }

    #[test]
    fn what_is_no_location_is_refused() {
        for text in [
            "",
            "redis://host",
            "http://host:2379",
            "etcd://",
            "etcd:///prefix",
            "etcd://host,",
            "etcd://host,host:2379",
            "etcd://user@host",
            "etcd://:password@host",
            "etcd://user:@host",
            "etcd://host:port",
            "etcd://host?x=1",
            "etcd://host/../other",
            "etcd://host/a//b",
            "etcd://host/a b",
        ] {
            let refused = EtcdLocation::parse(text).unwrap_err();
            assert!(!refused.contains("password@"), "{text}: {refused}");
        }
    }
}
