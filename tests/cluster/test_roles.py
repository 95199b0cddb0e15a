"""Who may do what: names from certificates and tokens, roles with prefixes, and what is written down
of those who are refused."""

import hashlib
import os
import subprocess
import time
import unittest

import grpc

import stubs
from calls import GRANTED, Client, Refusal, channel, refusal_of, wait_for_refusal
from certs import Certs
from cluster_case import ClusterCase, main
from region import BIN, ROOT, Region, clean_environment, wait_for
from sessions import Session

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
DENIED = grpc.StatusCode.PERMISSION_DENIED

ROLES = ("reader", "locker", "operator", "admin")
# What each call needs, and whether its name counts.
CALLS = {"acquire": (("locker", "admin"), True), "release": (("locker", "admin"), True),
         "renew": (("locker", "admin"), True), "cancel": (("locker", "admin"), False),
         "get": (("reader", "locker", "admin"), True),
         "list": (("reader", "locker", "admin"), True),
         "status": (("reader", "operator", "admin"), False),
         "open_session": (("locker", "admin"), False),
         "keep_alive": (("locker", "admin"), False),
         "keep_alive_stream": (("locker", "admin"), False),
         "close_session": (("locker", "admin"), False),
         "list_sessions": (("reader", "locker", "admin"), False),
         # It shows names of any kind, and nobody here but tester may see all.
         "get_session": ((), False)}


def digest(token):
    return hashlib.sha256(token.encode()).hexdigest()


def run(client, call, name):
    """The call about that name; None if it was let through, else the refusal. Whatever lock says of
    a call that was let through does not matter."""
    calls = {"acquire": lambda: client.acquire(name, "o"),
             "release": lambda: client.release(name, "o", "1.1"),
             "renew": lambda: client.renew(name, "o", "1.1"),
             "cancel": lambda: client.cancel("o", "r"), "get": lambda: client.get(name),
             "list": lambda: client.list(name), "status": client.status}
    named = {"session_id": "0" * 15 + "1", "secret": "0" * 32}
    sessions = {"open_session": ("OpenSession", {"client": "c"}),
                "keep_alive": ("KeepAlive", named), "close_session": ("CloseSession", named),
                "list_sessions": ("ListSessions", {}),
                "get_session": ("GetSession", {"session_id": named["session_id"]})}
    calls["keep_alive_stream"] = lambda: list(client.locks.KeepAliveStream(
        iter([stubs.lock_pb2.KeepAliveRequest(**named)]), timeout=5))
    for key, (method, fields) in sessions.items():
        request = getattr(stubs.lock_pb2, method + "Request")(**fields)
        calls[key] = lambda method=method, request=request: getattr(client.locks, method)(
            request, timeout=5)
    try:
        calls[call]()
    except grpc.RpcError as error:
        refusal = Refusal(error)
        refused = refusal.code in (UNAUTHENTICATED, DENIED) and refusal.reason != "SESSION_DENIED"
        return refusal if refused else None
    return None


class Roles(ClusterCase):
    """Three nodes with one file of access."""

    TOKENS = {"ci": "first-token-of-ci", "other": "token-of-other"}

    @classmethod
    def setUpClass(cls):
        cls.certs, cls.strangers = Certs(), Certs()
        for name in ROLES + ("nobody",):
            cls.certs.make("client", name)
        cls.access = cls.certs.path("access")
        cls.text = "grant tester admin \"\"\n" + "".join(
            "grant %s %s%s\n" % (role, role, "" if role == "operator" else " in/")
            for role in ROLES) + "".join(
            "token %s %s\ngrant %s locker ci/\n" % (name, digest(token), name)
            for name, token in cls.TOKENS.items())
        cls.write(cls.text)
        cls.region = Region(3, certs=cls.certs, start=False, settings={
            "access": cls.access, "tls": {"client_auth": "request"}})
        cls.region.start()
        cls.wait_serving()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.certs.close()
        cls.strangers.close()

    @classmethod
    def write(cls, text):
        with open(cls.access + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(cls.access + ".new", cls.access)

    def client(self, node=None, certificate=None, token=None):
        credentials = self.certs.credentials(certificate)
        if token:
            credentials = grpc.composite_channel_credentials(
                credentials, grpc.access_token_call_credentials(token))
        client = Client((node or self.region.node(1)).address, credentials)
        self.addCleanup(client.close)
        return client

    def refused_count(self, node, reason):
        return node.metric("lockmgr_frontend_refused_total", reason=reason) or 0

    # ---- roles ----

    def test_every_role_and_every_call_through_every_node(self):
        wrong = []
        for node in self.region.nodes:
            for role in ROLES:
                client = self.client(node, role)
                for call, (roles, named) in CALLS.items():
                    for name in ("in/a", "out/a"):
                        allowed = role in roles and (name == "in/a" or not named)
                        refusal = run(client, call, name)
                        if (refusal is None) != allowed or \
                                (refusal and refusal.reason != "PERMISSION_DENIED"):
                            wrong.append((node.name, role, call, name, refusal))
        self.assertEqual(wrong, [])

    def test_the_table_has_every_call(self):
        methods = {method.name for module, service in ((stubs.lock_pb2, "LockService"),
                                                       (stubs.admin_pb2, "AdminService"))
                   for method in module.DESCRIPTOR.services_by_name[service].methods}
        named = {"".join(word.capitalize() for word in call.split("_")) for call in CALLS}
        self.assertEqual({{"Status": "GetStatus"}.get(name, name) for name in named}, methods)

    def test_no_role_makes_a_client_a_node_or_region(self):
        leader = self.region.leader()
        cluster = leader.status().header.cluster_id
        other = next(node for node in self.region.nodes if node is not leader)
        forward = stubs.peer_pb2.ForwardRequest(cluster_id=cluster, **{"from": other.name})
        forward.call.get.name = "in/a"
        forward.call.context.identity = "tester"
        report = stubs.peer_pb2.UndeliveredRequest(cluster_id=cluster, **{"from": other.name})
        hello = stubs.peer_pb2.LinkRequest(hello=stubs.peer_pb2.LinkHello(
            version=1, region="test", to=leader.name, cluster_id=cluster, **{"from": other.name}))
        greeting = stubs.region_pb2.HelloRequest(**{"from": {"region": "elsewhere"}})
        for certificate in (None, "nobody", "tester"):
            credentials = self.certs.credentials(certificate)
            opened = channel(leader.address, credentials)
            far = channel("127.0.0.1:%d" % leader.region_port, credentials)
            self.addCleanup(opened.close)
            self.addCleanup(far.close)
            raft = stubs.peer_grpc.RaftServiceStub(opened)
            regions = stubs.region_grpc.RegionServiceStub(far)
            for name, call in (("Forward", lambda: raft.Forward(forward, timeout=5)),
                               ("Undelivered", lambda: raft.Undelivered(report, timeout=5)),
                               ("Link", lambda: list(raft.Link(iter([hello]), timeout=5))),
                               ("Hello", lambda: regions.Hello(greeting, timeout=5))):
                with self.subTest(certificate=certificate, call=name):
                    if name == "Hello" and not certificate:  # not even a connection
                        self.assertIsNone(refusal_of(call).reason)
                        continue
                    self.assertEqual(wait_for_refusal(call).code, UNAUTHENTICATED)

    def test_who_has_no_role_or_no_name_may_do_nothing(self):
        for certificate, reason in (("nobody", "PERMISSION_DENIED"), (None, "UNAUTHENTICATED")):
            client = self.client(certificate=certificate)
            for call in CALLS:
                refusal = run(client, call, "in/a")
                self.assertEqual(refusal and refusal.reason, reason, call)
                self.assertTrue(refusal.not_applied)

    def test_health_is_for_everybody_and_reflection_for_those_with_a_role(self):
        for certificate, good in ((None, False), ("nobody", False), ("operator", True)):
            opened = channel(self.region.node(1).address, self.certs.credentials(certificate))
            self.addCleanup(opened.close)
            stubs.health_grpc.HealthStub(opened).Check(stubs.health_pb2.HealthCheckRequest(),
                                                       timeout=5)
            reflection = stubs.reflection_grpc.ServerReflectionStub(opened)
            request = stubs.reflection_pb2.ServerReflectionRequest(list_services="")
            stream = reflection.ServerReflectionInfo(iter([request]), timeout=5)
            if good:
                self.assertTrue(list(stream))
            else:
                self.assertRaises(grpc.RpcError, list, stream)

    def test_a_list_of_everything_needs_a_role_that_covers_everything(self):
        self.assertEqual(run(self.client(certificate="admin"), "list", "").reason,
                         "PERMISSION_DENIED")
        for call in ("list", "get_session"):
            self.assertIsNone(run(self.client(certificate="tester"), call, ""), call)

    # ---- sessions ----

    def session(self, name, **who):
        return Session([self.client(node, **who) for node in self.region.nodes], name, 60000)

    def test_a_prefix_counts_in_a_session_too(self):
        session = self.session("prefix", certificate="locker")
        self.assert_granted(session.acquire("in/prefix"))
        self.assert_refused(lambda: self.client(certificate="locker").locks.Acquire(
            session.acquiring("out/prefix"), timeout=5), DENIED, "PERMISSION_DENIED")
        session.close()

    def test_a_session_is_of_no_use_to_another_identity(self):
        pb, opening = stubs.lock_pb2, {"client": "mine", "request_id": "1", "ttl_ms": 60000}
        session = self.session("mine", certificate="locker")
        hold = self.assert_granted(session.acquire("in/mine"))
        named = {"session_id": session.id, "secret": session.secret}
        part = pb.SessionPart(request_number=9, done_below=1, **named)
        ids = {self.client(certificate="locker").locks.OpenSession(
            pb.OpenSessionRequest(**opening), timeout=5).session_id}
        others = ({"certificate": "admin"}, {"certificate": "tester"},
                  {"certificate": "locker", "token": self.TOKENS["ci"]})
        for who in others:
            for node in self.region.nodes:
                locks = self.client(node, **who).locks
                name = "ci/mine" if "token" in who else "in/mine"
                for call in (
                        lambda: locks.Acquire(pb.AcquireRequest(name=name, session=part), timeout=5),
                        lambda: locks.Release(pb.ReleaseRequest(
                            name=name, hold_id=hold.hold_id, session=part), timeout=5),
                        lambda: locks.Cancel(pb.CancelRequest(session=part), timeout=5),
                        lambda: locks.CloseSession(pb.CloseSessionRequest(**named), timeout=5)):
                    self.assert_refused(call, DENIED, "SESSION_DENIED")
                request = pb.KeepAliveRequest(**named)
                answers = [locks.KeepAlive(request, timeout=5),
                           *locks.KeepAliveStream(iter([request]), timeout=5)]
                self.assertEqual([a.result for a in answers], [pb.KEEP_ALIVE_RESULT_DENIED] * 2)
            # Repeating what opened a session tells its secret to who opened it, to nobody else.
            ids.add(locks.OpenSession(pb.OpenSessionRequest(**opening), timeout=5).session_id)
        self.assertEqual(len(ids), 1 + len(others))
        self.assertEqual(session.keep_alive().result, pb.KEEP_ALIVE_RESULT_ALIVE)
        self.assertEqual(session.keep_alive().hold_count, 1)
        session.close()

    def test_nearly_the_right_secret_is_a_wrong_one(self):
        session = self.session("guessed", certificate="locker")
        for at in range(32):
            digit = "%x" % (int(session.secret[at], 16) ^ 1 << at % 4)
            guess = session.secret[:at] + digit + session.secret[at + 1:]
            self.assertEqual(session.keep_alive(secret=guess).result,
                             stubs.lock_pb2.KEEP_ALIVE_RESULT_DENIED)
        self.assertEqual(session.keep_alive().result, stubs.lock_pb2.KEEP_ALIVE_RESULT_ALIVE)
        session.close()

    def test_the_secret_of_a_session_is_shown_nowhere(self):
        session = self.session("hidden", certificate="locker")
        self.assert_granted(session.acquire("in/hidden"))
        session.keep_alive()
        refusal_of(lambda: self.client(certificate="admin").locks.CloseSession(
            stubs.lock_pb2.CloseSessionRequest(session_id=session.id, secret=session.secret),
            timeout=5))
        shown = []
        for node in self.region.nodes:
            client = self.client(node, "tester")
            shown += [answer.SerializeToString() for answer in (
                client.locks.ListSessions(stubs.lock_pb2.ListSessionsRequest(), timeout=5),
                client.locks.GetSession(stubs.lock_pb2.GetSessionRequest(session_id=session.id),
                                        timeout=5),
                client.list(), client.get("in/hidden"), client.status())]
            shown += [node.http(page)[2].encode() for page in (
                "/actuator", "/actuator/health", "/actuator/info", "/actuator/metrics",
                "/actuator/loggers", "/actuator/prometheus")]
            shown.append(node.log().encode())
            for file in ("status", "tally"):
                with open(os.path.join(node.run_dir, file), "rb") as opened:
                    shown.append(opened.read())
        self.assertTrue(any(b"hidden" in text for text in shown))
        for text in shown:
            self.assertNotIn(session.secret.encode(), text)
            self.assertNotIn(bytes.fromhex(session.secret), text)
        session.close()

    # ---- tokens ----

    def test_s12_the_same_owner_and_id_of_two_tokens_are_two(self):
        leader = self.region.leader()
        follower = next(node for node in self.region.nodes if node is not leader)
        one = self.client(leader, token=self.TOKENS["ci"])
        grant = self.assert_granted(one.acquire("ci/whose", "worker", request_id="one"))
        other = self.client(follower, token=self.TOKENS["other"])
        self.assertNotEqual(other.acquire("ci/whose", "worker", request_id="one").result, GRANTED)
        self.assert_refused(lambda: other.release("ci/whose", "worker", grant.hold_id),
                            grpc.StatusCode.FAILED_PRECONDITION, "STALE_HOLD")
        again = self.client(follower, token=self.TOKENS["ci"])
        self.assertEqual(again.acquire("ci/whose", "worker", request_id="one").token, grant.token)
        again.release("ci/whose", "worker", grant.hold_id)

    def test_a_wrong_token_is_refused_whatever_the_certificate_says(self):
        client = self.client(certificate="tester", token="guess")
        for call in CALLS:
            self.assertEqual(run(client, call, "in/a").reason, "UNAUTHENTICATED", call)

    def test_tokens_change_without_a_restart_and_without_a_gap(self):
        node = self.region.node(2)
        old, new = self.TOKENS["ci"], "second-token-of-ci"
        pids = {n.name: n.actor_pids() for n in self.region.nodes}
        before, after = self.client(node, token=old), self.client(node, token=new)
        self.assertEqual(run(after, "get", "ci/a").reason, "UNAUTHENTICATED")
        try:
            self.write(self.text + "token ci %s\n" % digest(new))
            wait_for("both tokens count", lambda: run(after, "get", "ci/a") is None, 10)
            self.assertIsNone(run(before, "get", "ci/a"))
            self.write(self.text.replace(digest(old), digest(new)))
            wait_for("the old one does not", lambda: run(before, "get", "ci/a") is not None, 10)
            self.assertIsNone(run(after, "get", "ci/a"))
        finally:
            self.restore(before)
        self.assertEqual(pids, {n.name: n.actor_pids() for n in self.region.nodes})

    def restore(self, client):
        self.write(self.text)
        wait_for("the file is as it was", lambda: run(client, "get", "ci/a") is None, 10)

    def test_a_file_with_a_mistake_changes_nothing(self):
        node, client = self.region.node(3), self.client(self.region.node(3), "locker")
        try:
            self.write("grant locker reader in/\ngrant x\n")
            wait_for("the log says so", lambda: "access:2 must be: grant" in node.log(), 10)
            self.assertIsNone(run(client, "acquire", "in/kept"))
        finally:
            self.write(self.text)
            time.sleep(1.5)

    def lockctl(self, *arguments, **environment):
        return subprocess.run([os.path.join(BIN, "lockctl"), *arguments], capture_output=True,
                              text=True, check=False, env={
                                  **clean_environment(), **environment,
                                  "LOCKCTL_ENDPOINTS": self.region.node(1).address})

    def test_lockctl_shows_a_token_from_a_file_or_the_environment(self):
        ca, token = self.certs.path("ca.crt"), self.TOKENS["ci"]
        path = self.certs.path("token")
        with open(path, "w", encoding="utf-8") as file:
            file.write(token + "\n")
        for arguments, environment, code in (
                (("--token-file", path), {}, 0), ((), {"LOCKCTL_TOKEN_FILE": path}, 0),
                ((), {"LOCKCTL_TOKEN": token}, 0), ((), {"LOCKCTL_TOKEN": "guess"}, 5),
                (("--token-file", path), {"LOCKCTL_TOKEN": "guess"}, 0),
                (("--token-file", "/nowhere"), {}, 2), ((), {"LOCKCTL_TOKEN": "two words"}, 2),
                ((), {}, 5)):
            ran = self.lockctl("get", "ci/a", "--cacert", ca, *arguments, **environment)
            self.assertEqual(ran.returncode, code, "%s %s: %s" % (arguments, environment, ran.stderr))
        self.assertEqual(self.lockctl("acquire", "in/a", "--cacert", ca, "--owner", "me",
                                      LOCKCTL_TOKEN=token).returncode, 5)
        ran = self.lockctl("get", "ci/a", LOCKCTL_TOKEN=token)
        self.assertEqual(ran.returncode, 2)
        self.assertIn("over TLS only", ran.stderr)

    # ---- what is written down ----

    def test_refusals_are_counted_and_audited_and_tokens_are_in_no_log(self):
        node = self.region.node(2)
        counted = {reason: self.refused_count(node, reason)
                   for reason in ("outside_prefix", "token_unknown", "no_name")}
        run(self.client(node, "locker"), "acquire", "out/of\nreach")
        run(self.client(node, token="guessed-token"), "get", "in/a")
        run(self.client(node), "get", "in/a")
        for reason, before in counted.items():
            wait_for(reason, lambda: self.refused_count(node, reason) > before, 10)
        lines = [line for line in node.log().splitlines() if "audit refused" in line]
        self.assertTrue(any('reason=outside_prefix method=Acquire identity="locker" '
                            'name="out/of\\x0areach" from=ipv4:127.0.0.1:' in line
                            for line in lines), lines)
        for node in self.region.nodes:
            for secret in (*self.TOKENS.values(), "guessed-token"):
                self.assertNotIn(secret, node.log())

    def test_a_flood_of_refusals_does_not_fill_the_log(self):
        node = self.region.node(3)
        client, begin = self.client(node, "nobody"), time.monotonic()
        before = node.log().count("audit refused")
        for _ in range(1000):
            run(client, "get", "in/a")
        seconds = time.monotonic() - begin
        wait_for("what is missing is said", lambda: "audit left out" in node.log(), 10)
        self.assertLessEqual(node.log().count("audit refused") - before, 20 * (seconds + 2))

    def test_failed_handshakes_are_counted_and_the_end_of_the_certificate_is_told(self):
        node = self.region.node(1)
        name = "lockmgr_tls_handshakes_failed_total"
        before = node.metric(name)
        client = Client(node.address, self.strangers.credentials("tester"))
        self.addCleanup(client.close)
        refusal_of(lambda: client.get("in/a", timeout=2))
        wait_for("it is counted", lambda: (node.metric(name) or 0) > before, 10)
        days = (node.metric("lockmgr_tls_certificate_expiry_timestamp_seconds")
                - time.time()) / 86400
        self.assertTrue(29 < days < 31, days)


class Plaintext(ClusterCase):
    N_NODES = 1
    SETTINGS = {"listen": None}  # the default

    def test_without_tls_nobody_outside_of_this_machine_reaches_it(self):
        node, found = self.region.node(1), {}
        ports = {node.grpc_port, node.region_port, node.actuator_port}
        for path in ("/proc/net/tcp", "/proc/net/tcp6"):
            with open(path, encoding="ascii") as file:
                for words in map(str.split, file.readlines()[1:]):
                    address, port = words[1].split(":")
                    if words[3] == "0A" and int(port, 16) in ports:  # LISTEN
                        found.setdefault(address, set()).add(int(port, 16))
        self.assertEqual(set().union(*found.values()), ports)
        self.assertLessEqual(set(found), {"0100007F", "0000000000000000FFFF00000100007F"})
        self.assertIn("there is no tls: connections to 127.0.0.1 are not encrypted", node.log())

    def test_a_token_in_plaintext_is_refused_and_the_caller_is_told(self):
        service = self.region.node(1).client.locks
        refusal = self.assert_refused(lambda: service.Get(
            stubs.lock_pb2.GetRequest(name="a"), timeout=5,
            metadata=(("authorization", "Bearer secret"),)), UNAUTHENTICATED, "UNAUTHENTICATED")
        self.assertIn("over TLS only", refusal.text)
        self.assertNotIn("secret", self.region.node(1).log())


class Configuration(unittest.TestCase):
    """lockmgrd --check looks into the file of access."""

    def check(self, text, tls=True):
        certs = Certs()
        self.addCleanup(certs.close)
        with Region(1, certs=certs if tls else None, start=False) as region:
            path = certs.path("access")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            from region import merged, write_config
            node = region.node(1)
            write_config(node.config_path, merged(node.config(), {"access": path}))
            ran = subprocess.run([os.path.join(BIN, "lockmgrd"), "--config", node.config_path,
                                  "--check"], capture_output=True, text=True, check=False,
                                 env=clean_environment())
        return ran.returncode, ran.stderr

    def test_every_mistake_is_told_with_its_line(self):
        self.assertEqual(self.check("grant a admin \"\"\n"), (0, ""))
        code, said = self.check("grant a\n\ntoken b secret\n")
        self.assertEqual(code, 78)
        self.assertIn("access:1: must be: grant", said)
        self.assertIn("access:3: must have the 64 hex digits", said)

    def test_the_example_is_good(self):
        with open(os.path.join(ROOT, "deploy", "access.example"), encoding="utf-8") as file:
            self.assertEqual(self.check(file.read()), (0, ""))

    def test_access_needs_tls(self):
        code, said = self.check("grant a admin \"\"\n", tls=False)
        self.assertEqual(code, 78)
        self.assertIn("access needs tls", said)


if __name__ == "__main__":
    main()
