//! Standard base64, with its padding, as query services and Nitro's feed write bytes.

use base64::{DecodeError, Engine, engine::general_purpose::PAD};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static ENGINE: std::sync::LazyLock<base64::engine::Simd> =
    std::sync::LazyLock::new(|| base64::engine::Simd::standard(PAD));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static ENGINE: base64::engine::GeneralPurpose =
    base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, PAD);

/// So many characters of a text are compared at once.
const PIECE: usize = 4096;

/// What a text stands for. Only the one text of some bytes is read: with padding, and without bits
/// that are left over.
///
/// # Errors
/// The text is not the base64 of any bytes.
pub fn decode_base64(text: &str) -> Result<Vec<u8>, DecodeError> {
    ENGINE.decode(text)
}

/// Appends what a text stands for, as [`decode_base64`]. If it fails, what was appended says
/// nothing.
pub(crate) fn append_base64(text: &str, bytes: &mut Vec<u8>) -> Result<(), DecodeError> {
    ENGINE.decode_vec(text, bytes)
}

/// Whether a text stands for these bytes. Nothing is held for that.
pub(crate) fn stands_for(text: &str, bytes: &[u8]) -> bool {
    let (mut room, mut rest) = ([0; PIECE / 4 * 3], bytes);
    let is_equal = text.as_bytes().chunks(PIECE).all(|piece| {
        let (expected, after) = rest.split_at(rest.len().min(room.len()));
        rest = after;
        ENGINE.decode_slice(piece, &mut room) == Ok(expected.len()) && room.starts_with(expected)
    });
    is_equal && rest.is_empty()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn only_the_one_text_of_some_bytes_is_read() {
        let read = |text: &str| {
            let mut bytes = vec![7];
            let appended = append_base64(text, &mut bytes).ok().map(|()| bytes);
            let alone = decode_base64(text).ok();
            assert_eq!(alone, appended.as_ref().map(|bytes| bytes[1..].to_vec()));
            appended
        };
        assert_eq!(read(""), Some(vec![7]));
        assert_eq!(read("AQ=="), Some(vec![7, 1]));
        let long = "AQID".repeat(100);
        assert_eq!(read(&long), Some([&[7][..], &[1, 2, 3].repeat(100)].concat()));
        for text in ["AQ", "AQ=", "AR==", "AQ==AQ==", "A", "AQI=\n", "A-==", "AQ=A"] {
            assert_eq!(read(text), None, "{text}");
            assert_eq!(read(&format!("{long}{text}{long}")), None, "{text}");
        }
    }

    #[test]
    fn a_text_is_compared_without_being_held() {
        for length in [0, 1, 2, 3, 3071, 3072, 3073, 6144, 10_000] {
            let bytes: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            let text = STANDARD.encode(&bytes);
            assert!(stands_for(&text, &bytes), "{length}");
            assert!(!stands_for(&text, &[&bytes[..], b"1"].concat()), "{length}");
            assert!(!stands_for(&format!("{text}AAAA"), &bytes), "{length}");
            if let Some((last, rest)) = bytes.split_last() {
                assert!(!stands_for(&text, rest), "{length}");
                assert!(!stands_for(&text, &[rest, &[!last]].concat()), "{length}");
            }
        }
        // Padding inside a text, where a piece of it ends.
        let inside = [&STANDARD.encode([0; 3070])[..], "AAAA"].concat();
        assert!([3070, 3072, 3073].iter().all(|length| !stands_for(&inside, &vec![0; *length])));
        assert!(!stands_for("!!!!", b"abc"));
    }
}
