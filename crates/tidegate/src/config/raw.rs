//! The sections of `tidegate.toml`, each as its module has read it.

use std::collections::BTreeMap;
use std::path::Path;

use ::node::AuditOptions;
use cache::shared::SharedOptions;
use cache::{GovernorMode, LocalMemory};
use contract::Problem;
use contract::config::TableReader;
use edge::{EdgeSection, GatewayOptions};

use super::file::table_at;
use super::listen::{self, Listen};
use super::log::{self, LogFormat};
use super::node::{self, Node};
use super::source::{self, Source};
use super::url::{HTTP_FORM, http_authority, http_url};

pub(super) const KEYS: &[&str] = &[
    "node",
    "listen",
    "source",
    "shared",
    "local",
    "governor",
    "upstream",
    "edge",
    "log",
    "audit",
    "contracts",
    "data",
];

/// The sections, apart from the contracts.
#[derive(Debug)]
pub(super) struct RawConfig {
    pub(super) node: Node,
    pub(super) listen: Listen,
    pub(super) sources: BTreeMap<String, Source>,
    pub(super) shared: SharedOptions,
    pub(super) local: LocalMemory,
    pub(super) governor: GovernorMode,
    pub(super) gateway: Option<GatewayOptions>,
    pub(super) log: LogFormat,
    pub(super) audit: AuditOptions,
}

impl RawConfig {
    /// Reads all sections. `folder`: the base of relative file names. With problems, values are defaults where
    /// they could not be read.
    pub(super) fn read(root: &toml::Table, folder: &Path) -> (Self, Vec<Problem>) {
        let mut table = TableReader::new("", root, KEYS);
        table.text("contracts");
        let node = table.nested("node", node::KEYS, |table| Some(Node::read(table)));
        let listen = table.nested("listen", listen::KEYS, |table| Some(Listen::read(table)));
        let shared = |table: &mut TableReader<'_>| Some(SharedOptions::read(table, folder));
        let shared = table.nested("shared", SharedOptions::KEYS, shared);
        let local = |table: &mut TableReader<'_>| Some(LocalMemory::read(table));
        let local = table.nested("local", LocalMemory::KEYS, local);
        let governor = |table: &mut TableReader<'_>| Some(GovernorMode::read(table));
        let governor = table.nested("governor", GovernorMode::KEYS, governor);
        let gateway = table.nested("upstream", GatewayOptions::UPSTREAM_KEYS, |table| {
            GatewayOptions::read_upstream(table, HTTP_FORM, http_url)
        });
        let edge = table.nested("edge", EdgeSection::KEYS, EdgeSection::read).unwrap_or_default();
        let EdgeSection { routes, clients, pages } = edge;
        let gateway = gateway.map(|options| GatewayOptions { routes, clients, pages, ..options });
        let log = table.nested("log", log::KEYS, |table| Some(LogFormat::read(table)));
        let audit = |table: &mut TableReader<'_>| Some(AuditOptions::read(table, http_authority));
        let audit = table.nested("audit", AuditOptions::KEYS, audit);
        let mut problems = table.finish(Some(())).err().unwrap_or_default();
        let raw = Self {
            node: node.unwrap_or_default(),
            listen: listen.unwrap_or_default(),
            sources: sources(root, &mut problems),
            shared: shared.unwrap_or_default(),
            local: local.unwrap_or_default(),
            governor: governor.unwrap_or_default(),
            gateway,
            log: log.unwrap_or_default(),
            audit: audit.unwrap_or_default(),
        };
        (raw, problems)
    }
}

fn sources(root: &toml::Table, problems: &mut Vec<Problem>) -> BTreeMap<String, Source> {
    let mut sources = BTreeMap::new();
    let named = table_at(root, "source").unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    for (name, value) in named.into_iter().flatten() {
        let table = TableReader::from_value(format!("source.{name}"), value, source::KEYS);
        let source = table.map_err(|problem| vec![problem]).and_then(|mut table| {
            let source = Source::read(&mut table);
            table.finish(source)
        });
        match source {
            Ok(source) => {
                sources.insert(name.clone(), source);
            }
            Err(more) => problems.extend(more),
        }
    }
    sources
}
