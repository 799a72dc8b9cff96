"""A server's data directory on a file system that can be filled."""
import contextlib
import os
import shutil
import subprocess


class SmallDisk:
    """Twice what the log keeps in reserve, or more, in a mount namespace of the server's own: gone with its process, seen by nobody
    else. To be made before the server is started; what is in its data directory then is copied."""

    def __init__(self, server, megabytes=32):
        self.server, plain = server, server.command
        mount = ('kept=$(mktemp -d) && cp -a "%(data)s/." "$kept" && mount -t tmpfs -o size=%(size)dm tmpfs "%(data)s" '
                 '&& cp -a "$kept/." "%(data)s" && rm -r "$kept" && exec "$@"') % {"data": server.data, "size": megabytes}
        self.command = ["unshare", "-m", "sh", "-c", mount, "sh"]
        server.command = lambda: self.command + plain()

    @property
    def is_possible(self):
        if not shutil.which("unshare"):
            return False
        return subprocess.run(self.command + ["true"], capture_output=True).returncode == 0

    @property
    def path(self):
        return "/proc/%d/root%s" % (self.server.process.pid, self.server.data)

    @property
    def filler(self):
        return os.path.join(self.path, "filler")

    def fill(self):
        with open(self.filler, "wb", buffering=0) as out:
            with contextlib.suppress(OSError):
                while True:
                    out.write(bytes(65536))

    def make_room(self):
        os.remove(self.filler)
