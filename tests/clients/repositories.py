"""apt-get, git, pip: clients that know what a repository looks like."""

import os
import sys

from harness import Tap, check, expect, expect_equal, expect_same_file
from site_tree import command

APT_CONFIG = """
Dir "{top}";
Dir::State "state";
Dir::State::status "{top}/status";
Dir::Cache "cache";
Dir::Etc "etc";
Dir::Etc::parts "parts";
Dir::Log "log";
Dir::Bin::Methods "/usr/lib/apt/methods";
APT::Architecture "amd64";
APT::Sandbox::User "";
APT::Install-Recommends "false";
Acquire::http::Proxy "DIRECT";
Acquire::Retries "0";
Acquire::Languages "none";
Debug::NoLocking "true";
"""


class Apt:
    """apt-get with a configuration, lists and a cache of its own; the system's are not touched."""

    def __init__(self, context, base):
        self.context = context
        self.top = context.path("apt")
        for name in ("etc/parts", "state/lists/partial", "cache/archives/partial", "log"):
            os.makedirs(os.path.join(self.top, name))
        open(os.path.join(self.top, "status"), "wb").close()
        with open(os.path.join(self.top, "etc", "sources.list"), "w", encoding="ascii") as list_file:
            list_file.write(f"deb [trusted=yes] {base}/apt ./\n")
        self.config = os.path.join(self.top, "apt.conf")
        with open(self.config, "w", encoding="ascii") as config:
            config.write(APT_CONFIG.format(top=self.top))

    def get(self, *words):
        """Runs apt-get; what it said."""
        done = self.context.command("apt-get", *words, env={"APT_CONFIG": self.config})
        return (done.stdout + done.stderr).decode()

    def archive(self, *names):
        """A path in the cache of packages."""
        return os.path.join(self.top, "cache", "archives", *names)


APT = ["apt-get", "dpkg-deb", "apt-ftparchive"]


@check("apt-flat-repository", APT)
def apt_flat_repository(context):
    apt = Apt(context, context.base)
    said = apt.get("update", "-o", "APT::Update::Error-Mode=any")
    expect("Err:" not in said, said)
    names = [f"ambidex-probe-{number}" for number in range(12)]
    apt.get("install", "-y", "--download-only", *names)
    for name in os.listdir(context.site.file("apt")):
        if name.endswith(".deb"):
            # In its cache apt writes ':', '_' and the like of a version as escapes; here are none.
            expect_same_file(apt.archive(name), context.site.file("apt", name))
    again = apt.get("update")
    expect("Hit:" in again, f"nothing was taken as unchanged: {again!r}")


@check("apt-resume", APT)
def apt_resume(context):
    with Tap(context.server.port) as tap:
        apt = Apt(context, tap.base)
        apt.get("update")
        name = "ambidex-probe-3_1.0_all.deb"
        whole = context.site.file("apt", name)
        with open(whole, "rb") as source, open(apt.archive("partial", name), "wb") as part:
            part.write(source.read(40_000))
        os.utime(apt.archive("partial", name), (os.path.getmtime(whole),) * 2)
        apt.get("install", "-y", "--download-only", "ambidex-probe-3")
        expect_same_file(apt.archive(name), whole)
        expect_equal(tap.fields("Range", name), ["bytes=40000-"], "what was asked for")


@check("git-clone", ["git"])
def git_clone(context):
    clone, origin = context.path("clone"), context.site.file("repo.git")
    context.command("git", "clone", "-q", f"{context.base}/repo.git", clone)
    context.command("git", "-C", clone, "fsck", "--strict")
    head = command("git", "rev-parse", "main", directory=origin)
    expect_equal(context.command("git", "-C", clone, "rev-parse", "HEAD").stdout, head, "HEAD")
    context.site.commit(context.site.work, "third")
    command("git", "push", "-q", origin, "main", directory=context.site.work)
    command("git", "update-server-info", directory=origin)
    context.command("git", "-C", clone, "pull", "-q", "--ff-only")
    head = command("git", "rev-parse", "main", directory=origin)
    expect_equal(context.command("git", "-C", clone, "rev-parse", "HEAD").stdout, head, "after a pull")


def pip(context, *words):
    """pip against the site's index and nothing else."""
    index = ["--index-url", f"{context.base}/simple/", "--disable-pip-version-check", "--no-cache-dir"]
    verb, *rest = words
    return context.command(sys.executable, "-m", "pip", verb, *index, *rest, seconds=60)


@check("pip-simple-index", ["pip"])
def pip_simple_index(context):
    name = "ambidex_probe-1.0-py3-none-any.whl"
    pip(context, "download", "-q", "--no-deps", "-d", context.path("down"), "ambidex-probe==1.0")
    expect_same_file(context.path("down", name), context.site.file("wheels", name))
    pip(context, "install", "-q", "--no-deps", "--target", context.path("lib"), "ambidex-probe")
    said = context.command(
        sys.executable, "-c", "import ambidex_probe; print(ambidex_probe.ANSWER)",
        env={"PYTHONPATH": context.path("lib")},
    )  # fmt: skip
    expect_equal(said.stdout, b"42\n", "what the installed module says")
