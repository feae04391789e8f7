//! URLs that may hold a secret.

use std::fmt;

use reqwest::Url;

/// An `http` or `https` URL whose user info, path and query are not shown.
///
/// `Debug` and `Display` show scheme, host and port alone, so that it can stand in logs and errors.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, without showing the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
        // What stands there instead is not shown: without a scheme it may be a user or a key.
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
}

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
