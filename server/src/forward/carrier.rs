//! Takes a batch to the nodes that serve it, and does not give up at the first refusal.
//!
//! First all requests go at once ([`super::legs`]). Those that were not executed are tried again one by one, in their
//! order: where the node says that the slot is, or who owns it by now, for as long as a request would be held back here
//! (`cluster/hold.rs`). One is not tried again if a later request for one of its keys was executed meanwhile: that
//! would change their order.

use super::answer::{self, Setback, error_reply};
use super::batch::{Answer, Batch, Destination, Request, Way, What};
use super::figures::{Figures, count};
use super::ledger::{Ledger, Leftover};
use super::legs;
use super::outlet::{Outlet, Place};
use super::pool::{Lease, Need};
use super::refusal::Refusal;
use super::upstream::{CannotAsk, Sending, Sink, Upstream, Vigil};
use super::wait_limit;
use crate::cluster::Cluster;
use crate::cluster::hold::HOLD_MAX;
use crate::cluster::route::Effect;
use crate::resp::{Output, Protocol};
use crate::server::Server;
use hashbrown::HashSet;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Redirections that a request follows without resting. More mean that nodes do not agree yet.
const HOPS_MAX: u32 = 5;
/// How long it rests then, and when no node serves its slot.
const REST: Duration = Duration::from_millis(20);

/// What a request may have done is not known. The client's connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFate;

/// What all requests of a batch have in common.
pub struct Errand {
    server: Arc<Server>,
    pub figures: Arc<Figures>,
    protocol: Protocol,
}

impl Errand {
    pub fn cluster(&self) -> &Cluster {
        self.server.cluster().expect("only a node of a cluster forwards")
    }

    pub async fn lease(&self, address: SocketAddr, need: Need) -> Result<Lease, CannotAsk> {
        Lease::take(&self.server, &self.figures, (address, self.protocol), need).await
    }
}

/// Has all requests of a batch answered through `outlet`.
pub async fn carry(server: Arc<Server>, batch: Batch, mut outlet: Outlet) -> Result<(), UnknownFate> {
    let figures = server.cluster().expect("only a node of a cluster forwards").forwarding().clone();
    let errand = Errand { server, figures, protocol: batch.protocol };
    let figures = &errand.figures;
    count(&figures.batches);
    figures.requests.fetch_add(batch.requests.len() as u64, Relaxed);
    let carried = carry_all(&errand, batch.requests, &mut outlet).await;
    // What came before is certain.
    outlet.flush().await;
    if carried.is_err() {
        count(&errand.figures.unknown_fates);
    }
    carried
}

async fn carry_all(errand: &Errand, requests: Vec<Request>, outlet: &mut Outlet) -> Result<(), UnknownFate> {
    let mut directed = Vec::with_capacity(requests.len());
    for request in requests {
        match request.destination {
            Some(destination) => directed.push((request, destination)),
            // It was let in here, and its slot has left: such a request comes alone.
            None => return insist(errand, &request, Setback::nobody(), outlet).await,
        }
    }
    let leftovers = legs::travel(errand, &directed, outlet).await?;
    let rest = &directed[directed.len() - leftovers.len()..];
    let overtaken = overtaken(rest, &leftovers);
    for (((request, _), leftover), overtaken) in rest.iter().zip(leftovers).zip(overtaken) {
        match leftover {
            Leftover::Reply(reply) => outlet.put(&reply, Place::BetweenReplies).await,
            Leftover::NotExecuted(setback) => match overtaken {
                Overtaken::No => insist(errand, request, setback, outlet).await?,
                Overtaken::Yes => refuse(errand, request, &setback, outlet).await,
            },
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overtaken {
    Yes,
    No,
}

/// Behind which of the requests one for the same key was executed.
fn overtaken(requests: &[(Request, Destination)], leftovers: &[Leftover]) -> Vec<Overtaken> {
    let mut executed: HashSet<&[u8]> = HashSet::new();
    let mut overtaken = Vec::new();
    for ((request, _), leftover) in requests.iter().zip(leftovers).rev() {
        let keys = request.keys();
        if matches!(leftover, Leftover::Reply(_)) {
            executed.extend(keys);
            overtaken.push(Overtaken::No);
        } else {
            overtaken.push(if keys.iter().any(|key| executed.contains(key)) { Overtaken::Yes } else { Overtaken::No });
        }
    }
    overtaken.reverse();
    overtaken
}

/// Answers a request that no node has executed.
async fn refuse(errand: &Errand, request: &Request, setback: &Setback, outlet: &mut Outlet) {
    count(&errand.figures.unserved);
    if request.answer == Answer::Wanted {
        outlet.put(&error_reply(&setback.error), Place::BetweenReplies).await;
    }
}

/// Tries a request again until it is executed, or until it has waited for too long.
async fn insist(errand: &Errand, request: &Request, setback: Setback, outlet: &mut Outlet) -> Result<(), UnknownFate> {
    // What came before must not wait for it.
    outlet.flush().await;
    let (mut setback, mut hops, mut until) = (setback, 0, None);
    loop {
        let redirected = match setback.refusal {
            Refusal::Moved(Some(address)) => Some((address, Way::Plain)),
            Refusal::Ask(Some(address)) => Some((address, Way::Asking)),
            Refusal::Moved(None) | Refusal::Ask(None) | Refusal::Later => None,
        };
        let target = match redirected.filter(|_| hops < HOPS_MAX) {
            Some(target) => Some(target),
            None => {
                hops = 0;
                // What has waited for keys has not been refused until now.
                if *until.get_or_insert_with(|| Instant::now() + HOLD_MAX) <= Instant::now() {
                    refuse(errand, request, &setback, outlet).await;
                    return Ok(());
                }
                tokio::time::sleep(REST).await;
                errand.cluster().address_of_owner(request.slot).map(|address| (address, Way::Plain))
            }
        };
        hops += 1;
        let Some(target) = target else { continue };
        count(&errand.figures.retries);
        let began = Instant::now();
        match attempt(errand, request, target, outlet).await? {
            None => return Ok(()),
            Some(next) => setback = next,
        }
        if request.waits_for_keys() && began.elapsed() > HOLD_MAX {
            until = None;
        }
    }
}

/// Tries a request once; returns why it was not executed.
async fn attempt(
    errand: &Errand,
    request: &Request,
    (address, way): (SocketAddr, Way),
    outlet: &mut Outlet,
) -> Result<Option<Setback>, UnknownFate> {
    let shortened = shortened(request);
    let request = shortened.as_ref().unwrap_or(request);
    let need = if request.waits_for_keys() { Need::UntilKeysChange } else { Need::UntilAnswered };
    let mut lease = match errand.lease(address, need).await {
        Ok(lease) => lease,
        Err(error) => return Ok(Some(Setback::unasked(&error))),
    };
    let mut ledger = Ledger::new(outlet, &errand.figures);
    let answered = {
        let Upstream { socket, inbound, .. } = &mut lease.upstream;
        let mut output = Output::default();
        request.encode(way, &mut output);
        let mut sending = Some(Sending { socket, output });
        let mut sink = match request.answer {
            Answer::Wanted => Sink::Client(&mut ledger),
            Answer::Muted => Sink::Nobody,
        };
        let node = errand.cluster().node_at(address);
        let vigil = node.map(|node| Vigil { cluster: errand.cluster(), slot: request.slot, node });
        let mut reading = pin!(answer::read(request, way, (socket, inbound), &mut sink, vigil));
        std::future::poll_fn(|cx| {
            drop(sending.take_if(|sending| sending.poll(cx).is_ready()));
            reading.as_mut().poll(cx)
        })
        .await
    };
    let answered = match answered {
        Ok(answered) => answered,
        Err(_) if request.effect == Effect::Writes || ledger.is_within_reply() => return Err(UnknownFate),
        Err(_) => return Ok(Some(Setback::nobody())),
    };
    lease.give_back();
    ledger.note(answered, request.answer).await;
    Ok(ledger.leftovers().pop().and_then(|leftover| match leftover {
        Leftover::NotExecuted(setback) => Some(setback),
        Leftover::Reply(_) => None,
    }))
}

/// The request with the rest of the time that it is willing to wait for keys, if it has waited already.
fn shortened(request: &Request) -> Option<Request> {
    let What::Command(command, args) = &request.what else { return None };
    let args = wait_limit::shortened(command, args, request.since.elapsed())?;
    Some(Request { what: What::Command(command, args), ..*request })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands;
    use crate::resp::OwnedArgs;
    use Overtaken::{No, Yes};
    use basalt_cluster::ids::NodeId;
    use basalt_storage::slot::Slot;

    fn set(key: &str) -> (Request, Destination) {
        let args = OwnedArgs::of(["SET", key, "1"].map(str::as_bytes));
        let command = commands::resolve(args.as_args()).expect("a command");
        let (slot, since) = (Slot::of_key(key.as_bytes()), Instant::now());
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let node: NodeId = "0123456789012345678901234567890123456789".parse().expect("a name");
        let destination = Destination { node, address, way: Way::Plain };
        let (effect, answer) = (Effect::Writes, Answer::Wanted);
        (Request { what: What::Command(command, args), slot, effect, answer, destination: None, since }, destination)
    }

    #[test]
    fn a_request_is_overtaken_by_a_later_one_of_its_key_alone() {
        let requests = ["{a}1", "{a}2", "{a}1", "{a}1", "{a}2"].map(set);
        let failed = || Leftover::NotExecuted(Setback::nobody());
        let done = || Leftover::Reply(Vec::new());
        let leftovers = [failed(), failed(), done(), failed(), failed()];
        assert_eq!(overtaken(&requests, &leftovers), [Yes, No, No, No, No]);
    }
}
