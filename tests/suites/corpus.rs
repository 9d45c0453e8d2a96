//! Every byte of many small files and of one very large file, over every way of asking for them.

use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ambidex_tests::client::Client;
use ambidex_tests::server::{Server, backends, each_backend};
use ambidex_tests::tree::{Tree, content, content_at, mix};

const FILES: usize = 20_000;
const CLIENTS: usize = 8;
/// Requests in flight on a pipelined connection.
const DEPTH: usize = 16;
/// Sizes around the limits of buffers and of whole-file responses, spread over the tree.
const ODD_SIZES: [usize; 24] = [
    0, 1, 4_095, 4_096, 4_097, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 100_003, 131_071,
    131_072, 131_073, 262_143, 262_144, 262_145, 1_048_575, 1_048_576, 1_048_577, 1_500_001,
    5_242_879, 5_242_881,
];

fn path_of(index: usize) -> String {
    format!("{}/{}/file-{index}.bin", index % 40, index % 7)
}

fn size_of(index: usize) -> usize {
    // A stride, so that every sample of the tree holds some of them.
    match index
        .is_multiple_of(500)
        .then(|| ODD_SIZES.get(index / 500))
        .flatten()
    {
        Some(size) => *size,
        None => (mix(1, index as u64) % 8_200) as usize,
    }
}

fn corpus() -> Tree {
    let tree = Tree::new();
    for index in 0..FILES {
        tree.file(path_of(index), content(index as u64, size_of(index)));
    }
    tree
}

fn ask(client: &mut Client, indexes: &[usize]) {
    let request = |index: &usize| format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", path_of(*index));
    client.send(indexes.iter().map(request).collect::<String>().as_bytes());
}

fn check(client: &mut Client, index: usize) {
    let response = client.read_response(false);
    assert_eq!(response.status, 200, "{}", path_of(index));
    assert!(
        response.body == content(index as u64, size_of(index)),
        "{} differs",
        path_of(index)
    );
}

/// Fetches every `step`th file once, shared out among [`CLIENTS`] connections, `depth` at a time.
fn fetch_all(addr: SocketAddr, step: usize, depth: usize) {
    let (next, fetched) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client::connect(addr);
                loop {
                    let first = next.fetch_add(depth * step, Ordering::Relaxed);
                    let last = FILES.min(first.saturating_add(depth * step));
                    if first >= last {
                        break;
                    }
                    let batch: Vec<usize> = (first..last).step_by(step).collect();
                    ask(&mut client, &batch);
                    batch.iter().for_each(|&index| check(&mut client, index));
                    fetched.fetch_add(batch.len(), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(fetched.into_inner(), FILES.div_ceil(step));
}

#[test]
fn twenty_thousand_files_arrive_byte_for_byte() {
    let tree = corpus();
    for backend in backends() {
        for (workers, step, cold) in [(2, 1, false), (1, 10, false), (1, 10, true)] {
            let server = Server::builder(tree.path())
                .backend(backend)
                .workers(workers)
                .start();
            for depth in [1, DEPTH] {
                if cold {
                    tree.evict();
                }
                fetch_all(server.addr(), step, depth);
            }
            server.assert_sound();
        }
    }
}

#[test]
fn ranges_of_every_odd_size_stitch_together() {
    let tree = Tree::new();
    for size in ODD_SIZES {
        tree.file(format!("{size}"), content(size as u64, size));
    }
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        tree.evict();
        for size in ODD_SIZES {
            let mut whole = Vec::new();
            while whole.len() < size {
                let draw = mix(size as u64, whole.len() as u64) as usize;
                let last = (whole.len() + draw % (size / 5 + 1)).min(size - 1);
                let range = format!("bytes={}-{last}", whole.len());
                let response = client.request("GET", &format!("/{size}"), &[("Range", &range)]);
                assert_eq!(response.status, 206, "{range} of {size}");
                assert_eq!(
                    response.body.len(),
                    last + 1 - whole.len(),
                    "{range} of {size}"
                );
                whole.extend_from_slice(&response.body);
            }
            assert!(
                whole == content(size as u64, size),
                "{size} bytes in ranges"
            );
        }
    });
}

/// A huge file, almost all hole: pseudo-random islands at odd offsets keep it cheap to store while
/// a byte from the wrong place still shows.
struct Huge {
    size: u64,
}

const ISLAND_EVERY: u64 = 64 << 20;
const ISLAND_LEN: usize = 300_007;
const HUGE_SEED: u64 = 77;

impl Huge {
    /// Where each island starts; those next to 2 and 4 GiB straddle the boundary.
    fn islands(&self) -> impl Iterator<Item = u64> {
        let size = self.size - ISLAND_LEN as u64;
        let starts = (0..).map(|number: u64| number * ISLAND_EVERY);
        let starts = starts.map(|start| start.saturating_sub(123_457));
        starts.take_while(move |start| *start < size).chain([size])
    }

    fn create(&self, tree: &Tree, path: &str) {
        let file = tree.sparse(path, self.size);
        for start in self.islands() {
            let bytes = content_at(HUGE_SEED, start, ISLAND_LEN);
            file.write_all_at(&bytes, start)
                .expect("room for an island");
        }
    }

    /// What the file holds from `offset` on.
    fn expected(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let end = offset + len as u64;
        for start in self.islands() {
            let from = start.max(offset);
            let until = (start + ISLAND_LEN as u64).min(end);
            if from < until {
                let part = content_at(HUGE_SEED, from, (until - from) as usize);
                bytes[(from - offset) as usize..(until - offset) as usize].copy_from_slice(&part);
            }
        }
        bytes
    }
}

#[test]
fn three_gigabytes_arrive_byte_for_byte() {
    const CHUNK: usize = 1 << 20;
    let tree = Tree::new();
    let huge = Huge {
        size: (3 << 30) + 4_321,
    };
    huge.create(&tree, "huge");
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        client.send(b"GET /huge HTTP/1.1\r\nHost: t\r\n\r\n");
        let head = client.read_head().expect("a response");
        assert_eq!((head.status, head.content_length()), (200, huge.size));
        let (mut offset, mut chunk) = (0, vec![0; CHUNK]);
        while offset < huge.size {
            let len = CHUNK.min((huge.size - offset) as usize);
            client
                .read_exact(&mut chunk[..len])
                .expect("the whole file");
            assert!(
                chunk[..len] == huge.expected(offset, len),
                "differs after {offset}"
            );
            offset += len as u64;
        }
        assert_eq!(
            client.request("HEAD", "/huge", &[]).content_length(),
            huge.size
        );
    });
}

#[test]
fn ranges_beyond_two_and_four_gigabytes_are_exact() {
    let tree = Tree::new();
    let huge = Huge {
        size: (5 << 30) + 4_321,
    };
    huge.create(&tree, "huge");
    let (two, four) = (2_u64 << 30, 4_u64 << 30);
    let mut ranges = vec![(0, 1), (huge.size - 1, 1), (huge.size - 200_000, 200_000)];
    for boundary in [two, four] {
        ranges.extend([
            (boundary - 1, 2),
            (boundary, 1),
            (boundary - 100_001, 200_002),
        ]);
        ranges.extend([
            (boundary - 1, 1),
            (boundary - 70_000, 70_000),
            (boundary, 70_000),
        ]);
    }
    for draw in 0..100 {
        let len = mix(2, draw) % 400_000 + 1;
        // Near an island, so that there is something to tell apart.
        let island = ISLAND_EVERY * (mix(3, draw) % (huge.size / ISLAND_EVERY));
        ranges.push((island.saturating_sub(mix(4, draw) % 400_000), len as usize));
    }
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        for &(first, len) in &ranges {
            let last = first + len as u64 - 1;
            let range = format!("bytes={first}-{last}");
            let response = client.request("GET", "/huge", &[("Range", &range)]);
            assert_eq!(response.status, 206, "{range}");
            let stated = format!("bytes {first}-{last}/{}", huge.size);
            assert_eq!(response.header("content-range"), Some(stated.as_str()));
            assert!(
                response.body == huge.expected(first, len),
                "{range} differs"
            );
        }
        let tail = client.request("GET", "/huge", &[("Range", "bytes=-100000")]);
        assert!(
            tail.body == huge.expected(huge.size - 100_000, 100_000),
            "the tail differs"
        );
        // Stitched across both boundaries from parts of changing size.
        for (from, until) in [
            (two - 1_000_003, two + 1_000_003),
            (four - 1_000_003, four + 999),
        ] {
            let (mut offset, mut whole) = (from, Vec::new());
            while offset < until {
                let last = (offset + mix(5, offset) % 300_000).min(until - 1);
                let range = format!("bytes={offset}-{last}");
                let response = client.request("GET", "/huge", &[("Range", &range)]);
                assert_eq!(
                    (response.status, response.content_length()),
                    (206, last + 1 - offset)
                );
                whole.extend_from_slice(&response.body);
                offset = last + 1;
            }
            assert!(
                whole == huge.expected(from, (until - from) as usize),
                "stitched at {from}"
            );
        }
    });
}
