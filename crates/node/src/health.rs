//! Whether this process should get traffic.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

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
    components: Arc<RwLock<BTreeMap<Cow<'static, str>, Component>>>,
    /// The source whose components are reported here; `None`: the process has one source, or they are the process's.
    source: Option<Box<str>>,
    /// The state of the whole process, where this is that of one configuration.
    process: Option<Arc<Health>>,
}

/// A snapshot of all components.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Readiness {
    /// All required components work.
    pub ready: bool,
    /// The components by name.
    pub components: BTreeMap<Cow<'static, str>, Component>,
}

impl Health {
    /// Returns the part of this state that the loops of one of several sources report: a component `feed` of the
    /// source `stock` is shown as `feed:stock`.
    #[must_use]
    pub fn of_source(&self, source: &str) -> Self {
        let (components, process) = (Arc::clone(&self.components), self.process.clone());
        Self { components, source: Some(source.into()), process }
    }

    /// Creates the state of one configuration of a process: [`readiness`](Self::readiness) shows the components of
    /// both.
    #[must_use]
    pub fn within(process: &Arc<Self>) -> Self {
        Self { process: Some(Arc::clone(process)), ..Self::default() }
    }

    /// The name under which a component is shown.
    fn name(&self, component: &'static str) -> Cow<'static, str> {
        match &self.source {
            Some(source) => Cow::Owned(format!("{component}:{source}")),
            None => Cow::Borrowed(component),
        }
    }

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
        self.components.write().insert(Cow::Borrowed("process"), component);
    }

    fn report(&self, name: &'static str, component: Component) {
        let name = self.name(name);
        let mut components = self.components.write();
        let before = components.get(&name);
        if before == Some(&component) {
            return;
        }
        if before.is_none_or(|before| before.ok != component.ok) {
            if component.ok {
                tracing::info!(component = &*name, detail = %component.detail, "works");
            } else {
                tracing::warn!(component = &*name, detail = %component.detail, "does not work");
            }
        }
        components.insert(name, component);
    }

    /// Returns the present state of all components.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let mut components = self.components.read().clone();
        if let Some(process) = &self.process {
            components.extend(process.components.read().clone());
        }
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

    #[test]
    fn configuration_shown_with_its_process() {
        let process = Arc::new(Health::default());
        let (old, new) = (Health::within(&process), Health::within(&process));
        process.required("process", true, "serving");
        old.required("feed", false, "the slot is lost");
        assert!(!old.readiness().ready && new.readiness().ready);
        process.stopping();
        assert!(!new.readiness().ready);
    }

    #[test]
    fn components_of_sources_are_told_apart() {
        let health = Health::default();
        let (shop, stock) = (health.of_source("shop"), health.of_source("stock"));
        shop.optional("feed", true, "follows the log");
        stock.required("feed", false, "the slot is lost");
        let Readiness { ready, components } = health.readiness();
        assert!(!ready && components["feed:shop"].ok && !components["feed:stock"].ok);
    }
}
