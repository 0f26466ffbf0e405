//! A batch on its way to all nodes that it concerns at once.
//!
//! Everything is written to all of them at once, and the replies are read in the client's order into a [`Ledger`].

use super::answer::{self, Answered, Setback};
use super::batch::{Answer, Destination, Request};
use super::carrier::{Errand, UnknownFate};
use super::ledger::{Ledger, Leftover};
use super::outlet::Outlet;
use super::pool::{Lease, Need};
use super::upstream::{CannotAsk, Inbound, Sending, Sink, Upstream, Vigil};
use crate::cluster::route::Effect;
use crate::resp::Output;
use std::net::SocketAddr;
use std::pin::pin;
use tokio::net::TcpStream;

/// A node's part in it.
struct Leg {
    address: SocketAddr,
    lease: Result<Lease, CannotAsk>,
}

/// The reading side of a leg.
struct Reader<'a> {
    address: SocketAddr,
    source: Result<(&'a TcpStream, &'a mut Inbound), &'a CannotAsk>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    /// The connection has ended.
    Broken,
}

/// Takes all requests to their destinations and passes on what is answered. Returns what came of the last ones, from
/// the first on that was not executed.
pub async fn travel(
    errand: &Errand,
    requests: &[(Request, Destination)],
    outlet: &mut Outlet,
) -> Result<Vec<Leftover>, UnknownFate> {
    let mut legs = depart(errand, requests).await;
    let (mut sendings, mut readers) = (Vec::new(), Vec::new());
    for Leg { address, lease } in &mut legs {
        let source = match lease {
            Ok(Lease { upstream: Upstream { socket, inbound, .. }, .. }) => {
                let output = encode(requests, *address);
                sendings.push(Some(Sending { socket, output }));
                Ok((&*socket, inbound))
            }
            Err(error) => Err(&*error),
        };
        readers.push(Reader { address: *address, source, state: State::Whole });
    }
    let leftovers = {
        let mut reading = pin!(read_all(errand, requests, &mut readers, outlet));
        std::future::poll_fn(|cx| {
            // A connection that cannot be written to is found broken by whoever reads.
            sendings.iter_mut().for_each(|place| drop(place.take_if(|sending| sending.poll(cx).is_ready())));
            reading.as_mut().poll(cx)
        })
        .await?
    };
    let states: Vec<State> = readers.into_iter().map(|reader| reader.state).collect();
    for (leg, state) in legs.into_iter().zip(states) {
        if let (Ok(lease), State::Whole) = (leg.lease, state) {
            lease.give_back();
        }
    }
    Ok(leftovers)
}

/// Takes a connection to each node. All who take several do so in the same order, so that none waits for another.
async fn depart(errand: &Errand, requests: &[(Request, Destination)]) -> Vec<Leg> {
    let mut addresses: Vec<SocketAddr> = requests.iter().map(|(_, destination)| destination.address).collect();
    addresses.sort();
    addresses.dedup();
    let waits = requests.iter().any(|(request, _)| request.waits_for_keys());
    let need = if waits { Need::UntilKeysChange } else { Need::UntilAnswered };
    let mut legs = Vec::new();
    for address in addresses {
        legs.push(Leg { address, lease: errand.lease(address, need).await });
    }
    legs
}

fn encode(requests: &[(Request, Destination)], address: SocketAddr) -> Output {
    let mut output = Output::default();
    let own = requests.iter().filter(|(_, destination)| destination.address == address);
    own.for_each(|(request, destination)| request.encode(destination.way, &mut output));
    output
}

async fn read_all(
    errand: &Errand,
    requests: &[(Request, Destination)],
    readers: &mut [Reader<'_>],
    outlet: &mut Outlet,
) -> Result<Vec<Leftover>, UnknownFate> {
    let mut ledger = Ledger::new(outlet, &errand.figures);
    for (index, (request, destination)) in requests.iter().enumerate() {
        let reader = readers.iter_mut().find(|reader| reader.address == destination.address);
        let reader = reader.expect("there is a leg for each destination");
        let vigil = Some(Vigil { cluster: errand.cluster(), slot: request.slot, node: destination.node });
        let answered = match (&mut reader.source, reader.state) {
            (Err(error), _) => Answered::NotExecuted(Setback::unasked(error)),
            (Ok(_), State::Broken) => Answered::NotExecuted(Setback::nobody()),
            (Ok((socket, inbound)), State::Whole) => {
                let mut sink = match request.answer {
                    Answer::Wanted => Sink::Client(&mut ledger),
                    Answer::Muted => Sink::Nobody,
                };
                match answer::read(request, destination.way, (socket, inbound), &mut sink, vigil).await {
                    Ok(answered) => answered,
                    Err(broken) => {
                        tracing::debug!(address = %reader.address, %broken, "a connection to another node has ended");
                        reader.state = State::Broken;
                        let behind = requests[index..].iter().filter(|(_, other)| other.address == reader.address);
                        let may_have_happened = behind.into_iter().any(|(request, _)| request.effect == Effect::Writes);
                        if may_have_happened || ledger.is_within_reply() {
                            return Err(UnknownFate);
                        }
                        Answered::NotExecuted(Setback::nobody())
                    }
                }
            }
        };
        ledger.note(answered, request.answer).await;
    }
    Ok(ledger.leftovers())
}
