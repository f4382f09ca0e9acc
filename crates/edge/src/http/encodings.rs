//! Classes of content codings.

use http::HeaderValue;
use http::header::GetAll;

/// The content codings that a client accepts, as far as pages differ by them. A load sends the
/// class upstream instead of the client's own `Accept-Encoding`, so only the class decides the
/// encoding of a stored page.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Encodings(u8);

impl Encodings {
    const NAMES: [&'static str; 3] = ["gzip", "br", "zstd"];

    /// All classes.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..1 << Self::NAMES.len()).map(Self)
    }

    /// The class of a request by its `Accept-Encoding` fields.
    pub(crate) fn accepted(fields: &GetAll<'_, HeaderValue>) -> Self {
        let mut class = 0;
        for field in fields {
            let Ok(field) = field.to_str() else { continue };
            for item in field.split(',') {
                let (name, weight) = item.split_once(';').unwrap_or((item, ""));
                let bit =
                    Self::NAMES.iter().position(|known| name.trim().eq_ignore_ascii_case(known));
                if let Some(bit) = bit
                    && !is_zero_weight(weight)
                {
                    class |= 1 << bit;
                }
            }
        }
        Self(class)
    }

    /// The class as one byte, as it is part of a page's key.
    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    /// The `Accept-Encoding` that a load sends upstream.
    pub(crate) fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self.0 {
            1 => "gzip",
            2 => "br",
            3 => "br, gzip",
            4 => "zstd",
            5 => "zstd, gzip",
            6 => "zstd, br",
            7 => "zstd, br, gzip",
            _ => "identity",
        })
    }
}

/// `q=0`, `q=0.000` (RFC 9110 §12.4.2).
fn is_zero_weight(parameter: &str) -> bool {
    let value = parameter.trim().strip_prefix(['q', 'Q']).map(str::trim_start);
    value.and_then(|value| value.strip_prefix('=')).is_some_and(|value| {
        !value.is_empty() && value.trim().bytes().all(|b| matches!(b, b'0' | b'.'))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::ACCEPT_ENCODING;

    use super::*;

    #[test]
    fn accept_encoding_maps_to_class() {
        let class = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(text).expect("a value"));
            Encodings::accepted(&headers.get_all(ACCEPT_ENCODING)).header()
        };
        assert_eq!(class("gzip, deflate, br"), "br, gzip");
        assert_eq!(class("BR;q=0.5, gzip ; q=0"), "br");
        assert_eq!(class("identity"), "identity");
        assert_eq!(class("gzip;q=0.001"), "gzip");
        assert_eq!(class("*"), "identity");
    }
}
