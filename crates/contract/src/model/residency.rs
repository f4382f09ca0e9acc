//! Residency: data that may not leave its region, and the tiers that may store it.

use crate::config::ValueError;
use crate::model::contract::{Contract, Tiers};

/// The regions of a process and of its shared tier; `None`: not configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierRegions<'a> {
    /// The region of the process.
    pub process: Option<&'a str>,
    /// The region of the shared tier.
    pub shared: Option<&'a str>,
}

/// Parses the name of a region: 1 to 64 lower-case letters, digits and `-`.
///
/// # Errors
/// The text is another.
pub fn parse_region(text: &str) -> Result<String, ValueError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=64).contains(&text.len()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    let help = "use 1 to 64 of a-z, 0-9 and -, such as \"eu-west\"";
    Err(ValueError::wrong_value(format!("`{text}` is not the name of a region"), help))
}

/// Returns whether a region is `wider` or a part of it: `eu-west-1` is within `eu-west` and `eu`.
pub fn region_is_within(region: &str, wider: &str) -> bool {
    region.strip_prefix(wider).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

impl Contract {
    /// Returns whether commits renew its entries. Data with a residency is not renewed: the node stream
    /// carries renewed values to all nodes, in any region.
    pub fn renews(&self) -> bool {
        self.write_through && self.residency.is_none()
    }

    /// Removes the tiers that may not store its data because their region is another one or is not
    /// configured.
    pub fn apply_residency(&mut self, regions: TierRegions<'_>) {
        let Some(allowed) = self.tiers_within_residency(regions) else { return };
        let before = self.tiers;
        self.tiers =
            Tiers { local: before.local && allowed.local, shared: before.shared && allowed.shared };
        self.residency_excluded = !before.is_none() && self.tiers.is_none();
    }

    /// Returns the tiers that its residency allows; `None`: it has no residency.
    pub(crate) fn tiers_within_residency(&self, regions: TierRegions<'_>) -> Option<Tiers> {
        let residency = self.residency.as_deref()?;
        let allowed = |region: Option<&str>| region.is_some_and(|r| region_is_within(r, residency));
        Some(Tiers { local: allowed(regions.process), shared: allowed(regions.shared) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(more: &str) -> Contract {
        let text = format!("key = \"v1:a:b:{{id}}\"\nstaleness = \"1s\"\n{more}");
        Contract::from_toml("b", &text.parse().expect("TOML")).expect("it is valid")
    }

    fn tiers_with(more: &str, process: Option<&str>, shared: Option<&str>) -> (bool, bool, bool) {
        let mut contract = contract(more);
        contract.apply_residency(TierRegions { process, shared });
        (contract.tiers.local, contract.tiers.shared, contract.residency_excluded)
    }

    #[test]
    fn region_is_within_prefix_regions() {
        for (region, wider, within) in [
            ("eu", "eu", true),
            ("eu-west-1", "eu", true),
            ("eu-west-1", "eu-west", true),
            ("europe", "eu", false),
            ("eu", "eu-west", false),
            ("us-east", "eu", false),
        ] {
            assert_eq!(region_is_within(region, wider), within, "{region} {wider}");
        }
    }

    #[test]
    fn data_stays_within_residency() {
        let eu = "residency = \"eu\"";
        let (here, there) = (Some("eu-west"), Some("us-east"));
        assert_eq!(tiers_with(eu, here, here), (true, true, false));
        assert_eq!(tiers_with(eu, here, there), (true, false, false));
        assert_eq!(tiers_with(eu, there, here), (false, true, false));
        assert_eq!(tiers_with(eu, there, there), (false, false, true));
        assert_eq!(
            tiers_with(eu, None, None),
            (false, false, true),
            "an unknown region is not allowed"
        );
        assert_eq!(tiers_with("", None, None), (true, true, false), "no residency, no limit");
        assert_eq!(
            tiers_with("residency = \"eu\"\ntiers = []", there, there),
            (false, false, false)
        );
        let local = "residency = \"eu\"\ntiers = [\"local\"]";
        assert_eq!(tiers_with(local, there, here), (false, false, true));
    }

    #[test]
    fn residency_disables_renewal() {
        assert!(contract("").renews());
        assert!(!contract("write_through = false").renews());
        assert!(!contract("residency = \"eu\"").renews());
    }
}
