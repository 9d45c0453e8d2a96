//! The article's `epoll` server, level-triggered: `epoll -i IP -p PORT -t SECONDS`.

mod teaching;

use std::process::ExitCode;

use ambidex_bench::baselines::epoll_level::serve;

fn main() -> ExitCode {
    teaching::main(serve)
}
