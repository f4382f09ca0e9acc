//! The sections of `tidegate.toml`, each as its module has read it.

use std::collections::BTreeMap;
use std::path::Path;

use ::node::AuditOptions;
use access::AccessOptions;
use cache::shared::SharedOptions;
use cache::{GovernorMode, LocalMemory};
use contract::Problem;
use contract::config::TableReader;
use edge::{EdgeSection, GatewayOptions, TlsFiles};
use sale::SaleOptions;
use sale::jobs::JobOptions;

use super::listen::{self, Listen};
use super::log::{self, LogFormat};
use super::node::{self, Node};
use super::source::{self, Source};
use super::url::{UPSTREAM_FORM, database_url, peer_address, upstream_address};

pub(super) const KEYS: &[&str] = &[
    "node",
    "listen",
    "access",
    "source",
    "shared",
    "local",
    "governor",
    "upstream",
    "edge",
    "client_tls",
    "log",
    "audit",
    "sale",
    "jobs",
    "contracts",
    "data",
];

/// The sections, apart from the contracts.
#[derive(Debug)]
pub(super) struct RawConfig {
    pub(super) node: Node,
    pub(super) listen: Listen,
    pub(super) access: AccessOptions,
    pub(super) sources: BTreeMap<String, Source>,
    pub(super) shared: SharedOptions,
    pub(super) local: LocalMemory,
    pub(super) governor: GovernorMode,
    pub(super) gateway: Option<GatewayOptions>,
    pub(super) client_tls: TlsFiles,
    pub(super) log: LogFormat,
    pub(super) audit: AuditOptions,
    pub(super) sale: Option<SaleOptions>,
    pub(super) jobs: BTreeMap<String, JobOptions>,
}

impl RawConfig {
    /// Reads all sections. `folder`: the base of relative file names. With problems, values are defaults where
    /// they could not be read.
    pub(super) fn read(root: &toml::Table, folder: &Path) -> (Self, Vec<Problem>) {
        let mut table = TableReader::new("", root, KEYS);
        let mut raw = Self::sections(&mut table, folder);
        let mut problems = table.finish(Some(())).err().unwrap_or_default();
        // A source that could not be read is missing here.
        if problems.is_empty() {
            problems = source::complete(&mut raw.sources);
            problems.extend(sale::jobs::check_kinds(&raw.jobs, raw.sale.is_some()));
        }
        (raw, problems)
    }

    pub(super) fn sections(table: &mut TableReader<'_>, folder: &Path) -> Self {
        table.text("contracts");
        let node = table.nested("node", node::KEYS, |table| Some(Node::read(table)));
        let listen = |table: &mut TableReader<'_>| Some(Listen::read(table, folder));
        let listen = table.nested("listen", listen::KEYS, listen);
        let access = |table: &mut TableReader<'_>| Some(AccessOptions::read(table, folder));
        let access = table.nested("access", AccessOptions::KEYS, access).unwrap_or_default();
        let shared = |table: &mut TableReader<'_>| Some(SharedOptions::read(table, folder));
        let shared = table.nested("shared", SharedOptions::KEYS, shared);
        let local = |table: &mut TableReader<'_>| Some(LocalMemory::read(table));
        let local = table.nested("local", LocalMemory::KEYS, local);
        let governor = |table: &mut TableReader<'_>| Some(GovernorMode::read(table));
        let governor = table.nested("governor", GovernorMode::KEYS, governor);
        let gateway = table.nested("upstream", GatewayOptions::UPSTREAM_KEYS, |table| {
            GatewayOptions::read_upstream(table, UPSTREAM_FORM, upstream_address, folder)
        });
        let edge = table.nested("edge", EdgeSection::KEYS, EdgeSection::read).unwrap_or_default();
        let gateway = gateway.map(|options| edge.apply(options));
        let client_tls = |table: &mut TableReader<'_>| Some(TlsFiles::read(table, folder));
        let client_tls = table.nested("client_tls", &TlsFiles::KEYS, client_tls);
        let log = table.nested("log", log::KEYS, |table| Some(LogFormat::read(table)));
        let audit =
            |table: &mut TableReader<'_>| Some(AuditOptions::read(table, folder, peer_address));
        let audit = table.nested("audit", AuditOptions::KEYS, audit);
        let sale = |table: &mut TableReader<'_>| SaleOptions::read(table, folder, database_url);
        let sale = table.nested("sale", SaleOptions::KEYS, sale);
        let jobs =
            table.named_tables("jobs", JobOptions::KEYS, |table| JobOptions::read(table, folder));
        Self {
            node: node.unwrap_or_default(),
            listen: listen.unwrap_or_default(),
            access,
            sources: table
                .named_tables("source", source::KEYS, |table| Source::read(table, folder)),
            shared: shared.unwrap_or_default(),
            local: local.unwrap_or_default(),
            governor: governor.unwrap_or_default(),
            gateway,
            client_tls: client_tls.unwrap_or_default(),
            log: log.unwrap_or_default(),
            audit: audit.unwrap_or_default(),
            sale,
            jobs,
        }
    }
}
