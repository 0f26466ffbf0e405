//! Answers in a form in which equal means equal.

use super::{Command, Text};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    Ok,
    Nil,
    Int(i64),
    Text(Text),
    Array(Vec<Reply>),
    /// The code: its first word.
    Error(Text),
}

impl Reply {
    /// Puts what has no order (members, fields) into one, and leaves of errors their code.
    pub fn normal_for(self, command: &Command) -> Reply {
        match (command, self) {
            (Command::SMembers(_), Reply::Array(mut members)) => {
                members.sort();
                Reply::Array(members)
            }
            (Command::HGetAll(_), Reply::Array(flat)) => {
                let mut pairs: Vec<&[Reply]> = flat.chunks(2).collect();
                pairs.sort();
                Reply::Array(pairs.concat())
            }
            (Command::Multi(commands), Reply::Array(replies)) if commands.len() == replies.len() => {
                let each = commands.iter().zip(replies);
                Reply::Array(each.map(|(command, reply)| reply.normal_for(command)).collect())
            }
            // Of the only command in the transaction.
            (Command::Swap(..), Reply::Array(mut replies)) if replies.len() == 1 => replies.remove(0),
            // The key, and then the element.
            (Command::LPopWait(..), Reply::Array(mut pair)) if pair.len() == 2 => pair.remove(1),
            (_, Reply::Error(text)) => Reply::Error(text.split(' ').next().unwrap_or_default().into()),
            (_, reply) => reply,
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Ok => write!(out, "OK"),
            Reply::Nil => write!(out, "nil"),
            Reply::Int(number) => write!(out, "{number}"),
            Reply::Text(text) => write!(out, "\"{text}\""),
            Reply::Error(code) => write!(out, "error {code}"),
            Reply::Array(replies) => {
                let replies: Vec<String> = replies.iter().map(Reply::to_string).collect();
                write!(out, "[{}]", replies.join(" "))
            }
        }
    }
}
