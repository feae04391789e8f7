//! Classifies a request by its headers: whether its body is inspected.

use finality_core::{headers, refusal::Refusal};

use crate::{
    config::{Config, ContentEncoding},
    host::HeaderList,
    metrics::Counter,
};

/// What happens to a request, by its headers.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes unmodified, and is counted.
    Pass(Counter),
    /// It becomes a WebSocket connection.
    WebSocket,
    /// Its body is inspected; its length in bytes, from its headers.
    Inspect(Option<usize>),
    /// It is refused.
    Refuse(Refusal),
    /// It is refused if it has a body, which its headers do not tell.
    RefuseBody(Refusal),
}

/// The headers that decide, each with its first non-empty value.
#[derive(Debug, Default)]
pub struct RequestHeaders<'a> {
    method: Option<&'a [u8]>,
    upgrade: Option<&'a [u8]>,
    content_type: Option<&'a [u8]>,
    content_encoding: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    /// The marker of the sidecar's own requests.
    pub sidecar: Option<&'a [u8]>,
    /// What a WebSocket client over HTTP/1.1 sends.
    pub websocket_key: Option<&'a [u8]>,
}

impl<'a> RequestHeaders<'a> {
    /// Reads the list once, since every request with a body passes here.
    #[must_use]
    pub fn read(list: &'a HeaderList) -> Self {
        let mut headers = Self::default();
        for (name, value) in list.iter() {
            let header = match name {
                b":method" => &mut headers.method,
                b"upgrade" => &mut headers.upgrade,
                b"content-type" => &mut headers.content_type,
                b"content-length" => &mut headers.content_length,
                b"content-encoding" => &mut headers.content_encoding,
                b"sec-websocket-key" => &mut headers.websocket_key,
                _ if name == headers::SIDECAR.as_bytes() => &mut headers.sidecar,
                _ => continue,
            };
            if !value.is_empty() {
                header.get_or_insert(value);
            }
        }
        headers
    }

    /// What to do with a request that may have a body.
    #[must_use]
    pub fn classify(&self, config: &Config) -> Verdict {
        // Envoy keeps this header only for actual upgrades, including those over HTTP/2.
        if let Some(protocol) = self.upgrade {
            let is_websocket = protocol.trim_ascii().eq_ignore_ascii_case(b"websocket");
            return if is_websocket {
                Verdict::WebSocket
            } else {
                Verdict::Pass(Counter::PassedUpgrade)
            };
        }
        // What follows a CONNECT is not a body. Nodes answer JSON-RPC over every other method, and
        // over OPTIONS whatever the content type.
        let method = self.method.unwrap_or_default();
        if method == b"CONNECT" {
            return Verdict::Pass(Counter::PassedMethod);
        }
        if method != b"OPTIONS" && self.content_type.is_some_and(|value| !may_be_json_rpc(value)) {
            return Verdict::Pass(Counter::PassedContentType);
        }
        let length = self
            .content_length
            .and_then(|value| std::str::from_utf8(value).ok()?.parse::<u64>().ok())
            .map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if let Some(encoding) = self.content_encoding.and_then(encoding) {
            let refusal = Refusal::Encoded { encoding };
            let has_body = match length {
                Some(length) => length > 0,
                None => [b"POST".as_slice(), b"PUT", b"PATCH", b""].contains(&method),
            };
            return match config.content_encoding {
                ContentEncoding::Pass => Verdict::Pass(Counter::PassedEncoded),
                ContentEncoding::Refuse if has_body => Verdict::Refuse(refusal),
                ContentEncoding::Refuse => Verdict::RefuseBody(refusal),
            };
        }
        if let (Some(length), Some(limit)) = (length, config.max_body_bytes)
            && length > limit
        {
            return Verdict::Refuse(Refusal::BodyTooLarge { limit });
        }
        Verdict::Inspect(length)
    }
}

/// Whether a body of this content-type may be JSON-RPC that a node reads.
fn may_be_json_rpc(content_type: &[u8]) -> bool {
    if content_type == b"application/json" {
        return true;
    }
    let end = content_type.iter().position(|byte| matches!(byte, b';' | b','));
    let media_type = content_type.get(..end.unwrap_or(content_type.len())).unwrap_or_default();
    let media_type = media_type.trim_ascii().to_ascii_lowercase();
    media_type.is_empty()
        || media_type.ends_with(b"+json")
        || [
            b"application/json".as_slice(),
            b"application/json-rpc",
            b"application/jsonrequest",
            b"text/json",
            b"text/plain",
        ]
        .contains(&media_type.as_slice())
}

/// Whether Envoy's decompressor has unpacked the body. It adds a trailer with the size, whose name
/// contains the configured name of its library.
#[must_use]
pub fn was_compressed(trailers: &HeaderList) -> bool {
    trailers.iter().any(|(name, bytes)| {
        name.starts_with(b"x-envoy-decompressor-")
            && name.ends_with(b"-compressed-bytes")
            && bytes != b"0"
    })
}

/// The first coding of a content-encoding that changes the body, as text short enough to echo.
fn encoding(content_encoding: &[u8]) -> Option<String> {
    const ECHOED: usize = 32;
    let coding = content_encoding
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))?;
    Some(String::from_utf8_lossy(coding).chars().take(ECHOED).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_by_any_name_is_inspected() {
        for content_type in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json-rpc",
            "application/jsonrequest",
            "application/vnd.api+json;v=1",
            "text/json",
            "text/plain",
            "TEXT/PLAIN ; charset=x",
            " application/json",
            "application/json,text/html",
            "; charset=utf-8",
        ] {
            assert!(may_be_json_rpc(content_type.as_bytes()), "{content_type}");
        }
        for content_type in [
            "application/grpc",
            "application/grpc+proto",
            "application/x-www-form-urlencoded",
            "application/octet-stream",
            "text/html; x=application/json",
            "application/json5",
            "json",
            "\u{fffd}",
        ] {
            assert!(!may_be_json_rpc(content_type.as_bytes()), "{content_type}");
        }
    }

    #[test]
    fn only_codings_that_change_the_body_count() {
        for value in ["identity", "Identity", "", " , identity,"] {
            assert_eq!(encoding(value.as_bytes()), None, "{value}");
        }
        assert_eq!(encoding(b"gzip").as_deref(), Some("gzip"));
        assert_eq!(encoding(b"identity, br").as_deref(), Some("br"));
        assert_eq!(encoding(b"\xff\xfe").as_deref(), Some("\u{fffd}\u{fffd}"));
        assert_eq!(encoding(&[b'x'; 1000]).map(|text| text.len()), Some(32));
    }
}
