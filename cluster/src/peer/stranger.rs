//! One call to an address of which nobody knows who listens there: how a node joins, and how one that was met is asked.
//!
//! The connection is made for the call and closed after it. The other side knows the caller as a stranger, even if both
//! belong to the same cluster.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::call::{CallError, CallResult, result_of};
use super::connection::{Closed, write_all};
use super::handshake::introduce;
use super::outbox::{Flow, Outbox};
use super::shared::Shared;
use super::status::Traffic;
use super::wire::hello::Lane;
use super::wire::packet::Packet;

/// Asks whoever listens there.
pub(super) async fn call(shared: Arc<Shared>, to: SocketAddr, question: Bytes, patience: Duration) -> CallResult {
    match timeout(patience, ask(&shared, to, question, patience)).await {
        Ok(result) => result,
        Err(_) => {
            shared.figures.call_timeouts.fetch_add(1, Relaxed);
            Err(CallError::Timeout)
        }
    }
}

async fn ask(shared: &Arc<Shared>, to: SocketAddr, question: Bytes, patience: Duration) -> CallResult {
    let unreachable = |closed: Closed| CallError::Unreachable(format!("{to}: {closed}"));
    let me = shared.me();
    let limit = shared.timing.connect;
    let introduced = timeout(limit, async {
        let socket = shared.dial(to).await?;
        let introduced = introduce(socket, me.hello(None, None, Lane::Control), shared.secret.as_ref()).await?;
        me.judge_answer(None, &introduced.hello)?;
        Ok(introduced)
    });
    let introduced = introduced.await.unwrap_or(Err(Closed::NotInTime(limit))).map_err(unreachable)?;
    let (mut reader, mut writer) = (introduced.reader, introduced.writer);
    let (outbox, traffic) = (Outbox::new(usize::MAX), Traffic::new(shared));
    let number = shared.next_call();
    let timeout_ms = patience.as_millis().min(u32::MAX.into()) as u32;
    outbox.push_bounded(Flow::Call(number), Packet::Call { number, timeout_ms, body: question });
    let mut result = Err(CallError::Lost);
    let receive = |packet| match packet {
        Packet::Answer { number: of, outcome, body } if of == number => {
            result = result_of(outcome, body);
            // There is nothing else to wait for.
            Err(Closed::Idle)
        }
        _ => Err(Closed::OutOfPlace(packet.encode().kind)),
    };
    tokio::select! {
        _ = reader.run(&traffic, receive) => {}
        _ = write_all(&mut writer, &outbox, &traffic) => {}
    }
    result
}
