"""The site under test: every kind of file that the clients ask for, made from a seed."""

import base64
import hashlib
import os
import random
import shutil
import subprocess
import zipfile

MIB = 1 << 20
GIB = 1 << 30
# When the files were last changed: Tue, 14 Nov 2023 22:13:20 GMT.
MODIFIED_NS = 1_700_000_000 * 10**9
# Names that need escapes, and how a URL writes them.
ODD_NAMES = {
    b"two words.txt": "two%20words.txt",
    b"100% sure.txt": "100%25%20sure.txt",
    b"question?.txt": "question%3F.txt",
    b"hash#mark.txt": "hash%23mark.txt",
    "größe-日本.txt".encode(): "gr%C3%B6%C3%9Fe-%E6%97%A5%E6%9C%AC.txt",
    b"latin-\xe9\xff.txt": "latin-%E9%FF.txt",
    b"a&b<c>'d'.txt": "a%26b%3Cc%3E%27d%27.txt",
}
# A PNG of one red pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
SECRET = b"outside of the site\n"


def command(*words, directory=None, env=None):
    """Runs a maker; its failure ends the run, since the site would be incomplete."""
    keep = {**os.environ, "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1", **(env or {})}
    done = subprocess.run(words, cwd=directory, env=keep, capture_output=True, check=False, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{words[0]} failed: {done.stderr.decode(errors='replace')[-400:]}")
    return done.stdout


class Site:
    """A directory with all of it; `port` is not known yet, so nothing inside names it."""

    def __init__(self, top, seed=4):
        self.root = os.path.join(top, "site")
        self.random = random.Random(seed)
        os.makedirs(self.root)
        with open(os.path.join(top, "secret.txt"), "wb") as secret:
            secret.write(SECRET)
        os.symlink("../secret.txt", self.file("way-out.txt"))
        self.plain_files()
        self.large_file()
        self.pages()
        self.odd_names()
        self.packed()
        self.wheels()
        for program, make in (
            ("dpkg-deb", self.debian),
            ("git", self.git),
            ("zsyncmake", self.zsync),
            ("ffmpeg", self.video),
        ):
            if shutil.which(program):
                make()

    def file(self, *names):
        """A path below the root."""
        return os.path.join(self.root, *names)

    def write(self, name, data, nanoseconds=0):
        """Writes one file, directories included; older than any client's copy."""
        path = os.path.join(os.fsencode(self.root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        os.utime(path, ns=(MODIFIED_NS, MODIFIED_NS + nanoseconds))

    def plain_files(self):
        """Small, middling, big, empty."""
        self.write("small.html", b"<!doctype html><title>small</title><p>A small page.\n" * 20)
        self.write("empty.txt", b"")
        self.write("64k.bin", self.random.randbytes(64 << 10))
        self.write("5m.bin", self.random.randbytes(5 * MIB))

    def large_file(self):
        """Beyond 4 GiB, with bytes of its own at both ends and across the border."""
        path = self.file("sparse.bin")
        with open(path, "wb") as file:
            for start in (0, 4 * GIB - 32768, 4 * GIB + MIB):
                file.seek(start)
                file.write(self.random.randbytes(65536 + 123))
        os.utime(path, ns=(MODIFIED_NS, MODIFIED_NS))

    def pages(self):
        """A tree that is linked from page to page, and one that has to be listed."""
        link = '<!doctype html><title>{0}</title><a href="{1}">on</a><img src="{2}">\n'
        self.write("pages/index.html", link.format("first", "sub/", "one.png").encode())
        self.write("pages/sub/index.html", link.format("second", "last.html", "../two.png").encode())
        self.write("pages/sub/last.html", link.format("last", "../", "../one.png").encode())
        self.write("watch.html", WATCH)
        self.write("album.html", ALBUM)
        self.write("pages/one.png", PIXEL)
        self.write("pages/two.png", PIXEL)
        for name in ("a.txt", "b/c.txt", "b/d/e.bin"):
            self.write("listed/" + name, self.random.randbytes(3000))
        # Sorting rows in a listing makes other URLs of the same page; names must still come out.
        for name in ODD_NAMES:
            self.write(b"listed-odd/" + name, b"odd: " + name)

    def odd_names(self):
        """Files whose names a URL cannot hold as they are."""
        for name in ODD_NAMES:
            self.write(b"odd/" + name, b"this is " + name)

    def packed(self):
        """A text with its compressed forms beside it."""
        text = b"".join(b"line %d of a text that packs well\n" % n for n in range(4000))
        self.write("packed/text.txt", text)
        path = self.file("packed", "text.txt")
        for words in (["gzip", "-k9"], ["brotli", "-k"], ["zstd", "-qk"]):
            if shutil.which(words[0]):
                command(*words, path)

    def wheels(self):
        """An index as pip reads it, and one wheel."""
        name = "ambidex_probe-1.0-py3-none-any.whl"
        path = self.file("wheels", name)
        os.makedirs(os.path.dirname(path))
        info = "ambidex_probe-1.0.dist-info/"
        files = {
            "ambidex_probe.py": "ANSWER = 42\n",
            info + "METADATA": "Metadata-Version: 2.1\nName: ambidex-probe\nVersion: 1.0\n",
            info + "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        files[info + "RECORD"] = "".join(f"{each},,\n" for each in [*files, info + "RECORD"])
        with zipfile.ZipFile(path, "w") as wheel:
            for each, text in files.items():
                wheel.writestr(each, text)
        with open(path, "rb") as wheel:
            digest = hashlib.sha256(wheel.read()).hexdigest()
        link = f'<!doctype html><a href="../../wheels/{name}#sha256={digest}">{name}</a>\n'
        self.write("simple/ambidex-probe/index.html", link.encode())

    def debian(self):
        """A flat repository of a dozen packages; one version has signs that URLs escape."""
        flat = self.file("apt")
        os.makedirs(flat)
        for number in range(12):
            version = "1.0+b1~rc1" if number == 0 else "1.0"
            tree = os.path.join(os.path.dirname(self.root), "deb")
            os.makedirs(os.path.join(tree, "DEBIAN"))
            with open(os.path.join(tree, "DEBIAN", "control"), "w", encoding="ascii") as control:
                control.write(
                    f"Package: ambidex-probe-{number}\nVersion: {version}\nArchitecture: all\n"
                    "Maintainer: Nobody <nobody@example.org>\nDescription: for a test\n"
                )
            with open(os.path.join(tree, "payload"), "wb") as payload:
                payload.write(self.random.randbytes(100_000))
            command("dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, flat)
            shutil.rmtree(tree)
        if shutil.which("apt-ftparchive"):
            self.write("apt/Packages", command("apt-ftparchive", "packages", ".", directory=flat))
            command("gzip", "-k9", os.path.join(flat, "Packages"))
            self.write("apt/Release", command("apt-ftparchive", "release", ".", directory=flat))

    def git(self):
        """A bare repository with a pack and with loose objects."""
        work = os.path.join(os.path.dirname(self.root), "work")
        os.makedirs(work)
        self.commit(work, "first", init=True)
        command("git", "gc", "-q", directory=work)
        self.commit(work, "second")
        command("git", "clone", "-q", "--bare", work, self.file("repo.git"))
        command("git", "update-server-info", directory=self.file("repo.git"))
        self.work = work

    def commit(self, work, text, init=False):
        """One more commit."""
        who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
        if init:
            command("git", "init", "-q", "-b", "main", directory=work)
        for number in range(20):
            with open(os.path.join(work, f"{number}.txt"), "w", encoding="ascii") as file:
                file.write(f"{text} {number} {self.random.random()}\n")
        command("git", "add", ".", directory=work)
        command("git", *who, "commit", "-q", "-m", text, directory=work)

    def zsync(self):
        """The old version of a big file, for a client that knows how to fetch the difference."""
        with open(self.file("5m.bin"), "rb") as file:
            new = bytearray(file.read())
        command("zsyncmake", "-u", "5m.bin", "-o", self.file("5m.bin.zsync"), self.file("5m.bin"))
        for start in range(100_000, 5_000_000, 450_000):
            new[start : start + 3000] = self.random.randbytes(3000)
        with open(os.path.join(os.path.dirname(self.root), "old.bin"), "wb") as file:
            file.write(new)

    def video(self):
        """Half a minute that is too big to be fetched whole before somebody seeks in it."""
        source = "nullsrc=size=320x240:rate=10:duration=30,geq=random(1)*255:128:128"
        codec = ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "8M", "-g", "10"]
        command("ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, *codec, self.file("video.webm"))


ALBUM = b"""<!doctype html><meta charset="utf-8"><title>album</title>
<p id="said">nothing</p>
<img src="pages/one.png"><img src="pages/two.png"><img src="odd/../pages/one.png?again">
<script>
addEventListener("load", () => {
  const seen = [...document.images].filter(i => i.complete && i.naturalWidth === 1).length;
  document.getElementById("said").textContent = "images " + seen;
});
</script>
"""

WATCH = b"""<!doctype html><meta charset="utf-8"><title>watch</title>
<p id="said">nothing</p>
<video id="v" src="video.webm" preload="metadata" muted></video>
<script>
const video = document.getElementById("v");
const said = document.getElementById("said");
const say = text => { said.textContent = text; fetch("said?" + encodeURIComponent(said.textContent)); };
video.addEventListener("error", () => say("error " + video.error.message));
video.addEventListener("loadedmetadata", () => { video.currentTime = 20; });
video.addEventListener("seeked", () => say("seeked to " + video.currentTime + " of "
  + Math.round(video.duration)));
</script>
"""
