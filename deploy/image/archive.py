#!/usr/bin/python3
"""Writes a file system as an image: one archive that is an OCI layout and a docker archive at once, so
that every tool can read it. How the image is run stands in deploy/Containerfile, behind its last FROM.
The same files give the same bytes: times are that of the commit, names are sorted.

usage: archive.py ROOT FILE --tag NAME:TAG --arch ARCH --revision COMMIT --created TIME
"""

import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import re
import shlex
import tarfile

CONTAINERFILE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "Containerfile")


def last_stage(path):
    """Its instructions as (word, rest), continued lines joined."""
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"\\\n", " ", file.read())
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    begin = max(n for n, line in enumerate(lines) if line.split()[0] == "FROM")
    return [(line.split()[0], line.split(None, 1)[1]) for line in lines[begin + 1:]]


def pairs(rest, arguments):
    """What LABEL, ENV and ARG give names to; ${NAME} are arguments."""
    found = dict(word.split("=", 1) for word in shlex.split(rest))
    return {name: re.sub(r"\$\{(\w+)\}", lambda m: arguments[m.group(1)], value)
            for name, value in found.items()}


def run_config(stage, given):
    """The config of the image, as the instructions of the stage make it."""
    config, arguments = {"Labels": {}, "Env": [], "ExposedPorts": {}}, {}
    for word, rest in stage:
        if word == "ARG":
            arguments.update({**pairs(rest, arguments), **{n: v for n, v in given.items() if n in rest}})
        elif word == "LABEL":
            config["Labels"].update(pairs(rest, arguments))
        elif word == "ENV":
            config["Env"] += ["%s=%s" % pair for pair in pairs(rest, arguments).items()]
        elif word == "EXPOSE":
            config["ExposedPorts"].update({port: {} for port in rest.split()})
        elif word in ("ENTRYPOINT", "CMD"):
            config[word.capitalize()] = json.loads(rest)
        elif word in ("USER", "WORKDIR", "STOPSIGNAL"):
            config[{"USER": "User", "WORKDIR": "WorkingDir", "STOPSIGNAL": "StopSignal"}[word]] = rest
        elif word != "COPY":
            raise SystemExit("archive.py does not know %s of the Containerfile" % word)
    return config


def layer_of(root, when):
    """A tar of everything below root."""
    def plain(member):
        member.mtime, member.uname, member.gname = when, "", ""
        return member

    names = []
    for folder, folders, files in os.walk(root):
        names += [os.path.relpath(os.path.join(folder, name), root) for name in folders + files]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(names):
            tar.add(os.path.join(root, name), name, recursive=False, filter=plain)
    return out.getvalue()


class Archive:
    def __init__(self, path, when):
        self._tar, self._when = tarfile.open(path, "w", format=tarfile.GNU_FORMAT), when

    def add(self, name, data):
        member = tarfile.TarInfo(name)
        member.size, member.mtime, member.mode = len(data), self._when, 0o644
        self._tar.addfile(member, io.BytesIO(data))

    def add_json(self, name, value):
        self.add(name, json.dumps(value, sort_keys=True).encode())

    def blob(self, data, kind):
        """Returns its descriptor."""
        digest = hashlib.sha256(data).hexdigest()
        self.add("blobs/sha256/" + digest, data)
        return {"mediaType": "application/vnd.oci.image.%s" % kind, "digest": "sha256:" + digest,
                "size": len(data)}

    def close(self):
        self._tar.close()


def full_name(tag):
    """As kubelets ask containerd for it, which does not complete names by itself."""
    first, slash, _ = tag.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        return tag
    return ("docker.io/" if slash else "docker.io/library/") + tag


def write(options, when, config):
    layer = layer_of(options.root, when)
    archive = Archive(options.file, when)
    archive.add_json("oci-layout", {"imageLayoutVersion": "1.0.0"})
    layer_blob = archive.blob(gzip.compress(layer, 6, mtime=0), "layer.v1.tar+gzip")
    moment = datetime.datetime.fromtimestamp(when, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    config_blob = archive.blob(json.dumps({
        "created": moment, "architecture": options.arch, "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created": moment, "created_by": "scripts/image"}]}, sort_keys=True).encode(),
        "config.v1+json")
    manifest = archive.blob(json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config_blob, "layers": [layer_blob]}, sort_keys=True).encode(), "manifest.v1+json")
    manifest["annotations"] = {"org.opencontainers.image.ref.name": options.tag.rsplit(":", 1)[-1],
                               "io.containerd.image.name": full_name(options.tag)}
    archive.add_json("index.json", {"schemaVersion": 2, "manifests": [manifest]})
    place = {name: "blobs/sha256/" + blob["digest"][7:]
             for name, blob in (("config", config_blob), ("layer", layer_blob))}
    archive.add_json("manifest.json", [{"Config": place["config"], "RepoTags": [options.tag],
                                        "Layers": [place["layer"]]}])
    archive.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("file")
    for name in "tag", "arch", "revision", "created":
        parser.add_argument("--" + name, required=True)
    options = parser.parse_args()
    when = 0
    if options.created != "unknown":
        when = int(datetime.datetime.fromisoformat(options.created).timestamp())
    config = run_config(last_stage(CONTAINERFILE),
                        {"REVISION": options.revision, "CREATED": options.created})
    write(options, when, config)


main()
