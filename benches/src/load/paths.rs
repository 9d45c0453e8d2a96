//! A mix of things to ask for.

use std::cell::RefCell;

use super::{Ask, Supply};

/// Draws from a list, the same with the same seed.
#[derive(Debug)]
pub struct Paths {
    asks: Vec<Ask>,
    /// The sum of the weights up to and with each; none if all weigh the same.
    sums: Vec<f64>,
    random: RefCell<fastrand::Rng>,
}

impl Paths {
    /// Each as often as any other; or, with `zipf` S, the n-th with a weight of 1/n^S.
    #[must_use]
    pub fn new(asks: Vec<Ask>, zipf: Option<f64>, seed: u64) -> Paths {
        let ranks = 1..=asks.len();
        let weights = zipf.map(|exponent| ranks.map(move |rank| (rank as f64).powf(-exponent)));
        let sums = weights.into_iter().flatten().scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Paths {
            sums: sums.collect(),
            asks,
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
        }
    }
}

impl Supply for Paths {
    fn next(&self) -> Option<Ask> {
        let last = self.asks.len().checked_sub(1)?;
        let mut random = self.random.borrow_mut();
        let index = match self.sums.last() {
            Some(total) => {
                let drawn = random.f64() * total;
                self.sums.partition_point(|sum| *sum <= drawn).min(last)
            }
            None => random.usize(..=last),
        };
        self.asks.get(index).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(zipf: Option<f64>, seed: u64) -> [usize; 3] {
        let ask = |ticket| Ask {
            request: (*b"").into(),
            length: 0,
            content: None,
            ticket,
        };
        let paths = Paths::new((0..3).map(ask).collect(), zipf, seed);
        let mut counts = [0; 3];
        for _ in 0..11_000 {
            counts[paths.next().unwrap().ticket] += 1;
        }
        counts
    }

    #[test]
    fn weights_are_those_of_zipf() {
        // 1 : 1/2 : 1/3, of 11 sixths; five standard deviations are below 300.
        for (count, expected) in draws(Some(1.0), 7).into_iter().zip([6000, 3000, 2000]) {
            assert!(
                count.abs_diff(expected) < 300,
                "{count} instead of {expected}"
            );
        }
        for count in draws(None, 7) {
            assert!(count.abs_diff(3667) < 300, "{count} instead of a third");
        }
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        assert_eq!(draws(Some(0.9), 1), draws(Some(0.9), 1));
        assert_ne!(draws(Some(0.9), 1), draws(Some(0.9), 2));
        assert!(Paths::new(Vec::new(), None, 1).next().is_none());
    }
}
