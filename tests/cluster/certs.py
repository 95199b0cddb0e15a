"""Certificates for tests, made by scripts/certs as operators make theirs."""

import os
import shutil
import subprocess
import tempfile

import grpc

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Certs:
    """A test authority and what it has signed, in a folder that goes with close()."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="lmcerts", dir="/tmp")
        self.make()
        self.make("client", "tester")

    def make(self, *what):
        """As the arguments of scripts/certs; makes it anew if it is there."""
        subprocess.run([os.path.join(ROOT, "scripts", "certs"), self.folder, *what], check=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def credentials(self, name=None):
        """Of a client that trusts this authority and, with a name, shows that certificate."""
        if name is None:
            return grpc.ssl_channel_credentials(self.read("ca.crt"))
        return grpc.ssl_channel_credentials(self.read("ca.crt"), self.read(name + ".key"),
                                            self.read(name + ".crt"))

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)
