//! What may be shown of URLs and HTTP errors: both may contain secrets.

use std::{error::Error, fmt};

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
        let url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
        // The scheme is not shown: what is in its place may be a user or a key.
        if !matches!(url.scheme(), "http" | "https") {
            return Err("the scheme must be http or https".into());
        }
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
