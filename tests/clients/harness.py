"""What all checks share: the register of checks, the server under test, and a tap on the wire."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from dataclasses import dataclass, field

# How long anything may take before it is called hung. A guard, never a measurement.
HANG_GUARD_SECONDS = 30


class Failure(Exception):
    """The server, or what a client made of it, was not as it must be."""


def expect(truth, why):
    """Fails the check with `why` unless `truth`."""
    if not truth:
        raise Failure(why)


def expect_equal(found, wanted, what):
    """Fails the check unless `found` is `wanted`; long values are cut in the message."""
    if found != wanted:
        raise Failure(f"{what}: {found!r:.200}, wanted {wanted!r:.200}")


def expect_same_file(found, wanted):
    """Fails the check unless both files hold the same bytes."""
    expect(os.path.exists(found), f"there is no {os.path.basename(os.fsdecode(found))}")
    same = subprocess.run(["cmp", found, wanted], capture_output=True, check=False)
    if same.returncode:
        raise Failure(os.fsdecode(same.stdout or same.stderr).strip()[:300])


# Programs, and the Debian packages that have them.
PACKAGES = {
    "ab": "apache2-utils",
    "apt-ftparchive": "apt-utils",
    "apt-get": "apt",
    "aria2c": "aria2",
    "axel": "axel",
    "brotli": "brotli",
    "chromium": "chromium",
    "cmp": "diffutils",
    "curl": "curl",
    "dpkg-deb": "dpkg",
    "ffmpeg": "ffmpeg",
    "git": "git",
    "gzip": "gzip",
    "h2load": "nghttp2-client",
    "lftp": "lftp",
    "pip": "python3-pip",
    "slowhttptest": "slowhttptest",
    "wget": "wget",
    "wrk": "wrk",
    "zstd": "zstd",
    "zsync": "zsync",
    "zsyncmake": "zsync",
}


def has_program(name):
    """Whether `name` can be run; pip counts when Python has it as a module."""
    if name == "pip":
        done = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
        return done.returncode == 0
    return shutil.which(name) is not None


@dataclass
class Check:
    """One check: a function of a `Context`, and what it needs."""

    name: str
    run: object
    programs: tuple
    flags: tuple


CHECKS = []


def check(name, programs=(), flags=()):
    """Registers a check that needs `programs` on this machine and `flags` of `serve`."""

    def register(function):
        CHECKS.append(Check(name, function, tuple(programs), tuple(flags)))
        return function

    return register


class Server:
    """`ambidex serve` on a free port of 127.0.0.1."""

    def __init__(self, binary, root, backend, options, scratch):
        environment = {**os.environ, "AMBIDEX_DISK": backend}
        self.said = os.path.join(scratch, f"server-{backend}.stderr")
        with open(self.said, "wb") as said:
            self.process = subprocess.Popen(
                [binary, "serve", root, "--listen", "127.0.0.1:0", *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                env=environment,
            )
        line = self.process.stdout.readline().decode()
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", line)
        if not found:
            self.process.kill()
            self.process.wait()
            raise Failure(f"the server did not start: {line!r} {self.stderr()!r}")
        self.port = int(found.group(1))
        self.base = f"http://127.0.0.1:{self.port}"

    def stderr(self):
        """What the server has said so far."""
        with open(self.said, "rb") as said:
            return said.read().decode(errors="replace")

    def memory_peak_bytes(self):
        """The largest resident size so far."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmHWM:\s+(\d+) kB", status.read()).group(1)) * 1024

    def stop(self):
        """Asks it to stop; the exit status, or None when it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(HANG_GUARD_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None


@dataclass
class Context:
    """What a check works with: the server, the site that it serves, a directory of its own."""

    server: Server
    site: object
    scratch: str
    flags: set = field(default_factory=set)

    @property
    def base(self):
        """The server's URL, without a slash at the end."""
        return self.server.base

    def path(self, *names):
        """A path below the check's own directory."""
        return os.path.join(self.scratch, *names)

    def command(self, *words, seconds=HANG_GUARD_SECONDS, codes=(0,), **more):
        """Runs a client to its end; fails on an exit status that is not in `codes`."""
        done = run(words, self.scratch, seconds, **more)
        if done.returncode in (124, 137):
            raise Failure(f"{words[0]} did not end within {seconds} s")
        if done.returncode not in codes:
            said = (done.stderr + done.stdout).decode(errors="replace").strip()
            raise Failure(f"{words[0]} ended with {done.returncode}: {said[-400:]!r}")
        return done

    def fetch(self, target, **fields):
        """A plain GET without any client's help: status, fields, body."""
        return fetch(self.base + target, fields)


def run(words, directory, seconds, env=None, **more):
    """Runs a program under `timeout`, with a home of its own and no proxy."""
    keep = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": directory}
    keep.update({"GIT_CONFIG_NOSYSTEM": "1", "PIP_CONFIG_FILE": os.devnull, **(env or {})})
    return subprocess.run(
        ["timeout", "--kill-after=2", str(seconds), *words],
        cwd=directory,
        env=keep,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        **more,
    )


def fetch(url, fields=None):
    """A GET: status, header fields, body. A refusal is an answer too."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers=fields or {})
    try:
        with opener.open(request, timeout=HANG_GUARD_SECONDS) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.headers, refusal.read()


class Tap:
    """A relay in front of the server that keeps the request heads, as lines, in order of arrival."""

    def __init__(self, port):
        self.port_behind = port
        self.heads = []
        self.more = threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Closing alone does not wake a thread in accept().
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        """Takes connections until the tap is closed."""
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port_behind))
            threading.Thread(target=self.requests, args=(client, server), daemon=True).start()
            threading.Thread(target=relay, args=(server, client), daemon=True).start()

    def requests(self, client, server):
        """Passes requests on, which have no bodies here, and keeps their heads."""
        rest = b""

        def note(piece):
            nonlocal rest
            *heads, rest = (rest + piece).split(b"\r\n\r\n")
            with self.more:
                self.heads += [head.decode("latin-1").split("\r\n") for head in heads]
                self.more.notify_all()

        relay(client, server, note)

    def fields(self, name, target=""):
        """The values of field `name` in the requests for targets that contain `target`."""
        wanted = name.lower() + ":"
        return [
            line.split(":", 1)[1].strip()
            for head in self.heads
            if target in head[0]
            for line in head[1:]
            if line.lower().startswith(wanted)
        ]

    def targets(self):
        """The targets that were asked for."""
        return [head[0].split(" ")[1] for head in self.heads]


def relay(source, sink, note=lambda piece: None):
    """Copies until either end is gone, then says so to the other."""
    try:
        while piece := source.recv(65536):
            note(piece)
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It is gone already.


def flags_of(binary):
    """The options that `serve` has."""
    done = subprocess.run([binary, "serve", "--help"], capture_output=True, timeout=10, check=False)
    return set(re.findall(r"--[a-z0-9][a-z0-9-]*", done.stdout.decode()))


def ring_is_missing(binary):
    """Why the ring cannot be had, or None."""
    done = subprocess.run([binary, "probe", "--json"], capture_output=True, timeout=10, check=False)
    report = json.loads(done.stdout)
    return None if report["backend"] == "uring" else f"the probe says {report['backend']}"
