//! The path of a request through the gateway: classify, then serve from memory, load or pass.

mod classify;
mod dispatch;
mod error;
mod inner;
mod invalidate;
mod resume;

pub(crate) use self::dispatch::Dispatch;
pub use self::inner::Gateway;
pub(crate) use self::inner::GatewayInner;
