//! Connections to other nodes that a network thread keeps: each is used by one client's connection at a time.
//!
//! There is a pool per thread, so nobody waits for another thread. A connection that has not been used for [`IDLE_MAX`]
//! is closed.

use super::figures::{Counted, Figures, count};
use super::upstream::{CannotAsk, Upstream};
use crate::resp::Protocol;
use crate::server::Server;
use hashbrown::HashMap;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Where a connection leads, and what is spoken on it.
pub type Target = (SocketAddr, Protocol);

/// Connections in use per thread and target. Further requests wait for one of them, but for those that wait for keys:
/// of these there are as many as clients that do so.
const IN_USE_MAX: usize = 256;
/// Connections not in use that are kept per thread and target.
const IDLE_KEPT: usize = 64;
/// How long they are kept.
const IDLE_MAX: Duration = Duration::from_secs(30);

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

#[derive(Default)]
struct Pool {
    shelves: HashMap<Target, Shelf>,
    /// A task looks for those that have been idle for too long.
    is_swept: bool,
}

struct Shelf {
    /// The one used last comes last.
    idle: Vec<(Upstream, Instant)>,
    places: Arc<Semaphore>,
}

impl Default for Shelf {
    fn default() -> Shelf {
        Shelf { idle: Vec::new(), places: Arc::new(Semaphore::new(IN_USE_MAX)) }
    }
}

/// How long a connection will be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    UntilAnswered,
    /// Perhaps for very long.
    UntilKeysChange,
}

/// A connection for one user. It is closed with this, unless it is given back.
pub struct Lease {
    pub upstream: Upstream,
    target: Target,
    _in_use: Counted,
    _place: Option<OwnedSemaphorePermit>,
}

impl Lease {
    /// Takes a connection that is idle, or opens one.
    pub async fn take(server: &Server, figures: &Arc<Figures>, target: Target, need: Need) -> Result<Lease, CannotAsk> {
        let places = with_shelf(target, |shelf| shelf.places.clone());
        let place = match need {
            Need::UntilAnswered => Some(places.acquire_owned().await.expect("it is never closed")),
            Need::UntilKeysChange => None,
        };
        let idle = with_shelf(target, |shelf| {
            std::iter::from_fn(|| shelf.idle.pop()).map(|(upstream, _)| upstream).find(Upstream::is_alive)
        });
        let upstream = match idle {
            Some(upstream) => upstream,
            None => open(server, figures, target).await?,
        };
        let in_use = Counted::new(figures, |figures| &figures.in_use);
        Ok(Lease { upstream, target, _in_use: in_use, _place: place })
    }

    /// Gives it back. All that was asked must have been answered.
    pub fn give_back(self) {
        let Lease { mut upstream, target, .. } = self;
        if !upstream.is_alive() {
            return;
        }
        upstream.inbound.trim();
        with_shelf(target, |shelf| {
            if shelf.idle.len() < IDLE_KEPT {
                shelf.idle.push((upstream, Instant::now()));
            }
        });
        let is_swept = POOL.with_borrow_mut(|pool| std::mem::replace(&mut pool.is_swept, true));
        if !is_swept {
            tokio::spawn(sweep());
        }
    }
}

async fn open(server: &Server, figures: &Arc<Figures>, target: Target) -> Result<Upstream, CannotAsk> {
    count(&figures.opened);
    let opened = Upstream::open(server, figures, target).await;
    if let Err(error) = &opened {
        count(&figures.failed_openings);
        tracing::debug!(%error, "a request cannot be forwarded there");
    }
    opened
}

fn with_shelf<R>(target: Target, f: impl FnOnce(&mut Shelf) -> R) -> R {
    POOL.with_borrow_mut(|pool| f(pool.shelves.entry(target).or_default()))
}

/// Closes what has been idle for long, until nothing is left.
async fn sweep() {
    loop {
        tokio::time::sleep(IDLE_MAX / 4).await;
        let is_empty = POOL.with_borrow_mut(|pool| {
            pool.shelves.retain(|_, shelf| {
                shelf.idle.retain(|(_, since)| since.elapsed() < IDLE_MAX);
                !shelf.idle.is_empty() || Arc::strong_count(&shelf.places) > 1
            });
            pool.is_swept = !pool.shelves.is_empty();
            !pool.is_swept
        });
        if is_empty {
            return;
        }
    }
}
