"""ab, h2load, wrk, slowhttptest: many clients, and bad ones."""

import re
import threading

from harness import Failure, check, expect, expect_equal, fetch


def number(text, pattern):
    """The number that `pattern` finds in what a client said."""
    found = re.search(pattern, text)
    if not found:
        raise Failure(f"no {pattern!r} in {text[-300:]!r}")
    return int(found.group(1))


def ab(context, *words):
    """2,000 requests by 50 clients; each must succeed."""
    url = f"{context.base}/small.html"
    said = context.command("ab", "-q", "-n", "2000", "-c", "50", *words, url).stdout.decode()
    expect_equal(number(said, r"Complete requests:\s+(\d+)"), 2000, "complete")
    expect_equal(number(said, r"Failed requests:\s+(\d+)"), 0, "failed")
    expect("Non-2xx" not in said, "answers other than 2xx")
    return said


@check("ab", ["ab"])
def ab_plain(context):
    ab(context)


@check("ab-keep-alive", ["ab"])
def ab_keep_alive(context):
    said = ab(context, "-k")
    expect_equal(number(said, r"Keep-Alive requests:\s+(\d+)"), 2000, "kept alive")


@check("h2load-http-1", ["h2load"])
def h2load_http_1(context):
    words = ["--h1", "-n", "2000", "-c", "20", f"{context.base}/small.html"]
    said = context.command("h2load", *words).stdout.decode()
    expect_equal(number(said, r"(\d+) succeeded"), 2000, "succeeded")
    expect_equal(number(said, r"status codes: (\d+) 2xx"), 2000, "2xx")


@check("wrk", ["wrk"])
def wrk(context):
    for name in ("small.html", "64k.bin"):
        words = ["-d1s", "-c32", "-t2", f"{context.base}/{name}"]
        said = context.command("wrk", *words).stdout.decode()
        expect("Socket errors" not in said and "Non-2xx" not in said, said)
        expect(number(said, r"(\d+) requests in") > 0, said)


class Probe(threading.Thread):
    """A well-behaved client that asks for a page on new connections all the time."""

    def __init__(self, context):
        super().__init__(daemon=True)
        self.base = context.base
        self.over = threading.Event()
        self.served = 0
        self.troubles = []
        with open(context.site.file("small.html"), "rb") as page:
            self.page = page.read()

    def run(self):
        while not self.over.wait(0.05):
            try:
                status, _, body = fetch(self.base + "/small.html")
                if (status, body) == (200, self.page):
                    self.served += 1
                else:
                    self.troubles.append(f"status {status}, {len(body)} bytes")
            except OSError as error:
                self.troubles.append(repr(error))

    def stop(self):
        """Ends it; what it has seen."""
        self.over.set()
        self.join()
        return self.served, self.troubles


# Each attack runs for 4 seconds, or ends sooner when the server has shed it.
ATTACKS = {
    "H": ["-i", "1", "-x", "24"],
    "B": ["-i", "1", "-s", "8192", "-x", "24"],
    "R": ["-a", "5", "-b", "3000", "-t", "HEAD"],
    "X": ["-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "3"],
}


def attack(kind, name):
    """Registers one attack of slowhttptest, with a well-behaved client beside it."""

    @check(f"slowhttptest-{name}", ["slowhttptest"])
    def run(context):
        target = "/5m.bin" if kind in "RX" else "/small.html"
        words = [f"-{kind}", *ATTACKS[kind], "-c", "300", "-r", "200", "-l", "4", "-p", "3"]
        probe = Probe(context)
        probe.start()
        try:
            done = context.command("slowhttptest", *words, "-u", context.base + target)
        finally:
            served, troubles = probe.stop()
        said = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", done.stdout.decode(errors="replace"))
        expect(not troubles, f"{len(troubles)} troubles of {served + len(troubles)}: {troubles[:1]}")
        expect(served > 0, "nothing was asked")
        expect("service available:   NO" not in said, "slowhttptest found the service gone")
        expect("YES" in said, f"slowhttptest never saw the service: {said[-300:]!r}")


for each_kind, each_name in (("H", "headers"), ("B", "body"), ("R", "ranges"), ("X", "read")):
    attack(each_kind, each_name)
