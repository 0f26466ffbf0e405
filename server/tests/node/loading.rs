//! What clients are told while the dump of an earlier run is loaded, and what becomes of a dump that is damaged.

use crate::common::{self, TestClient, TestServer};
use basalt_server::persistence::loading;
use std::fs;
use std::path::PathBuf;

const LOADING: &str = "-LOADING Redis is loading the dataset in memory\r\n";

/// The dump of the test, in the directory that all tests share; it is removed at the end.
struct Dump {
    name: String,
    path: PathBuf,
}

impl Dump {
    fn new() -> Dump {
        let name = format!("basalt-loading-{}.rdb", std::process::id());
        Dump { path: std::env::temp_dir().join(&name), name }
    }

    /// A server that has not looked for the dump yet.
    fn server(&self) -> TestServer {
        TestServer::with(common::config(&["--dbfilename", &self.name]))
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        // What is left is in the way of nobody.
        let _ = fs::remove_file(&self.path);
    }
}

fn is_loading(client: &mut TestClient) -> bool {
    client.say("info persistence").contains("\r\nloading:1\r\n")
}

#[test]
fn clients_are_told_to_wait_until_the_dump_is_loaded() {
    let dump = Dump::new();
    let first = dump.server();
    assert!(loading::find(&first.server).expect("a directory that can be read").is_none());
    let mut client = first.client();
    assert!(!is_loading(&mut client));
    assert_eq!(client.say("set key value"), "+OK\r\n");
    assert_eq!(client.say("save"), "+OK\r\n");

    let second = dump.server();
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

    let whole = fs::read(&dump.path).expect("the dump");
    fs::write(&dump.path, &whole[..whole.len() - 1]).expect("the dump can be damaged");
    let third = dump.server();
    let pending = loading::find(&third.server).expect("a file that can be read").expect("the damaged dump");
    let done = pending.start(&third.server).expect("a thread can be started");
    let error = done.blocking_recv().expect("the load ends").expect_err("a byte is missing");
    assert!(error.to_string().contains("ends early"), "{error}");
    assert!(is_loading(&mut third.client()), "nobody is served what is only a part");
}
