//! Objects in the bodies of requests.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A value that is written as a JSON object. serde reads a struct from an array too, by the order of its fields, so that
/// `["c1", []]` would be a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        sku: String,
    }

    #[test]
    fn array_is_no_object() {
        let read = |text| serde_json::from_str::<Object<Line>>(text);
        assert_eq!(read(r#"{"sku":"A"}"#).expect("an object").0.sku, "A");
        for (text, problem) in [
            (r#"["A"]"#, "expected an object"),
            ("null", "expected an object"),
            (r#"{"sku":"A","sku":"B"}"#, "duplicate field"),
            (r#"{"SKU":"A"}"#, "unknown field"),
        ] {
            let err = read(text).expect_err(text).to_string();
            assert!(err.contains(problem), "{text}: {err}");
        }
    }
}
