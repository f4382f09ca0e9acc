//! The listeners of a node.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::build::Node;
use super::error::NodeError;
use crate::config::Listen;

/// The bound listeners and their addresses.
pub(crate) struct Listening {
    pub(super) gateway: Option<TcpListener>,
    pub(super) data: TcpListener,
    pub(super) admin: TcpListener,
    pub(super) sale: Option<TcpListener>,
    /// The addresses, with the assigned ports in place of 0.
    pub(crate) at: Listen,
}

impl Listening {
    /// Binds all addresses before anything is served, so that a taken port is noticed at once.
    ///
    /// # Errors
    /// [`NodeError::Listen`].
    pub(crate) async fn bind(listen: &Listen, node: &Node) -> Result<Self, NodeError> {
        let mut at = *listen;
        let gateway = if node.has_gateway() { Some(bind(&mut at.gateway).await?) } else { None };
        let data = bind(&mut at.data).await?;
        let admin = bind(&mut at.admin).await?;
        let sale = if node.has_sale() { Some(bind(&mut at.sale).await?) } else { None };
        Ok(Self { gateway, data, admin, sale, at })
    }

    /// Binds as [`bind`](Self::bind) does, with another free port in place of one that is taken.
    ///
    /// # Errors
    /// [`NodeError::Listen`]: not even a free port can be bound.
    pub(crate) async fn bind_or_move(listen: &Listen) -> Result<Self, NodeError> {
        let mut at = *listen;
        let gateway = Some(bind_or_any(&mut at.gateway).await?);
        let data = bind_or_any(&mut at.data).await?;
        let admin = bind_or_any(&mut at.admin).await?;
        Ok(Self { gateway, data, admin, sale: None, at })
    }
}

/// Binds an address and stores the assigned port in it.
async fn bind(address: &mut SocketAddr) -> Result<TcpListener, NodeError> {
    let wanted = *address;
    let failed = |source| NodeError::Listen { address: wanted, source };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    *address = listener.local_addr().map_err(failed)?;
    Ok(listener)
}

async fn bind_or_any(address: &mut SocketAddr) -> Result<TcpListener, NodeError> {
    match bind(address).await {
        Err(NodeError::Listen { .. }) => {
            address.set_port(0);
            bind(address).await
        }
        bound => bound,
    }
}
