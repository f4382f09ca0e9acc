//! `tidegate serve`

use std::path::Path;
use std::sync::Arc;

use access::AuditLog;
use contract::config::format_duration;
use contract::{Contract, Tiers};
use control::ConfigReloader as _;
use serde_json::json;
use tokio::sync::watch;

use super::config_args::ConfigArgs;
use crate::config::{Config, ConfigError, ListenerTls, Regions};
use crate::exit::Exit;
use crate::node::{Listening, Node, NodeError, ReloadHandle, Reloads};
use crate::runtime::{Hangups, Stops, block_on};
use crate::service_manager::ServiceManager;
use crate::terminal::{log_to_stderr, print, print_error};

/// Serve a store: gateway, data API, admin.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  tidegate serve tidegate.toml\n\nDoes not start while `tidegate check` reports an error.\n\nSignals: SIGHUP reloads the configuration, as `tidegate reload` does; SIGTERM and SIGINT stop\nafter `node.stop_delay`, and finish the requests in flight.\n\nsystemd: readiness, reloads, stops and signs of life are reported to NOTIFY_SOCKET (Type=notify).\n\nExit codes: 0 stopped by a signal, 1 a contract has an error, 3 the environment lacks something"
)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) fn run(args: &Args) -> Exit {
    let config = match Config::read(args.config.path()) {
        Ok(config) => config,
        Err(err) => {
            print_error(format_args!("tidegate: {err}"));
            let is_refused = matches!(err, ConfigError::Refused(_));
            return if is_refused { Exit::Bad } else { Exit::Environment };
        }
    };
    log_to_stderr(config.log, "info");
    let service_manager = match ServiceManager::of_environment() {
        Ok(service_manager) => service_manager,
        Err(err) => {
            print_error(format_args!("tidegate: {err}"));
            return Exit::Environment;
        }
    };
    block_on(async {
        match serve(args.config.path(), &config, service_manager).await {
            Ok(()) => Exit::Good,
            Err(err) => {
                print_error(format_args!("tidegate: {}", err.with_lines(&config)));
                Exit::Environment
            }
        }
    })
}

/// Describes the tiers of a contract with a residency.
fn residency(contract: &Contract) -> String {
    let Some(residency) = &contract.residency else { return String::new() };
    let tiers = match contract.tiers {
        Tiers { local: true, shared: true } => "in both tiers",
        Tiers { local: true, shared: false } => "in the process only",
        Tiers { local: false, shared: true } => "in the shared tier only",
        Tiers { local: false, shared: false } => "nowhere: every read loads from the origin",
    };
    format!(", does not leave {residency}; kept {tiers}")
}

fn scheme(tls: &Option<ListenerTls>) -> &'static str {
    if tls.is_some() { "https" } else { "http" }
}

async fn serve(
    path: &Path,
    config: &Config,
    service_manager: ServiceManager,
) -> Result<(), NodeError> {
    // Before anything else: a SIGHUP during the start must not end the process, and a SIGTERM has to, also where it
    // is the first process of a container, to which the kernel gives no signal that it does not receive.
    let (hangups, mut stops) = (Hangups::receive(), Stops::receive());
    let node = tokio::select! {
        node = Node::build(config) => Arc::new(node?),
        () = stops.next() => {
            print_error("tidegate: stopped during the start");
            return Ok(());
        }
    };
    let listening = Listening::bind(&config.listen, node.served())?;
    let tls = &config.listen.tls;
    print(format_args!("tidegate {}", env!("CARGO_PKG_VERSION")));
    for (name, source) in config.main_first() {
        match &source.events {
            Some(events) => print(format_args!(
                "  source   {name}: {}, by Debezium's events, slot {}: {}://{}/api/v1/events/{name}",
                source.url,
                events.slot,
                scheme(&tls.admin),
                listening.at.admin
            )),
            None => print(format_args!("  source   {name}: {}, slot {}", source.url, source.slot)),
        }
    }
    print(format_args!("  shared   {}", config.shared.url));
    if let Regions { node: Some(node), shared: Some(shared) } = &config.regions {
        print(format_args!("  regions  this process in {node}, the shared tier in {shared}"));
    }
    match &config.gateway {
        Some(options) => print(format_args!(
            "  gateway  {}://{} → {}",
            scheme(&tls.gateway),
            listening.at.gateway,
            options.upstream
        )),
        None => print("  gateway  none: there is no [upstream]"),
    }
    print(format_args!(
        "  data     {}://{}/data/{{contract}}/{{id}}",
        scheme(&tls.data),
        listening.at.data
    ));
    for contract in config.contracts.iter() {
        let budget = format_duration(contract.staleness);
        print(format_args!("           {} within {budget}{}", contract.name, residency(contract)));
    }
    print(format_args!(
        "  admin    {}://{}/readyz, /metrics, /api/v1/status",
        scheme(&tls.admin),
        listening.at.admin
    ));
    if let Some(sale) = &config.sale {
        print(format_args!(
            "  sale     {}://{}/v1/holds, /v1/stock → {}",
            scheme(&tls.sale),
            listening.at.sale,
            sale.url
        ));
    }
    let (stop, stopped) = watch::channel(false);
    let (health, stop_delay) = (node.process_health(), config.stop_delay);
    let manager = service_manager.clone();
    tokio::spawn(async move {
        stops.next().await;
        health.stopping();
        manager.stopping(stop_delay);
        if !stop_delay.is_zero() {
            tracing::info!("stopping in {stop_delay:?}; a second signal stops at once");
            // A timeout is the usual way.
            let _ = tokio::time::timeout(stop_delay, stops.next()).await;
        }
        tracing::info!("stopping; requests in flight are finished first");
        let _ = stop.send(true);
    });
    let reloads = Reloads::of(path.to_owned());
    let (handle, audit_log) = (reloads.handle(), node.audit_log());
    tokio::spawn(hangups.each(async move || reload_by_signal(&handle, audit_log.as_ref()).await));
    tokio::spawn(service_manager.clone().signs_of_life());
    node.run(listening, stopped, reloads, service_manager).await
}

/// Reloads between two records in the audit log. The process logs the result.
async fn reload_by_signal(handle: &ReloadHandle, audit_log: Option<&AuditLog>) {
    if let Some(log) = audit_log
        && let Err(error) = log.record_of_node("reload", json!({ "by": "SIGHUP" })).await
    {
        tracing::error!(%error, "not reloaded, because it could not be recorded");
        return;
    }
    let result = match handle.reload().await {
        Ok(reloaded) => json!({ "changed": reloaded.changed }),
        Err(err) => json!({ "error": err.to_string() }),
    };
    if let Some(log) = audit_log {
        // The request is on record, and has happened: a result that can't be recorded is logged and counted.
        let _ = log.record_of_node("reload.result", result).await;
    }
}
