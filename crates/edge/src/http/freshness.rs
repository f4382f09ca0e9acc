//! The response fields that state a response's source and its freshness.
//!
//! * `Cache-Status` (RFC 9211): `tidegate; hit`, `tidegate; fwd=miss; stored`, …
//! * `Tidegate-Freshness`, a structured dictionary: `bound=42, tier=edge, contract="page"`. The
//!   bound is in ms, rounded up: every older commit is in the response. Without a proof, the key
//!   `unproven` takes the place of `bound`. A response outside its contract has `stale=…` with the
//!   reason. `soft`: the entry is invalidated, and its contract spends some of its budget because the
//!   origin is overloaded; the bound is within the contract. `proof`: the evidence of the bound where
//!   it is weaker than the log and a database: `lease`, a service whose responses include a commit at
//!   the latest after the contract's `lag`; `age`, the time of the load alone, as for a page whose tags no
//!   log raises.

use std::io::{Cursor, Write};
use std::time::Duration;

use cache::{Proof, Tier};
use contract::Evidence;
use http::{HeaderName, HeaderValue};

pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
pub(crate) const TIDEGATE_FRESHNESS: HeaderName = HeaderName::from_static("tidegate-freshness");

/// The longest policy name; see [`crate::settings::routes`].
pub(crate) const MAX_NAME_BYTES: usize = 64;

/// `Cache-Status` of a hit without details.
pub(crate) const HIT: &str = "tidegate; hit";

/// Whether the `Cache-Status` of the answer is [`HIT`].
pub(crate) fn is_plain_hit(proof: &Proof) -> bool {
    proof.tier != Tier::Origin && proof.stale.is_none() && !proof.soft
}

/// `Cache-Status` of an answer of the engine.
pub(crate) fn cache_status(proof: &Proof) -> HeaderValue {
    if let Some(stale) = proof.stale {
        let text = format!("tidegate; hit; detail={}", stale.as_str());
        return HeaderValue::try_from(text).expect("reason names are visible ASCII");
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

/// The interface that a response is served by. It decides the name of the in-process tier: for pages
/// it is `edge`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ServedBy {
    /// The gateway, with the evidence of the page's bound.
    Gateway(Evidence),
    /// The data API, with the evidence of the contract's bounds.
    DataApi(Evidence),
}

impl ServedBy {
    fn tier(self, tier: Tier) -> &'static str {
        match (self, tier) {
            (Self::Gateway(_), Tier::Local) => "edge",
            _ => tier.as_str(),
        }
    }

    /// The `proof` member; empty where the evidence is the log.
    fn proof(self) -> &'static str {
        let (Self::Gateway(evidence) | Self::DataApi(evidence)) = self;
        match evidence {
            Evidence::Log => "",
            Evidence::Lease => ", proof=lease",
            Evidence::Age => ", proof=age",
        }
    }
}

/// `Tidegate-Freshness` under the policy `name`.
pub(crate) fn tidegate_freshness(proof: &Proof, name: &str, served_by: ServedBy) -> HeaderValue {
    let mut text = [0; 112 + MAX_NAME_BYTES];
    let mut cursor = Cursor::new(&mut text[..]);
    let tier = served_by.tier(proof.tier);
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
    let written = written.and_then(|()| cursor.write_all(served_by.proof().as_bytes()));
    written.expect("the longest bound, tier and name fit");
    let end = usize::try_from(cursor.position()).expect("the position is within the array");
    HeaderValue::from_bytes(&text[..end]).expect("numbers and checked names are visible ASCII")
}

/// Whole milliseconds, rounded up: a published bound may be too large, never too small.
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
    fn hit_states_bound() {
        assert_eq!(cache_status(&PROOF), "tidegate; hit");
        assert_eq!(
            tidegate_freshness(&PROOF, "page", ServedBy::Gateway(Evidence::Log)),
            "bound=42, tier=edge, contract=\"page\""
        );
    }

    #[test]
    fn unproven_answer_has_no_bound() {
        let stale = Proof { bound: None, stale: Some(Stale::Unproven), ..PROOF };
        assert_eq!(cache_status(&stale), "tidegate; hit; detail=unproven");
        assert_eq!(
            tidegate_freshness(&stale, "page", ServedBy::DataApi(Evidence::Log)),
            "unproven, tier=local, contract=\"page\", stale=unproven"
        );
    }

    #[test]
    fn miss_states_whether_stored() {
        let miss = Proof { tier: Tier::Origin, stored: Some(Verdict::Accept), ..PROOF };
        assert_eq!(cache_status(&miss), "tidegate; fwd=miss; stored");
        assert_eq!(cache_status(&Proof { stored: None, ..miss }), "tidegate; fwd=miss");
    }

    #[test]
    fn soft_stale_hit_is_marked() {
        let soft = Proof { soft: true, ..PROOF };
        assert_eq!(cache_status(&soft), "tidegate; hit; detail=soft");
        assert_eq!(
            tidegate_freshness(&soft, "page", ServedBy::Gateway(Evidence::Log)),
            "bound=42, tier=edge, contract=\"page\", soft"
        );
    }

    #[test]
    fn weaker_evidence_is_stated() {
        let freshness = |evidence| tidegate_freshness(&PROOF, "price", ServedBy::DataApi(evidence));
        assert_eq!(freshness(Evidence::Log), "bound=42, tier=local, contract=\"price\"");
        assert_eq!(
            freshness(Evidence::Lease),
            "bound=42, tier=local, contract=\"price\", proof=lease"
        );
        assert_eq!(freshness(Evidence::Age), "bound=42, tier=local, contract=\"price\", proof=age");
    }

    #[test]
    fn longest_freshness_fits() {
        let longest =
            Proof { bound: Some(Duration::MAX), stale: Some(Stale::OriginFailed), ..PROOF };
        let longest = Proof { soft: true, ..longest };
        tidegate_freshness(
            &longest,
            &"a".repeat(MAX_NAME_BYTES),
            ServedBy::DataApi(Evidence::Lease),
        );
    }
}
