//! The check at the start that no other database has the shared tier.

use std::time::Duration;

use cache::{SharedTier, TierError};
use coherence::Claim;
use coherence::leadership::CLAIM_LIFETIME;
use feed::Source;

/// The pause between two looks at a claim that conflicts.
const PAUSE: Duration = Duration::from_millis(500);

/// Checks that the database of `source`, whose followers are tracked under `slot`, may use the shared tier. A claim
/// that conflicts may be of a leader that has just ended: it is watched until it would have expired.
///
/// # Errors
/// The tier can't be read, or the leader of another database has it and lives.
pub async fn check_claim(
    shared: &dyn SharedTier,
    source: &dyn Source,
    slot: &str,
) -> Result<(), TierError> {
    let slot = contract::fnv1a(slot.bytes());
    let mut left = CLAIM_LIFETIME + PAUSE;
    loop {
        let Some(live) = shared.leadership().await?.claim else { return Ok(()) };
        // A database that does not answer, or has no log yet, is the feed's matter. Not the log's end: it may be
        // unknown until the feed has checked the database.
        let Ok(identity) = source.identity().await else { return Ok(()) };
        let own = Claim { node: 0, log: identity.log(), slot, label: "".into() };
        // Whether a promoted database has everything is decided when its leader claims the tier.
        let is_later = source.orders_timelines()
            && live.log.system == identity.system
            && live.log.timeline < identity.timeline;
        let Err(conflict) = own.replaces(Some(&live), None, &[]) else { return Ok(()) };
        if is_later {
            return Ok(());
        }
        if left.is_zero() {
            return Err(TierError::Claimed { conflict, label: live.label });
        }
        if left > CLAIM_LIFETIME {
            tracing::warn!(
                followed = %live.label,
                "the shared tier follows {conflict}; waiting whether its leader lives"
            );
        }
        tokio::time::sleep(PAUSE).await;
        left = left.saturating_sub(PAUSE);
    }
}
