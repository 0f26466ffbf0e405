//! What a replica must never forget besides its entries, and its form on the disk.
//!
//! Written in one piece: term and vote (a replica that forgets them votes twice), commit, who belongs to the group, and
//! up to where the log is truncated with the term there (needed to compare logs at the very first entry that is left).

use super::ids::{LogIndex, ReplicaId, Term};
use super::log::LogError;

/// The version of the form below. A binary that finds a higher one must not guess.
const FORMAT: u8 = 1;

/// Everything a replica keeps besides entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    pub term: Term,
    /// Whom this replica has voted for in `term`.
    pub vote: Option<ReplicaId>,
    /// A lower bound of what is committed; it may lag, because a leader finds it again.
    pub commit: LogIndex,
    pub members: Members,
    /// The entry of the configuration change that led to `members`; earlier ones must not be applied again.
    pub members_index: LogIndex,
    pub truncated: Truncated,
}

/// The last entry that is no longer in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truncated {
    pub index: LogIndex,
    pub term: Term,
}

/// Who belongs to the group, also while one set of voters takes over from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    pub voters: Vec<ReplicaId>,
    pub learners: Vec<ReplicaId>,
    pub outgoing_voters: Vec<ReplicaId>,
    pub next_learners: Vec<ReplicaId>,
    pub leaves_by_itself: bool,
}

impl Members {
    /// This replica decides by itself.
    pub fn is_alone(&self, me: ReplicaId) -> bool {
        self.voters == [me] && self.outgoing_voters.is_empty()
    }

    pub fn contain(&self, replica: ReplicaId) -> bool {
        [&self.voters, &self.learners, &self.outgoing_voters].into_iter().any(|list| list.contains(&replica))
    }
}

impl LogState {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        let vote = self.vote.map_or(0, |replica| replica.0);
        let truncated = self.truncated;
        for number in [self.term.0, vote, self.commit.0, self.members_index.0, truncated.index.0, truncated.term.0] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        let members = &self.members;
        for list in [&members.voters, &members.learners, &members.outgoing_voters, &members.next_learners] {
            out.extend_from_slice(&(list.len() as u16).to_be_bytes());
            list.iter().for_each(|replica| out.extend_from_slice(&replica.0.to_be_bytes()));
        }
        out.push(u8::from(members.leaves_by_itself));
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<LogState, LogError> {
        let mut input = Input { left: bytes };
        let format = input.u8()?;
        if format != FORMAT {
            let what = format!("its format is {format}, this version knows {FORMAT}");
            return Err(LogError::CorruptState { what });
        }
        let term = Term(input.u64()?);
        let vote = Some(ReplicaId(input.u64()?)).filter(|replica| replica.0 != 0);
        let commit = LogIndex(input.u64()?);
        let members_index = LogIndex(input.u64()?);
        let truncated = Truncated { index: LogIndex(input.u64()?), term: Term(input.u64()?) };
        let members = Members {
            voters: input.replicas()?,
            learners: input.replicas()?,
            outgoing_voters: input.replicas()?,
            next_learners: input.replicas()?,
            leaves_by_itself: input.u8()? != 0,
        };
        if !input.left.is_empty() {
            return Err(LogError::CorruptState { what: "bytes are left over".to_owned() });
        }
        Ok(LogState { term, vote, commit, members, members_index, truncated })
    }
}

/// What is left to decode.
struct Input<'a> {
    left: &'a [u8],
}

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], LogError> {
        let (taken, left) =
            self.left.split_first_chunk().ok_or_else(|| LogError::CorruptState { what: "it is cut off".to_owned() })?;
        self.left = left;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, LogError> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Result<u64, LogError> {
        self.take().map(u64::from_be_bytes)
    }

    fn replicas(&mut self) -> Result<Vec<ReplicaId>, LogError> {
        let count = u16::from_be_bytes(self.take()?);
        (0..count).map(|_| self.u64().map(ReplicaId)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> LogState {
        LogState {
            term: Term(7),
            vote: Some(ReplicaId(3)),
            commit: LogIndex(99),
            members: Members {
                voters: vec![ReplicaId(1), ReplicaId(3)],
                learners: vec![ReplicaId(4)],
                outgoing_voters: vec![],
                next_learners: vec![ReplicaId(9)],
                leaves_by_itself: true,
            },
            members_index: LogIndex(12),
            truncated: Truncated { index: LogIndex(40), term: Term(6) },
        }
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        assert_eq!(LogState::decode(&state().encode()).unwrap(), state());
        assert_eq!(LogState::decode(&LogState::default().encode()).unwrap(), LogState::default());
    }

    #[test]
    fn a_damaged_state_is_an_error() {
        let bytes = state().encode();
        for length in 0..bytes.len() {
            assert!(LogState::decode(&bytes[..length]).is_err(), "cut at {length}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(LogState::decode(&longer).is_err());
        let newer = [&[FORMAT + 1], &bytes[1..]].concat();
        assert!(LogState::decode(&newer).is_err());
    }
}
