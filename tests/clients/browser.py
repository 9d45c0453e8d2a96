"""Headless Chromium: a page with images, and a seek in a video."""

import os
import re
import subprocess
import urllib.parse

from harness import Failure, Tap, check, expect, expect_equal


def words(context):
    """Chromium without a window, a proxy, or a wish to call home."""
    return [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-proxy-server", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
        f"--user-data-dir={context.path('profile')}",
    ]  # fmt: skip


def document(context, url):
    """What the page says in its document when it has come to rest."""
    rest = ["--virtual-time-budget=10000", "--dump-dom", url]
    said = context.command(*words(context), *rest, seconds=60)
    found = re.search(r'<p id="said">(.*?)</p>', said.stdout.decode())
    expect(found, f"no such page: {said.stdout[-300:]!r} {said.stderr[-300:]!r}")
    return found.group(1)


def said_by(context, tap, url):
    """What the page says in its document and then asks the tap for: media know no virtual time."""
    browser = subprocess.Popen(
        ["timeout", "--kill-after=2", "60", *words(context), "--remote-debugging-port=0", url],
        env={"PATH": os.environ["PATH"], "HOME": context.scratch, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while browser.poll() is None:
            with tap.more:
                tap.more.wait(1)
                said = [each for each in tap.targets() if each.startswith("/said?")]
            if said:
                return urllib.parse.unquote(said[0][len("/said?") :])
    finally:
        browser.terminate()
        browser.wait()
    raise Failure(f"the page said nothing; asked for {tap.targets()}")


@check("chromium-images", ["chromium"])
def chromium_images(context):
    with Tap(context.server.port) as tap:
        expect_equal(document(context, f"{tap.base}/album.html"), "images 3", "the page")
        wanted = {"/album.html", "/pages/one.png", "/pages/two.png", "/pages/one.png?again"}
        expect(wanted <= set(tap.targets()), f"asked for {tap.targets()}")


@check("chromium-seek", ["chromium", "ffmpeg"])
def chromium_seek(context):
    with Tap(context.server.port) as tap:
        said = said_by(context, tap, f"{tap.base}/watch.html")
        expect_equal(said, "seeked to 20 of 30", "the page")
        starts = [int(value[len("bytes=") :].split("-")[0]) for value in tap.fields("Range", "video")]
        expect(max(starts, default=0) > 0, f"asked for no later part: {starts}")
