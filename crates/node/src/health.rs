//! Whether this process should get traffic.

use std::collections::BTreeMap;

use parking_lot::RwLock;

/// The state of one component.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Component {
    /// The component works.
    pub ok: bool,
    /// While the component fails, this process should get no traffic.
    pub required: bool,
    /// The state or the fault, for people.
    pub detail: String,
}

/// The states of all components, shared by the loops that report them and the listener that shows them.
#[derive(Debug, Default)]
pub struct Health {
    components: RwLock<BTreeMap<&'static str, Component>>,
}

/// A snapshot of all components.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Readiness {
    /// All required components work.
    pub ready: bool,
    /// The components by name.
    pub components: BTreeMap<&'static str, Component>,
}

impl Health {
    /// Reports a component that this process can't do without. A change of state is logged.
    pub fn required(&self, name: &'static str, ok: bool, detail: impl Into<String>) {
        self.report(name, Component { ok, required: true, detail: detail.into() });
    }

    /// Reports a component whose failure the process survives: answers follow the contracts' rules meanwhile.
    /// A change of state is logged.
    pub fn optional(&self, name: &'static str, ok: bool, detail: impl Into<String>) {
        self.report(name, Component { ok, required: false, detail: detail.into() });
    }

    /// Takes the process out of traffic because it ends; logs nothing.
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

    /// Returns the present state of all components.
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
    fn optional_component_keeps_process_ready() {
        let health = Health::default();
        health.required("gateway", true, "listening");
        health.optional("feed", false, "reconnecting");
        assert!(health.readiness().ready);
        health.required("gateway", false, "stopping");
        assert!(!health.readiness().ready);
    }
}
