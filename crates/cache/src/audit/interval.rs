//! Confidence bounds of failure shares.

/// Returns the one-sided 95 % upper bound on the share of failures, after `failures` in `checks` (Clopper and
/// Pearson 1934, exact): with a larger true share, so few failures would be observed less than once in twenty
/// times. For no failures it is 1 − 0.05^(1/n), about 3/n. 1 without checks.
#[must_use]
pub fn failure_bound(failures: u64, checks: u64) -> f64 {
    if checks == 0 || failures >= checks {
        return 1.0;
    }
    let (mut low, mut high) = (failures as f64 / checks as f64, 1.0);
    // The probability of so few failures falls as the share grows: bisection to the last digits.
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if at_most(failures, checks, middle) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The probability of at most `failures` in `checks`, where each fails with probability `share`.
fn at_most(failures: u64, checks: u64, share: f64) -> f64 {
    if share >= 1.0 {
        return 0.0;
    }
    if share <= 0.0 {
        return 1.0;
    }
    let n = checks as f64;
    let odds = (share / (1.0 - share)).ln();
    // In logarithms: the first term alone may be too small for a double.
    let mut term = n * (-share).ln_1p();
    let mut sum = term.exp();
    for k in 0..failures {
        let k = k as f64;
        term += ((n - k) / (k + 1.0)).ln() + odds;
        sum += term.exp();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::failure_bound;

    #[test]
    fn no_failures_match_rule_of_three() {
        for checks in [100, 10_000, 1_000_000] {
            let n = checks as f64;
            let exact = 1.0 - 0.05_f64.powf(1.0 / n);
            let bound = failure_bound(0, checks);
            assert!((bound - exact).abs() < 1e-12, "{bound} {exact}");
            assert!((bound * n - 3.0).abs() < 0.06, "{}", bound * n);
        }
    }

    #[test]
    fn bound_matches_quantile_tables() {
        // qbeta(0.95, k + 1, n - k)
        for (failures, checks, expected) in
            [(1, 10, 0.394_163), (5, 100, 0.102_253), (3, 20, 0.343_664), (9, 10, 0.994_884)]
        {
            let bound = failure_bound(failures, checks);
            assert!((bound - expected).abs() < 5e-5, "{failures} of {checks}: {bound}");
        }
    }

    #[test]
    fn no_checks_bound_is_one() {
        assert_eq!(failure_bound(0, 0), 1.0);
        assert_eq!(failure_bound(7, 7), 1.0);
        let many = failure_bound(1_000, 1_000_000);
        assert!((0.001..0.001_06).contains(&many), "{many}");
    }
}
