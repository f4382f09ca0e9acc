//! The listeners of a node.

use std::net::SocketAddr;
use std::sync::Arc;

use listen::{
    Acceptor, ConnectionLimits, DescriptorReserve, ListenerMetrics, Priority, Security,
    client_connections_within, raise_descriptor_limit, system_backlog,
};
use tokio::net::TcpListener;

use super::error::NodeError;
use crate::config::Listen;

/// The names of the listeners in metrics and logs, in the order of their metrics.
pub(super) const NAMES: [&str; 5] = ["gateway", "data", "admin", "sale", "redirect"];

/// The limits of the connections that are only redirected.
const REDIRECT_CONNECTIONS: ConnectionLimits = ConnectionLimits { total: 4_096, per_client: 64 };

/// The listeners that not every node has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    /// There is an upstream.
    pub(crate) gateway: bool,
    /// There is a ledger of a sale.
    pub(crate) sale: bool,
}

/// The bound listeners and their addresses.
pub(crate) struct Listening {
    gateway: Option<TcpListener>,
    data: TcpListener,
    admin: TcpListener,
    sale: Option<TcpListener>,
    redirect: Option<TcpListener>,
    /// The addresses, with the assigned ports in place of 0.
    pub(crate) at: Listen,
}

/// The listeners, ready to accept.
pub(super) struct Acceptors {
    pub(super) gateway: Option<Acceptor>,
    pub(super) data: Acceptor,
    pub(super) admin: Acceptor,
    pub(super) sale: Option<Acceptor>,
    pub(super) redirect: Option<Acceptor>,
}

impl Listening {
    /// Binds all addresses before anything is served, so that a taken port is noticed at once.
    ///
    /// # Errors
    /// [`NodeError::Listen`].
    pub(crate) fn bind(listen: &Listen, served: Served) -> Result<Self, NodeError> {
        let (mut at, backlog) = (listen.clone(), listen.backlog);
        if let Some(most) = system_backlog().filter(|most| *most < backlog) {
            tracing::warn!(
                "the system lets {most} connections wait to be accepted, not the {backlog} of \
                 listen.backlog; raise it with `sysctl net.core.somaxconn={backlog}`"
            );
        }
        let gateway = if served.gateway { Some(bind(&mut at.gateway, backlog)?) } else { None };
        let data = bind(&mut at.data, backlog)?;
        let admin = bind(&mut at.admin, backlog)?;
        let sale = if served.sale { Some(bind(&mut at.sale, backlog)?) } else { None };
        let redirect = at.redirect.as_mut().filter(|_| served.gateway);
        let redirect = redirect.map(|address| bind(address, backlog)).transpose()?;
        Ok(Self { gateway, data, admin, sale, redirect, at })
    }

    /// Binds as [`bind`](Self::bind) does, with another free port in place of one that is taken.
    ///
    /// # Errors
    /// [`NodeError::Listen`]: not even a free port can be bound.
    pub(crate) fn bind_or_move(listen: &Listen, served: Served) -> Result<Self, NodeError> {
        let (mut at, backlog) = (listen.clone(), listen.backlog);
        let gateway =
            if served.gateway { Some(bind_or_any(&mut at.gateway, backlog)?) } else { None };
        let data = bind_or_any(&mut at.data, backlog)?;
        let admin = bind_or_any(&mut at.admin, backlog)?;
        let sale = if served.sale { Some(bind_or_any(&mut at.sale, backlog)?) } else { None };
        let redirect = at.redirect.as_mut().filter(|_| served.gateway);
        let redirect = redirect.map(|address| bind_or_any(address, backlog)).transpose()?;
        Ok(Self { gateway, data, admin, sale, redirect, at })
    }

    /// Makes acceptors of the listeners. The admin listener accepts from the reserve of descriptors, so that
    /// health and metrics are served when clients have used up all others.
    pub(super) fn acceptors(
        self,
        metrics: [ListenerMetrics; NAMES.len()],
        security: &[Security; 4],
    ) -> Acceptors {
        let most = raise_descriptor_limit().map_or(usize::MAX, client_connections_within);
        let reserve = DescriptorReserve::open().unwrap_or_else(|err| {
            tracing::warn!(error = %err, "no file descriptors can be reserved");
            DescriptorReserve::none()
        });
        let (reserve, connections) = (Arc::new(reserve), self.at.connections);
        let [gateway, data, admin, sale, redirect] = metrics;
        let accept = |at: usize, listener, limits, priority, metrics| {
            let reserve = (Arc::clone(&reserve), priority);
            let security = security.get(at).cloned().unwrap_or(Security::Plain);
            Acceptor::new(NAMES[at], listener, limits, reserve, metrics).with_security(security)
        };
        let limit = |limits: ConnectionLimits, key: &str| {
            if limits.total > most {
                tracing::info!(
                    "{key} is {most}, not {}: the limit of open files leaves no more; raise it \
                     with `ulimit -n` or LimitNOFILE",
                    limits.total
                );
            }
            limits.at_most(most)
        };
        let normal = Priority::Normal;
        Acceptors {
            gateway: self.gateway.map(|listener| {
                let limits = limit(connections.gateway, "listen.gateway_connections");
                accept(0, listener, limits, normal, gateway)
            }),
            data: accept(
                1,
                self.data,
                limit(connections.data, "listen.data_connections"),
                normal,
                data,
            ),
            admin: accept(2, self.admin, connections.admin, Priority::Reserved, admin),
            sale: self.sale.map(|listener| {
                let limits = limit(connections.sale, "listen.sale_connections");
                accept(3, listener, limits, normal, sale)
            }),
            redirect: self.redirect.map(|listener| {
                accept(4, listener, REDIRECT_CONNECTIONS.at_most(most), normal, redirect)
            }),
        }
    }
}

/// Binds an address and stores the assigned port in it.
fn bind(address: &mut SocketAddr, backlog: u32) -> Result<TcpListener, NodeError> {
    let wanted = *address;
    let failed = |source| NodeError::Listen { address: wanted, source };
    let listener = listen::bind(wanted, backlog).map_err(failed)?;
    *address = listener.local_addr().map_err(failed)?;
    Ok(listener)
}

fn bind_or_any(address: &mut SocketAddr, backlog: u32) -> Result<TcpListener, NodeError> {
    match bind(address, backlog) {
        Err(NodeError::Listen { .. }) => {
            address.set_port(0);
            bind(address, backlog)
        }
        bound => bound,
    }
}
