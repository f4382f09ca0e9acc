//! Data that may not leave its region: which tiers may keep it, given where they run.

use crate::contract::{Contract, Tiers};
use crate::lint::{Finding, Severity};

/// Where a process and the tier that it shares with others run; `None`: nobody has said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places<'a> {
    /// The region of the process itself.
    pub process: Option<&'a str>,
    /// The region of the shared tier.
    pub shared: Option<&'a str>,
}

/// Whether a text can name a region: lower-case letters, digits and `-`, at most 64 bytes.
pub fn is_region(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= 64 && text.chars().all(plain)
}

/// Whether a region is `wider` or a part of it: `eu-west-1` lies in `eu-west` and in `eu`.
pub fn lies_in(region: &str, wider: &str) -> bool {
    region.strip_prefix(wider).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

impl Contract {
    /// Whether commits renew its entries. Not where data may not leave a region: renewals carry
    /// values over the node stream, to every node, wherever that is.
    pub fn renews(&self) -> bool {
        self.write_through && self.residency.is_none()
    }

    /// Takes the tiers from it that may not keep its data, since they run elsewhere or nobody has
    /// said where.
    pub fn keep_in(&mut self, places: Places<'_>) {
        let Some(allowed) = self.allowed_in(places) else { return };
        let before = self.tiers;
        self.tiers =
            Tiers { local: before.local && allowed.local, shared: before.shared && allowed.shared };
        self.abroad = !before.is_none() && self.tiers.is_none();
    }

    /// The tiers that its residency allows; `None`: it has none.
    fn allowed_in(&self, places: Places<'_>) -> Option<Tiers> {
        let residency = self.residency.as_deref()?;
        let allowed = |place: Option<&str>| place.is_some_and(|region| lies_in(region, residency));
        Some(Tiers { local: allowed(places.process), shared: allowed(places.shared) })
    }
}

/// What the places mean for a contract, where that is worth a word. An error where nobody has said.
pub fn lint_residency(contract: &Contract, places: Places<'_>) -> Option<Finding> {
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
    let Some(process) = places.process else {
        return Some(finding(
            Severity::Error,
            "region-missing",
            format!(
                "its data may not leave `{residency}`, and nobody has said where this process runs"
            ),
            "whoever does not know where it is can't keep what may not leave a place",
            format!(
                "say where it runs (here: if it runs in `{residency}`):\n\n[node]\nregion = \
                 \"{residency}\"\n\nand add `region` to [shared] if the shared tier runs elsewhere"
            ),
        ));
    };
    let kept = contract.allowed_in(places)?;
    let tiers = contract.tiers;
    let lost = |named: bool, allowed: bool| named && !allowed;
    let shared = places.shared.unwrap_or_default();
    let message = match (lost(tiers.local, kept.local), lost(tiers.shared, kept.shared)) {
        (false, false) => return None,
        (true, true) => format!(
            "its data may not leave `{residency}`; this process runs in `{process}` and the shared \
             tier in `{shared}`, so none of it is kept"
        ),
        (true, false) => format!(
            "its data may not leave `{residency}`, and this process runs in `{process}`, so none of \
             it is kept in the process"
        ),
        (false, true) => format!(
            "its data may not leave `{residency}`, and the shared tier runs in `{shared}`, so none \
             of it is kept there"
        ),
    };
    let none = (!tiers.local || !kept.local) && (!tiers.shared || !kept.shared);
    let reason = if none {
        "every read goes to the origin; only readers who wait at the same time share a load"
    } else {
        "reads that this tier would have answered go to the next one, or to the origin"
    };
    let fix = format!(
        "ask for it where it may be kept, in `{residency}`; or mend `region` in [node] or [shared] if \
         it is not so"
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

    fn kept(more: &str, process: Option<&str>, shared: Option<&str>) -> (bool, bool, bool) {
        let mut contract = contract(more);
        contract.keep_in(Places { process, shared });
        (contract.tiers.local, contract.tiers.shared, contract.abroad)
    }

    #[test]
    fn a_region_lies_in_itself_and_in_what_its_name_begins_with() {
        for (region, wider, lies) in [
            ("eu", "eu", true),
            ("eu-west-1", "eu", true),
            ("eu-west-1", "eu-west", true),
            ("europe", "eu", false),
            ("eu", "eu-west", false),
            ("us-east", "eu", false),
        ] {
            assert_eq!(lies_in(region, wider), lies, "{region} {wider}");
        }
    }

    #[test]
    fn data_is_kept_where_it_may_be_and_nowhere_else() {
        let eu = "residency = \"eu\"";
        let (here, there) = (Some("eu-west"), Some("us-east"));
        assert_eq!(kept(eu, here, here), (true, true, false));
        assert_eq!(kept(eu, here, there), (true, false, false));
        assert_eq!(kept(eu, there, here), (false, true, false));
        assert_eq!(kept(eu, there, there), (false, false, true));
        assert_eq!(kept(eu, None, None), (false, false, true), "whoever does not know may not");
        assert_eq!(kept("", None, None), (true, true, false), "it may be anywhere");
        assert_eq!(kept("residency = \"eu\"\ntiers = []", there, there), (false, false, false));
        let local = "residency = \"eu\"\ntiers = [\"local\"]";
        assert_eq!(kept(local, there, here), (false, false, true));
    }

    #[test]
    fn what_the_places_mean_is_said() {
        let says = |more: &str, process, shared| {
            lint_residency(&contract(more), Places { process, shared })
                .map(|finding| (finding.severity, finding.rule, finding.message))
        };
        let eu = "residency = \"eu\"";
        let (here, there) = (Some("eu-west"), Some("us-east"));
        assert_eq!(says(eu, here, here), None);
        assert_eq!(says("", None, None), None);
        assert_eq!(says("residency = \"eu\"\ntiers = []", None, None), None);
        let (severity, rule, _) = says(eu, None, None).expect("a finding");
        assert_eq!((severity, rule), (Severity::Error, "region-missing"));
        for (process, shared, word) in [
            (there, there, "none of it is kept"),
            (there, here, "kept in the process"),
            (here, there, "kept there"),
        ] {
            let (severity, rule, message) = says(eu, process, shared).expect("a finding");
            assert_eq!((severity, rule), (Severity::Warning, "kept-elsewhere"));
            assert!(message.contains(word), "{message}");
        }
        let shared_only = "residency = \"eu\"\ntiers = [\"shared\"]";
        assert_eq!(says(shared_only, there, here), None, "it was never to be in the process");
    }

    #[test]
    fn what_may_not_leave_is_not_sent_to_every_node() {
        assert!(contract("").renews());
        assert!(!contract("write_through = false").renews());
        assert!(!contract("residency = \"eu\"").renews());
    }
}
