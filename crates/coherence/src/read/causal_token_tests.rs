use contract::Key;
use proptest::prelude::*;

use super::*;
use crate::event::{Batch, Cause, Event, Subject};
use crate::tier::coverage::CoverageDigest;
use crate::tier::fence::{Fence, Offer, Verdict};

const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };
const LATER: Epoch = Epoch { incarnation: 2, ..EPOCH };
const PROMOTED: Epoch = Epoch { timeline: 2, ..EPOCH };

#[test]
fn same_log_compared_by_position() {
    let token = CausalToken::new(Some(EPOCH.log()), Lsn(7));
    assert_eq!(token.reached(Some(EPOCH), Lsn(6)), Reached::NotYet);
    assert_eq!(token.reached(Some(EPOCH), Lsn(7)), Reached::Yes);
    assert_eq!(
        token.reached(Some(LATER), Lsn(7)),
        Reached::Yes,
        "an epoch reset changes no position"
    );
    assert_eq!(token.reached(None, Lsn(9)), Reached::NotYet, "a tier without an epoch");
}

#[test]
fn other_log_never_reached() {
    let token = CausalToken::new(Some(EPOCH.log()), Lsn(7));
    assert_eq!(token.reached(Some(PROMOTED), Lsn(u64::MAX)), Reached::Never);
    let restarted = Epoch { server: 2, ..EPOCH };
    assert_eq!(token.reached(Some(restarted), Lsn(u64::MAX)), Reached::Never);
    let bare = CausalToken::new(None, Lsn(7));
    assert_eq!(bare.reached(Some(PROMOTED), Lsn(7)), Reached::Yes, "the token names no log");
}

#[test]
fn malformed_token_rejected() {
    let good = ["v1.0123456789abcdef.16b374d848", "lsn=16/B374D848", "lsn=0/0"];
    for text in good {
        assert!(text.parse::<CausalToken>().is_ok(), "{text}");
    }
    for text in [
        "",
        "v1",
        "v1.",
        "v1..",
        "v1.0123456789abcdef.",
        "v1.0123456789abcdef.+1",
        "v1.0123456789abcdef.0123456789abcdef0",
        "v1.123.1",
        "v2.0123456789abcdef.1",
        "16/B374D848",
        "lsn=16",
        "lsn=/",
        "lsn=+1/2",
        "lsn=116B374D848/0",
        "v1.é123456789abcdef.1",
    ] {
        assert!(text.parse::<CausalToken>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn token_round_trips_as_text(log: Option<(u64, u32, u64)>, position: u64) {
        let log = log.map(|(system, timeline, server)| Log { system, timeline, server });
        let token = CausalToken::new(log, Lsn(position));
        let text = token.to_string();
        prop_assert!(text.len() <= CausalToken::TEXT_MAX);
        prop_assert_eq!(text.parse(), Ok(token));
    }

    #[test]
    fn arbitrary_text_never_panics(text in ".{0,60}") {
        let _ = text.parse::<CausalToken>();
    }

    /// Race 15. A writer commits at some positions; loads that began under any watermark are offered to
    /// a tier that applies the commits late. Each answer of the tier to the token of a write contains
    /// that write.
    #[test]
    fn race_15_token_answer_includes_write(
        steps in proptest::collection::vec((0_u8..3, 0_u64..12), 1..60),
    ) {
        let key = Key::parse("v1:catalog:price:1").expect("a key");
        let mut tier = Fence::default();
        tier.reset_epoch(EPOCH, Lsn(0), Lsn(0));
        let (mut end, mut stored) = (0, None::<Lsn>);
        for (step, pick) in steps {
            match step {
                0 => end += 1,
                1 => {
                    let prev = tier.applied();
                    let upto = Lsn(end.min(prev.0 + pick));
                    let subjects = vec![Subject::Key(key.clone())];
                    let events = (prev.0 + 1..=upto.0).map(|lsn| Event {
                        lsn: Lsn(lsn), cause: Cause::Commit, committed_us: 0,
                        subjects: subjects.clone(),
                        renewals: Vec::new(),
                    });
                    let events = events.collect();
                    let batch = Batch { epoch: EPOCH, prev, upto, watermark: upto, coverage: CoverageDigest::NONE, events };
                    prop_assert!(tier.apply(&batch).is_ok());
                    stored = stored.filter(|tau| tier.stands(&key, &[], *tau));
                }
                _ => {
                    let tau = Lsn(tier.applied().0.saturating_sub(pick));
                    let offer = Offer { key: &key, tags: &[], tau, epoch: EPOCH, stored };
                    if tier.admit(offer) == Verdict::Accept {
                        stored = Some(tau);
                    }
                }
            }
            for write in 1..=end {
                let token = CausalToken::new(Some(EPOCH.log()), Lsn(write));
                let allowed = token.reached(tier.epoch(), tier.applied()) == Reached::Yes;
                if let (true, Some(tau)) = (allowed, stored) {
                    prop_assert!(tau.0 >= write, "an answer with τ {tau} for the write at {write}");
                }
            }
        }
    }
}
