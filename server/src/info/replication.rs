//! Replication: who follows whom. What Redis does by its own protocol, groups do here; the fields mean the same.

use super::Fields;
use crate::cluster::{Cluster, Master, Neighbours, Replica};
use crate::server::Server;
use basalt_cluster::group::Positions;
use basalt_cluster::map::Address;

pub fn replication(server: &Server, fields: &mut Fields) {
    fields.put("role", if server.cluster().is_some_and(Cluster::is_replica) { "slave" } else { "master" });
    let Neighbours { master, replicas, positions } = Neighbours::of(server);
    if let Some(master) = &master {
        put_master(fields, master, positions);
        fields.put("slave_priority", server.config.int("replica-priority"));
        fields.put("slave_read_only", 1);
        fields.put("replica_announced", u8::from(server.config.is_yes("replica-announced")));
    }
    fields.put("connected_slaves", replicas.len());
    for (number, replica) in replicas.iter().enumerate() {
        let Replica { address: Address { ip, port, .. }, offset, awaits_snapshot, silence_s } = replica;
        let state = if *awaits_snapshot { "send_bulk" } else { "online" };
        let line = format!("ip={ip},port={port},state={state},offset={offset},lag={silence_s}");
        fields.put(&format!("slave{number}"), line);
    }
    fields.put("master_failover_state", "no-failover");
    fields.put("master_replid", &server.run_id);
    fields.put("master_replid2", "0".repeat(40));
    fields.put("master_repl_offset", positions.last.0);
    fields.put("second_repl_offset", -1);
    // The log of a group is no buffer in memory that a replica has to catch up within.
    fields.put("repl_backlog_active", 0);
    fields.put("repl_backlog_size", server.config.int("repl-backlog-size"));
    fields.put("repl_backlog_first_byte_offset", 0);
    fields.put("repl_backlog_histlen", 0);
}

fn put_master(fields: &mut Fields, master: &Master, positions: Positions) {
    let Master { address, is_linked, is_loading, silence_s } = master;
    let silence_s = silence_s.map_or(-1, |seconds| seconds as i64);
    fields.put("master_host", address.ip);
    fields.put("master_port", address.port);
    fields.put("master_link_status", if *is_linked { "up" } else { "down" });
    fields.put("master_last_io_seconds_ago", if *is_linked { silence_s } else { -1 });
    fields.put("master_sync_in_progress", u8::from(*is_loading));
    fields.put("slave_read_repl_offset", positions.last.0);
    fields.put("slave_repl_offset", positions.applied.0);
    if !is_linked {
        fields.put("master_link_down_since_seconds", silence_s);
    }
}
