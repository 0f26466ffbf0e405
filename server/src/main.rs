//! The `basalt` binary.

use basalt_server::config::Config;
use basalt_server::node;

fn main() -> std::process::ExitCode {
    tracing_subscriber::fmt().with_ansi(false).init();
    match node::run(Config::from_args(std::env::args().skip(1))) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the server could not run");
            std::process::ExitCode::FAILURE
        }
    }
}
