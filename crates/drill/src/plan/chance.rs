//! Chance with a seed: popularity and waiting times.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// The generator behind every plan. Its sequence is part of its definition, so that a seed means
/// the same on every machine and with every version.
pub(crate) type Dice = Xoshiro256PlusPlus;

pub(crate) fn dice(seed: u64) -> Dice {
    Dice::seed_from_u64(seed)
}

/// The time until the next arrival of a Poisson process of `per_second`.
pub(crate) fn wait(dice: &mut Dice, per_second: f64) -> Duration {
    let unit: f64 = 1.0 - dice.random::<f64>();
    Duration::from_secs_f64((-unit.ln() / per_second.max(1e-9)).min(86_400.0))
}

/// Who is asked for how often.
#[derive(Debug, Clone)]
pub struct Popularity {
    ids: Vec<u32>,
    cumulative: Vec<f64>,
}

impl Popularity {
    /// Ids 1 to `count`, shuffled by `seed`: the one on rank r is asked for as often as
    /// r^-`exponent` says.
    pub fn zipf(count: u32, exponent: f64, seed: u64) -> Self {
        let mut ids: Vec<u32> = (1..=count).collect();
        ids.shuffle(&mut dice(seed));
        Self::ranked(ids, exponent)
    }

    /// `ids` by falling popularity: the one on rank r is asked for as often as r^-`exponent` says.
    pub fn ranked(ids: Vec<u32>, exponent: f64) -> Self {
        let weights: Vec<f64> =
            (1_u32..).zip(&ids).map(|(rank, _)| f64::from(rank).powf(-exponent)).collect();
        Self::new(ids, weights)
    }

    /// Each id as often as its weight says; weights of zero and less never.
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

    /// One id by popularity; `None` when there is none to choose from.
    pub(crate) fn pick(&self, dice: &mut Dice) -> Option<u32> {
        let total = *self.cumulative.last()?;
        let point = dice.random::<f64>() * total;
        let rank = self.cumulative.partition_point(|sum| *sum <= point);
        self.ids.get(rank.min(self.ids.len() - 1)).copied()
    }

    /// One of the `share` (0 to 1) most popular ids, each as likely as the other.
    pub(crate) fn pick_top(&self, dice: &mut Dice, share: f64) -> Option<u32> {
        if self.ids.is_empty() {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a length"
        )]
        let top = ((self.ids.len() as f64 * share) as usize).clamp(1, self.ids.len());
        self.ids.get(dice.random_range(0..top)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_gives_the_head_its_share() {
        let popularity = Popularity::zipf(10_000, 0.83, 1);
        let mut dice = dice(2);
        let head: Vec<u32> = popularity.ids[..100].to_vec();
        let hits = (0..20_000)
            .filter(|_| popularity.pick(&mut dice).is_some_and(|id| head.contains(&id)))
            .count();
        // The exact share of the top 1 % is the ratio of the partial sums of r^-0.83: 0.325.
        assert!((6_000..7_000).contains(&hits), "{hits} of 20000");
    }

    #[test]
    fn nothing_to_choose_from_is_no_panic() {
        assert_eq!(Popularity::weighted([]).pick(&mut dice(1)), None);
        assert_eq!(Popularity::weighted([(7, 0.0)]).pick_top(&mut dice(1), 0.01), None);
    }
}
