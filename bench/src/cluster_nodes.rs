//! Clusters on this machine: several servers of one kind that know of each other.
//!
//! Once one is ready nothing moves in it by itself, and it has as many copies of everything as it was told to have.

use crate::client::Client;
use crate::process::{Cores, Keeping, Kind, Server};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long something may take that no measurement waits for.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Whether it has come true: asked again and again.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        sleep(LOOK_AGAIN);
    }
}

/// What its nodes have in common.
#[derive(Clone, Copy)]
pub struct Plan {
    pub kind: Kind,
    pub keeping: Keeping,
    pub cores: Cores,
    pub nodes: u16,
    /// Copies of everything besides the first.
    pub copies: u16,
}

/// The nodes of a cluster that is up, the first of which the others were told.
pub struct Cluster {
    pub nodes: Vec<Server>,
    copies: u16,
}

impl Cluster {
    /// The first node has all slots.
    pub fn with_one_owner(plan: Plan) -> Cluster {
        // Else the others would get their share as soon as they are there. redis-server's never do.
        let options: &[&str] = if plan.kind == Kind::Basalt { &["--cluster-auto-balance", "no"] } else { &[] };
        let mut nodes = vec![plan.start(0, options)];
        client(&nodes[0]).call(&[b"CLUSTER", b"ADDSLOTSRANGE", b"0", b"16383"]);
        plan.start_others(&mut nodes, options);
        Cluster::ready(nodes, plan)
    }

    /// Each node has its share of the slots, which nodes that find none given out see to by themselves.
    pub fn with_slots_spread(plan: Plan) -> Cluster {
        assert_eq!(plan.kind, Kind::Basalt, "nobody else's nodes do that");
        let mut nodes = vec![plan.start(0, &[])];
        plan.start_others(&mut nodes, &[]);
        let cluster = Cluster::ready(nodes, plan);
        assert!(cluster.nodes.iter().all(owns_slots), "each node has its share");
        cluster
    }

    fn ready(nodes: Vec<Server>, plan: Plan) -> Cluster {
        let cluster = Cluster { nodes, copies: plan.copies };
        let count = format!("cluster_known_nodes:{}\r", plan.nodes);
        wait_until("all nodes know of each other, and of all slots", || {
            cluster.nodes.iter().all(|node| {
                let info = client(node).text(&[b"CLUSTER", b"INFO"]);
                info.contains("cluster_state:ok") && info.contains(&count)
            })
        });
        if plan.copies > 0 {
            wait_until("every copy has everything", || cluster.is_settled());
        }
        cluster
    }

    /// Whether whatever has slots has all of its copies, and these lack nothing.
    pub fn is_settled(&self) -> bool {
        self.nodes.iter().filter(|node| owns_slots(node)).all(|node| {
            let info = client(node).info("groups");
            let group = info.lines().find(|line| line.contains("kind=home,") && line.contains("role=leader,"));
            let Some((name, _)) = group.and_then(|line| line.split_once(':')) else { return false };
            let prefix = format!("{name}_replica");
            let copies: Vec<&str> = info.lines().filter(|line| line.starts_with(&prefix)).collect();
            let is_whole = |line: &&str| line.contains(",lag=0,") && line.contains(",votes=1,");
            copies.len() == usize::from(self.copies) && copies.iter().all(is_whole)
        })
    }
}

impl Plan {
    fn start(&self, number: u16, options: &[&str]) -> Server {
        let copies = self.copies.to_string();
        let mut all = vec!["--cluster-enabled", "yes"];
        let first_port = match self.kind {
            Kind::Basalt => {
                all.extend(["--cluster-replicas", &copies]);
                // Its default is to move things as fast as it can. Said here, because it is measured.
                all.extend(["--cluster-migration-max-bytes-per-second", "0"]);
                8020
            }
            // As large files as these are written anew in the background again and again, which is not measured here.
            Kind::Redis => {
                all.extend(["--auto-aof-rewrite-percentage", "0"]);
                8030
            }
            Kind::Null => unreachable!("it is no node of a cluster"),
        };
        all.extend(options);
        Server::start_on(first_port + number, self.kind, self.keeping, self.cores, 1, &all)
    }

    /// Starts what is missing, and tells each of the first node.
    fn start_others(&self, nodes: &mut Vec<Server>, options: &[&str]) {
        let first = address(&nodes[0]);
        for number in 1..self.nodes {
            if self.kind == Kind::Basalt {
                nodes.push(self.start(number, &[options, &["--cluster-join", &first]].concat()));
                continue;
            }
            let node = self.start(number, options);
            let (ip, port) = first.split_once(':').expect("an address has a port");
            client(&node).call(&[b"CLUSTER", b"MEET", ip.as_bytes(), port.as_bytes()]);
            nodes.push(node);
        }
    }
}

pub fn client(server: &Server) -> Client {
    Client::connect(server.port()).expect("the server listens")
}

pub fn address(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port())
}

/// Its name in the cluster.
pub fn name(server: &Server) -> String {
    client(server).text(&[b"CLUSTER", b"MYID"])
}

fn owns_slots(server: &Server) -> bool {
    let text = client(server).text(&[b"CLUSTER", b"NODES"]);
    // Eight words are of the node itself.
    text.lines().any(|line| line.contains("myself") && line.split(' ').count() > 8)
}
