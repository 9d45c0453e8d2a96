//! A cached 4 KiB read: what the engine adds to pread(2), and what others add.
//!
//! The file lies below the target directory, which must not be on tmpfs: a memory filesystem is
//! another path through the engine. For processor time rather than time see `scripts/compare.py`.

mod contenders;

use std::path::Path;

use ambidex::Engine;
use ambidex::disk::{Choice, File, Options, Pool, ReadFlags};
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};

use contenders::{BLOCK_BYTES, NAMES, contender};

const BLOCKS: usize = 256;
const DEPTHS: [usize; 3] = [1, 16, 128];

fn reads(criterion: &mut Criterion) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on a disk");
    let path = dir.path().join("blocks");
    std::fs::write(&path, vec![7; BLOCK_BYTES * BLOCKS]).expect("a file");
    let mut group = criterion.benchmark_group("read 4k cached");
    group.throughput(Throughput::Elements(1));
    for name in NAMES {
        compare(&mut group, name, &path);
    }
    for (name, choice) in [
        ("uring nowait", Choice::Uring),
        ("threads nowait", Choice::Threads),
    ] {
        nowait(&mut group, name, choice, &path);
    }
    group.finish();
}

fn compare(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, path: &Path) {
    let mut contender = match contender(name, path) {
        Ok(contender) => contender,
        Err(error) => {
            println!("SKIPPED read 4k cached/{name}: {error}");
            return;
        }
    };
    for depth in DEPTHS {
        group.bench_function(BenchmarkId::new(name, depth), |bencher| {
            bencher.iter_custom(|count| contender.read(depth, count).expect("the file is read"));
        });
    }
}

/// How the server reads first: from a pool, and an answer at once or none.
fn nowait(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, choice: Choice, path: &Path) {
    let options = Options {
        choice,
        ..Options::default()
    };
    let Ok(mut engine) = Engine::builder().disk(options).build() else {
        println!("SKIPPED read 4k cached/{name}: no io_uring here");
        return;
    };
    let opened = engine.run(async |io| File::open(io.disk(), path).await);
    let file = opened.expect("the loop runs").expect("the file");
    let pool = Pool::new(1, BLOCK_BYTES);
    group.bench_function(BenchmarkId::new(name, 1), |bencher| {
        bencher.iter_custom(|count| {
            let ran = engine.run(async |io| {
                let start = io.now();
                read_nowait(&file, &pool, count).await;
                io.now() - start
            });
            ran.expect("the loop runs")
        });
    });
}

async fn read_nowait(file: &File, pool: &Pool, count: u64) {
    for number in 0..count {
        let offset = number % BLOCKS as u64 * BLOCK_BYTES as u64;
        let buffer = pool.take().await;
        let (result, _) = file.read_at_with(buffer, offset, ReadFlags::NOWAIT).await;
        assert_eq!(result.expect("the block is cached"), BLOCK_BYTES);
    }
}

criterion_group!(benches, reads);
criterion_main!(benches);
