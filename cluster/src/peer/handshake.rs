//! How a connection begins: the hellos of both sides and, if there is a secret, the proofs that both know it.
//!
//! ```text
//! dialer                    acceptor
//! magic, hello ->
//!                           <- magic, hello or refusal
//! ```
//!
//! With a secret each step waits for the one before, but for the dialer's challenge:
//!
//! ```text
//! magic, hello, challenge ->
//!                           <- magic, challenge
//!                           <- proof
//! proof ->
//!                           <- hello or refusal
//! ```
//!
//! Nobody is judged, and no former connection gives way, before the dialer has proved what it has to.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::call::{shown, text};
use super::connection::{Closed, Introduced, QUIET_BYTES, introduced};
use super::secret::{self, Nonce, Occasion, Proof, Secret, Side};
use super::socket::Socket;
use super::wire::frame::{Frame, next_frame};
use super::wire::hello::{Hello, MAGIC, Refusal, what_is_it};
use super::wire::packet::{Kind, Packet};

/// The dialer's part: says hello, and waits for the answer, which is not judged here.
pub(super) async fn introduce(socket: Socket, hello: Hello, secret: Option<&Secret>) -> Result<Introduced, Closed> {
    let mut opening = Opening::new(socket)?;
    opening.put_magic();
    opening.put(Packet::Hello(hello));
    match secret {
        None => {
            opening.send().await?;
            opening.hear_magic().await?;
        }
        Some(secret) => opening.prove(hello, secret).await?,
    }
    let theirs = opening.hello().await?;
    Ok(introduced(opening.socket, theirs, opening.buffer))
}

/// The acceptor's part: waits for a hello, and answers with what `judge` makes of it.
pub(super) async fn welcome<T>(
    socket: Socket,
    secret: Option<&Secret>,
    judge: impl FnOnce(&Hello) -> Result<(Hello, T), Refusal>,
) -> Result<(Introduced, T), Closed> {
    let mut opening = Opening::new(socket)?;
    opening.hear_magic().await?;
    let theirs = opening.hello().await?;
    opening.put_magic();
    let judged = match secret {
        Some(secret) if !opening.has_proved(theirs, secret).await? => Err(Refusal::Secret),
        _ => judge(&theirs),
    };
    match judged {
        Ok((mine, judgement)) => {
            opening.put(Packet::Hello(mine));
            opening.send().await?;
            Ok((introduced(opening.socket, theirs, opening.buffer), judgement))
        }
        Err(refusal) => {
            opening.put(Packet::Refusal { reason: refusal.reason(), text: text(&refusal.to_string()) });
            opening.send().await?;
            Err(Closed::Refused(refusal))
        }
    }
}

/// A connection that is being made.
struct Opening {
    socket: Socket,
    /// What has been read.
    buffer: BytesMut,
    /// What is to be written.
    out: Vec<u8>,
}

impl Opening {
    fn new(socket: Socket) -> Result<Opening, Closed> {
        socket.set_nodelay()?;
        Ok(Opening { socket, buffer: BytesMut::with_capacity(QUIET_BYTES), out: Vec::new() })
    }

    /// The dialer's side of the proofs, with which its hello leaves.
    async fn prove(&mut self, hello: Hello, secret: &Secret) -> Result<(), Closed> {
        let dialer = secret::draw()?;
        self.put(Packet::Challenge { nonce: dialer });
        self.send().await?;
        self.hear_magic().await?;
        let binding = self.socket.binding()?;
        let occasion = Occasion { dialer, acceptor: self.challenge().await?, hello, binding };
        if !secret.accepts(Side::Acceptor, &occasion, &self.proof().await?) {
            return Err(Closed::AnotherSecret);
        }
        self.put(Packet::Proof { code: secret.proof(Side::Dialer, &occasion) });
        self.send().await
    }

    /// The acceptor's side: whether the dialer has proved that it knows the secret.
    async fn has_proved(&mut self, hello: Hello, secret: &Secret) -> Result<bool, Closed> {
        let acceptor = secret::draw()?;
        self.put(Packet::Challenge { nonce: acceptor });
        // Before the dialer's is awaited: one that knows of no secret would wait as well.
        self.send().await?;
        let unproven = |closed| if matches!(closed, Closed::ByPeer) { Closed::Unproven } else { closed };
        let binding = self.socket.binding()?;
        let occasion = Occasion { dialer: self.challenge().await.map_err(unproven)?, acceptor, hello, binding };
        self.put(Packet::Proof { code: secret.proof(Side::Acceptor, &occasion) });
        self.send().await?;
        let proof = self.proof().await.map_err(unproven)?;
        Ok(secret.accepts(Side::Dialer, &occasion, &proof))
    }

    fn put_magic(&mut self) {
        self.out.extend_from_slice(&MAGIC);
    }

    fn put(&mut self, packet: Packet) {
        packet.encode().put(&mut self.out);
    }

    async fn send(&mut self) -> Result<(), Closed> {
        self.socket.write_all(&std::mem::take(&mut self.out)).await?;
        self.socket.flush().await?;
        Ok(())
    }

    async fn hear_magic(&mut self) -> Result<(), Closed> {
        let mut magic = [0; MAGIC.len()];
        let mut len = 0;
        while len < magic.len() {
            let count = self.socket.read(&mut magic[len..]).await?;
            if count == 0 {
                return Err(Closed::ByPeer);
            }
            len += count;
            // Those who wait for an answer before they say more are found out as well.
            if magic[..len] != MAGIC[..len] {
                return Err(Closed::NotABasalt(what_is_it(&magic)));
            }
        }
        Ok(())
    }

    async fn hello(&mut self) -> Result<Hello, Closed> {
        match self.packet().await? {
            (_, Packet::Hello(hello)) => Ok(hello),
            (_, Packet::Challenge { .. }) => Err(Closed::SecretWanted),
            (kind, _) => Err(Closed::OutOfPlace(kind)),
        }
    }

    async fn challenge(&mut self) -> Result<Nonce, Closed> {
        match self.packet().await? {
            (_, Packet::Challenge { nonce }) => Ok(nonce),
            (_, Packet::Hello(_)) => Err(Closed::NoSecretThere),
            (kind, _) => Err(Closed::OutOfPlace(kind)),
        }
    }

    async fn proof(&mut self) -> Result<Proof, Closed> {
        match self.packet().await? {
            (_, Packet::Proof { code }) => Ok(code),
            (kind, _) => Err(Closed::OutOfPlace(kind)),
        }
    }

    /// The next packet, which is no refusal.
    async fn packet(&mut self) -> Result<(Kind, Packet), Closed> {
        loop {
            if let Some(Frame { kind, body }) = next_frame(&mut self.buffer)? {
                return match Packet::decode(kind, body)? {
                    Packet::Refusal { text, .. } => Err(Closed::RefusedByPeer(shown(&text))),
                    packet => Ok((kind, packet)),
                };
            }
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Err(Closed::ByPeer);
            }
        }
    }
}
