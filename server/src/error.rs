//! Errors that commands answer, in Redis's own wording.
//!
//! Clients act on the first word, so each text here starts with its code. [`CommandError`] is the only type that turns
//! into an error reply.

use crate::resp::Args;
use basalt_storage::keyspace::WrongType;
use std::borrow::Cow;

/// An error reply: code and text, without the leading `-` and the line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError(Cow<'static, [u8]>);

pub type CommandResult = Result<(), CommandError>;

impl CommandError {
    /// An error with a fixed text, such as `ERR syntax error`.
    pub const fn new(text: &'static str) -> CommandError {
        CommandError(Cow::Borrowed(text.as_bytes()))
    }

    /// An error whose text depends on the request.
    pub fn owned(text: String) -> CommandError {
        CommandError::of_bytes(text.into_bytes())
    }

    /// An error that shows arguments, which may be any bytes. Line breaks would end the reply early and become spaces.
    pub fn of_bytes(mut text: Vec<u8>) -> CommandError {
        text.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
        CommandError(Cow::Owned(text))
    }

    pub fn text(&self) -> &[u8] {
        &self.0
    }

    /// The first word: what `INFO errorstats` counts by.
    pub fn code(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.0.split(|byte| *byte == b' ').next().unwrap_or_default())
    }

    /// An argument as an error shows it: at most so many bytes, and nothing behind a zero byte.
    pub fn shown(argument: &[u8], most: usize) -> &[u8] {
        let end = argument.iter().take(most).position(|byte| *byte == 0).unwrap_or(argument.len().min(most));
        &argument[..end]
    }

    pub fn wrong_arity(command: &str) -> CommandError {
        CommandError::owned(format!("ERR wrong number of arguments for '{command}' command"))
    }

    /// A subcommand that exists was given arguments that it does not take.
    pub fn wrong_subcommand(container: &str, args: Args<'_>) -> CommandError {
        let name = CommandError::shown(args.at(1), usize::MAX);
        let help = format!("'. Try {container} HELP.");
        let opening: &[u8] = b"ERR unknown subcommand or wrong number of arguments for '";
        CommandError::of_bytes([opening, name, help.as_bytes()].concat())
    }

    pub fn invalid_expire_time(command: &str) -> CommandError {
        CommandError::owned(format!("ERR invalid expire time in '{command}' command"))
    }
}

impl From<WrongType> for CommandError {
    fn from(_: WrongType) -> CommandError {
        WRONG_TYPE
    }
}

pub const WRONG_TYPE: CommandError =
    CommandError::new("WRONGTYPE Operation against a key holding the wrong kind of value");
pub const SYNTAX: CommandError = CommandError::new("ERR syntax error");
pub const NOT_INTEGER: CommandError = CommandError::new("ERR value is not an integer or out of range");
pub const NOT_FLOAT: CommandError = CommandError::new("ERR value is not a valid float");
pub const MIN_MAX_NOT_FLOAT: CommandError = CommandError::new("ERR min or max is not a float");
pub const MIN_MAX_NOT_LEX: CommandError = CommandError::new("ERR min or max not valid string range item");
pub const OUT_OF_RANGE: CommandError = CommandError::new("ERR value is out of range");
pub const NOT_POSITIVE: CommandError = CommandError::new("ERR value is out of range, must be positive");
pub const INDEX_OUT_OF_RANGE: CommandError = CommandError::new("ERR index out of range");
pub const NO_SUCH_KEY: CommandError = CommandError::new("ERR no such key");
pub const NO_AUTH: CommandError = CommandError::new("NOAUTH Authentication required.");
pub const LOADING: CommandError = CommandError::new("LOADING Redis is loading the dataset in memory");
pub const CANNOT_SAVE: CommandError = CommandError::new(
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that \
     may modify the data set are disabled, because this instance is configured to report errors during writes if RDB \
     snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB \
     error.",
);
pub const OUT_OF_MEMORY: CommandError = CommandError::new("OOM command not allowed when used memory > 'maxmemory'.");
/// Ours: Redis does not look after its disk.
pub const NO_SPACE: CommandError = CommandError::new(
    "NOSPACE the disk is full: commands that add data are refused until there is room again; reads and deletes go on",
);
pub const TIMEOUT_NOT_FLOAT: CommandError = CommandError::new("ERR timeout is not a float or out of range");
pub const TIMEOUT_NEGATIVE: CommandError = CommandError::new("ERR timeout is negative");
pub const DB_INDEX_OUT_OF_RANGE: CommandError = CommandError::new("ERR DB index is out of range");
pub const STRING_TOO_LONG: CommandError =
    CommandError::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
pub const INVALID_CURSOR: CommandError = CommandError::new("ERR invalid cursor");
pub const INCREMENT_OVERFLOW: CommandError = CommandError::new("ERR increment or decrement would overflow");
pub const INCREMENT_NAN: CommandError = CommandError::new("ERR increment would produce NaN or Infinity");
pub const NAN_OR_INFINITY: CommandError = CommandError::new("ERR value is NaN or Infinity");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_any_bytes_up_to_a_zero_byte_and_no_line_break() {
        assert_eq!(CommandError::shown(b"\xff\xfe\0rest", 128), b"\xff\xfe");
        assert_eq!(CommandError::shown(b"abcd", 2), b"ab");
        assert_eq!(CommandError::of_bytes(b"ERR \xff\r\nend".to_vec()).text(), b"ERR \xff  end");
        assert_eq!(CommandError::new("WRONGTYPE text").code(), "WRONGTYPE");
    }
}
