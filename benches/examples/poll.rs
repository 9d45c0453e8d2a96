//! The article's `poll` server: `poll -i IP -p PORT -t SECONDS`.

mod teaching;

use std::process::ExitCode;

use ambidex_bench::baselines::poll::serve;

fn main() -> ExitCode {
    teaching::main(serve)
}
