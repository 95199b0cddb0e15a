"""Certificates for tests, made by scripts/certs as operators make theirs."""

import os
import shutil
import subprocess
import tempfile
import time

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


AUTHORITY = """
[ca]
default_ca = own
[own]
database = {folder}/index
new_certs_dir = {folder}
certificate = {signer}/ca.crt
private_key = {signer}/ca.key
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
x509_extensions = extensions
[any]
commonName = supplied
[extensions]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = {usage}
subjectAltName = {names}
"""


def make_odd(certs, file, names, usage="serverAuth,clientAuth", days=("20200101", "20910101"),
             signer=None):
    """file.crt and file.key in the folder of certs, as scripts/certs makes none. A day may have
    its hour, minute and second behind it."""
    folder = certs.path(file + ".work")
    os.mkdir(folder)
    key, csr, settings = (certs.path(file + end) for end in (".key", ".csr", ".cfg"))
    open(os.path.join(folder, "index"), "w").close()
    with open(settings, "w", encoding="ascii") as text:
        text.write(AUTHORITY.format(
            folder=folder, signer=(signer or certs).folder, usage=usage,
            names=",".join(("IP:" if name[0].isdigit() else "DNS:") + name for name in names)))
    since, until = (day.ljust(14, "0") + "Z" for day in days)
    for command in (
            ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-keyout", key, "-subj", "/CN=odd", "-out", csr],
            ["ca", "-batch", "-notext", "-config", settings, "-in", csr, "-out",
             certs.path(file + ".crt"), "-startdate", since, "-enddate", until]):
        subprocess.run(["openssl", *command], check=True, capture_output=True)


def from_soon(seconds):
    """The days of a certificate that will count in so many seconds."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() + seconds)), "20910101"
