//! Lists of which no more is read than was asked for, and texts that are held in one piece: what an
//! answer makes hold is never many times its own length.

use std::{fmt, marker::PhantomData, str};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, SeqAccess, Visitor},
};

/// Reads a list of exactly so many elements.
pub(crate) fn read_list<'de, T: Deserialize<'de>>(
    body: &'de [u8],
    count: u64,
) -> Result<Vec<T>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let list = reader.deserialize_seq(List { count, of: PhantomData })?;
    reader.end().map(|()| list)
}

struct List<T> {
    count: u64,
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} elements", self.count)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            if list.len() as u64 == self.count {
                return Err(A::Error::custom(format_args!("more than {} elements", self.count)));
            }
            list.push(element);
        }
        if list.len() as u64 == self.count {
            return Ok(list);
        }
        Err(A::Error::custom(format_args!("{} elements, not {}", list.len(), self.count)))
    }
}

/// A list of byte strings, each an array of numbers or a text.
#[derive(Debug, Default)]
pub(crate) struct Strings {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Strings {
    pub(crate) const fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut begin = 0;
        self.ends.iter().map(move |end| {
            let end = *end as usize;
            let bytes = self.bytes.get(begin..end).unwrap_or_default();
            begin = end;
            bytes
        })
    }

    /// The elements as texts; empty for those that are none.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|bytes| str::from_utf8(bytes).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Strings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of bytes or texts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Strings, A::Error> {
                let mut strings = Strings::default();
                while elements.next_element_seed(Append(&mut strings.bytes))?.is_some() {
                    let end = u32::try_from(strings.bytes.len()).map_err(A::Error::custom)?;
                    strings.ends.push(end);
                }
                Ok(strings)
            }
        }

        deserializer.deserialize_seq(All)
    }
}

/// Appends one element.
struct Append<'a>(&'a mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Append<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes or a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(byte) = elements.next_element()? {
            self.0.push(byte);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_exactly_as_many_elements_as_were_asked_for() {
        assert_eq!(read_list::<u8>(b"[1, 2]", 2).unwrap(), [1, 2]);
        for list in ["[1]", "[1, 2, 3]", "[1, 2", "[1, 2] 3", "[]", "{}"] {
            assert!(read_list::<u8>(list.as_bytes(), 2).is_err(), "{list}");
        }
    }

    #[test]
    fn strings_are_held_in_one_piece() {
        let strings: Strings = serde_json::from_str(r#"[[1, 2], [], "abc", [255]]"#).unwrap();
        assert_eq!(strings.len(), 4);
        assert!(strings.iter().eq([&[1, 2][..], &[], b"abc", &[255]]));
        assert!(strings.texts().nth(2) == Some("abc") && strings.texts().nth(3) == Some(""));
        for list in ["[[256]]", "[[-1]]", "[1]", "[[[1]]]", "{}"] {
            assert!(serde_json::from_str::<Strings>(list).is_err(), "{list}");
        }
    }
}
