//! `[edge]`

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EdgeSection {
    pub(super) route: Vec<edge::RouteConfig>,
}
