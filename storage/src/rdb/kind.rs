//! The numbers of the format: value types and the opcodes between the entries of a file.

/// How a value is laid out. The names are Redis's, without the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    String = 0,
    List = 1,
    Set = 2,
    /// Scores as text.
    Zset = 3,
    Hash = 4,
    /// Scores as binary doubles.
    Zset2 = 5,
    HashZipmap = 9,
    ListZiplist = 10,
    SetIntset = 11,
    ZsetZiplist = 12,
    HashZiplist = 13,
    /// A list of ziplists.
    ListQuicklist = 14,
    HashListpack = 16,
    ZsetListpack = 17,
    /// A list of listpacks and of plain elements.
    ListQuicklist2 = 18,
    /// Since version 11, so it is read but not written.
    SetListpack = 20,
}

impl Kind {
    const ALL: [Kind; 16] = [
        Kind::String,
        Kind::List,
        Kind::Set,
        Kind::Zset,
        Kind::Hash,
        Kind::Zset2,
        Kind::HashZipmap,
        Kind::ListZiplist,
        Kind::SetIntset,
        Kind::ZsetZiplist,
        Kind::HashZiplist,
        Kind::ListQuicklist,
        Kind::HashListpack,
        Kind::ZsetListpack,
        Kind::ListQuicklist2,
        Kind::SetListpack,
    ];

    pub fn of_code(code: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == code)
    }
}

/// Names of the types that exist but cannot be loaded, for the error that says so.
pub fn unsupported_name(code: u8) -> Option<&'static str> {
    match code {
        6 | 7 => Some("module value"),
        15 | 19 | 21 => Some("stream"),
        22..=25 => Some("hash with expiring fields"),
        _ => None,
    }
}

/// What may stand between the entries of a file.
pub mod opcode {
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION: u8 = 245;
    pub const FUNCTION_PRE_GA: u8 = 246;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQ: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZE_DB: u8 = 251;
    pub const EXPIRE_TIME_MS: u8 = 252;
    pub const EXPIRE_TIME: u8 = 253;
    pub const SELECT_DB: u8 = 254;
    pub const EOF: u8 = 255;
}
