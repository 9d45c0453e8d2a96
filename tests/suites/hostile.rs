//! Real faults on the server under load: failing system calls, broken and hanging disks, too little of
//! everything, bad clients, signals. In each cell a load of several clients checks every byte: an answer
//! is right, or visibly cut short, or an honest refusal, never silently wrong. Then the fault ends,
//! every answer is right again, and SIGTERM ends the server with status 0.
//!
//! `AMBIDEX_PROVE=ci` runs more cells than a plain `cargo test`, `AMBIDEX_PROVE=long` all of them; both
//! print what was counted, and how long hot answers took, which nothing asserts. `AMBIDEX_CELL=recvfrom` runs those
//! cells of system calls only whose names hold that.

#[path = "hostile/calls.rs"]
mod calls;
#[path = "hostile/disk.rs"]
mod disk;
#[path = "hostile/files.rs"]
mod files;
#[path = "hostile/loop_disk.rs"]
mod loop_disk;
#[path = "hostile/peers.rs"]
mod peers;
#[path = "hostile/shortage.rs"]
mod shortage;
#[path = "hostile/signals.rs"]
mod signals;
#[path = "hostile/stage.rs"]
mod stage;
