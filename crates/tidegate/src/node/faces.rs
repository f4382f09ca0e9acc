//! The interfaces of a node, and the configuration that each of them serves by.

use std::sync::Arc;

use control::Admin;
use edge::data::DataApi;
use edge::{Gateway, RedirectTarget};
use listen::Switch;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::build::Node;
use super::error::NodeError;
use super::kept::Kept;
use super::listen::{Acceptors, Listening};

/// The interfaces. Each request is served by the configuration that is set when it arrives.
pub(super) struct Faces {
    gateway: Option<Switch<Gateway>>,
    data: Switch<DataApi>,
    sale: Option<Switch<sale::http::Routes>>,
    admin: Switch<control::Routes>,
}

impl Faces {
    pub(super) fn of(node: &Node, admin: Admin) -> Self {
        Self {
            gateway: node.gateway.clone().map(Switch::new),
            data: Switch::new(node.data.clone()),
            sale: sale_router(node).map(Switch::new),
            admin: Switch::new(control::router(admin)),
        }
    }

    /// Has all requests that arrive from now on served by `node`.
    pub(super) fn set(&self, node: &Node, admin: Admin) {
        if let (Some(switch), Some(gateway)) = (&self.gateway, &node.gateway) {
            switch.set(gateway.clone());
        }
        self.data.set(node.data.clone());
        if let (Some(switch), Some(router)) = (&self.sale, sale_router(node)) {
            switch.set(router);
        }
        self.admin.set(control::router(admin));
    }

    /// Serves on all listeners until `stop` turns true.
    pub(super) fn serve(
        &self,
        kept: &Kept,
        listening: Listening,
        stop: &watch::Receiver<bool>,
    ) -> JoinSet<Result<(), NodeError>> {
        let mut serving = JoinSet::new();
        let port = listening.at.redirect_port.unwrap_or(listening.at.gateway.port());
        let Acceptors { gateway, data, admin, sale, redirect } =
            listening.acceptors(kept.listener_metrics.clone(), &kept.tls.security());
        let stopped = || {
            let mut stop = stop.clone();
            async move {
                // An error means that the sender is gone, which is a stop as well.
                let _ = stop.wait_for(|stop| *stop).await;
            }
        };
        if let (Some(current), Some(acceptor)) = (self.gateway.clone(), gateway) {
            spawn(&mut serving, Gateway::serve_current(current, acceptor, stopped()));
        }
        spawn(&mut serving, DataApi::serve_current(self.data.clone(), data, stopped()));
        if let (Some(current), Some(acceptor)) = (self.sale.clone(), sale) {
            spawn(&mut serving, sale::http::serve(acceptor, current, stopped()));
        }
        if let (Some(tls), Some(acceptor)) = (kept.tls.gateway(), redirect) {
            let challenges = kept.certificates.as_ref().map(|kept| Arc::clone(&kept.challenges));
            let target = RedirectTarget { port, tls: Arc::clone(tls), challenges };
            spawn(&mut serving, edge::serve_redirects(acceptor, target, stopped()));
        }
        spawn(&mut serving, control::serve(admin, self.admin.clone(), stopped()));
        serving
    }
}

fn spawn(
    serving: &mut JoinSet<Result<(), NodeError>>,
    server: impl Future<Output = ()> + Send + 'static,
) {
    serving.spawn(async move {
        server.await;
        Ok(())
    });
}

fn sale_router(node: &Node) -> Option<sale::http::Routes> {
    let (gate, audit_log) = (node.gate.clone(), node.kept.audit_log.clone());
    node.sale.clone().map(|sale| sale::http::router(gate, sale, audit_log))
}
