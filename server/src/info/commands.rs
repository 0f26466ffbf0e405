//! Statistics per command and per error.

use super::Fields;
use crate::commands;
use crate::config::setting::Value;
use crate::latency::report::percentile_us;
use crate::server::Server;

pub fn calls(server: &Server, fields: &mut Fields) {
    for command in commands::all() {
        let totals = server.stats.totals(command.id);
        if totals.calls + totals.rejected + totals.failed == 0 {
            continue;
        }
        let us = totals.nanoseconds / 1000;
        let per_call = us as f64 / totals.calls.max(1) as f64;
        fields.put(
            &format!("cmdstat_{}", command.full_name),
            format!(
                "calls={},usec={us},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}",
                totals.calls, totals.rejected, totals.failed
            ),
        );
    }
}

pub fn errors(server: &Server, fields: &mut Fields) {
    for (code, count) in server.stats.errors() {
        fields.put(&format!("errorstat_{code}"), format!("count={count}"));
    }
}

pub fn latencies(server: &Server, fields: &mut Fields) {
    if !server.config.is_yes("latency-tracking") {
        return;
    }
    let Value::Percentiles(percentiles) = server.config.value("latency-tracking-info-percentiles") else {
        unreachable!("the setting holds percentiles");
    };
    for command in commands::all() {
        let totals = server.stats.totals(command.id);
        if totals.calls == 0 {
            continue;
        }
        let shown: Vec<String> = percentiles
            .iter()
            .map(|percent| format!("p{percent}={:.3}", percentile_us(&totals.latency, *percent)))
            .collect();
        fields.put(&format!("latency_percentiles_usec_{}", command.full_name), shown.join(","));
    }
}
