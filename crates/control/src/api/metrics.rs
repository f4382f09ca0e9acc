//! `GET /metrics`

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use prometheus_client::encoding::text::encode_registry;

use crate::admin::SharedAdmin;
use crate::problem::problem;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn get(State(admin): SharedAdmin) -> Response {
    let mut text = String::new();
    let process = admin.process_registries.lock();
    let encoded = process
        .iter()
        .chain([&admin.registry])
        .try_for_each(|registry| encode_registry(&mut text, registry));
    match encoded {
        Ok(()) => {
            // Those of each source are in a registry of their own.
            ([(header::CONTENT_TYPE, OPEN_METRICS)], join_families(&text)).into_response()
        }
        Err(err) => {
            tracing::error!(error = %err, "the metrics could not be encoded");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "Metrics could not be encoded", "")
        }
    }
}

/// Joins the families of one name, which the text format allows only once.
fn join_families(text: &str) -> String {
    let mut families: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut at = 0;
    for line in text.lines().filter(|line| *line != "# EOF") {
        let described = line.strip_prefix("# ").and_then(|line| line.split(' ').nth(1));
        if let Some(name) = described {
            let known = families.iter().position(|(known, _)| *known == name);
            at = known.unwrap_or_else(|| {
                families.push((name, Vec::new()));
                families.len() - 1
            });
            if families[at].1.contains(&line) {
                continue;
            }
        }
        if let Some((_, lines)) = families.get_mut(at) {
            lines.push(line);
        }
    }
    let lines = families.iter().flat_map(|(_, lines)| lines).copied().chain(["# EOF", ""]);
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_sources_are_joined() {
        let family = |name: &str, series: &str| {
            format!("# HELP {name} A help.\n# TYPE {name} gauge\n{name}{series}\n")
        };
        let shop = family("a", "{source=\"shop\"} 1") + &family("b", "{source=\"shop\"} 2");
        let stock = family("a", "{source=\"stock\"} 3") + &family("c", " 4");
        assert_eq!(
            join_families(&format!("{shop}{stock}# EOF\n")),
            "# HELP a A help.\n# TYPE a gauge\na{source=\"shop\"} 1\na{source=\"stock\"} 3\n\
             # HELP b A help.\n# TYPE b gauge\nb{source=\"shop\"} 2\n\
             # HELP c A help.\n# TYPE c gauge\nc 4\n# EOF\n"
        );
    }
}
