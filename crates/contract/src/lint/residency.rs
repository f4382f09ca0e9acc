//! Rules about the residency of data, given the regions of a node.

use crate::lint::finding::{Finding, Severity};
use crate::model::contract::Contract;
use crate::model::residency::TierRegions;

/// Reviews the residency of a contract for a node with these `regions`: a warning if a tier may not store
/// its data, an error if the region of the process is not configured.
pub fn lint_residency(contract: &Contract, regions: TierRegions<'_>) -> Option<Finding> {
    let residency = contract.residency.as_deref()?;
    if !contract.is_cached() {
        return None;
    }
    let finding = |severity, rule, message: String, reason: &str, fix: String| Finding {
        rule,
        severity,
        contract: contract.name.clone(),
        path: format!("data.{}.residency", contract.name),
        message,
        reason: reason.to_owned(),
        fix,
    };
    let Some(process) = regions.process else {
        return Some(finding(
            Severity::Error,
            "region-missing",
            format!(
                "its data may not leave `{residency}`, and the region of this process is not configured"
            ),
            "a process without a region can't store data that may not leave a region",
            format!(
                "configure its region (here: if it runs in `{residency}`):\n\n[node]\nregion = \
                 \"{residency}\"\n\nand add `region` to [shared] if the shared tier runs elsewhere"
            ),
        ));
    };
    let allowed = contract.tiers_within_residency(regions)?;
    let tiers = contract.tiers;
    let excluded = |configured: bool, allowed: bool| configured && !allowed;
    let shared = regions.shared.unwrap_or_default();
    let message = match (
        excluded(tiers.local, allowed.local),
        excluded(tiers.shared, allowed.shared),
    ) {
        (false, false) => return None,
        (true, true) => format!(
            "its data may not leave `{residency}`; this process runs in `{process}` and the shared \
             tier in `{shared}`, so none of it is stored"
        ),
        (true, false) => format!(
            "its data may not leave `{residency}`, and this process runs in `{process}`, so none of \
             it is stored in the process"
        ),
        (false, true) => format!(
            "its data may not leave `{residency}`, and the shared tier runs in `{shared}`, so none \
             of it is stored there"
        ),
    };
    let none = (!tiers.local || !allowed.local) && (!tiers.shared || !allowed.shared);
    let reason = if none {
        "every read goes to the origin; only concurrent readers share a load"
    } else {
        "reads that this tier would answer go to the next tier or to the origin"
    };
    let fix = format!(
        "read it from a node in `{residency}`, where it may be stored; or correct `region` in [node] \
         or [shared]"
    );
    Some(finding(Severity::Warning, "kept-elsewhere", message, reason, fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(more: &str) -> Contract {
        let text = format!("key = \"v1:a:b:{{id}}\"\nstaleness = \"1s\"\n{more}");
        Contract::from_toml("b", &text.parse().expect("TOML")).expect("it is valid")
    }

    #[test]
    fn tier_outside_residency_is_reported() {
        let review = |more: &str, process, shared| {
            lint_residency(&contract(more), TierRegions { process, shared })
                .map(|finding| (finding.severity, finding.rule, finding.message))
        };
        let eu = "residency = \"eu\"";
        let (here, there) = (Some("eu-west"), Some("us-east"));
        assert_eq!(review(eu, here, here), None);
        assert_eq!(review("", None, None), None);
        assert_eq!(review("residency = \"eu\"\ntiers = []", None, None), None);
        let (severity, rule, _) = review(eu, None, None).expect("a finding");
        assert_eq!((severity, rule), (Severity::Error, "region-missing"));
        for (process, shared, word) in [
            (there, there, "none of it is stored"),
            (there, here, "stored in the process"),
            (here, there, "stored there"),
        ] {
            let (severity, rule, message) = review(eu, process, shared).expect("a finding");
            assert_eq!((severity, rule), (Severity::Warning, "kept-elsewhere"));
            assert!(message.contains(word), "{message}");
        }
        let shared_only = "residency = \"eu\"\ntiers = [\"shared\"]";
        assert_eq!(review(shared_only, there, here), None, "the process was never a tier");
    }
}
