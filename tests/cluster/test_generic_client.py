"""A generic client knows nothing but what server reflection tells it."""

import json
import os
import subprocess
import unittest

import grpc
from google.protobuf import descriptor_pb2

import stubs
from cluster_case import ClusterCase, main
from region import ROOT, clean_environment

BUF = os.path.join(ROOT, "scripts", "buf")
SERVICES = {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection", "lockmgr.v1.AdminService",
            "lockmgr.v1.LockService"}


class BufCurl(ClusterCase):
    """buf's curl: JSON in, JSON out."""

    N_NODES = 1

    @classmethod
    def setUpClass(cls):
        try:
            tried = subprocess.run([BUF, "--version"], capture_output=True, text=True, timeout=300,
                                   env=clean_environment())
        except subprocess.TimeoutExpired:
            raise unittest.SkipTest("buf could not be installed in 300 s") from None
        if tried.returncode != 0:
            raise unittest.SkipTest("buf cannot be installed here: " + tried.stderr[-300:])
        super().setUpClass()

    def buf_curl(self, *arguments, status=0):
        done = subprocess.run([BUF, "curl", "--protocol", "grpc", "--http2-prior-knowledge",
                               *arguments], capture_output=True, text=True, timeout=60,
                              env=clean_environment())
        self.assertEqual(done.returncode == 0, status == 0, done.stderr + done.stdout)
        return done

    def call(self, method, **body):
        url = "http://%s/lockmgr.v1.LockService/%s" % (self.region.node(1).address, method)
        return json.loads(self.buf_curl("-d", json.dumps(body), url).stdout)

    def test_methods_are_listed(self):
        listed = self.buf_curl("--list-methods", "http://" + self.region.node(1).address).stdout
        for method in ("Acquire", "Release", "Renew", "Cancel", "Get", "List"):
            self.assertIn("lockmgr.v1.LockService/" + method, listed)
        self.assertIn("lockmgr.v1.AdminService/GetStatus", listed)
        self.assertNotIn("Forward", listed)

    def test_acquire_get_release(self):
        taken = self.call("Acquire", name="buf/demo", owner="buf", ttlMs="20000")
        self.assertEqual(taken["result"], "ACQUIRE_RESULT_GRANTED")
        self.assertGreater(int(taken["token"]), 0)
        shown = self.call("Get", name="buf/demo")
        self.assertEqual(shown["lock"]["holders"][0]["owner"], "buf")
        self.assertEqual(shown["lock"]["holders"][0]["token"], taken["token"])
        held = self.call("Acquire", name="buf/demo", owner="other")
        self.assertEqual(held["result"], "ACQUIRE_RESULT_HELD")
        released = self.call("Release", name="buf/demo", owner="buf", holdId=taken["holdId"])
        self.assertEqual(released["token"], taken["token"])
        next_one = self.call("Acquire", name="buf/demo", owner="other", waitMs="1000")
        self.assertGreater(int(next_one["token"]), int(taken["token"]))

    def test_errors_come_with_their_details(self):
        url = "http://%s/lockmgr.v1.LockService/Acquire" % self.region.node(1).address
        done = self.buf_curl("-d", '{"name": "x"}', url, status=1)
        self.assertIn("invalid_argument", done.stderr)
        self.assertIn("owner", done.stderr)


class Reflection(ClusterCase):
    """Both versions of the reflection service, asked by hand."""

    N_NODES = 1
    VERSIONS = ((stubs.reflection_pb2, stubs.reflection_grpc),
                (stubs.reflection_alpha_pb2, stubs.reflection_alpha_grpc))

    def ask(self, version, *questions):
        messages, services = version
        service = services.ServerReflectionStub(self.region.node(1).client.channel)
        requests = [messages.ServerReflectionRequest(host="", **question)
                    for question in questions]
        return list(service.ServerReflectionInfo(iter(requests), timeout=10))

    def test_services(self):
        for version in self.VERSIONS:
            answer, = self.ask(version, {"list_services": "*"})
            self.assertEqual({one.name for one in answer.list_services_response.service}, SERVICES)

    def test_files_are_complete(self):
        for version in self.VERSIONS:
            for symbol in sorted(SERVICES) + ["lockmgr.v1.AcquireRequest",
                                              "lockmgr.v1.LockService.Acquire"]:
                answer, = self.ask(version, {"file_containing_symbol": symbol})
                files = {}
                for body in answer.file_descriptor_response.file_descriptor_proto:
                    file = descriptor_pb2.FileDescriptorProto.FromString(body)
                    files[file.name] = file
                self.assertTrue(files, symbol)
                for file in files.values():
                    self.assertLessEqual(set(file.dependency), set(files), symbol)

    def test_several_questions_on_one_stream(self):
        for version in self.VERSIONS:
            answers = self.ask(version, {"file_by_filename": "lockmgr/v1/lock_service.proto"},
                               {"file_containing_symbol": "no.such.Symbol"},
                               {"file_by_filename": "no/such/file.proto"},
                               {"list_services": ""})
            self.assertEqual([one.WhichOneof("message_response") for one in answers],
                             ["file_descriptor_response", "error_response", "error_response",
                              "list_services_response"])
            for one in answers[1:3]:
                self.assertEqual(one.error_response.error_code,
                                 grpc.StatusCode.NOT_FOUND.value[0])


if __name__ == "__main__":
    main()
