//! Header maps: read all at once, changed one by one.

use proxy_wasm::{hostcalls, types::MapType};

use super::{HostError, Result};

/// A map of headers that the host holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Headers {
    /// Of the current request.
    Request,
    /// Trailers of the current request.
    RequestTrailers,
    /// Of the current response.
    Response,
    /// Of the answer to a call; see [`dispatch`](super::dispatch).
    CallResponse,
}

impl Headers {
    const fn map_type(self) -> MapType {
        match self {
            Self::Request => MapType::HttpRequestHeaders,
            Self::RequestTrailers => MapType::HttpRequestTrailers,
            Self::Response => MapType::HttpResponseHeaders,
            Self::CallResponse => MapType::HttpCallResponseHeaders,
        }
    }

    /// All headers in one call: each call costs more than looking at the result. Empty if Envoy has
    /// no such map: an answer to a call that broke off has none.
    ///
    /// # Errors
    /// The host's error.
    pub fn all(self) -> Result<HeaderList> {
        pairs::read(self.map_type()).map(HeaderList)
    }

    /// Sets a header, in place of any values that it had. Envoy refuses ("bad argument") only where
    /// it has no such map: request headers that it has passed on, which are then not changed here,
    /// and response headers outside their callback.
    ///
    /// # Errors
    /// The host's error.
    pub fn set(self, name: &str, value: &str) -> Result<()> {
        let value = Some(value.as_bytes());
        Ok(hostcalls::set_map_value_bytes(self.map_type(), name, value)?)
    }

    /// Removes all values of a header, if there are any. Envoy refuses as in [`Self::set`].
    ///
    /// # Errors
    /// The host's error.
    pub fn remove(self, name: &str) -> Result<()> {
        Ok(hostcalls::set_map_value_bytes(self.map_type(), name, None)?)
    }
}

/// The one host call beside the SDK, whose own call copies every name and value, which costs more
/// than everything else that the SDK does for a request.
#[expect(unsafe_code, reason = "an import is unsafe to call, and the host hands memory over")]
mod pairs {
    use std::ptr;

    use super::{HostError, MapType, Result};

    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        fn proxy_get_header_map_pairs(map: MapType, data: *mut *mut u8, size: *mut usize) -> u32;
    }

    /// A map in the ABI's form: the number of pairs, the sizes of each name and value, then the
    /// names and values, each with a zero byte after it.
    pub(super) fn read(map: MapType) -> Result<Vec<u8>> {
        let (mut data, mut size) = (ptr::null_mut(), 0);
        // SAFETY: the pointers are to live locals.
        let status = unsafe { proxy_get_header_map_pairs(map, &raw mut data, &raw mut size) };
        if status != 0 {
            return Err(HostError(status));
        }
        if data.is_null() || size == 0 {
            return Ok(Vec::new());
        }
        // SAFETY: the host has asked the SDK's allocator for exactly this size, as the SDK's own
        // calls rely on, and passed the memory to this call.
        Ok(unsafe { Vec::from_raw_parts(data, size, size) })
    }
}

/// Headers returned by the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderList(Vec<u8>);

impl HeaderList {
    /// The first values of these headers that are not empty.
    #[must_use]
    pub fn get<const N: usize>(&self, names: [&str; N]) -> [Option<&[u8]>; N] {
        let mut found = [None; N];
        for (name, value) in self.iter().filter(|(_, value)| !value.is_empty()) {
            let mut wanted = names.iter().zip(found.iter_mut());
            if let Some((_, found)) = wanted.find(|(wanted, _)| wanted.as_bytes() == name) {
                found.get_or_insert(value);
            }
        }
        found
    }

    /// Names and values; malformed pairs are left out.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (count, rest) = self.0.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
        let sizes = word(*count).saturating_mul(8);
        let (sizes, mut texts) = rest.split_at_checked(sizes).unwrap_or_default();
        let mut text = move |size: &[u8; 4]| {
            let (text, rest) = texts.split_at_checked(word(*size))?;
            texts = rest.get(1..)?;
            Some(text)
        };
        let (sizes, _) = sizes.as_chunks::<4>();
        let (sizes, _) = sizes.as_chunks::<2>();
        sizes.iter().map_while(move |[name, value]| Some((text(name)?, text(value)?)))
    }

    /// The same pairs in the ABI's form, for tests without a host.
    #[cfg(test)]
    pub(crate) fn of(map: &[(&str, &str)]) -> Self {
        let word = |text: &str| u32::try_from(text.len()).unwrap().to_le_bytes();
        let sizes = map.iter().flat_map(|(name, value)| [word(name), word(value)]);
        let count = u32::try_from(map.len()).unwrap().to_le_bytes();
        let mut bytes: Vec<u8> = [count].into_iter().chain(sizes).flatten().collect();
        for text in map.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend(text.bytes().chain([0]));
        }
        Self(bytes)
    }
}

fn word(bytes: [u8; 4]) -> usize {
    usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_as_the_abi_writes_them() {
        assert_eq!(
            HeaderList::of(&[("a", "bc"), ("d", "")]).0,
            b"\x02\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0a\0bc\0d\0\0"
        );
        let list = HeaderList::of(&[("a", ""), ("a", "bc"), ("b", "\0"), ("a", "d")]);
        assert_eq!(list.get(["b", "a", "c", ""]), [Some(&b"\0"[..]), Some(b"bc"), None, None]);
        assert_eq!(HeaderList::of(&[]).get(["a"]), [None]);
        for end in 0..list.0.len() {
            let cut = HeaderList(list.0[..end].to_vec());
            assert!(cut.get(["d"]) == [None] && cut.iter().count() < 4, "{end}");
        }
        assert_eq!(HeaderList(vec![0xff; 40]).iter().count(), 0);
    }
}
