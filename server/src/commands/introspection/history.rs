//! What has changed about commands since they came, for COMMAND DOCS: the list of versions and changes by full name.
//! What an option or a reply was before is of use to those whose clients must work with old servers too.

type Change = (&'static str, &'static str);

const BLOCKS_FOR_FRACTIONS: &[Change] = &[("6.0.0", "The timeout may have a fraction.")];
const BIT_OR_BYTE: &[Change] = &[("7.0.0", "BYTE and BIT say what the range counts.")];
const EXPIRE_CONDITIONS: &[Change] = &[("7.0.0", "NX, XX, GT and LT are conditions.")];
const FLUSH_MODES: &[Change] = &[("4.0.0", "ASYNC frees in the background."), ("6.2.0", "SYNC says the opposite.")];
const ANY: Change = ("6.2.0", "ANY may follow COUNT.");
const UNITS: Change = ("7.0.0", "Units may be written in capitals.");
const SEVERAL_FIELDS: &[Change] = &[("2.4.0", "Takes several fields.")];
const SEVERAL_ELEMENTS: &[Change] = &[("2.4.0", "Takes several elements.")];
const SEVERAL_ELEMENTS_LATE: &[Change] = &[("4.0.0", "Takes several elements.")];
const SEVERAL_MEMBERS: &[Change] = &[("2.4.0", "Takes several members.")];
const POP_COUNT: &[Change] = &[("6.2.0", "Takes a count.")];
const RESTORE: &[Change] = &[
    ("3.0.0", "REPLACE was added."),
    ("5.0.0", "ABSTTL: the time to live is a point in time."),
    ("5.0.0", "IDLETIME and FREQ were added."),
];
const NO_KEY_IS_TOLD: &[Change] = &[("2.8.0", "Answers -2 if there is no such key.")];

/// The changes of a command or subcommand (`client|kill`), oldest first.
pub fn of(full_name: &str) -> &'static [Change] {
    match HISTORY.binary_search_by_key(&full_name, |(name, _)| name) {
        Ok(index) => HISTORY[index].1,
        Err(_) => &[],
    }
}

/// Sorted by name.
const HISTORY: &[(&str, &[Change])] = &[
    ("auth", &[("6.0.0", "Takes the name of a user as well.")]),
    ("bgsave", &[("3.2.2", "SCHEDULE was added.")]),
    ("bitcount", BIT_OR_BYTE),
    ("bitpos", BIT_OR_BYTE),
    ("blpop", BLOCKS_FOR_FRACTIONS),
    ("brpop", BLOCKS_FOR_FRACTIONS),
    ("brpoplpush", BLOCKS_FOR_FRACTIONS),
    ("bzpopmax", BLOCKS_FOR_FRACTIONS),
    ("bzpopmin", BLOCKS_FOR_FRACTIONS),
    (
        "client|kill",
        &[
            ("2.8.12", "Takes filters, each by its name, as well as an address."),
            ("2.8.12", "ID is a filter."),
            ("3.2.0", "TYPE knows masters."),
            ("5.0.0", "TYPE says replica; slave still works."),
            ("6.2.0", "LADDR is a filter."),
        ],
    ),
    (
        "client|list",
        &[
            ("2.8.12", "Shows the id."),
            ("5.0.0", "TYPE is a filter."),
            ("6.0.0", "Shows the user."),
            ("6.2.0", "Shows argv-mem, tot-mem, laddr and redir; ID is a filter."),
            ("7.0.0", "Shows resp, multi-mem, rbs and rbp."),
            ("7.0.3", "Shows ssub."),
        ],
    ),
    ("client|pause", &[("6.2.0", "WRITE pauses only what writes.")]),
    ("cluster|meet", &[("4.0.0", "Takes the port for other nodes.")]),
    ("cluster|slots", &[("4.0.0", "Shows ids."), ("7.0.0", "Shows further ways to reach a node.")]),
    ("command|info", &[("7.0.0", "Without a name: all commands.")]),
    ("config|get", &[("7.0.0", "Takes several patterns.")]),
    ("config|set", &[("7.0.0", "Sets several parameters, all or none.")]),
    ("exists", &[("3.0.3", "Takes several keys.")]),
    ("expire", EXPIRE_CONDITIONS),
    ("expireat", EXPIRE_CONDITIONS),
    ("flushall", FLUSH_MODES),
    ("flushdb", FLUSH_MODES),
    ("geoadd", &[("6.2.0", "CH, NX and XX were added.")]),
    ("georadius", &[ANY, UNITS]),
    ("georadius_ro", &[ANY]),
    ("georadiusbymember", &[UNITS]),
    ("geosearch", &[UNITS]),
    ("geosearchstore", &[UNITS]),
    ("hdel", SEVERAL_FIELDS),
    ("hello", &[("6.2.0", "Without a version it tells about the connection and changes nothing.")]),
    ("hset", &[("4.0.0", "Takes several fields with their values.")]),
    ("info", &[("7.0.0", "Takes several sections.")]),
    ("lpop", POP_COUNT),
    ("lpush", SEVERAL_ELEMENTS),
    ("lpushx", SEVERAL_ELEMENTS_LATE),
    (
        "migrate",
        &[
            ("3.0.0", "COPY and REPLACE were added."),
            ("3.0.6", "KEYS was added."),
            ("4.0.7", "AUTH was added."),
            ("6.0.0", "AUTH2 was added."),
        ],
    ),
    ("pexpire", EXPIRE_CONDITIONS),
    ("pexpireat", EXPIRE_CONDITIONS),
    ("pttl", NO_KEY_IS_TOLD),
    ("renamenx", &[("3.2.0", "Both names may be the same.")]),
    ("restore", RESTORE),
    ("restore-asking", RESTORE),
    ("rpop", POP_COUNT),
    ("rpush", SEVERAL_ELEMENTS),
    ("rpushx", SEVERAL_ELEMENTS_LATE),
    ("sadd", SEVERAL_MEMBERS),
    ("scan", &[("6.0.0", "TYPE was added.")]),
    (
        "set",
        &[
            ("2.6.12", "EX, PX, NX and XX were added."),
            ("6.0.0", "KEEPTTL was added."),
            ("6.2.0", "GET, EXAT and PXAT were added."),
            ("7.0.0", "NX and GET go together."),
        ],
    ),
    ("shutdown", &[("7.0.0", "NOW, FORCE and ABORT were added.")]),
    ("slowlog|get", &[("4.0.0", "Shows the client's address and name.")]),
    ("spop", &[("3.2.0", "Takes a count.")]),
    ("srandmember", &[("2.6.0", "Takes a count.")]),
    ("srem", SEVERAL_MEMBERS),
    ("ttl", NO_KEY_IS_TOLD),
    (
        "zadd",
        &[
            ("2.4.0", "Takes several members with their scores."),
            ("3.0.2", "XX, NX, CH and INCR were added."),
            ("6.2.0", "GT and LT were added."),
        ],
    ),
    ("zrange", &[("6.2.0", "REV, BYSCORE, BYLEX and LIMIT were added.")]),
    ("zrangebyscore", &[("2.0.0", "WITHSCORES was added.")]),
    ("zrem", SEVERAL_MEMBERS),
    ("zrevrangebyscore", &[("2.1.6", "Either end may be left out of the range.")]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_commands() {
        assert!(HISTORY.is_sorted_by_key(|(name, _)| name));
        for (name, _) in HISTORY {
            assert!(crate::commands::find_full(name.as_bytes()).is_some(), "{name} is no command");
        }
    }
}
