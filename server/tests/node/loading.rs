//! What clients are told while the dump of an earlier run is loaded, and what becomes of a dump that is damaged.

use crate::common::{self, TestClient, TestServer};
use basalt_server::persistence::loading;
use std::fs;
use std::path::{Path, PathBuf};

const LOADING: &str = "-LOADING Redis is loading the dataset in memory\r\n";

/// A directory of one test, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        let path = std::env::temp_dir().join(format!("basalt-loading-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory can be made");
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left is in the way of nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that has not looked for its dump yet.
fn server_in(directory: &Path) -> TestServer {
    TestServer::with(common::config(&["--dir", &directory.display().to_string()]))
}

fn is_loading(client: &mut TestClient) -> bool {
    client.say("info persistence").contains("\r\nloading:1\r\n")
}

/// One test, because the working directory is the whole process's.
#[test]
fn clients_are_told_to_wait_until_the_dump_is_loaded() {
    let directory = Directory::new();
    let first = server_in(&directory.0);
    assert!(loading::find(&first.server).expect("a directory that can be read").is_none());
    let mut client = first.client();
    assert!(!is_loading(&mut client));
    assert_eq!(client.say("set key value"), "+OK\r\n");
    assert_eq!(client.say("save"), "+OK\r\n");

    let second = server_in(&directory.0);
    let pending =
        loading::find(&second.server).expect("a dump that can be read").expect("the dump of the first server");
    let mut client = second.client();
    assert!(is_loading(&mut client));
    for refused in ["get key", "ping", "save", "flushall", "config set maxmemory nonsense appendonly no"] {
        assert_eq!(client.say(refused), LOADING, "{refused}");
    }
    assert_eq!(client.say("config set maxmemory 100mb"), "+OK\r\n");
    assert_eq!(client.say("multi"), "+OK\r\n");
    assert_eq!(client.say("get key"), LOADING);
    assert_eq!(client.say("exec"), "-EXECABORT Transaction discarded because of previous errors.\r\n");
    let done = pending.start(&second.server).expect("a thread can be started");
    done.blocking_recv().expect("the load ends").expect("the dump is whole");
    assert!(!is_loading(&mut client));
    assert_eq!(client.say("get key"), "$5\r\nvalue\r\n");
    assert!(client.say("info persistence").contains("\r\nrdb_changes_since_last_save:0\r\n"));

    let path = directory.0.join("dump.rdb");
    let whole = fs::read(&path).expect("the dump");
    fs::write(&path, &whole[..whole.len() - 1]).expect("the dump can be damaged");
    let third = server_in(&directory.0);
    let pending = loading::find(&third.server).expect("a file that can be read").expect("the damaged dump");
    let done = pending.start(&third.server).expect("a thread can be started");
    let error = done.blocking_recv().expect("the load ends").expect_err("a byte is missing");
    assert!(error.to_string().contains("ends early"), "{error}");
    assert!(is_loading(&mut third.client()), "nobody is served what is only a part");
}
