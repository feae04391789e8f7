//! What may be shown of URLs and HTTP errors: both may contain secrets.

use std::{error::Error, fmt, net::IpAddr};

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;
use reqwest::Url;

/// An `http` or `https` URL whose user info, path and query are not shown.
///
/// `Debug` and `Display` show only scheme, host and port, so that it can appear in logs and errors.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, without showing the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "must be a URL that begins with http:// or https://";
        // The parser would drop or encode them.
        if text.contains(|char: char| char.is_whitespace() || char.is_control()) {
            return Err("has a space or a line break in it; separate several URLs by commas".into());
        }
        if text.contains('…') {
            return Err(
                "is masked (…): give the URL itself, or a reference (env:NAME, file:/path)".into(),
            );
        }
        // The scheme is not shown otherwise: what is in its place may be a user or a key.
        let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        if let Some("ws" | "wss") = scheme.as_deref() {
            return Err("WebSocket is not supported: give the HTTP endpoint of the same node, https:// in place of wss:// (with many providers, another path too)".into());
        }
        if text.starts_with(['/', '.']) || text.ends_with(".ipc") {
            return Err("a socket in the file system (IPC) is not supported: give the node's HTTP endpoint, such as http://127.0.0.1:8545 (geth's --http)".into());
        }
        if !matches!(scheme.as_deref(), Some("http" | "https")) {
            return Err(FORM.into());
        }
        let url = Url::parse(text)
            .map_err(|error| format!("not a URL such as https://host:8545: {error}"))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err("the URL has no host".into());
        }
        Ok(Self(url))
    }

    /// The whole URL, for making requests.
    #[must_use]
    pub const fn expose(&self) -> &Url {
        &self.0
    }

    /// Whether both name one service: with other credentials, by another spelling of the host, as
    /// HTTP and HTTPS, or in two of its versions. Names that only DNS makes one are two.
    #[must_use]
    pub fn is_same_service(&self, other: &Self) -> bool {
        self.service() == other.service()
    }

    /// Host, port unless it is the scheme's own, and the segments of the path.
    fn service(&self) -> (String, Option<u16>, Vec<String>) {
        let url = &self.0;
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        let host = match host.trim_matches(['[', ']']).parse().map(|ip: IpAddr| ip.to_canonical()) {
            Ok(address) if is_local(address) => "localhost".to_owned(),
            Ok(address) => address.to_string(),
            Err(_) => host.to_owned(),
        };
        let segments = url.path_segments().into_iter().flatten();
        let decoded = segments.map(|segment| percent_decode_str(segment).decode_utf8_lossy());
        let mut path: Vec<_> =
            decoded.filter(|segment| !segment.is_empty()).map(String::from).collect();
        let is_version = |segment: &String| {
            segment.strip_prefix('v').is_some_and(|digits| digits.parse::<u8>().is_ok())
        };
        path.pop_if(|last| is_version(last));
        (host, url.port(), path)
    }

    /// The text without what may be secret in this URL: a server may repeat the request.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        self.secrets().iter().fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
    }

    /// Everything that [`Display`](fmt::Display) leaves out, encoded and decoded, longest first.
    fn secrets(&self) -> Vec<String> {
        let url = &self.0;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = (url.username(), url.password().unwrap_or_default());
        let mut secrets = vec![user.to_owned(), password.to_owned()];
        if !(user.is_empty() && password.is_empty()) {
            let credentials = format!("{}:{}", decoded(user), decoded(password));
            secrets.push(BASE64_STANDARD.encode(credentials));
        }
        secrets.extend(url.path_segments().into_iter().flatten().map(str::to_owned));
        for part in [url.query(), url.fragment()].into_iter().flatten() {
            secrets.push(part.to_owned());
            secrets.extend(part.split(['&', '=']).map(str::to_owned));
        }
        secrets.extend(secrets.clone().iter().map(|secret| decoded(secret)));
        // Shorter ones are not secrets, and masking them would make every text unreadable.
        secrets.retain(|secret| secret.chars().count() >= SHORTEST_SECRET);
        secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }
}

/// Whether an address is this machine's own; a server is reached at 0.0.0.0 as well.
const fn is_local(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified()
}

/// The shortest part of a URL that may be a secret, in characters.
const SHORTEST_SECRET: usize = 4;

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        let url = &self.0;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none();
        let anonymous = url.username().is_empty() && url.password().is_none();
        f.write_str(if bare && anonymous && url.fragment().is_none() { "/" } else { "/…" })
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The innermost cause of an HTTP error, which is the most specific, without the URL, which may
/// contain a secret.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if std::ptr::addr_eq(cause, error) { "the request failed".into() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_service_is_found_under_its_other_spellings() {
        let same = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|url| SecretUrl::parse(url).unwrap());
            one.is_same_service(&other)
        };
        for (one, other) in [
            ("https://host/v1", "HTTPS://HOST:443/v1/"),
            ("https://host/v1", "https://user:key@host/v1#x"),
            ("https://host/v1", "https://host./v0"),
            ("https://host/v1", "https://host"),
            ("https://host/rpc?key=1", "http://host//rpc?key=2"),
            ("https://host/%72pc", "https://host/rpc"),
            ("https://host/a/../rpc", "https://host/rpc"),
            ("http://b\u{fc}cher.test", "http://xn--bcher-kva.test"),
            ("http://localhost:8545", "http://127.0.0.1:8545"),
            ("http://127.1:8545", "http://[::1]:8545"),
            ("http://10.0.0.1", "http://[::ffff:10.0.0.1]"),
            ("http://10.0.0.1", "http://0xa000001"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("https://host", "https://host2"),
            ("https://host", "https://host:8443"),
            ("http://host:8545", "http://host:8546"),
            ("https://host/one", "https://host/two"),
            ("https://host/v1/one", "https://host/one"),
            ("http://10.0.0.1", "http://10.0.0.2"),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn no_part_of_a_url_is_left_in_a_text() {
        let url = "https://us%65rname:p%40ssword@host:444/v3/path-key/?key=query%2Dkey#fragment";
        let url = SecretUrl::parse(url).unwrap();
        assert_eq!(url.to_string(), "https://host:444/…");
        for (text, masked) in [
            ("us%65rname username p%40ssword p@ssword", "… … … …"),
            ("Basic dXNlcm5hbWU6cEBzc3dvcmQ= refused", "Basic … refused"),
            ("GET /v3/path-key/?key=query%2Dkey", "GET /v3/…/?…"),
            ("bad key query-key at host:444", "bad key … at host:444"),
            ("fragment", "…"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(url.mask(text), masked);
        }
        let bare = SecretUrl::parse("http://host").unwrap();
        assert_eq!(bare.mask("http://host/ is down"), "http://host/ is down");
    }
}
