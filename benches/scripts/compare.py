#!/usr/bin/env python3
"""Puts this engine beside fio, plain pread and other runtimes, in turn, and prints medians.

    cargo build --release -p ambidex-bench --bin ambidex-bench --example reads
    benches/scripts/compare.py --file FILE [--only direct|cached]

FILE is made if it is missing (1 GiB) and must lie on a local disk, not on tmpfs. Each round runs
every contender once, so that neighbours in time share the machine's mood; the ratios are the
medians of the rounds' ratios. Everything is pinned to one core. A quiet machine is yours to see to:
the load average is printed before and after.

`direct`: 4 KiB random reads past the page cache, 32 at a time, against fio's io_uring engine.
`cached`: 4 KiB random reads of what is in the page cache, 32 at a time, nothing timed but the whole;
pread has one at a time. fio's two engines say what io_uring itself can save here.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

DEPTH = 32


def options():
    root = os.environ.get("CARGO_TARGET_DIR", "target")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--file", required=True)
    parser.add_argument("--only", choices=["direct", "cached"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runtime", type=int, default=5, help="seconds of each run")
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--bin", default=os.path.join(root, "release"))
    args = parser.parse_args()
    if not os.path.exists(f"{args.bin}/ambidex-bench"):
        parser.error(f"no ambidex-bench in {args.bin}: build it, or say --bin or CARGO_TARGET_DIR")
    return args


def run(args, command):
    """Pinned and bounded; its standard output."""
    pinned = ["taskset", "-c", str(args.core)] + command
    limit = args.runtime * 4 + 30
    done = subprocess.run(pinned, capture_output=True, text=True, timeout=limit)
    if done.returncode != 0:
        sys.exit(f"{' '.join(pinned)}\n{done.stderr}")
    return done.stdout


def job(text):
    """The one job of a report of fio, or of `ambidex-bench disk`, which speaks alike."""
    found = json.loads(text[text.index("{"):])["jobs"][0]
    read = found["read"]
    percent = found["usr_cpu"] + found["sys_cpu"]
    seconds = read["runtime"] / 1e3
    lat = (read.get("lat_ns") or {}).get("percentile", {})
    return {
        "IOPS": read["iops"],
        "cpu us/read": percent / 100 * seconds / read["total_ios"] * 1e6,
        "ctx/read": found["ctx"] / read["total_ios"],
        "p50 us": lat.get("50.000000", 0) / 1e3,
        "p99 us": lat.get("99.000000", 0) / 1e3,
    }


def fio(args, engine, *more):
    """norandommap, as ours: without it fio remembers which blocks it has had."""
    command = ["fio", "--name=x", f"--filename={args.file}", "--rw=randread", "--bs=4k",
               "--time_based", f"--runtime={args.runtime}", "--norandommap",
               "--random_generator=tausworthe64", f"--ioengine={engine}", "--invalidate=0",
               "--output-format=json", *more]
    return lambda: job(run(args, command))


def disk(args, engine, *more):
    command = [f"{args.bin}/ambidex-bench", "disk", "--filename", args.file, "--rw", "randread",
               "--bs", "4k", "--iodepth", str(DEPTH), "--runtime", str(args.runtime),
               "--engine", engine, "--json", *more]
    return lambda: job(run(args, command))


def reads(args, name, each_second):
    command = [f"{args.bin}/examples/reads", name, args.file, str(DEPTH),
               str(each_second * args.runtime)]

    def once():
        report = json.loads(run(args, command))
        return {
            "IOPS": report["reads_per_second"],
            "cpu us/read": report["cpu_us_per_read"],
            "ctx/read": report["switches_per_read"],
        }
    return once


def direct(args):
    depth = f"--iodepth={DEPTH}"
    return {
        "fio io_uring": fio(args, "io_uring", "--direct=1", depth, "--lat_percentiles=1"),
        "disk hybrid": disk(args, "hybrid", "--direct"),
        "disk threads": disk(args, "threads", "--direct"),
    }


def cached(args):
    # Into the page cache, all of it.
    with open(args.file, "rb") as file:
        while file.read(1 << 20):
            pass
    batch = [f"--iodepth={DEPTH}", f"--iodepth_batch={DEPTH}", f"--iodepth_batch_complete_max={DEPTH}"]
    contenders = {name: reads(args, name, 500_000)
                  for name in ["pread", "uring", "threads", "monoio", "compio"]}
    contenders["tokio"] = reads(args, "tokio", 100_000)
    contenders["fio psync"] = fio(args, "psync", "--gtod_reduce=1")
    contenders["fio io_uring"] = fio(args, "io_uring", "--gtod_reduce=1", *batch)
    return contenders


def table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths)]
        print("  ".join([row[0].ljust(widths[0])] + cells[1:]))


def compare(args, title, contenders, pairs):
    seen = {name: [] for name in contenders}
    for _ in range(args.rounds):
        for name, once in contenders.items():
            seen[name].append(once())
    figures = max((rounds[0] for rounds in seen.values()), key=len)
    rows = [[title] + list(figures) + ["cpu min..max"]]
    for name, rounds in seen.items():
        def median(figure):
            return statistics.median(one[figure] for one in rounds)
        cells = [f"{median(figure):,.0f}" if figure == "IOPS" else f"{median(figure):.3f}"
                 if figure in rounds[0] else "-" for figure in figures]
        cpu = [one["cpu us/read"] for one in rounds]
        rows.append([name] + cells + [f"{min(cpu):.3f}..{max(cpu):.3f}"])
    table(rows)
    for over, under, figure, target in pairs:
        ratios = [a[figure] / b[figure] for a, b in zip(seen[over], seen[under])]
        print(f"{figure}, {over} / {under}: {statistics.median(ratios):.3f} "
              f"({min(ratios):.3f} to {max(ratios):.3f}){target}")
    print()


def load():
    with open("/proc/loadavg") as file:
        print("load average:", *file.read().split()[:3])


def main():
    args = options()
    if not os.path.exists(args.file):
        run(args, [f"{args.bin}/ambidex-bench", "disk", "--filename", args.file, "--size", "1g",
                   "--runtime", "0.1"])
    load()
    cpu = "cpu us/read"
    if args.only != "cached":
        compare(args, "4k randread, O_DIRECT, depth 32", direct(args), [
            ("disk hybrid", "fio io_uring", "IOPS", ", wanted: 0.97 or more"),
            ("disk hybrid", "fio io_uring", cpu, ", wanted: 1.15 or less"),
        ])
    if args.only != "direct":
        compare(args, "4k randread, cached, depth 32", cached(args), [
            ("uring", "pread", cpu, ", wanted: 0.9 or less"),
            ("uring", "tokio", cpu, ", wanted: 0.25 or less"),
            ("uring", "monoio", cpu, ""),
            ("uring", "compio", cpu, ""),
            ("threads", "pread", cpu, ""),
            ("fio io_uring", "fio psync", cpu, ""),
        ])
    load()


if __name__ == "__main__":
    main()
