"""An API server of Kubernetes that has no more than Helm asks for when it only tries: its version, the
groups that it serves, and a few objects. Nothing can be changed."""

import http.server
import json
import threading


def kinds(*rows):
    return [{"name": name, "kind": kind, "namespaced": True, "verbs": ["get", "list", "create"]}
            for name, kind in rows]


RESOURCES = {
    "v1": kinds(("secrets", "Secret"), ("services", "Service"), ("configmaps", "ConfigMap"),
                ("serviceaccounts", "ServiceAccount"), ("pods", "Pod")),
    "apps/v1": kinds(("statefulsets", "StatefulSet")),
    "policy/v1": kinds(("poddisruptionbudgets", "PodDisruptionBudget")),
    "policy/v1beta1": kinds(("poddisruptionbudgets", "PodDisruptionBudget")),
    "networking.k8s.io/v1": kinds(("networkpolicies", "NetworkPolicy")),
    "networking.istio.io/v1beta1": kinds(
        ("virtualservices", "VirtualService"), ("destinationrules", "DestinationRule"),
        ("serviceentries", "ServiceEntry")),
    "security.istio.io/v1beta1": kinds(("peerauthentications", "PeerAuthentication"),
                                       ("authorizationpolicies", "AuthorizationPolicy")),
}


class ApiServer:
    def __init__(self, minor=30, groups=(), objects=()):
        self.minor = minor
        self.served = ["v1", "apps/v1", "policy/v1", "policy/v1beta1", "networking.k8s.io/v1", *groups]
        self.objects = {self.path_of(one): one for one in objects}

    @staticmethod
    def path_of(one):
        version = one["apiVersion"]
        name = next(row["name"] for row in RESOURCES[version] if row["kind"] == one["kind"])
        return "%s/namespaces/%s/%s/%s" % (base_of(version), one["metadata"]["namespace"], name,
                                           one["metadata"]["name"])

    def answer(self, path):
        if path == "/version":
            return {"major": "1", "minor": str(self.minor), "gitVersion": "v1.%d.0" % self.minor}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": self.groups()}
        for version in self.served:
            if path == base_of(version):
                return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version,
                        "resources": RESOURCES[version]}
        if path in self.objects:
            return self.objects[path]
        if path.endswith("/secrets"):
            return {"kind": "SecretList", "apiVersion": "v1", "items": []}
        return None

    def groups(self):
        by_name = {}
        for version in self.served[1:]:
            group, short = version.split("/")
            by_name.setdefault(group, []).append({"groupVersion": version, "version": short})
        return [{"name": name, "versions": versions, "preferredVersion": versions[0]}
                for name, versions in by_name.items()]

    def __enter__(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = outer.answer(self.path.split("?")[0])
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body or {
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
                    "code": 404}).encode())

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def base_of(version):
    return ("/apis/" if "/" in version else "/api/") + version
