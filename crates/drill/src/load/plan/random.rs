//! Seeded randomness: popularity distributions and arrival times.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// The random number generator of every plan. The algorithm defines its sequence, so a seed gives
/// the same plan on every machine and with every version of the library.
pub(crate) type Rng = Xoshiro256PlusPlus;

pub(crate) fn seeded(seed: u64) -> Rng {
    Rng::seed_from_u64(seed)
}

/// Draws the time until the next arrival of a Poisson process with `per_second` arrivals a second.
pub(crate) fn interarrival(rng: &mut Rng, per_second: f64) -> Duration {
    let unit: f64 = 1.0 - rng.random::<f64>();
    Duration::from_secs_f64((-unit.ln() / per_second.max(1e-9)).min(86_400.0))
}

/// A discrete distribution over ids.
#[derive(Debug, Clone)]
pub struct Popularity {
    ids: Vec<u32>,
    cumulative: Vec<f64>,
}

impl Popularity {
    /// Returns a Zipf distribution over the ids 1 to `count`, ranked in an order shuffled by
    /// `seed`: the id of rank r has weight r^-`exponent`.
    pub fn zipf(count: u32, exponent: f64, seed: u64) -> Self {
        let mut ids: Vec<u32> = (1..=count).collect();
        ids.shuffle(&mut seeded(seed));
        Self::ranked(ids, exponent)
    }

    /// Returns a Zipf distribution over `ids`, the most popular first: the id of rank r has weight
    /// r^-`exponent`.
    pub fn ranked(ids: Vec<u32>, exponent: f64) -> Self {
        let weights: Vec<f64> =
            (1_u32..).zip(&ids).map(|(rank, _)| f64::from(rank).powf(-exponent)).collect();
        Self::new(ids, weights)
    }

    /// Returns the distribution with these weights; ids with a weight of zero or less are left out.
    pub fn weighted(weights: impl IntoIterator<Item = (u32, f64)>) -> Self {
        let (ids, weights): (Vec<u32>, Vec<f64>) =
            weights.into_iter().filter(|(_, weight)| *weight > 0.0).unzip();
        Self::new(ids, weights)
    }

    fn new(ids: Vec<u32>, weights: impl IntoIterator<Item = f64>) -> Self {
        let cumulative = weights
            .into_iter()
            .scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        Self { ids, cumulative }
    }

    /// Draws one id by its weight; `None` if there are no ids.
    pub(crate) fn pick(&self, rng: &mut Rng) -> Option<u32> {
        let total = *self.cumulative.last()?;
        let point = rng.random::<f64>() * total;
        let rank = self.cumulative.partition_point(|sum| *sum <= point);
        self.ids.get(rank.min(self.ids.len() - 1)).copied()
    }

    /// Draws one of the `share` (0 to 1) most popular ids with equal probability; `None` if there
    /// are no ids.
    pub(crate) fn pick_top(&self, rng: &mut Rng, share: f64) -> Option<u32> {
        if self.ids.is_empty() {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a length"
        )]
        let top = ((self.ids.len() as f64 * share) as usize).clamp(1, self.ids.len());
        self.ids.get(rng.random_range(0..top)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_head_gets_expected_share() {
        let popularity = Popularity::zipf(10_000, 0.83, 1);
        let mut rng = seeded(2);
        let head: Vec<u32> = popularity.ids[..100].to_vec();
        let hits = (0..20_000)
            .filter(|_| popularity.pick(&mut rng).is_some_and(|id| head.contains(&id)))
            .count();
        // The exact share of the top 1 % is the ratio of the partial sums of r^-0.83: 0.325.
        assert!((6_000..7_000).contains(&hits), "{hits} of 20000");
    }

    #[test]
    fn empty_popularity_picks_none() {
        assert_eq!(Popularity::weighted([]).pick(&mut seeded(1)), None);
        assert_eq!(Popularity::weighted([(7, 0.0)]).pick_top(&mut seeded(1), 0.01), None);
    }
}
