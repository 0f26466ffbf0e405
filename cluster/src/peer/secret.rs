//! The secret that an operator gives to all nodes of a cluster (`cluster-secret`): who does not know it is not let in.
//!
//! Each side of a new connection draws a nonce, and proves that it knows the secret by a code (HMAC-SHA-256, RFC 2104)
//! over its side, both nonces and the dialer's hello. So the secret itself never passes, and a proof is worth nothing
//! on another connection, for another node, or sent back to whoever made it. With TLS the code is also over what only
//! the two ends of that connection know ([`Binding`]): a node in between that has a certificate, but not the secret,
//! cannot pass proofs on. Without TLS, what passes afterwards is neither encrypted nor signed.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

use super::socket::Binding;
use super::wire::hello::Hello;
use super::wire::packet::{NONCE_BYTES, PROOF_BYTES};

/// What begins the bytes of which a code is made, so that a key that is used for something else as well is of no use.
const PURPOSE: &[u8] = b"basalt peer 1";

/// Whoever can connect gets a code over bytes that are known, and may try secrets until one fits: it has to be random.
const BYTES_MIN: usize = 16;

/// What all nodes of a cluster know.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

/// A text cannot be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a secret has at least {BYTES_MIN} bytes")]
pub struct TooShort;

/// A random number that is used once.
pub(super) type Nonce = [u8; NONCE_BYTES];

/// The code by which a side proves what it knows.
pub(super) type Proof = [u8; PROOF_BYTES];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Dialer,
    Acceptor,
}

/// What is particular to one connection.
pub(super) struct Occasion {
    pub dialer: Nonce,
    pub acceptor: Nonce,
    /// The dialer's.
    pub hello: Hello,
    /// That of the connection, if it is encrypted.
    pub binding: Option<Binding>,
}

impl Secret {
    pub fn new(text: &str) -> Result<Secret, TooShort> {
        if text.len() < BYTES_MIN {
            return Err(TooShort);
        }
        Ok(Secret(Hmac::new_from_slice(text.as_bytes()).expect("keys of any length are taken")))
    }

    pub(super) fn proof(&self, side: Side, occasion: &Occasion) -> Proof {
        self.code(side, occasion).finalize().into_bytes().into()
    }

    /// Whether the other side, which is this one, has proved that it knows the secret. Takes as long for a wrong proof.
    pub(super) fn accepts(&self, side: Side, occasion: &Occasion, proof: &Proof) -> bool {
        self.code(side, occasion).verify_slice(proof).is_ok()
    }

    fn code(&self, side: Side, occasion: &Occasion) -> Hmac<Sha256> {
        let mut code = self.0.clone();
        code.update(PURPOSE);
        code.update(match side {
            Side::Dialer => b"d",
            Side::Acceptor => b"a",
        });
        code.update(&occasion.dialer);
        code.update(&occasion.acceptor);
        // Of a certain length, so that nothing can be taken for what comes behind it.
        occasion.hello.put(&mut |bytes| code.update(bytes));
        if let Some(binding) = &occasion.binding {
            code.update(binding);
        }
        code
    }
}

/// A nonce, from the system's generator.
pub(super) fn draw() -> Result<Nonce, std::io::Error> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(std::io::Error::from)?;
    Ok(nonce)
}

#[cfg(test)]
mod tests {
    use super::super::wire::hello::{Lane, Me};
    use super::*;
    use crate::ids::{ClusterId, Incarnation, NodeId};

    fn occasion() -> Occasion {
        let me = Me { cluster: ClusterId(7), node: NodeId::new([1; 20]), incarnation: Incarnation(1) };
        let hello = me.hello(Some(ClusterId(7)), None, Lane::Control);
        Occasion { dialer: draw().unwrap(), acceptor: draw().unwrap(), hello, binding: None }
    }

    #[test]
    fn a_proof_is_good_for_its_secret_side_and_occasion_only() {
        let secret = Secret::new("correct horse battery").unwrap();
        let at = occasion();
        let proof = secret.proof(Side::Dialer, &at);
        assert!(secret.accepts(Side::Dialer, &at, &proof));
        assert!(!secret.accepts(Side::Acceptor, &at, &proof), "sent back");
        assert!(!secret.accepts(Side::Dialer, &occasion(), &proof), "sent again");
        let other = Occasion { hello: Hello { lane: Lane::Bulk, ..at.hello }, ..occasion() };
        let changed = Occasion { dialer: at.dialer, acceptor: at.acceptor, ..other };
        assert!(!secret.accepts(Side::Dialer, &changed, &proof), "for another lane");
        for binding in [[0; 32], [1; 32]] {
            let bound = Occasion { binding: Some(binding), ..at };
            assert!(!secret.accepts(Side::Dialer, &bound, &proof), "over another connection");
            assert!(secret.accepts(Side::Dialer, &bound, &secret.proof(Side::Dialer, &bound)));
        }
        assert!(!Secret::new("correct horse batterY").unwrap().accepts(Side::Dialer, &at, &proof));
    }

    #[test]
    fn what_is_easily_guessed_is_no_secret() {
        assert_eq!(Secret::new("").err(), Some(TooShort));
        assert_eq!(Secret::new("fifteen letters").err(), Some(TooShort));
    }
}
