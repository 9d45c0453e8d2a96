//! The little statistics that interleaved rounds need.

/// The middle of `values`, or of the two in the middle; what is not finite is left out. `None` if
/// nothing is left.
///
/// ```
/// assert_eq!(ambidex_bench::statistics::median(&[3.0, 1.0, 2.0]), Some(2.0));
/// ```
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let finite = values.iter().copied().filter(|value| value.is_finite());
    let mut sorted: Vec<f64> = finite.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The median of the ratios of pairs: the n-th of `over` to the n-th of `under`. Neighbours in time
/// share the machine's mood, so their ratio is steadier than that of two medians. Pairs without a
/// finite ratio are left out.
///
/// ```
/// let ratio = ambidex_bench::statistics::paired_ratio(&[50.0, 10.0], &[100.0, 20.0]);
/// assert_eq!(ratio, Some(0.5));
/// ```
#[must_use]
pub fn paired_ratio(over: &[f64], under: &[f64]) -> Option<f64> {
    let ratios = over.iter().zip(under).map(|(over, under)| over / under);
    median(&ratios.collect::<Vec<f64>>())
}

/// A ratio from paired rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The geometric mean of the pairs' ratios.
    pub ratio: f64,
    /// Where it lies with a confidence of 95 %; `None` of a single pair.
    pub interval: Option<(f64, f64)>,
    /// How many pairs.
    pub pairs: usize,
}

/// The ratio of pairs with Student's t interval of the logarithms of their ratios, which a factor
/// moves up as much as it moves them down. Pairs without a finite logarithm are left out; `None` if
/// nothing is left.
///
/// ```
/// let ratio = ambidex_bench::statistics::ratio_interval(&[2.0, 4.0], &[1.0, 2.0]).unwrap();
/// assert_eq!((ratio.ratio, ratio.interval), (2.0, Some((2.0, 2.0))));
/// ```
#[must_use]
pub fn ratio_interval(over: &[f64], under: &[f64]) -> Option<Ratio> {
    let logs = over
        .iter()
        .zip(under)
        .map(|(over, under)| (over / under).ln());
    let logs: Vec<f64> = logs.filter(|log| log.is_finite()).collect();
    let pairs = logs.len();
    if pairs == 0 {
        return None;
    }
    let mean = logs.iter().sum::<f64>() / pairs as f64;
    let interval = (pairs > 1).then(|| {
        let squares: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
        let deviation = (squares / (pairs - 1) as f64).sqrt();
        let reach = t_quantile(pairs - 1) * deviation / (pairs as f64).sqrt();
        ((mean - reach).exp(), (mean + reach).exp())
    });
    Some(Ratio {
        ratio: mean.exp(),
        interval,
        pairs,
    })
}

/// The 97.5th percentile of Student's t, by degrees of freedom from 1.
fn t_quantile(freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    let tabled = TABLE.get(freedom.saturating_sub(1));
    // Beyond it the first term of the expansion is right to three digits.
    tabled.copied().unwrap_or(1.960 + 2.4 / freedom as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[f64::NAN]), None);
        assert_eq!(median(&[7.0, f64::NAN]), Some(7.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn one_round_disturbed_by_a_neighbour_does_not_move_a_ratio() {
        let alone = [100.0, 10.0, 102.0];
        let loaded = [50.0, 5.0, 51.0];
        assert_eq!(paired_ratio(&loaded, &alone), Some(0.5));
    }

    #[test]
    fn pairs_without_a_ratio_are_left_out() {
        assert_eq!(paired_ratio(&[1.0, 2.0], &[0.0, 4.0]), Some(0.5));
        assert_eq!(paired_ratio(&[1.0], &[0.0]), None);
        assert_eq!(paired_ratio(&[f64::NAN, 3.0], &[1.0, 3.0]), Some(1.0));
        assert_eq!(paired_ratio(&[1.0, 1.0], &[2.0]), Some(0.5));
    }

    #[test]
    fn an_interval_is_students() {
        // Logarithms of -1, 0 and 1: mean 0, deviation 1, t of two degrees 4.303.
        let e = std::f64::consts::E;
        let ratio = ratio_interval(&[1.0, 1.0, e], &[e, 1.0, 1.0]).unwrap();
        let (low, high) = ratio.interval.unwrap();
        let reach = 4.303 / 3f64.sqrt();
        assert!((ratio.ratio - 1.0).abs() < 1e-12 && ratio.pairs == 3);
        assert!((high.ln() - reach).abs() < 1e-9 && (low.ln() + reach).abs() < 1e-9);
    }

    #[test]
    fn a_pair_without_a_logarithm_is_left_out() {
        let ratio = ratio_interval(&[0.0, f64::NAN, 3.0], &[1.0, 1.0, 1.0]).unwrap();
        assert_eq!((ratio.pairs, ratio.interval), (1, None));
        assert_eq!(ratio_interval(&[0.0], &[1.0]), None);
    }
}
