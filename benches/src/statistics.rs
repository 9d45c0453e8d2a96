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
}
