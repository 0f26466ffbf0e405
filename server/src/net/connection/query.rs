//! What a connection holds of requests that have not wholly come, or are not answered yet.

use super::{Connection, Ended, READ_SHARE, UNAUTHENTICATED_QUERY_MAX};
use crate::net::large_argument::LargeArgument;
use std::sync::atomic::Ordering::Relaxed;

/// Room for what comes behind a large argument: at least its line break.
const ROOM_BEHIND_LARGE: usize = 4096;

impl Connection {
    /// If the argument that comes next is large, and has not wholly come, reads it apart from now on.
    pub(super) fn set_large_apart(&mut self) {
        let at = self.decoder.understood();
        if let Some(len) = self.decoder.large_ahead().filter(|len| self.input.len() - at < *len) {
            self.large = Some(LargeArgument::new(len, &self.input[at..]));
            // The rest of what was read is in the argument now, and little is left to be read into this buffer.
            let mut input = Vec::with_capacity(at + ROOM_BEHIND_LARGE);
            input.extend_from_slice(&self.input[..at]);
            self.input = input;
            // The line break behind the argument.
            self.needed = at + 2;
        }
    }

    /// Hands the large argument over if it and the line break behind it are there.
    pub(super) fn complete_large(&mut self) {
        let is_closed = self.input.len() >= self.needed;
        if let Some(large) = self.large.take_if(|large| large.is_whole() && is_closed) {
            self.decoder.put_apart(large.into_bytes());
        }
    }

    /// What has come of a request that is not complete, and of a transaction that is not over, is limited.
    pub(super) fn check_query(&self) -> Result<(), Ended> {
        let limit = self.server.config.hot.query_buffer_limit.load(Relaxed);
        let limit = if self.session.is_authenticated { limit } else { limit.min(UNAUTHENTICATED_QUERY_MAX) };
        let large = self.bytes_apart() + self.large.as_ref().map_or(0, LargeArgument::len);
        let held = self.input.len() + large + self.session.client.info.queued_bytes.load(Relaxed);
        if held as u64 > limit { Err(Ended::QueryLimit) } else { Ok(()) }
    }

    /// Publishes what CLIENT LIST shows of the input. An active client is taken to use a share of the thread's buffer.
    #[inline]
    pub(super) fn publish_query(&mut self) {
        let info = &self.session.client.info;
        let spare = READ_SHARE.max(std::mem::take(&mut self.freed));
        let understood = self.decoder.understood().min(self.input.len());
        let (large, large_capacity) = self.large.as_ref().map_or((0, 0), |large| (large.len(), large.capacity()));
        let free = self.input.capacity() - self.input.len() + large_capacity - large;
        info.argument_bytes.store(understood + self.bytes_apart(), Relaxed);
        info.query_bytes.store(self.input.len() - understood + large, Relaxed);
        info.query_free_bytes.store(free + spare, Relaxed);
    }

    /// Bytes of large arguments that are whole.
    pub(super) fn bytes_apart(&self) -> usize {
        self.decoder.apart().iter().map(|bytes| bytes.len()).sum()
    }

    /// Lets go of the large arguments of a request that is answered. The last one who does so frees them.
    #[inline]
    pub(super) fn let_go_apart(&mut self) {
        if !self.decoder.apart().is_empty() {
            self.decoder.take_apart().into_iter().for_each(|bytes| self.server.keyspace.reaper().let_go(bytes));
        }
    }
}
