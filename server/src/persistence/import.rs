//! `--load-rdb FILE`: fills an empty server from a dump, before it serves.
//!
//! In durable mode the entries take the way of all writes, and leave memory piece by piece (see `load`). A mark beside
//! the data directory says that the load is under way: a server that finds it has half of the data, and does not serve.

use super::load::{self, Existing, LoadError, Loaded};
use crate::durability::open::DATA_DIRECTORY;
use crate::server::Server;
use basalt_cluster::group::Fsync;
use basalt_storage::effect::DbIndex;
use basalt_storage::slot::StripeSet;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

/// Why a server was not filled. The text tells the operator what to do.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(
        "--load-rdb fills a server that stands alone: load the dump without cluster-enabled, and then move the keys \
         with redis-cli --cluster import"
    )]
    InCluster,
    #[error("--load-rdb fills an empty server, and this one has {keys} keys: leave it out, or choose another `dir`")]
    HasKeys { keys: u64 },
    #[error(
        "--load-rdb fills an empty server, and this one loads the dump {} when it starts: move that away, or leave the \
         option out", .found.display()
    )]
    HasDump { found: PathBuf },
    #[error(
        "an earlier --load-rdb did not come to its end, so data is missing: start with --load-rdb FILE to load all of \
         it again, or remove {} to serve what there is", .mark.display()
    )]
    Unfinished { mark: PathBuf },
    #[error("{} cannot be loaded: {source}", .file.display())]
    Load { file: PathBuf, source: LoadError },
    #[error("{} cannot be written: {source}", .mark.display())]
    Mark { mark: PathBuf, source: io::Error },
}

/// Loads the file that was asked for, if any. Nobody is served yet, and in durable mode the data is open.
pub fn run(server: &Server) -> Result<(), ImportError> {
    let file = server.config.load_rdb.as_deref();
    if file.is_some() && server.cluster().is_some() {
        return Err(ImportError::InCluster);
    }
    if server.durability().is_some() {
        import_durably(server, file)
    } else if let Some(file) = file {
        import_into_memory(server, file)
    } else {
        Ok(())
    }
}

fn import_into_memory(server: &Server, file: &Path) -> Result<(), ImportError> {
    let found = PathBuf::from(server.config.text("dbfilename"));
    match (fs::canonicalize(&found), fs::canonicalize(file)) {
        // The server loads it anyway.
        (Ok(found), Ok(file)) if found == file => Ok(()),
        (Ok(found), _) => Err(ImportError::HasDump { found }),
        (Err(_), _) => load(server, file),
    }
}

fn import_durably(server: &Server, file: Option<&Path>) -> Result<(), ImportError> {
    let durability = server.durability().expect("the caller has looked");
    let mark = PathBuf::from(server.config.text("dir")).join(format!("{DATA_DIRECTORY}.loading"));
    let refused = |source| ImportError::Mark { mark: mark.clone(), source };
    let is_unfinished = mark.try_exists().map_err(refused)?;
    let Some(file) = file else {
        if is_unfinished {
            return Err(ImportError::Unfinished { mark });
        }
        warn_of_dump(server);
        return Ok(());
    };
    // A file that is not there is no reason to mark anything.
    File::open(file).map_err(|error| ImportError::Load { file: file.into(), source: error.into() })?;
    let keys = key_count(server);
    if is_unfinished {
        load::empty(&mut server.keyspace.lock(StripeSet::ALL, server.now()));
    } else if keys > 0 {
        return Err(ImportError::HasKeys { keys });
    }
    File::create(&mark).and_then(|created| created.sync_all()).and_then(|()| sync_parent(&mark)).map_err(refused)?;
    // The mark must not go before the data is safe.
    durability.set_fsync(Fsync::Always);
    load(server, file)?;
    durability.set_fsync(server.config.text("fsync").parse().expect("the setting was checked"));
    fs::remove_file(&mark).and_then(|()| sync_parent(&mark)).map_err(refused)
}

fn key_count(server: &Server) -> u64 {
    (0..server.keyspace.databases()).map(|db| server.keyspace.key_count(DbIndex(db))).sum()
}

/// Whoever comes from Redis or from cache mode expects their dump to be loaded.
fn warn_of_dump(server: &Server) {
    let dump = server.config.text("dbfilename");
    if key_count(server) == 0 && Path::new(&dump).exists() {
        tracing::warn!(
            dump,
            "there is a dump, and durable mode does not load it by itself: start with --load-rdb to have it loaded, or \
             with --mode cache"
        );
    }
}

fn load(server: &Server, file: &Path) -> Result<(), ImportError> {
    tracing::info!(file = %file.display(), "loading a dump into the empty server");
    let failed = |source| ImportError::Load { file: file.into(), source };
    let source = BufReader::new(File::open(file).map_err(|error| failed(error.into()))?);
    let Loaded { keys, expired } = load::load(server, None, source, Existing::Refused).map_err(failed)?;
    load::settle(server).map_err(failed)?;
    tracing::info!(keys, expired, "the dump is loaded");
    Ok(())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
}
