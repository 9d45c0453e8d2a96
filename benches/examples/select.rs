//! The article's `select` server: `select -i IP -p PORT -t SECONDS`.

mod teaching;

use std::process::ExitCode;

use ambidex_bench::baselines::select::serve;

fn main() -> ExitCode {
    teaching::main(serve)
}
