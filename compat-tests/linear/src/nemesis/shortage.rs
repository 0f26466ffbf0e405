//! A volume on which somebody else takes the room. The server has to refuse writes before the disk is full; if there is
//! no room even for what it has accepted, it ends and says so. When there is room again it takes writes by itself.

use super::orders::ask;
use crate::deployment::Deployment;
use crate::model::Reply;
use crate::volume::VOLUME_BYTES;
use std::io::{Error, Result};
use std::time::{Duration, Instant};

/// More than this is left to the server in no case: with so much it does not refuse anything yet.
pub const ROOM_MAX: u64 = VOLUME_BYTES / 16;

/// With so little it can hardly finish what it has begun.
pub const NO_ROOM_MAX: u64 = 64 << 10;

/// How long it may take until writes are taken again.
const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// What a server says that ends because there is no room.
const WANT_OF_ROOM: &str = "o space left";

/// Leaves a node so many bytes for a while; says how it has borne that.
pub fn fill(deployment: &mut Deployment, node: usize, room: u64, time: Duration) -> Result<&'static str> {
    let Some(volume) = &deployment.processes[node].volume else {
        return Err(Error::other("a node that stays has no volume of its own"));
    };
    volume.fill_but_for(room)?;
    std::thread::sleep(time);
    volume.give_back()?;
    let end = match deployment.processes[node].has_ended_saying(WANT_OF_ROOM)? {
        true => "it has ended for want of room",
        false => "it has gone on",
    };
    deployment.processes[node].start()?;
    wait_until_taken(deployment, node)?;
    Ok(end)
}

fn wait_until_taken(deployment: &mut Deployment, node: usize) -> Result<()> {
    let deadline = Instant::now() + RECOVERY_MAX;
    let is_full = |reply| !matches!(reply, Some(Reply::Text(info)) if info.lines().any(|line| line == "disk_full:0"));
    while is_full(ask(deployment, node, &["INFO", "storage"])) {
        if deployment.processes[node].has_died() || Instant::now() > deadline {
            let address = deployment.processes[node].address;
            return Err(Error::other(format!("{address} takes no writes, though there is room again")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
