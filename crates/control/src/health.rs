//! Whether this process is alive, and whether it should get traffic.

use std::collections::BTreeMap;

use parking_lot::RwLock;
use serde::Serialize;

/// One part whose state people want to see.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Component {
    /// Whether it works.
    pub ok: bool,
    /// Whether this process should get no traffic while it doesn't.
    pub required: bool,
    /// For people: what is the matter, or what it is doing.
    pub detail: String,
}

/// The state of all parts; shared by those who report and those who ask.
#[derive(Debug, Default)]
pub struct Health {
    components: RwLock<BTreeMap<&'static str, Component>>,
}

/// What `/readyz` answers.
#[derive(Debug, Serialize)]
pub struct Readiness {
    /// All required parts work.
    pub ready: bool,
    /// All parts.
    pub components: BTreeMap<&'static str, Component>,
}

impl Health {
    /// Reports a part that this process can't do without. A change of state is logged.
    pub fn required(&self, name: &'static str, ok: bool, detail: impl Into<String>) {
        self.report(name, Component { ok, required: true, detail: detail.into() });
    }

    /// Reports a part whose loss is ridden out: answers follow the contracts' rules meanwhile.
    pub fn optional(&self, name: &'static str, ok: bool, detail: impl Into<String>) {
        self.report(name, Component { ok, required: false, detail: detail.into() });
    }

    /// The process ends: no more traffic, please. Not worth a warning.
    pub fn stopping(&self) {
        let component = Component { ok: false, required: true, detail: "stopping".into() };
        self.components.write().insert("process", component);
    }

    fn report(&self, name: &'static str, component: Component) {
        let mut components = self.components.write();
        let before = components.get(name);
        if before == Some(&component) {
            return;
        }
        if before.is_none_or(|before| before.ok != component.ok) {
            if component.ok {
                tracing::info!(component = name, detail = %component.detail, "works");
            } else {
                tracing::warn!(component = name, detail = %component.detail, "does not work");
            }
        }
        components.insert(name, component);
    }

    /// The present state.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let components = self.components.read().clone();
        let ready = components.values().all(|component| component.ok || !component.required);
        Readiness { ready, components }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_optional_part_does_not_take_the_process_out_of_traffic() {
        let health = Health::default();
        health.required("gateway", true, "listening");
        health.optional("feed", false, "reconnecting");
        assert!(health.readiness().ready);
        health.required("gateway", false, "stopping");
        assert!(!health.readiness().ready);
    }
}
