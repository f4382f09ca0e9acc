//! How an answer says where it comes from and how fresh it is.
//!
//! * `Cache-Status` (RFC 9211): `tidegate; hit`, `tidegate; fwd=miss; stored`, …
//! * `Tidegate-Freshness`, a structured dictionary: `bound=42, tier=edge, contract="page"`. The
//!   bound is in ms, rounded up: every change committed longer ago is in the answer. Where nothing
//!   is proven there is no `bound`, but the key `unproven`; an answer that is served outside its
//!   contract says `stale=…` and why. `soft`: a commit has made it old, and its contract spends some
//!   of its budget because the origin is hard pressed; the bound is within the contract. `proof`: what
//!   the bound rests on, where that is less than the log and a database: `lease`, that a service shows
//!   what is committed; `age`, the time of the load alone.

use std::io::{Cursor, Write};
use std::time::Duration;

use cache::{Proof, Tier};
use contract::Evidence;
use http::{HeaderName, HeaderValue};

pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
pub(crate) const TIDEGATE_FRESHNESS: HeaderName = HeaderName::from_static("tidegate-freshness");

/// The longest policy name; see [`crate::routes`].
pub(crate) const MAX_NAME_BYTES: usize = 64;

/// `Cache-Status` of an answer of which there is nothing more to say.
pub(crate) const HIT: &str = "tidegate; hit";

/// Whether its `Cache-Status` is [`HIT`].
pub(crate) fn is_plain_hit(proof: &Proof) -> bool {
    proof.tier != Tier::Origin && proof.stale.is_none() && !proof.soft
}

/// `Cache-Status` of an answer that came out of the engine.
pub(crate) fn cache_status(proof: &Proof) -> HeaderValue {
    if let Some(stale) = proof.stale {
        let text = format!("tidegate; hit; detail={}", stale.as_str());
        return HeaderValue::try_from(text).expect("names of reasons are plain text");
    }
    if proof.soft {
        return HeaderValue::from_static("tidegate; hit; detail=soft");
    }
    let stored = matches!(proof.stored, Some(coherence::Verdict::Accept));
    HeaderValue::from_static(match (proof.tier, proof.collapsed, stored) {
        (Tier::Local | Tier::Shared, ..) => HIT,
        (Tier::Origin, true, true) => "tidegate; fwd=miss; stored; collapsed",
        (Tier::Origin, true, false) => "tidegate; fwd=miss; collapsed",
        (Tier::Origin, false, true) => "tidegate; fwd=miss; stored",
        (Tier::Origin, false, false) => "tidegate; fwd=miss",
    })
}

/// What the in-process tier is called in an answer: whole pages are at the edge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Face {
    Gateway,
    /// With what the contract's bounds rest on.
    Data(Evidence),
}

impl Face {
    fn tier(self, tier: Tier) -> &'static str {
        match (self, tier) {
            (Self::Gateway, Tier::Local) => "edge",
            _ => tier.as_str(),
        }
    }

    /// What is said of the proof, if anything.
    fn proof(self) -> &'static str {
        match self {
            Self::Gateway | Self::Data(Evidence::Log) => "",
            Self::Data(Evidence::Lease) => ", proof=lease",
            Self::Data(Evidence::Age) => ", proof=age",
        }
    }
}

/// `Tidegate-Freshness` under the policy `name`.
pub(crate) fn freshness(proof: &Proof, name: &str, face: Face) -> HeaderValue {
    let mut text = [0; 112 + MAX_NAME_BYTES];
    let mut cursor = Cursor::new(&mut text[..]);
    let tier = face.tier(proof.tier);
    let written = match (proof.bound, proof.stale) {
        (Some(bound), None) => {
            write!(cursor, "bound={}, tier={tier}, contract=\"{name}\"", millis_up(bound))
        }
        (Some(bound), Some(stale)) => write!(
            cursor,
            "bound={}, tier={tier}, contract=\"{name}\", stale={}",
            millis_up(bound),
            stale.as_str()
        ),
        (None, None) => write!(cursor, "unproven, tier={tier}, contract=\"{name}\""),
        (None, Some(stale)) => {
            write!(cursor, "unproven, tier={tier}, contract=\"{name}\", stale={}", stale.as_str())
        }
    };
    let written = match proof.soft {
        true => written.and_then(|()| write!(cursor, ", soft")),
        false => written,
    };
    let written = written.and_then(|()| cursor.write_all(face.proof().as_bytes()));
    written.expect("the longest bound, tier and name fit");
    let end = usize::try_from(cursor.position()).expect("it is inside the array");
    HeaderValue::from_bytes(&text[..end]).expect("numbers and checked names are plain text")
}

/// Whole milliseconds, rounded up: a bound may be shown too large, never too small.
pub(crate) fn millis_up(duration: Duration) -> u128 {
    duration.as_nanos().div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use cache::Stale;
    use coherence::{Lsn, Verdict};

    use super::*;

    const PROOF: Proof = Proof {
        tier: Tier::Local,
        age: Duration::ZERO,
        bound: Some(Duration::from_micros(41_001)),
        version: Lsn::ZERO,
        stale: None,
        soft: false,
        collapsed: false,
        stored: None,
    };

    #[test]
    fn a_hit_shows_its_bound() {
        assert_eq!(cache_status(&PROOF), "tidegate; hit");
        assert_eq!(
            freshness(&PROOF, "page", Face::Gateway),
            "bound=42, tier=edge, contract=\"page\""
        );
    }

    #[test]
    fn what_is_not_proven_is_not_claimed() {
        let stale = Proof { bound: None, stale: Some(Stale::Unproven), ..PROOF };
        assert_eq!(cache_status(&stale), "tidegate; hit; detail=unproven");
        assert_eq!(
            freshness(&stale, "page", Face::Data(Evidence::Log)),
            "unproven, tier=local, contract=\"page\", stale=unproven"
        );
    }

    #[test]
    fn a_miss_says_whether_it_was_kept() {
        let miss = Proof { tier: Tier::Origin, stored: Some(Verdict::Accept), ..PROOF };
        assert_eq!(cache_status(&miss), "tidegate; fwd=miss; stored");
        assert_eq!(cache_status(&Proof { stored: None, ..miss }), "tidegate; fwd=miss");
    }

    #[test]
    fn what_a_commit_made_old_says_so() {
        let soft = Proof { soft: true, ..PROOF };
        assert_eq!(cache_status(&soft), "tidegate; hit; detail=soft");
        assert_eq!(
            freshness(&soft, "page", Face::Gateway),
            "bound=42, tier=edge, contract=\"page\", soft"
        );
    }

    #[test]
    fn what_rests_on_less_than_the_log_says_so() {
        let said = |evidence| freshness(&PROOF, "price", Face::Data(evidence));
        assert_eq!(said(Evidence::Log), "bound=42, tier=local, contract=\"price\"");
        assert_eq!(said(Evidence::Lease), "bound=42, tier=local, contract=\"price\", proof=lease");
        assert_eq!(said(Evidence::Age), "bound=42, tier=local, contract=\"price\", proof=age");
    }

    #[test]
    fn the_longest_text_fits() {
        let longest =
            Proof { bound: Some(Duration::MAX), stale: Some(Stale::OriginFailed), ..PROOF };
        let longest = Proof { soft: true, ..longest };
        freshness(&longest, &"a".repeat(MAX_NAME_BYTES), Face::Data(Evidence::Lease));
    }
}
