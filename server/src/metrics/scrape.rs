//! What several metrics need: asked for once per answer, so that they agree with each other.

use super::process::Process;
use super::threads::ThreadTimes;
use crate::client::Client;
use crate::cluster::control::GroupStatus;
use crate::commands::{self, Command};
use crate::durability::Durability;
use crate::durability::{pace, space};
use crate::memory_report::Report;
use crate::server::Server;
use crate::stats::CommandTotals;
use basalt_storage::effect::DbIndex;
use basalt_storage::engine::{Backlog, Statistics};
use std::sync::Arc;

/// One moment of a server.
pub struct Scrape<'a> {
    pub server: &'a Server,
    pub process: Process,
    /// CPU seconds by kind of thread.
    pub threads: Vec<(&'static str, f64)>,
    pub clients: Vec<Arc<Client>>,
    /// Those that were called, or refused.
    pub commands: Vec<(&'static Command, CommandTotals)>,
    pub memory: Report,
    /// In durable mode.
    pub disk: Option<Disk<'a>>,
    pub groups: Vec<GroupStatus>,
}

/// What durable mode has in addition.
pub struct Disk<'a> {
    pub durability: &'a Durability,
    pub statistics: Statistics,
    pub backlog: Backlog,
    /// Files of each level, the lowest first.
    pub level_files: Vec<u64>,
    pub space: space::Report,
    pub pace: pace::Report,
}

impl<'a> Scrape<'a> {
    pub fn of(server: &'a Server, threads: &mut ThreadTimes) -> Scrape<'a> {
        let was_used = |totals: &CommandTotals| totals.calls + totals.rejected + totals.failed > 0;
        let totals = commands::all().iter().map(|command| (*command, server.stats.totals(command.id)));
        Scrape {
            server,
            process: Process::now(),
            threads: threads.look(),
            clients: server.clients.all(),
            commands: totals.filter(|(_, totals)| was_used(totals)).collect(),
            memory: Report::of(server),
            disk: server.durability().map(Disk::of),
            groups: match (server.cluster(), server.durability()) {
                (Some(cluster), _) => cluster.control().groups(),
                (None, Some(durability)) => durability.groups.alone().into_iter().collect(),
                (None, None) => Vec::new(),
            },
        }
    }

    /// Databases that have keys.
    pub fn databases(&self) -> impl Iterator<Item = DbIndex> {
        let keyspace = &self.server.keyspace;
        (0..keyspace.databases()).map(DbIndex).filter(|db| keyspace.key_count(*db) > 0)
    }
}

impl<'a> Disk<'a> {
    fn of(durability: &'a Durability) -> Disk<'a> {
        let rocks = durability.groups.rocks();
        Disk {
            durability,
            statistics: rocks.statistics(),
            backlog: rocks.backlog(),
            level_files: rocks.level_files(),
            space: durability.space.report(),
            pace: durability.pace.report(),
        }
    }
}
