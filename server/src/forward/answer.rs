//! The answer to one request, taken from the replies that another node sends.

use super::batch::{Request, Way};
use super::refusal::Refusal;
use super::upstream::{Broken, CannotAsk, Heard, Inbound, Sink, Vigil};
use crate::cluster::admission::NOT_SERVED;
use tokio::net::TcpStream;

/// What a node has made of a request.
#[derive(Debug)]
pub enum Answered {
    /// The reply has gone to where it should.
    Passed,
    /// The error is the client's answer, and has gone nowhere yet.
    Error(Vec<u8>),
    NotExecuted(Setback),
}

/// Why a request was not executed.
#[derive(Debug)]
pub struct Setback {
    pub refusal: Refusal,
    /// What the client is told if it stays so.
    pub error: Vec<u8>,
}

impl Setback {
    /// The node was not even asked.
    pub fn unasked(why: &CannotAsk) -> Setback {
        Setback { refusal: Refusal::Later, error: format!("CLUSTERDOWN Hash slot not served: {why}").into_bytes() }
    }

    /// There is no node to be asked, or none any more; in the latter case asking again does no harm.
    pub fn nobody() -> Setback {
        Setback { refusal: Refusal::Later, error: NOT_SERVED.text().to_vec() }
    }

    fn of(refusal: Refusal, error: Vec<u8>) -> Setback {
        // Where a slot is must not be the client's concern.
        let is_direction = matches!(refusal, Refusal::Moved(_) | Refusal::Ask(_));
        let error = if is_direction { NOT_SERVED.text().to_vec() } else { error };
        Setback { refusal, error }
    }
}

/// Reads what comes of a request that was sent in this way.
pub async fn read(
    request: &Request,
    way: Way,
    (socket, inbound): (&TcpStream, &mut Inbound),
    sink: &mut Sink<'_, '_>,
    vigil: Option<Vigil<'_>>,
) -> Result<Answered, Broken> {
    let mut setback = None;
    for _ in 0..request.prefaces(way) {
        if let Heard::Error(error) = inbound.reply(socket, &mut Sink::Nobody, vigil).await?
            && let Some(refusal) = Refusal::of(&error)
        {
            // A transaction one of whose commands was refused is not executed.
            setback.get_or_insert(Setback::of(refusal, error));
        }
    }
    Ok(match inbound.reply(socket, sink, vigil).await? {
        Heard::Passed => Answered::Passed,
        Heard::Error(error) => match (setback, Refusal::of(&error)) {
            (Some(setback), _) => Answered::NotExecuted(setback),
            (None, Some(refusal)) => Answered::NotExecuted(Setback::of(refusal, error)),
            (None, None) => Answered::Error(error),
        },
    })
}

/// An error as it is sent.
pub fn error_reply(error: &[u8]) -> Vec<u8> {
    [b"-", error, b"\r\n"].concat()
}
