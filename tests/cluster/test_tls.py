"""A region whose connections are TLS: who is let in, who is not, and what can be seen from outside."""

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import grpc

import stubs
from calls import GRANTED, Client, channel, refusal_of, wait_for_answer, wait_for_refusal
from certs import Certs, from_soon, make_odd
from cluster_case import ClusterCase, main, needs_processes
from region import BIN, Region, clean_environment, wait_for

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


class Recorder:
    """A TCP proxy that keeps every byte that passes, in both directions."""

    def __init__(self, port, target):
        self.target, self.bytes, self._lock = target, bytearray(), threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                one, _ = self._listener.accept()
            except OSError:
                return
            try:
                other = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                one.close()
                continue
            for a, b in ((one, other), (other, one)):
                threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    @staticmethod
    def _end(ends):
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _pump(self, source, sink):
        try:
            while data := source.recv(65536):
                with self._lock:
                    self.bytes += data
                sink.sendall(data)
        except OSError:
            pass
        self._end((source, sink))

    def saw(self, text):
        with self._lock:
            return text in self.bytes

    def close(self):
        self._listener.close()


class Tls(ClusterCase):
    """Three nodes; the peers of a node see the others through recorders."""

    @classmethod
    def setUpClass(cls):
        cls.certs, cls.strangers = Certs(), Certs()
        cls.region = Region(3, certs=cls.certs, start=False)
        cls.recorders = []
        for node in cls.region.nodes:
            node.seen_port = cls.region.ports.take()
            cls.recorders.append(Recorder(node.seen_port, node.grpc_port))
        peers = [{"name": node.name, "host": "127.0.0.1", "grpc_port": node.seen_port}
                 for node in cls.region.nodes]
        cls.region.settings["peers"] = peers
        cls.region.start()
        cls.wait_serving()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        for recorder in cls.recorders:
            recorder.close()
        cls.certs.close()
        cls.strangers.close()

    def refused(self, credentials, name=None, address=None):
        """A connection with these credentials comes to nothing."""
        client = Client(address or self.region.node(1).address, credentials, name)
        try:
            refusal = refusal_of(lambda: client.get("tls/any", timeout=3))
        finally:
            client.close()
        self.assertIn(refusal.code, (grpc.StatusCode.UNAVAILABLE,
                                     grpc.StatusCode.DEADLINE_EXCEEDED), refusal)
        self.assertIsNone(refusal.reason, "the node itself answered: %s" % refusal)

    # ---- who is let in ----

    def test_a_certified_client_takes_a_lock_through_every_node(self):
        for node in self.region.nodes:
            grant = self.assert_granted(node.client.acquire("tls/each/" + node.name, "me"))
            node.client.release("tls/each/" + node.name, "me", grant.hold_id)

    def test_a_plaintext_client_is_refused(self):
        self.refused(None)

    def test_a_client_without_a_certificate_is_refused(self):
        self.refused(self.certs.credentials())

    def test_a_client_of_another_authority_is_refused(self):
        self.refused(grpc.ssl_channel_credentials(
            self.certs.read("ca.crt"), self.strangers.read("tester.key"),
            self.strangers.read("tester.crt")))

    def test_a_client_does_not_take_a_node_of_another_authority_for_ours(self):
        self.refused(self.strangers.credentials("tester"))

    def test_a_client_does_not_take_a_node_of_another_name_for_the_one_it_wants(self):
        self.refused(self.certs.credentials("tester"), "n9")

    def test_older_versions_of_tls_are_refused(self):
        for version, good in ((ssl.TLSVersion.TLSv1_2, False), (ssl.TLSVersion.TLSv1_3, True)):
            context = ssl.create_default_context(cafile=self.certs.path("ca.crt"))
            context.load_cert_chain(self.certs.path("tester.crt"), self.certs.path("tester.key"))
            context.minimum_version = context.maximum_version = version
            context.set_alpn_protocols(["h2"])
            for port in (self.region.node(1).grpc_port, self.region.node(1).region_port):
                with socket.create_connection(("127.0.0.1", port), 5) as plain:
                    if good:
                        with context.wrap_socket(plain, server_hostname="n1") as wrapped:
                            self.assertEqual(wrapped.version(), "TLSv1.3")
                    else:
                        with self.assertRaises((ssl.SSLError, OSError)):
                            context.wrap_socket(plain, server_hostname="n1").close()

    def lockctl(self, *arguments, **environment):
        from region import clean_environment
        return subprocess.run([os.path.join(BIN, "lockctl"), *arguments], capture_output=True,
                              text=True, check=False, env={
                                  **clean_environment(), **environment,
                                  "LOCKCTL_ENDPOINTS": self.region.node(1).address})

    def test_lockctl_proves_itself_by_options_or_environment(self):
        ca, cert, key = (self.certs.path(f) for f in ("ca.crt", "tester.crt", "tester.key"))
        options = ["--cacert", ca, "--cert", cert, "--key", key]
        ran = self.lockctl("acquire", "tls/ctl", "--owner", "me", *options)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        ran = self.lockctl("status", "-o", "simple", LOCKCTL_CACERT=ca, LOCKCTL_CERT=cert,
                           LOCKCTL_KEY=key, LOCKCTL_SERVER_NAME="localhost")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        for wrong, code in (([], 3), (["--cacert", ca], 3), ([*options, "--server-name", "n9"], 3),
                            (["--cacert", ca, "--cert", cert], 2), (["--cert", cert, "--key", key], 2),
                            (["--cacert", "/nowhere"], 2)):
            ran = self.lockctl("get", "tls/ctl", "--timeout", "2s", *wrong)
            self.assertEqual(ran.returncode, code, "%s: %s" % (wrong, ran.stderr))

    # ---- who is who ----

    def test_s11a_the_same_owner_name_of_two_certificates_is_two_owners(self):
        self.certs.make("client", "alice")
        self.certs.make("client", "bob")
        leader = self.region.leader()
        follower = next(n for n in self.region.nodes if n is not leader)
        alice = Client(leader.address, self.certs.credentials("alice"))
        bob = Client(follower.address, self.certs.credentials("bob"))
        alice_there = Client(follower.address, self.certs.credentials("alice"))
        grant = self.assert_granted(alice.acquire("tls/whose", "worker", request_id="one"))
        self.assertNotEqual(bob.acquire("tls/whose", "worker", request_id="one").result, GRANTED)
        self.assert_refused(lambda: bob.release("tls/whose", "worker", grant.hold_id),
                            grpc.StatusCode.FAILED_PRECONDITION, "STALE_HOLD")
        again = self.assert_granted(alice_there.acquire("tls/whose", "worker", request_id="one"))
        self.assertEqual(again.token, grant.token)
        alice_there.release("tls/whose", "worker", grant.hold_id)
        for client in (alice, bob, alice_there):
            client.close()

    def test_a_forged_message_of_raft_is_refused_and_counted(self):
        leader = self.region.leader()
        victim = next(n for n in self.region.nodes if n is not leader)
        name, key = "lockmgr_peer_links_refused_total", {"reason": "unauthenticated"}
        counted = victim.metric(name, **key)
        service = stubs.peer_grpc.RaftServiceStub(
            channel(victim.address, self.certs.credentials("tester")))
        status = victim.status()
        hello = stubs.peer_pb2.LinkHello(version=1, region="test", to=victim.name,
                                         cluster_id=status.header.cluster_id)
        setattr(hello, "from", leader.name)
        # A vote in a term that no region comes to by itself, however busy the machine.
        forged = stubs.peer_pb2.Frame(version=1, cluster_id=status.header.cluster_id)
        forged.request_vote.term = 1000000
        frames = [stubs.peer_pb2.LinkRequest(hello=hello),
                  stubs.peer_pb2.LinkRequest(frame=forged.SerializeToString())]
        with self.assertRaises(grpc.RpcError) as seen:
            list(service.Link(iter(frames), timeout=5))
        self.assertEqual(seen.exception.code(), UNAUTHENTICATED)
        wait_for("the refusal is counted", lambda: (victim.metric(name, **key) or 0) > counted, 10)
        for node in self.region.nodes:
            self.assertLess(node.status().header.term, 1000000)

    def test_a_client_cannot_pass_a_call_on_in_the_name_of_another(self):
        leader = self.region.leader()
        other = next(n for n in self.region.nodes if n is not leader)
        service = stubs.peer_grpc.RaftServiceStub(
            channel(leader.address, self.certs.credentials("tester")))
        request = stubs.peer_pb2.ForwardRequest(cluster_id=leader.status().header.cluster_id)
        setattr(request, "from", other.name)
        request.call.get.name = "tls/any"
        self.assert_refused(lambda: service.Forward(request, timeout=5), UNAUTHENTICATED,
                            "UNAUTHENTICATED")
        self.assertGreaterEqual(wait_for("it is counted", lambda: leader.metric(
            "lockmgr_frontend_refused_total", reason="not_a_node"), 5), 1)

    def test_a_client_cannot_speak_for_a_region(self):
        node = self.region.node(1)
        service = stubs.region_grpc.RegionServiceStub(
            channel("127.0.0.1:%d" % node.region_port, self.certs.credentials("tester"), "n1"))
        request = stubs.region_pb2.HelloRequest()
        getattr(request, "from").region = "elsewhere"
        self.assert_refused(lambda: service.Hello(request, timeout=5), UNAUTHENTICATED,
                            "UNAUTHENTICATED")

    # ---- what can be seen ----

    def test_no_name_of_a_lock_crosses_the_network_in_plaintext(self):
        clients = [Client("127.0.0.1:%d" % node.seen_port, self.certs.credentials("tester"))
                   for node in self.region.nodes]
        for i, client in enumerate(clients):
            name = "tls/secret-name-%d" % i
            grant = self.assert_granted(client.acquire(name, "secret-owner"))
            client.release(name, "secret-owner", grant.hold_id)
        for recorder in self.recorders:
            self.assertGreater(len(recorder.bytes), 2000)
            for text in (b"secret-name", b"secret-owner", b"LockService", b"RaftService"):
                self.assertFalse(recorder.saw(text), text)
        for client in clients:
            client.close()

    # ---- renewal ----

    def test_renewed_certificates_come_into_force_without_a_lost_call(self):
        stop, done, lost = threading.Event(), [], []

        def work(number):
            node = self.region.node(1 + number % 3)
            client = Client(node.address, self.certs.credentials("tester"))
            # A machine with much to do may take seconds for a first connection; that is no loss.
            wait_for_answer(lambda: client.get("tls/any"))
            name = "tls/load/%d" % number
            while not stop.is_set():
                try:
                    grant = client.acquire(name, "me", timeout=10)
                    client.release(name, "me", grant.hold_id, timeout=10)
                    done.append(number)
                except grpc.RpcError as error:
                    lost.append(error)
            client.close()

        workers = [threading.Thread(target=work, args=(i,)) for i in range(6)]
        for worker in workers:
            worker.start()
        try:
            for _ in range(3):
                for node in self.region.nodes:
                    self.certs.make("node", node.name, "test")
                wanted = {node.name: self.serial_on_disk(node) for node in self.region.nodes}
                wait_for("all nodes show their new certificates", lambda: all(
                    self.serial_shown(node) == wanted[node.name] for node in self.region.nodes), 20)
        finally:
            stop.set()
            for worker in workers:
                worker.join()
        self.assertEqual(lost, [])
        self.assertGreater(len(done), 30)

    def serial_on_disk(self, node):
        return subprocess.run(["openssl", "x509", "-noout", "-serial", "-in",
                               self.certs.path(node.name + ".crt")],
                              check=True, capture_output=True, text=True).stdout.strip()

    def serial_shown(self, node):
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", node.address, "-cert",
             self.certs.path("tester.crt"), "-key", self.certs.path("tester.key")],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout
        return subprocess.run(["openssl", "x509", "-noout", "-serial"], input=shown,
                              capture_output=True, text=True, check=False).stdout.strip()

    def test_a_key_of_another_certificate_does_not_come_into_force(self):
        node = self.region.node(2)
        before, key = self.serial_shown(node), self.certs.path(node.name + ".key")
        shutil.copy(key, key + ".kept")
        try:
            shutil.copy(self.certs.path("tester.key"), key)
            wait_for("the log says so", lambda: "does not belong to the certificate" in node.log())
            self.assertEqual(self.serial_shown(node), before)
            node.client.get("tls/any")
        finally:
            os.replace(key + ".kept", key)


class Regions(ClusterCase):
    """Two regions of one authority."""

    def test_regions_meet_whose_certificates_bear_their_names(self):
        certs = Certs()
        with Region(1, region_id="east", certs=certs, start=False) as east, \
                Region(1, region_id="west", certs=certs, start=False) as west:
            self.certify(certs, east)
            self.certify(certs, west)
            port = east.ports.take()
            recorder = Recorder(port, west.node(1).region_port)
            self.join(east, west, port)
            self.join(west, east)
            east.start()
            west.start()
            self.meets(east, "west")
            self.meets(west, "east")
            cluster = east.node(1).status().header.cluster_id.encode()
            self.assertGreater(len(recorder.bytes), 2000)
            for text in (cluster, b"RegionService", b"HTTP/2.0"):
                self.assertFalse(recorder.saw(text), text)
            recorder.close()
        certs.close()

    def test_a_region_is_refused_whose_certificate_bears_another_name(self):
        certs = Certs()
        with Region(1, region_id="east", certs=certs, start=False) as east, \
                Region(1, region_id="west", certs=certs, start=False) as west:
            self.certify(certs, east)
            self.certify(certs, west, "south")
            self.join(east, west)
            east.start()
            west.start()
            east.wait_serving()
            west.wait_serving()
            time.sleep(3)
            status = east.node(1).status()
            self.assertEqual([(r.region, r.reachable) for r in status.regions], [("west", False)])
        certs.close()

    @staticmethod
    def certify(certs, region, name=None):
        """Its only node is called n1 as well, so each region has a folder of its own."""
        certs.make("node", "n1", name or region.region_id)
        folder = certs.path(region.region_id)
        os.mkdir(folder)
        for file in ("n1.crt", "n1.key"):
            shutil.copy(certs.path(file), folder)
        region.settings["tls"] = {"cert": os.path.join(folder, "n1.crt"),
                                  "key": os.path.join(folder, "n1.key")}

    @staticmethod
    def join(one, other, port=None):
        one.settings["region"] = {"peers": [{"region_id": other.region_id, "host": "127.0.0.1",
                                             "port": port or other.node(1).region_port}]}

    @staticmethod
    def meets(region, other, seconds=30):
        def reachable():
            status = region.node(1).status()
            return status and any(r.region == other and r.reachable for r in status.regions)
        wait_for("%s reaches %s" % (region.region_id, other), reachable, seconds)


class Authorities(ClusterCase):
    """Three nodes with an authority of their own, and clients of another one."""

    @classmethod
    def setUpClass(cls):
        cls.nodes, cls.clients = Certs(), Certs()
        cls.region = Region(3, certs=cls.nodes, start=False, settings={"tls": {
            "ca": cls.clients.path("ca.crt"), "peer_ca": cls.nodes.path("ca.crt")}})
        # A client's certificate that bears every name with which one could get further.
        cls.clients.make("node", "n1", "test", "n2", "n3", "elsewhere")
        cls.region.start()
        cls.wait_serving()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.nodes.close()
        cls.clients.close()

    def credentials(self, name):
        """Trusts the nodes, shows a client's certificate."""
        return grpc.ssl_channel_credentials(self.nodes.read("ca.crt"),
                                            self.clients.read(name + ".key"),
                                            self.clients.read(name + ".crt"))

    def test_clients_are_let_in_and_their_calls_are_passed_on(self):
        for node in self.region.nodes:
            client = Client(node.address, self.credentials("tester"))
            self.addCleanup(client.close)
            wait_for_answer(lambda: client.get("tls/any"))
            grant = self.assert_granted(client.acquire("two/" + node.name, "me"))
            client.release("two/" + node.name, "me", grant.hold_id)

    def test_a_client_does_not_take_one_of_its_own_authority_for_a_node(self):
        client = Client(self.region.node(1).address, self.clients.credentials("tester"))
        self.addCleanup(client.close)
        refusal = refusal_of(lambda: client.get("tls/any", timeout=3))
        self.assertIsNone(refusal.reason, refusal)

    def test_the_name_of_a_node_in_a_certificate_of_clients_makes_nobody_a_node(self):
        leader = self.region.leader()
        victim = next(n for n in self.region.nodes if n is not leader)
        opened = channel(victim.address, self.credentials("n1"))
        self.addCleanup(opened.close)
        service = stubs.peer_grpc.RaftServiceStub(opened)
        cluster = victim.status().header.cluster_id
        count = lambda: victim.metric("lockmgr_peer_links_refused_total", reason="unauthenticated") or 0
        refused = lambda: victim.metric("lockmgr_frontend_refused_total", reason="not_a_node") or 0
        links, calls = count(), refused()
        for other in (node for node in self.region.nodes if node is not victim):
            hello = stubs.peer_pb2.LinkHello(version=1, region="test", to=victim.name,
                                             cluster_id=cluster)
            setattr(hello, "from", other.name)
            frame = stubs.peer_pb2.Frame(version=1, cluster_id=cluster)
            frame.request_vote.term = 1000000
            frames = [stubs.peer_pb2.LinkRequest(hello=hello),
                      stubs.peer_pb2.LinkRequest(frame=frame.SerializeToString())]
            refusal = wait_for_refusal(lambda: list(service.Link(iter(frames), timeout=5)))
            self.assertEqual(refusal.code, UNAUTHENTICATED, refusal)
            request = stubs.peer_pb2.ForwardRequest(cluster_id=cluster)
            setattr(request, "from", other.name)
            request.call.get.name = "tls/any"
            refusal = wait_for_refusal(lambda: service.Forward(request, timeout=5))
            self.assertEqual(refusal.reason, "UNAUTHENTICATED", refusal)
        wait_for("all are counted",
                 lambda: count() >= links + 2 and refused() >= calls + 2, 10)
        for node in self.region.nodes:
            self.assertLess(node.status().header.term, 1000000)

    def test_nobody_of_the_clients_authority_gets_through_to_the_port_of_regions(self):
        service = stubs.region_grpc.RegionServiceStub(channel(
            "127.0.0.1:%d" % self.region.node(1).region_port, self.credentials("n1"), "n1"))
        request = stubs.region_pb2.HelloRequest()
        getattr(request, "from").region = "elsewhere"
        refusal = refusal_of(lambda: service.Hello(request, timeout=3))
        self.assertIn(refusal.code, (grpc.StatusCode.UNAVAILABLE,
                                     grpc.StatusCode.DEADLINE_EXCEEDED), refusal)
        self.assertIsNone(refusal.reason, refusal)


class RenewedClients(ClusterCase):
    """A node, and a client whose certificate is renewed while it holds a lock."""

    def setUp(self):
        self.nodes, self.before, self.after = Certs(), Certs(), Certs()
        for certs in (self.nodes, self.before, self.after):
            self.addCleanup(certs.close)
        self.folder = tempfile.mkdtemp(prefix="lmclient", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.folder)
        self.renew("clients.crt", self.before, "ca.crt")
        self.renew("own.crt", self.before, "tester.crt")
        self.renew("own.key", self.before, "tester.key")
        self.region = Region(1, certs=self.nodes, start=False, settings={"tls": {
            "ca": self.path("clients.crt"), "peer_ca": self.nodes.path("ca.crt")}})
        self.addCleanup(self.region.close)
        self.region.start()

    def path(self, name):
        return os.path.join(self.folder, name)

    def renew(self, name, certs, source):
        """In one step, as whoever renews certificates does it."""
        shutil.copy(certs.path(source), self.path(name + ".new"))
        os.replace(self.path(name + ".new"), self.path(name))

    def knows(self, certs):
        """Whether the node lets a client of that authority in."""
        client = Client(self.region.node(1).address, grpc.ssl_channel_credentials(
            self.nodes.read("ca.crt"), certs.read("tester.key"), certs.read("tester.crt")))
        try:
            return client.get("tls/renewed", timeout=3)
        except grpc.RpcError:
            return None
        finally:
            client.close()

    @needs_processes
    def test_a_hold_outlives_the_certificate_of_its_client(self):
        node = self.region.node(1)
        wait_for("the node serves", lambda: self.knows(self.before))
        holder = subprocess.Popen(
            [os.path.join(BIN, "lockctl"), "--endpoints", node.address,
             "--cacert", self.nodes.path("ca.crt"), "--cert", self.path("own.crt"),
             "--key", self.path("own.key"), "run", "--ttl", "4s", "tls/renewed", "--",
             "sleep", "60"], env=clean_environment())
        self.addCleanup(holder.wait)
        self.addCleanup(holder.kill)
        held = wait_for("the lock is held", lambda: self.knows(self.before)
                        and self.holders(self.before))
        # For a moment the key is not that of the certificate, which must not be taken into use.
        self.renew("own.key", self.after, "tester.key")
        time.sleep(2.5)
        self.assertIsNone(holder.poll())
        # Nor a certificate whose time is still to come; it is when that has come.
        make_odd(self.after, "soon", ["tester"], usage="clientAuth", days=from_soon(4))
        self.renew("own.key", self.after, "soon.key")
        self.renew("own.crt", self.after, "soon.crt")
        self.renew("clients.crt", self.after, "ca.crt")
        wait_for("the node knows new clients", lambda: self.knows(self.after), 20)
        time.sleep(6)
        self.assertIsNone(holder.poll())
        for _ in range(2):
            node.kill_actor("frontend")
            wait_for("the node serves again", lambda: self.knows(self.after), 20)
            self.assertIsNone(self.knows(self.before), "old certificates are let in")
            time.sleep(5)
            self.assertIsNone(holder.poll(), "the client has lost its lock")
            self.assertEqual(self.holders(self.after), held)

    def holders(self, certs):
        return [holder.token for holder in self.knows(certs).holders]


class Configuration(ClusterCase):
    """lockmgrd --check tells everything that is wrong with the files, with file and line."""

    def setUp(self):
        self.certs = Certs()
        self.region = Region(1, certs=self.certs, start=False)
        self.node = self.region.node(1)

    def tearDown(self):
        self.region.close()
        self.region = None
        self.certs.close()

    def check(self, **tls):
        from region import clean_environment, merged, write_config
        write_config(self.node.config_path, merged(self.node.config(), tls))
        ran = subprocess.run([os.path.join(BIN, "lockmgrd"), "--config", self.node.config_path,
                              "--check"], capture_output=True, text=True, env=clean_environment(),
                             check=False)
        return ran.returncode, ran.stderr

    def assert_wrong(self, *words, **tls):
        code, said = self.check(**tls)
        self.assertEqual(code, 78, said)
        for word in words:
            self.assertIn(word, said)
        self.assertIn("node.cfg:", said)

    def test_good_files_are_good(self):
        self.assertEqual(self.check(), (0, ""))

    def test_all_mistakes_are_told_at_once(self):
        os.chmod(self.certs.path("n1.key"), 0o644)
        self.assert_wrong("tls.ca: /nowhere/ca.crt cannot be read", "tls.key", "others may read",
                          "tls.cert", "holds no certificate",
                          tls={"ca": "/nowhere/ca.crt", "cert": self.certs.path("n1.key")})

    def test_a_key_of_another_certificate(self):
        self.assert_wrong("does not belong to the certificate",
                          tls={"key": self.certs.path("tester.key")})

    def test_a_certificate_without_the_name_of_the_node(self):
        self.assert_wrong('must bear the name of node, "n1"',
                          tls={"cert": self.certs.path("tester.crt"),
                               "key": self.certs.path("tester.key")})

    def test_an_expired_certificate(self):
        subprocess.run(["openssl", "x509", "-in", self.certs.path("n1.crt"), "-days", "-1",
                        "-signkey", self.certs.path("n1.key"), "-out", self.certs.path("old.crt")],
                       check=True, capture_output=True)
        self.assert_wrong("expired at", tls={"cert": self.certs.path("old.crt")})

    def test_an_authority_of_nodes_that_has_not_signed_this_one(self):
        strangers = Certs()
        self.addCleanup(strangers.close)
        self.assertEqual(self.check(tls={"peer_ca": self.certs.path("ca.crt")}), (0, ""))
        self.assert_wrong("tls.cert", "is not signed by an authority of peer_ca",
                          tls={"peer_ca": strangers.path("ca.crt")})
        self.assert_wrong("tls.peer_ca: /nowhere cannot be read", tls={"peer_ca": "/nowhere"})
        self.assert_wrong("tls.peer_ca must be an absolute path", tls={"peer_ca": "nodes.crt"})
        self.assert_wrong("tls.ca is missing", tls={
            "ca": None, "cert": None, "key": None, "peer_ca": self.certs.path("ca.crt")})

    def test_half_of_it(self):
        self.assert_wrong("tls.ca is missing", tls={"ca": None})

    def test_trust_beside_certificates(self):
        self.assert_wrong("peer_auth must not be there with tls", peer_auth="trusted")

    def test_neither_trust_nor_certificates(self):
        code, said = self.check(tls=None)
        self.assertEqual(code, 78)
        self.assertIn("peer_auth is missing", said)


if __name__ == "__main__":
    main()
