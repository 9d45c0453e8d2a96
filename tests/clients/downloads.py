"""curl, wget, aria2c, axel, lftp, zsync: files, resumed, compared, split, mirrored."""

import email.parser
import json
import os
import re
import socket

from harness import Failure, HANG_GUARD_SECONDS, Tap, check, expect, expect_equal, expect_same_file
from site_tree import GIB, MIB, ODD_NAMES, SECRET

LISTING = ["--directory-listing"]
PACKED = ["--precompressed"]


def curl(context, *words, codes=(0,), seconds=HANG_GUARD_SECONDS):
    """curl without configuration; what it says with `-w` is JSON about the transfer."""
    said = context.command(
        "curl", "-q", "-sS", "-w", "%{stderr}%{json}\n", *words, codes=codes, seconds=seconds
    )
    return [json.loads(line) for line in said.stderr.decode().splitlines() if line.startswith("{")]


def start_of(context, source, name, length):
    """A file that holds the first `length` bytes of `source`, as an interrupted download does."""
    path = context.path(name)
    with open(source, "rb") as whole, open(path, "wb") as part:
        part.write(whole.read(length))
    return path


def read(path):
    """All bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


@check("curl-whole", ["curl"])
def curl_whole(context):
    for name in ("small.html", "empty.txt", "64k.bin", "5m.bin"):
        [done] = curl(context, "-o", context.path(name), f"{context.base}/{name}")
        expect_equal(done["http_code"], 200, name)
        # curl makes no file where nothing came.
        if name != "empty.txt":
            expect_same_file(context.path(name), context.site.file(name))


@check("curl-odd-names", ["curl"])
def curl_odd_names(context):
    for name, escaped in ODD_NAMES.items():
        [done] = curl(context, "-o", context.path("odd"), f"{context.base}/odd/{escaped}")
        expect_equal(done["http_code"], 200, escaped)
        expect_equal(read(context.path("odd")), b"this is " + name, escaped)


@check("curl-resume", ["curl"])
def curl_resume(context):
    whole = context.site.file("5m.bin")
    part = start_of(context, whole, "part", MIB + 17)
    [done] = curl(context, "-C", "-", "-o", part, f"{context.base}/5m.bin")
    expect_equal((done["http_code"], done["size_download"]), (206, 4 * MIB - 17), "what came")
    expect_same_file(part, whole)
    curl(context, "-C", "-", "-o", part, f"{context.base}/5m.bin")
    expect_same_file(part, whole)


@check("curl-resume-beyond-4-gib", ["curl"])
def curl_resume_beyond_4_gib(context):
    whole = context.site.file("sparse.bin")
    start, size = 4 * GIB - 20_000, os.path.getsize(whole)
    [done] = curl(context, "-C", str(start), "-o", context.path("end"), f"{context.base}/sparse.bin")
    expect_equal((done["http_code"], done["size_download"]), (206, size - start), "what came")
    with open(whole, "rb") as file:
        file.seek(start)
        expect(read(context.path("end")) == file.read(), "other bytes came")
    [done] = curl(context, "-o", os.devnull, f"{context.base}/sparse.bin", seconds=90)
    expect_equal(done["size_download"], size, "the whole of it")


@check("curl-etag", ["curl"])
def curl_etag(context):
    context.site.write("changing.txt", b"first")
    url, tag, out = f"{context.base}/changing.txt", context.path("tag"), context.path("out")
    [done] = curl(context, "--etag-save", tag, "-o", out, url)
    expect(read(tag).strip(), "no ETag was saved")
    [done] = curl(context, "--etag-compare", tag, "-o", out, url)
    expect_equal((done["http_code"], done["size_download"]), (304, 0), "unchanged")
    # Of the same size, within the same second.
    context.site.write("changing.txt", b"other", nanoseconds=1)
    [done] = curl(context, "--etag-compare", tag, "--etag-save", tag, "-o", out, url)
    expect_equal((done["http_code"], read(out)), (200, b"other"), "changed")


@check("curl-time-conditions", ["curl"])
def curl_time_conditions(context):
    url = f"{context.base}/small.html"
    before, after = "Tue, 14 Nov 2023 22:13:19 GMT", "Tue, 14 Nov 2023 22:13:21 GMT"
    for condition, wanted in ((after, 304), (before, 200), ("-" + before, 412), ("-" + after, 200)):
        [done] = curl(context, "-z", condition, "-o", os.devnull, url)
        expect_equal(done["http_code"], wanted, f"-z '{condition}'")
    curl(context, "-R", "-o", context.path("copy"), url)
    [done] = curl(context, "-z", context.path("copy"), "-o", os.devnull, url)
    expect_equal(done["http_code"], 304, "-z with a file of the same time")


@check("curl-one-range", ["curl"])
def curl_one_range(context):
    data = read(context.site.file("64k.bin"))
    ranges = {"0-9": data[:10], "100-": data[100:], "-5": data[-5:], "65535-99999": data[-1:]}
    for wanted, part in ranges.items():
        [done] = curl(context, "--range", wanted, "-o", context.path("part"), f"{context.base}/64k.bin")
        expect_equal((done["http_code"], read(context.path("part"))), (206, part), wanted)
    [done] = curl(context, "--range", "65536-", "-o", os.devnull, f"{context.base}/64k.bin")
    expect_equal(done["http_code"], 416, "a range behind the end")


@check("curl-several-ranges", ["curl"])
def curl_several_ranges(context):
    data = read(context.site.file("64k.bin"))
    out, head = context.path("parts"), context.path("head")
    url = f"{context.base}/64k.bin"
    [done] = curl(context, "--range", "0-9,1000-1099,-5", "-D", head, "-o", out, url)
    expect_equal(done["http_code"], 206, "status")
    fields = read(head).split(b"\r\n", 1)[1]
    length = re.search(rb"(?i)content-length: (\d+)", fields)
    expect(length, "no Content-Length")
    expect_equal(int(length.group(1)), os.path.getsize(out), "Content-Length")
    message = email.parser.BytesParser().parsebytes(fields + read(out))
    expect_equal(message.get_content_type(), "multipart/byteranges", "type")
    found = [(part["Content-Range"], part.get_payload(decode=True)) for part in message.get_payload()]
    wanted = [
        ("bytes 0-9/65536", data[:10]),
        ("bytes 1000-1099/65536", data[1000:1100]),
        ("bytes 65531-65535/65536", data[-5:]),
    ]
    expect_equal(found, wanted, "parts")


@check("curl-compressed", ["curl", "gzip", "brotli", "zstd"], PACKED)
def curl_compressed(context):
    url, head = f"{context.base}/packed/text.txt", context.path("head")
    tags = set()
    for coding in ("gzip", "br", "zstd", "identity"):
        words = ["-H", f"Accept-Encoding: {coding}", "-D", head, "-o", context.path("packed"), url]
        curl(context, *words)
        fields = read(head).lower()
        ending = {"gzip": ".gz", "br": ".br", "zstd": ".zst", "identity": ""}[coding]
        expect_same_file(context.path("packed"), context.site.file("packed", "text.txt" + ending))
        named = b"content-encoding: " + coding.encode() in fields
        expect_equal(named, coding != "identity", f"Content-Encoding for {coding}")
        expect(re.search(rb"vary: [^\r]*accept-encoding", fields), f"no Vary for {coding}")
        tags.add(re.search(rb"etag: ([^\r]*)", fields).group(1))
    expect_equal(len(tags), 4, f"distinct ETags, of {tags}")
    curl(context, "--compressed", "-o", context.path("unpacked"), url)
    expect_same_file(context.path("unpacked"), context.site.file("packed", "text.txt"))


@check("curl-head", ["curl"])
def curl_head(context):
    url, heads = f"{context.base}/5m.bin", []
    for words in (["-I"], []):
        curl(context, *words, "-D", context.path("head"), "-o", os.devnull, url)
        heads.append(re.sub(rb"(?im)^date:.*\r\n", b"", read(context.path("head"))))
    expect_equal(heads[0], heads[1], "the head alone and with a body")
    expect(re.search(rb"(?i)content-length: 5242880\r", heads[0]), "no Content-Length in HEAD")


@check("curl-options", ["curl"])
def curl_options(context):
    for words in ([f"{context.base}/small.html"], ["--request-target", "*", context.base]):
        head = context.path("head")
        [done] = curl(context, "-X", "OPTIONS", "-D", head, "-o", os.devnull, *words)
        expect(done["http_code"] in (200, 204), f"{words}: {done['http_code']}")
        allow = re.search(rb"(?i)allow: ([^\r]*)", read(head))
        expect(allow, f"{words}: no Allow")
        methods = {each.strip() for each in allow.group(1).split(b",")}
        expect_equal(methods, {b"GET", b"HEAD", b"OPTIONS"}, "Allow")


@check("curl-refused-methods", ["curl"])
def curl_refused_methods(context):
    head, url = context.path("head"), f"{context.base}/5m.bin"
    for words, wanted in (
        (["-X", "DELETE"], 405),
        (["-d", "some=form"], 405),
        (["-T", context.site.file("5m.bin")], 405),  # Sent with Expect: 100-continue.
        (["-T", context.site.file("5m.bin"), "-H", "Transfer-Encoding: chunked"], 405),
        (["-X", "SPLICE"], 501),
    ):
        # 55, 56: the server was right to close while curl was still sending.
        curled = curl(context, *words, "-D", head, "-o", os.devnull, url, codes=(0, 55, 56))
        expect_equal(curled[0]["http_code"], wanted, str(words))
        expect(wanted != 405 or re.search(rb"(?im)^allow: .*GET", read(head)), f"{words}: no Allow")


@check("curl-http-1.0", ["curl"])
def curl_http_1_0(context):
    out, head = context.path("out"), context.path("head")
    curl(context, "--http1.0", "-D", head, "-o", out, f"{context.base}/5m.bin")
    expect_same_file(out, context.site.file("5m.bin"))
    expect(b"chunked" not in read(head).lower(), "chunks for HTTP/1.0")


@check("curl-traversal", ["curl"])
def curl_traversal(context):
    ways = [
        "/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/pages/../../secret.txt",
        "/%252e%252e/secret.txt", "/./../secret.txt", "/..;/secret.txt", "/..%5csecret.txt",
        "//../secret.txt", "/pages/..%00/../secret.txt", "/%c0%ae%c0%ae/secret.txt", "/way-out.txt",
        "/small.html/../../secret.txt",
    ]  # fmt: skip
    for way in ways:
        out = context.path("out")
        [done] = curl(context, "--path-as-is", "-o", out, context.base + way)
        expect(done["http_code"] in (400, 403, 404), f"{way}: {done['http_code']}")
        expect(SECRET.strip() not in read(out), f"{way} leaks")


@check("curl-keep-alive", ["curl"])
def curl_keep_alive(context):
    names = ["small.html", "missing", "64k.bin", "pages/", "5m.bin"] * 4
    words = [word for name in names for word in ("-o", os.devnull, f"{context.base}/{name}")]
    done = curl(context, *words)
    expect_equal(len(done), len(names), "answers")
    expect_equal(sum(each["num_connects"] for each in done), 1, "connections")


@check("curl-slash-redirect", ["curl"])
def curl_slash_redirect(context):
    [done] = curl(context, "-L", "-o", context.path("out"), f"{context.base}/pages")
    expect_equal((done["http_code"], done["num_redirects"]), (200, 1), "a directory without a slash")
    expect_same_file(context.path("out"), context.site.file("pages", "index.html"))


@check("raw-pipelining")
def raw_pipelining(context):
    names = ["small.html", "64k.bin", "pages/one.png"] * 30
    heads = [f"GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n" for name in names]
    heads.append("GET /small.html HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    with socket.create_connection(("127.0.0.1", context.server.port), HANG_GUARD_SECONDS) as peer:
        peer.sendall("".join(heads).encode())
        answers = peer.makefile("rb")
        for name in [*names, "small.html"]:
            expect_equal(answers.readline(), b"HTTP/1.1 200 OK\r\n", name)
            length = 0
            while (line := answers.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            expect(answers.read(length) == read(context.site.file(name)), f"{name}: other bytes")
        expect_equal(answers.read(1), b"", "after the last answer")


@check("wget-resume", ["wget"])
def wget_resume(context):
    whole = context.site.file("5m.bin")
    part = start_of(context, whole, "5m.bin", 3 * MIB + 1)
    with Tap(context.server.port) as tap:
        context.command("wget", "-nv", "-c", f"{tap.base}/5m.bin")
        expect_equal(tap.fields("Range"), [f"bytes={3 * MIB + 1}-"], "what was asked for")
    expect_same_file(part, whole)
    context.command("wget", "-nv", "-c", f"{context.base}/5m.bin")
    expect_same_file(part, whole)


@check("wget-timestamps", ["wget"])
def wget_timestamps(context):
    context.site.write("stamped.txt", b"first")
    url, copy = f"{context.base}/stamped.txt", context.path("stamped.txt")
    context.command("wget", "-nv", "-N", url)
    expect_equal(int(os.path.getmtime(copy)), 1_700_000_000, "the time of the copy")
    again = context.command("wget", "-N", url).stderr.decode()
    expect("304" in again, f"not a 304: {again!r}")
    context.site.write("stamped.txt", b"second")
    os.utime(context.site.file("stamped.txt"), (1_700_000_060, 1_700_000_060))
    context.command("wget", "-nv", "-N", url)
    expect_equal(read(copy), b"second", "the copy of the newer file")


@check("wget-mirror-pages", ["wget"])
def wget_mirror_pages(context):
    words = ["--mirror", "-p", "-np", "-nH", "--no-verbose", "-e", "robots=off"]
    context.command("wget", *words, f"{context.base}/pages/")
    for name in ("index.html", "one.png", "two.png", "sub/index.html", "sub/last.html"):
        expect_same_file(context.path("pages", name), context.site.file("pages", name))


@check("wget-mirror-listing", ["wget"], LISTING)
def wget_mirror_listing(context):
    words = ["--mirror", "-np", "-nH", "--no-verbose", "-e", "robots=off", "-R", "index.html*"]
    words += ["--restrict-file-names=nocontrol"]
    context.command("wget", *words, f"{context.base}/listed/")
    for name in ("a.txt", "b/c.txt", "b/d/e.bin"):
        expect_same_file(context.path("listed", name), context.site.file("listed", name))


@check("wget-mirror-odd-names", ["wget"], LISTING)
def wget_mirror_odd_names(context):
    words = ["-r", "-np", "-nH", "--no-verbose", "-e", "robots=off", "-R", "index.html*"]
    # wget takes names apart in the charset of the page; `nocontrol` leaves other bytes alone.
    words += ["--restrict-file-names=nocontrol", "--no-iri"]
    context.command("wget", *words, f"{context.base}/listed-odd/", env={"LC_ALL": "C"})
    for name in ODD_NAMES:
        copy = os.path.join(os.fsencode(context.path("listed-odd")), name)
        expect(os.path.exists(copy), f"{name} did not come")
        expect_equal(read(copy), b"odd: " + name, str(name))


@check("aria2c-split", ["aria2c"])
def aria2c_split(context):
    words = ["--no-conf", "-q", "-x8", "-s8", "-k1M", "--async-dns=false"]
    with Tap(context.server.port) as tap:
        context.command("aria2c", *words, "-o", "out", f"{tap.base}/5m.bin")
        starts = {value.split("=")[1].split("-")[0] for value in tap.fields("Range")}
        expect(len(starts) >= 4, f"it did not split: {tap.fields('Range')}")
    expect_same_file(context.path("out"), context.site.file("5m.bin"))


@check("axel-split", ["axel"])
def axel_split(context):
    context.command("axel", "-q", "-n", "8", "-o", context.path("out"), f"{context.base}/5m.bin")
    expect_same_file(context.path("out"), context.site.file("5m.bin"))


def lftp(context, *commands):
    """lftp with its settings from here only."""
    settings = ["set cmd:fail-exit true", "set net:max-retries 1", "set xfer:log false"]
    context.command("lftp", "--norc", "-c", "; ".join([*settings, *commands]))


@check("lftp-resume-and-split", ["lftp"])
def lftp_resume_and_split(context):
    whole = context.site.file("5m.bin")
    start_of(context, whole, "part", 2 * MIB)
    lftp(context, f"get -c {context.base}/5m.bin -o part")
    expect_same_file(context.path("part"), whole)
    lftp(context, f"pget -n 4 {context.base}/5m.bin -o split")
    expect_same_file(context.path("split"), whole)


@check("lftp-mirror", ["lftp"], LISTING)
def lftp_mirror(context):
    lftp(context, f"open {context.base}", "mirror /listed/ mirror", "mirror /listed-odd/ odd")
    for name in ("a.txt", "b/c.txt", "b/d/e.bin"):
        expect_same_file(context.path("mirror", name), context.site.file("listed", name))
    for name in ODD_NAMES:
        # lftp turns names into the characters of its locale, and leaves what is none as escapes.
        copies = [name, name.replace(b"\xe9", b"%E9").replace(b"\xff", b"%FF")]
        paths = [os.path.join(os.fsencode(context.path("odd")), copy) for copy in copies]
        found = [path for path in paths if os.path.exists(path)]
        expect(found, f"{name} did not come")
        expect_equal(read(found[0]), b"odd: " + name, str(name))


@check("zsync", ["zsync", "zsyncmake"])
def zsync(context):
    old = os.path.join(os.path.dirname(context.site.root), "old.bin")
    with Tap(context.server.port) as tap:
        words = ["-q", "-i", old, "-o", context.path("new.bin"), f"{tap.base}/5m.bin.zsync"]
        context.command("zsync", *words)
        ranges = tap.fields("Range", "5m.bin")
        expect(ranges, "it asked for no range")
        if not any("," in each for each in ranges):
            raise Failure(f"it never asked for several ranges: {ranges}")
    expect_same_file(context.path("new.bin"), context.site.file("5m.bin"))
