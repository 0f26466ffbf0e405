//! Commands that work on keys of any type.

use super::ctx::Ctx;
use super::spec::{Flags, Handler::Data, KeySpec, RM_DELETE, Spec};
use crate::error::CommandResult;
use crate::notify::EventClass;
use crate::resp::Args;
use basalt_storage::keyspace::Key;

pub const COMMANDS: &[Spec] = &[Spec {
    name: "del",
    arity: -2,
    flags: Flags::WRITE,
    keys: &[KeySpec::range(1, -1, 1, RM_DELETE)],
    summary: "Deletes keys.",
    syntax: "key [key ...]",
    complexity: "O(N), N being the number of keys; what they hold is freed in the background",
    handler: Data(del),
    ..Spec::DEFAULT
}];

fn del(ctx: &mut Ctx<'_, '_>, args: Args<'_>) -> CommandResult {
    let mut deleted = 0;
    for bytes in args.from(1) {
        if ctx.view.delete(ctx.db, &Key::new(bytes)) {
            ctx.notify(EventClass::Generic, "del", bytes);
            deleted += 1;
        }
    }
    ctx.out.count(deleted);
    Ok(())
}
