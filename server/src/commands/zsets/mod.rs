//! Sorted set commands.
//!
//! | file | owns |
//! |---|---|
//! | `add` | adding, changing and removing single members |
//! | `lookup` | scores, ranks, random members, scanning |
//! | `bounds` | the ends of ranges, as text |
//! | `range` | answering, counting, storing and removing ranges |
//! | `pop` | the ends of a sorted set, and waiting for a member |
//! | `combine` | union, intersection, difference |

pub mod add;
mod bounds;
pub mod combine;
pub mod lookup;
pub mod pop;
pub mod range;

use crate::resp::ReplyBuf;

/// Whether scores are answered with the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scores {
    With,
    Without,
}

/// Writes an array of members. RESP3 has pairs where RESP2 has members and scores in turn.
fn write_members<'m>(out: &mut ReplyBuf, members: impl ExactSizeIterator<Item = (&'m [u8], f64)>, scores: Scores) {
    match scores {
        Scores::Without => {
            out.array(members.len());
            for (member, _) in members {
                out.bulk(member);
                // ZRANDMEMBER's count may be huge, and the client is closed for too much output anyway.
                if out.is_excessive() {
                    return;
                }
            }
        }
        Scores::With if out.is_resp3() => write_pairs(out, members),
        Scores::With => {
            out.array(members.len() * 2);
            for (member, score) in members {
                out.bulk(member);
                out.double(score);
                if out.is_excessive() {
                    return;
                }
            }
        }
    }
}

/// Writes an array of pairs, whatever the protocol.
fn write_pairs<'m>(out: &mut ReplyBuf, members: impl ExactSizeIterator<Item = (&'m [u8], f64)>) {
    out.array(members.len());
    for (member, score) in members {
        out.array(2);
        out.bulk(member);
        out.double(score);
        if out.is_excessive() {
            return;
        }
    }
}
