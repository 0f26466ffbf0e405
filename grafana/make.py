#!/usr/bin/env python3
"""Writes the dashboards, dashboards/*.json: panels are listed here in short, Grafana wants them at length.

    python3 grafana/make.py           writes them
    python3 grafana/make.py --check   says whether they are as they should be

In an expression `@` stands for the chosen cluster and nodes, and `@g` for the chosen groups as well.
"""

import json
import sys
from pathlib import Path

DASHBOARDS = Path(__file__).resolve().parent / "dashboards"

NODES = 'job="$cluster",instance=~"$node"'
GROUPS = NODES + ',group=~"$group"'
RATE = "[$__rate_interval]"


def expanded(expression: str) -> str:
    return expression.replace("@g", GROUPS).replace("@", NODES).replace("[rate]", RATE)


def quantile(share: str, histogram: str, by: str, selector: str = "@") -> str:
    return f"histogram_quantile({share}, sum by ({by}, le) (rate({histogram}_bucket{{{selector}}}[rate])))"


def mean(histogram: str, by: str) -> str:
    return f"sum by ({by}) (rate({histogram}_sum{{@}}[rate])) / sum by ({by}) (rate({histogram}_count{{@}}[rate]))"


class Panel:
    """Curves, or with `number` the present value."""

    def __init__(self, title: str, unit: str, *queries: tuple, width: int = 8, number: bool = False, doc: str = "",
                 bad: dict = None, stacked: bool = False):
        self.title, self.unit, self.queries, self.width, self.number = title, unit, queries, width, number
        self.doc, self.bad, self.stacked = doc, bad or {}, stacked

    def json(self, number: int, x: int, y: int, height: int) -> dict:
        targets = [
            {"refId": chr(ord("A") + at), "expr": expanded(expression), "legendFormat": legend, "datasource": SOURCE}
            for at, (expression, legend) in enumerate(self.queries)
        ]
        steps = [{"color": self.bad.get("first", "green"), "value": None}]
        steps += [{"color": "red", "value": self.bad["above"]}] if "above" in self.bad else []
        steps += [{"color": "green", "value": self.bad["good_from"]}] if "good_from" in self.bad else []
        custom = {"fillOpacity": 10, "showPoints": "never", "lineWidth": 1}
        if self.stacked:
            custom |= {"fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}
        defaults = {"unit": self.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
        if self.number:
            options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background", "graphMode": "area"}
        else:
            defaults["custom"] = custom
            legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
            options = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
        return {
            "id": number, "title": self.title, "description": self.doc, "type": "stat" if self.number else "timeseries",
            "datasource": SOURCE, "gridPos": {"x": x, "y": y, "w": self.width, "h": height}, "targets": targets,
            "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options,
        }


SOURCE = {"type": "prometheus", "uid": "${source}"}


def variable(name: str, label: str, query: str, many: bool) -> dict:
    return {
        "name": name, "label": label, "type": "query", "datasource": SOURCE, "refresh": 2, "sort": 3,
        "query": {"query": query, "refId": name}, "definition": query, "multi": many, "includeAll": many,
        "current": {"text": "All", "value": "$__all"} if many else {}, "allValue": ".*" if many else None,
    }


def dashboard(uid: str, title: str, doc: str, rows: list, groups: bool = False) -> dict:
    variables = [
        {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus", "current": {}},
        variable("cluster", "Cluster", "label_values(basalt_build_info, job)", many=False),
        variable("node", "Node", 'label_values(basalt_build_info{job="$cluster"}, instance)', many=True),
    ]
    if groups:
        query = f"label_values(basalt_group_term{{{NODES}}}, group)"
        variables.append(variable("group", "Group", query, many=True))
    panels, y = [], 0
    for name, row in rows:
        panels.append({"id": len(panels) + 1, "type": "row", "title": name, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y, x = y + 1, 0
        height = 4 if all(panel.number for panel in row) else 8
        for panel in row:
            if x + panel.width > 24:
                x, y = 0, y + height
            panels.append(panel.json(len(panels) + 1, x, y, height))
            x += panel.width
        y += height
    links = [{"type": "dashboards", "tags": ["basalt"], "title": "Basalt", "asDropdown": True, "includeVars": True,
              "keepTime": True}]
    return {
        "uid": uid, "title": title, "description": doc, "tags": ["basalt"], "schemaVersion": 38, "version": 1,
        "editable": True, "timezone": "browser", "refresh": "15s", "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables}, "links": links, "annotations": {"list": []}, "panels": panels,
    }


HIT = "sum(rate(basalt_keyspace_hits_total{@}[rate]))"
MISS = "sum(rate(basalt_keyspace_misses_total{@}[rate]))"

OVERVIEW = dashboard("basalt-overview", "Basalt: overview", "What clients get, of all nodes.", [
    ("Now", [
        Panel("Nodes", "none", ("count(basalt_build_info{@})", "nodes"), width=3, number=True),
        Panel("Commands", "ops", ("sum(rate(basalt_commands_processed_total{@}[rate]))", "per second"), width=4,
              number=True),
        Panel("Clients", "none", ("sum(basalt_clients{@})", "clients"), width=3, number=True),
        Panel("Keys", "short", ("sum(basalt_keys{@})", "keys"), width=4, number=True),
        Panel("Memory of its limit", "percentunit",
              ("max(basalt_memory_used_bytes{@} / (basalt_memory_limit_bytes{@} > 0))", "fullest node"), width=5,
              number=True, bad={"above": 0.95}, doc="Nothing is shown where there is no limit."),
        Panel("Error replies", "ops", ("sum(rate(basalt_error_replies_total{@}[rate]))", "per second"), width=5,
              number=True),
    ]),
    ("Commands", [
        Panel("Commands per second", "ops", ("sum by (instance) (rate(basalt_commands_processed_total{@}[rate]))",
                                             "{{instance}}"), stacked=True),
        Panel("By command", "ops",
              ("topk(10, sum by (command) (rate(basalt_command_duration_seconds_count{@}[rate])))", "{{command}}")),
        Panel("Time of evaluation", "s",
              (quantile("0.5", "basalt_command_duration_seconds", "job"), "half"),
              (quantile("0.99", "basalt_command_duration_seconds", "job"), "99 %"),
              (quantile("0.999", "basalt_command_duration_seconds", "job"), "99.9 %"),
              doc="Without waiting for the log or the disk."),
        Panel("Slowest commands on average", "s",
              (f"topk(10, {mean('basalt_command_duration_seconds', 'command')})", "{{command}}")),
        Panel("Errors", "ops", ("sum by (code) (rate(basalt_errors_total{@}[rate]))", "{{code}}")),
        Panel("Refused and failed commands", "ops",
              ("topk(5, sum by (command) (rate(basalt_command_rejections_total{@}[rate])))", "refused {{command}}"),
              ("topk(5, sum by (command) (rate(basalt_command_failures_total{@}[rate])))", "failed {{command}}")),
    ]),
    ("Clients", [
        Panel("Clients", "none", ("sum by (instance, type) (basalt_clients{@})", "{{instance}} {{type}}"),
              ("sum by (instance) (basalt_clients_blocked{@})", "{{instance}} blocked")),
        Panel("Connections", "ops",
              ("sum by (instance) (rate(basalt_connections_received_total{@}[rate]))", "{{instance}}"),
              ("sum by (instance) (rate(basalt_connections_rejected_total{@}[rate]))", "{{instance}} refused")),
        Panel("Traffic", "Bps",
              ("sum by (instance, direction) (rate(basalt_network_bytes_total{@}[rate]))",
               "{{instance}} {{direction}}")),
    ]),
    ("Keys and memory", [
        Panel("Hits", "percentunit", (f"{HIT} / ({HIT} + {MISS})", "of lookups")),
        Panel("Expired and evicted", "ops",
              ("sum by (instance) (rate(basalt_keys_expired_total{@}[rate]))", "{{instance}} expired"),
              ("sum by (instance) (rate(basalt_keys_evicted_total{@}[rate]))", "{{instance}} evicted")),
        Panel("Keys", "short", ("sum by (instance, db) (basalt_keys{@})", "{{instance}} db {{db}}")),
        Panel("Memory", "bytes", ("sum by (instance) (basalt_memory_used_bytes{@})", "{{instance}}"),
              ("sum by (instance) (basalt_memory_limit_bytes{@} > 0)", "{{instance}} limit")),
        Panel("Memory by part", "bytes", ("sum by (part) (basalt_memory_part_bytes{@})", "{{part}}"), stacked=True),
        Panel("Network threads busy", "percentunit",
              ("sum by (instance) (rate(basalt_event_loop_busy_seconds_total{@}[rate])) / "
               "sum by (instance) (basalt_io_threads{@})", "{{instance}}"),
               doc="At 100 % more `io-threads` would help."),
    ]),
])

FSYNC = "basalt_group_log_fsync_duration_seconds"
CLUSTER = dashboard("basalt-cluster", "Basalt: cluster and replication", "Nodes, slots, groups and their logs.", [
    ("Now", [
        Panel("Up", "none", ("min(basalt_cluster_up{@})", "all nodes say so"), width=4, number=True,
              bad={"first": "red", "good_from": 1}),
        Panel("Root group in reach", "none",
              ("min(basalt_cluster_root_in_reach{@})", "of all nodes"), width=4, number=True,
              bad={"first": "red", "good_from": 1}),
        Panel("Slots not served", "none", ('max(sum by (instance) (basalt_cluster_slots{@,state!="ok"}))', "slots"),
              width=4, number=True, bad={"above": 1}),
        Panel("Failed nodes", "none", ('max(basalt_cluster_nodes{@,health="failed"})', "nodes"), width=4, number=True,
              bad={"above": 1}),
        Panel("Groups without leader", "none",
              ("sum(basalt_group_has_leader{@g} == bool 0)", "replicas that know none"),
              width=4, number=True, bad={"above": 1}),
        Panel("Migrations", "none", ("max(basalt_cluster_migrations{@})", "under way"), width=4, number=True),
    ]),
    ("Who holds what", [
        Panel("Slots per node", "none", ("basalt_cluster_own_slots{@}", "{{instance}}"), stacked=True),
        Panel("Groups led", "none", ('count by (instance) (basalt_group_role{@g,role="leader"})', "{{instance}}"),
              stacked=True),
        Panel("Replicas of groups", "none",
              ("count by (instance, kind) (basalt_group_role{@g})", "{{instance}} {{kind}}"),
              stacked=True),
        Panel("Changes of the map", "none", ("changes(basalt_cluster_map_version{@}[rate])", "{{instance}}")),
        Panel("New leaders", "none", ("max by (group) (increase(basalt_group_leader_changes_total{@g}[rate]))",
                                      "group {{group}}")),
        Panel("Requests that wait for a leader", "none", ("basalt_cluster_held_clients{@}", "{{instance}}")),
    ]),
    ("Slots on their way", [
        Panel("Slots in migrations", "none", ("max(basalt_cluster_migrating_slots{@})", "slots")),
        Panel("Bytes of migrating slots", "Bps", ("rate(basalt_migration_bytes_total{@}[rate])",
                                                  "{{instance}} {{direction}}")),
        Panel("Migrations that were completed, attempts that came to nothing", "none",
              ("increase(basalt_migrations_departed_total{@}[rate])", "{{instance}} completed"),
              ("increase(basalt_migration_hitches_total{@}[rate])", "{{instance}} to be tried again")),
        Panel("Requests waited while slots were given away", "s",
              ("sum by (instance) (increase(basalt_migration_sealed_duration_seconds_sum{@}[rate]))", "{{instance}}"),
              doc="Seconds in all of them."),
        Panel("What the cluster does by itself", "none",
              ("sum by (step) (increase(basalt_placement_steps_total{@}[rate]))", "{{step}}")),
        Panel("Slots that came back empty", "none",
              ("sum by (cause) (increase(basalt_cluster_emptied_slots_total{@}[rate]))", "{{cause}}"),
              doc="In cache mode: a node was started again, or lost."),
        Panel("Snapshots sent and installed", "none",
              ("sum by (instance, direction) (increase(basalt_group_snapshots_total{@g}[rate]))",
               "{{instance}} {{direction}}")),
    ]),
    ("Replication", [
        Panel("Reads from replicas", "ops", ("sum by (instance, outcome) (rate(basalt_replica_reads_total{@}[rate]))",
                                             "{{instance}} {{outcome}}"),
              doc="Those that are too old are sent to the leader."),
        Panel("Lag of followers", "none", ("max by (group, replica) (basalt_group_replica_lag_entries{@g})",
                                           "group {{group}}, replica {{replica}}"), doc="In entries of the log."),
        Panel("Followers that are not heard", "none", ("sum by (group) (basalt_group_replica_up{@g} == bool 0)",
                                                       "group {{group}}")),
        Panel("Snapshots being sent", "none", ("sum by (group) (basalt_group_replica_awaits_snapshot{@g})",
                                               "group {{group}}")),
        Panel("Committed entries per second", "ops",
              ("max by (group) (rate(basalt_group_log_committed_index{@g}[rate]))", "group {{group}}")),
        Panel("Committed and not applied", "none", ("sum by (instance, group) (basalt_group_unapplied_entries{@g})",
                                                    "{{instance}} group {{group}}")),
        Panel("Waiting for the log", "bytes", ("sum by (instance, group) (basalt_group_queued_bytes{@g})",
                                               "{{instance}} group {{group}}")),
    ]),
    ("Replicas compared", [
        Panel("Checks by what came of them", "none",
              ("sum by (result) (increase(basalt_verify_checks_total{@}[rate]))", "{{result}}")),
        Panel("Since all replicas were last found equal", "s",
              ("time() - max by (group) (basalt_group_verified_timestamp_seconds{@g})", "group {{group}}"),
              doc="Told by the leaders that have found it."),
        Panel("Slots in which replicas differ", "none",
              ("max by (group) (basalt_group_differing_slots{@g})", "group {{group}}"), width=4, number=True,
              bad={"above": 1}),
        Panel("Read for it", "Bps", ("rate(basalt_verify_read_bytes_total{@}[rate])", "{{instance}}"), width=4),
    ]),
    ("The log", [
        Panel("Fsync", "s", (quantile("0.5", FSYNC, "instance", "@g"), "{{instance}} half"),
              (quantile("0.99", FSYNC, "instance", "@g"), "{{instance}} 99 %"),
              doc="Each write that a client hears of waits for at least one."),
        Panel("Batches per fsync", "none",
              (f"sum by (instance) (rate(basalt_group_proposals_total{{@g}}[rate])) / "
               f"sum by (instance) (rate({FSYNC}_count{{@g}}[rate]))", "{{instance}}")),
        Panel("Apply", "s", (quantile("0.99", "basalt_group_apply_duration_seconds", "instance", "@g"),
               "{{instance}} 99 %")),
        Panel("Written to the log", "Bps", ("sum by (instance) (rate(basalt_group_log_bytes_written_total{@g}[rate]))",
                                            "{{instance}}")),
        Panel("Log kept", "bytes", ("sum by (instance, group) (basalt_group_log_bytes{@g})",
                                    "{{instance}} group {{group}}")),
        Panel("Batches of unknown fate", "none",
              ("increase(basalt_unknown_fate_batches_total{@}[rate])", "{{instance}}")),
    ]),
    ("Between nodes", [
        Panel("Bytes", "Bps", ("sum by (instance, direction) (rate(basalt_cluster_bytes_total{@}[rate]))",
                               "{{instance}} {{direction}}")),
        Panel("Messages", "ops", ("sum by (instance, direction, kind) (rate(basalt_cluster_messages_total{@}[rate]))",
                                  "{{instance}} {{kind}} {{direction}}"),
              ("sum by (instance) (rate(basalt_cluster_messages_dropped_total{@}[rate]))", "{{instance}} dropped")),
        Panel("Links that are down", "none", ("basalt_cluster_links_down{@}", "{{instance}}"),
              ("basalt_cluster_link_queued_bytes{@} > 1048576", "{{instance}} bytes queued")),
    ]),
], groups=True)

ASKED = 'rate(basalt_rocksdb_written_bytes_total{@,what="payload"}[rate])'
DONE = 'rate(basalt_rocksdb_written_bytes_total{@,what!="payload"}[rate])'
CACHE_HITS = "rate(basalt_rocksdb_block_cache_hits_total{@}[rate])"
CACHE_MISSES = "rate(basalt_rocksdb_block_cache_misses_total{@}[rate])"
STORAGE = dashboard("basalt-storage", "Basalt: storage", "Durable mode: the disk, RocksDB, copies in memory.", [
    ("Disk", [
        Panel("Used and free", "bytes", ("basalt_disk_used_bytes{@}", "{{instance}} used"),
              ("basalt_disk_free_bytes{@}", "{{instance}} free"),
              ("basalt_disk_reserve_bytes{@}", "{{instance}} reserve")),
        Panel("Refused for lack of room", "ops", ("rate(basalt_disk_full_refusals_total{@}[rate])", "{{instance}}"),
              ("basalt_disk_full{@}", "{{instance}} full")),
        Panel("Written", "Bps", ("sum by (what) (rate(basalt_rocksdb_written_bytes_total{@}[rate]))", "{{what}}")),
        Panel("Write amplification", "none",
              (f"sum by (instance) ({DONE}) / sum by (instance) ({ASKED})", "{{instance}}"),
              doc="Bytes to the disk per byte that was handed in."),
        Panel("Tables", "bytes", ("basalt_rocksdb_table_bytes{@}", "{{instance}}"),
              ("basalt_rocksdb_live_bytes{@}", "{{instance}} live")),
        Panel("Tables per level", "none", ("sum by (level) (basalt_rocksdb_level_files{@})", "level {{level}}"),
              stacked=True),
    ]),
    ("What is behind", [
        Panel("To be compacted", "bytes", ("basalt_rocksdb_pending_compaction_bytes{@}", "{{instance}}")),
        Panel("Compactions", "none", ("basalt_rocksdb_running_compactions{@}", "{{instance}} running"),
              ("basalt_rocksdb_full_memtables{@}", "{{instance}} full memtables")),
        Panel("Pressure on writers", "percentunit", ("basalt_write_pressure_ratio{@}", "{{instance}}"),
              doc="At 100 % RocksDB would hold writers up itself."),
        Panel("Writers held back", "percentunit", ("rate(basalt_writers_held_seconds_total{@}[rate])", "{{instance}}"),
              ("rate(basalt_rocksdb_stall_seconds_total{@}[rate])", "{{instance}} by RocksDB"),
              doc="Share of the time."),
        Panel("What writers may write", "Bps", ("basalt_write_limit_bytes_per_second{@} > 0", "{{instance}}")),
        Panel("Failures and stops", "none", ("basalt_rocksdb_background_errors{@}", "{{instance}} errors"),
              ("basalt_rocksdb_write_stopped{@}", "{{instance}} stopped"),
              ("basalt_log_congested{@}", "{{instance}} log congested")),
    ]),
    ("Copies in memory", [
        Panel("Keys that are on disk only", "short", ("basalt_cold_keys{@}", "{{instance}}"),
              ("basalt_outlined_keys{@}", "{{instance}} outlines of large values")),
        Panel("Read from disk", "ops", ("rate(basalt_keys_loaded_total{@}[rate])", "{{instance}}"),
              ("rate(basalt_keys_loaded_in_place_total{@}[rate])", "{{instance}} under locks"),
              ("rate(basalt_keys_awaited_total{@}[rate])", "{{instance}} awaited by reads")),
        Panel("Dropped from memory", "ops", ("rate(basalt_keys_cooled_total{@}[rate])", "{{instance}}")),
        Panel("Block cache hits", "percentunit",
              (f"{CACHE_HITS} / ({CACHE_HITS} + {CACHE_MISSES})", "{{instance}}")),
        Panel("Reads spared by bloom filters", "ops",
              ("rate(basalt_rocksdb_bloom_useful_total{@}[rate])", "{{instance}}")),
        Panel("RocksDB's memory", "bytes", ("basalt_rocksdb_block_cache_bytes{@}", "{{instance}} block cache"),
              ("basalt_rocksdb_memtable_bytes{@}", "{{instance}} memtables")),
    ]),
])

NODE = dashboard("basalt-node", "Basalt: a node in detail", "The process: CPU, memory, descriptors, threads, dumps.", [
    ("Process", [
        Panel("CPU", "percentunit", ("rate(basalt_process_cpu_seconds_total{@}[rate])", "{{instance}} {{mode}}"),
              doc="100 % is one core.", stacked=True),
        Panel("CPU by kind of thread", "percentunit",
              ("sum by (kind) (rate(basalt_thread_cpu_seconds_total{@}[rate]))", "{{kind}}"), stacked=True),
        Panel("Descriptors", "none", ("basalt_process_open_fds{@}", "{{instance}}"),
              ("basalt_process_max_fds{@}", "{{instance}} at most")),
        Panel("Threads", "none", ("basalt_process_threads{@}", "{{instance}}")),
        Panel("Page faults that wait for the disk", "ops",
              ("rate(basalt_process_major_page_faults_total{@}[rate])", "{{instance}}")),
        Panel("Uptime", "s", ("time() - basalt_process_start_time_seconds{@}", "{{instance}}")),
    ]),
    ("Memory", [
        Panel("Resident", "bytes", ("basalt_process_resident_memory_bytes{@}", "{{instance}}"),
              ("basalt_memory_machine_bytes{@}", "{{instance}} machine")),
        Panel("Used", "bytes", ("basalt_memory_used_bytes{@}", "{{instance}}"),
              ("basalt_memory_peak_bytes{@}", "{{instance}} peak")),
        Panel("Allocator", "bytes", ("basalt_memory_allocator_bytes{@}", "{{instance}} {{state}}")),
        Panel("Freed in the background", "ops", ("rate(basalt_lazyfreed_total{@}[rate])", "{{instance}}"),
              ("basalt_lazyfree_pending{@}", "{{instance}} pending")),
        Panel("Clients' buffers", "bytes", ("basalt_client_buffer_bytes{@}", "{{instance}} {{direction}}"),
              ("basalt_client_buffer_largest_bytes{@}", "{{instance}} largest {{direction}}")),
        Panel("Above the limit", "percentunit",
              ("rate(basalt_eviction_exceeded_seconds_total{@}[rate])", "{{instance}}"),
              ("rate(basalt_clients_evicted_total{@}[rate])", "{{instance}} clients evicted per second"),
              doc="Share of the time for which memory was above its limit."),
    ]),
    ("Work", [
        Panel("Wake-ups of network threads", "ops", ("rate(basalt_event_loop_cycles_total{@}[rate])", "{{instance}}")),
        Panel("Commands per wake-up", "none",
              ("rate(basalt_commands_processed_total{@}[rate]) / rate(basalt_event_loop_cycles_total{@}[rate])",
               "{{instance}}"), doc="How much pipelining and many clients save."),
        Panel("System calls for clients", "ops",
              ("rate(basalt_network_calls_total{@}[rate])", "{{instance}} {{direction}}")),
        Panel("Expiry", "percentunit", ("rate(basalt_expiry_cycle_seconds_total{@}[rate])", "{{instance}} of the time"),
              ("basalt_expiry_stale_ratio{@}", "{{instance}} due and still there")),
        Panel("Keys with a time to live", "short", ("sum by (instance) (basalt_keys_with_expiry{@})", "{{instance}}"),
              ("rate(basalt_expiry_cycles_cut_total{@}[rate])", "{{instance}} rounds cut short per second")),
        Panel("Average time to live", "s", ("basalt_key_ttl_average_seconds{@}", "{{instance}} db {{db}}")),
    ]),
    ("The rest", [
        Panel("Dumps", "none", ("basalt_dump_in_progress{@}", "{{instance}} in progress"),
              ("basalt_loading{@}", "{{instance}} loading"),
              ("increase(basalt_dumps_total{@}[rate])", "{{instance}} done")),
        Panel("Changes since the last dump", "short", ("basalt_dump_pending_changes{@}", "{{instance}}"),
              ("rate(basalt_keyspace_changes_total{@}[rate])", "{{instance}} per second")),
        Panel("Age of the last dump", "s", ("time() - basalt_dump_last_timestamp_seconds{@}", "{{instance}}")),
        Panel("Publish and subscribe", "none", ("basalt_pubsub_channels{@}", "{{instance}} {{scope}} channels"),
              ("basalt_pubsub_patterns{@}", "{{instance}} patterns")),
        Panel("Slow log", "none", ("basalt_slowlog_entries{@}", "{{instance}}"),
              ("basalt_clients_watching{@}", "{{instance}} clients that WATCH")),
        Panel("Log: syncs in the background, writes without", "s",
              (quantile("0.99", "basalt_group_log_background_sync_duration_seconds", "instance"), "{{instance}} sync"),
              (quantile("0.99", "basalt_group_log_write_duration_seconds", "instance"), "{{instance}} write")),
    ]),
])

ALL = {"overview": OVERVIEW, "cluster": CLUSTER, "storage": STORAGE, "node": NODE}


def main() -> int:
    stale = []
    for name, content in ALL.items():
        path, text = DASHBOARDS / f"{name}.json", json.dumps(content, indent=1, sort_keys=True) + "\n"
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path.name)
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    if "--check" in sys.argv and stale:
        print(f"run grafana/make.py: {', '.join(stale)} would change")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
