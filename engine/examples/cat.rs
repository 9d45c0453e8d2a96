//! Prints files, read through the ring: `cargo run -p ambidex --example cat -- FILE...`.

use std::io::{self, Write};

use ambidex::Engine;
use ambidex::disk::File;

fn main() -> io::Result<()> {
    Engine::new()?.run(async |io| {
        for path in std::env::args_os().skip(1) {
            let file = File::open(io.disk(), &path).await?;
            let mut buffer = Vec::with_capacity(128 * 1024);
            let mut offset = 0;
            loop {
                // The buffer is lent to the kernel and comes back with the result.
                let (result, filled) = file.read_at(buffer, offset).await;
                let length = result?;
                if length == 0 {
                    break;
                }
                io::stdout().write_all(&filled)?;
                offset += length as u64;
                buffer = filled;
            }
        }
        Ok(())
    })?
}
