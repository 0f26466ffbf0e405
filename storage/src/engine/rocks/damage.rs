//! What a test does to one replica, so that it is found out that replicas differ.

use super::engine::Engine;
use super::failed;
use super::layout::{KEYS, meta_key};
use super::meta::{Data, DataRef, Meta};
use super::read::parse;
use super::strings::read_string;
use crate::effect::DbIndex;
use crate::effect::body::Kind;
use crate::effect::wire::put_bytes;
use crate::engine::EngineError;
use crate::keyspace::Key;

impl Engine {
    /// Changes the last byte of a small string here, behind the back of the log. Returns whether there is one.
    pub fn damage(&self, db: DbIndex, key: &Key<'_>) -> Result<bool, EngineError> {
        // Nothing is applied meanwhile.
        let _progress = self.progress.lock();
        let id = meta_key(self.group, self.physical_database(db), key.slot, key.bytes);
        let family = self.rocks.family(KEYS);
        let Some(found) = self.rocks.db.get_cf(family, &id).map_err(failed("reading what is damaged"))? else {
            return Ok(false);
        };
        let meta = parse(&found)?;
        let DataRef::Whole(body) = meta.data else { return Ok(false) };
        let Ok(mut bytes) = read_string(body) else { return Ok(false) };
        let Some(last) = bytes.last_mut() else { return Ok(false) };
        *last ^= 1;
        let mut body = vec![Kind::Modified as u8];
        put_bytes(&mut body, &bytes);
        let mut value = Vec::new();
        Meta { expiry: meta.expiry, data: Data::Whole(body) }.encode(&mut value);
        let mut write = self.rocks.begin_state_write();
        write.batch.put_cf(family, &id, value);
        self.rocks.write_state(write, "damaging a record")?;
        Ok(true)
    }
}
