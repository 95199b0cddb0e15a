"""deploy/compose*.yaml, as docker-compose understands them: what is in every service, and that image,
configurations and services agree about users, ports, paths and names."""

import functools
import os
import re
import shutil
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEPLOY = os.path.join(ROOT, "deploy")
FILES = ("compose.yaml", "compose.regions.yaml")
CONTAINERFILE = os.path.join(DEPLOY, "Containerfile")

if not shutil.which("docker-compose"):
    print("there is no docker-compose: skipped")
    sys.exit(77)
version = subprocess.run(["docker-compose", "version", "--short"], capture_output=True, text=True).stdout
if not version.startswith("1."):
    print("docker-compose is %s, and its form of the answer is not known here: skipped" % version.strip())
    sys.exit(77)
import yaml  # noqa: E402, docker-compose needs it too


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


@functools.lru_cache(maxsize=None)
def understood(name, **environment):
    """The file as the tool says that it is."""
    done = subprocess.run(["docker-compose", "-f", os.path.join(DEPLOY, name), "config"], text=True,
                          capture_output=True, timeout=60, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return yaml.safe_load(done.stdout)


def services():
    for name in FILES:
        for service, said in understood(name)["services"].items():
            yield name, service, said


def mounts(said):
    """{path in the container: (what is there, how)}"""
    return {parts[1]: (parts[0], parts[2]) for parts in (text.split(":") for text in said["volumes"])}


def config_of(said):
    return read(mounts(said)["/etc/lockmgr/lockmgr.cfg"][0])


class Understood(unittest.TestCase):
    def test_every_service_is_locked_in(self):
        for name, service, said in services():
            with self.subTest(name, service=service):
                self.assertEqual(said["cap_drop"], ["ALL"])
                self.assertEqual(said["security_opt"], ["no-new-privileges:true"])
                self.assertIs(said["read_only"], True)
                self.assertEqual(said["tmpfs"], ["/run:mode=1777,size=16m"])
                self.assertEqual(said["restart"], "unless-stopped")
                self.assertEqual(said["stop_grace_period"], "30s")
                self.assertEqual(said["ulimits"], {"nofile": 65536})
                self.assertNotIn("privileged", said)

    def test_health_is_asked_without_a_shell(self):
        for name, service, said in services():
            test = said["healthcheck"]["test"]
            self.assertEqual((test[:2], test[-1]), (["CMD", "lockctl"], "health"), (name, service))

    def test_the_image_is_chosen_by_a_variable(self):
        for name in FILES:
            for wanted, given in (("lockmgr:latest", {}), ("other:1", {"LOCKMGR_IMAGE": "other:1"})):
                said = understood(name, **given)["services"].values()
                self.assertEqual({service["image"] for service in said}, {wanted})

    def test_each_node_has_a_volume_of_its_own(self):
        for name in FILES:
            said = understood(name)
            volumes = [mounts(service)["/var/lib/lockmgr"] for service in said["services"].values()]
            self.assertEqual(sorted(volumes), sorted((volume, "rw") for volume in said["volumes"]))
            self.assertEqual(len(volumes), 3)

    def test_ports_are_published_on_loopback_alone(self):
        for name in FILES:
            ports = [port for service in understood(name)["services"].values() for port in service["ports"]]
            self.assertEqual(sorted(re.sub(r"^127\.0\.0\.1:(\d)(\d)(\d\d):(\d)0\3/tcp$", r"\1\2\3 \4", port)
                                    for port in ports),
                             ["8080 8", "8180 8", "8280 8", "9090 9", "9190 9", "9290 9"], name)


class Agreement(unittest.TestCase):
    def test_names_of_services_are_hosts_of_the_configurations(self):
        said = understood("compose.yaml")["services"]
        for service, one in said.items():
            self.assertEqual(one["environment"], {"LOCKMGR_NODE": service})
            self.assertEqual(re.findall(r'name = "(\w+)"; host = "(\w+)"', config_of(one)),
                             [(node, node) for node in sorted(said)])
        said = understood("compose.regions.yaml")["services"]
        for service, one in said.items():
            config = config_of(one)
            self.assertIn('host = "%s"; }' % service, config)
            self.assertIn('    id = "%s";' % service, config)
            self.assertEqual(sorted(re.findall(r'region_id = "([\w-]+)"; host = "([\w-]+)"', config)),
                             sorted((other, other) for other in said if other != service))

    def test_paths_of_the_configurations_are_there(self):
        for name, service, said in services():
            config = config_of(said)
            self.assertIn('data_dir = "/var/lib/lockmgr";', config)
            self.assertIn('peer_key = "/run/secrets/%s";' % said["secrets"][0]["source"], config)
            self.assertIn('listen = "0.0.0.0";', config)
            self.assertNotIn("run_dir", config, "its default is below /run")

    def test_the_key_is_kept_out_of_the_repository(self):
        for name in FILES:
            path = understood(name)["secrets"]["peer_key"]["file"]
            self.assertEqual(os.path.relpath(path, ROOT), "deploy/compose/peer.key")
        self.assertIn("deploy/compose/peer.key\n", read(ROOT, ".gitignore"))

    @unittest.skipUnless(os.path.exists(CONTAINERFILE), "there is no Containerfile")
    def test_users_ports_and_paths_are_those_of_the_image(self):
        last = read(CONTAINERFILE).split("\nFROM ")[-1]
        user = re.search(r"^USER (\S+)$", last, re.M).group(1)
        self.assertIn("--chown=%s " % user, last)
        exposed = set(re.findall(r"(\d+)/tcp", re.search(r"^EXPOSE (.*)$", last, re.M).group(1)))
        self.assertIn('"/etc/lockmgr/lockmgr.cfg"', last)
        self.assertIn("/var/lib/", last)
        for name, service, said in services():
            self.assertEqual(said["user"], user, (name, service))
            inside = {re.search(r":(\d+)/tcp$", port).group(1) for port in said["ports"]}
            self.assertLessEqual(inside, exposed)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main(verbosity=2)
