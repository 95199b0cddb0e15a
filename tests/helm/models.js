// Holds objects of Kubernetes, Istio and the Prometheus operator against their models.
//
// Reads a JSON list of objects from standard input, prints one line per problem, and the number of
// objects last. Models look at every field that they know and at no other: objects are handed to
// them behind a listener, and a field that nobody has looked at is one that does not exist.
const groups = {
  "": "kubernetes-models/v1",
  apps: "kubernetes-models/apps/v1",
  policy: "kubernetes-models/policy",
  "networking.k8s.io": "kubernetes-models/networking.k8s.io/v1",
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
  "networking.istio.io": "@kubernetes-models/istio/networking.istio.io/v1beta1",
  "security.istio.io": "@kubernetes-models/istio/security.istio.io/v1beta1",
};

function modelOf(object) {
  const [group, version] = object.apiVersion.includes("/") ? object.apiVersion.split("/") : ["", object.apiVersion];
  if (!(group in groups)) throw new Error(`no model of ${object.apiVersion}`);
  const name = group === "policy" ? `${groups.policy}/${version}` : groups[group];
  const model = require(name)[object.kind];
  if (!model || model.apiVersion && model.apiVersion !== object.apiVersion)
    throw new Error(`no model of ${object.apiVersion} ${object.kind}`);
  return model;
}

function listen(value, path, unseen, prototype) {
  if (value === null || typeof value !== "object") return value;
  const copy = Array.isArray(value) ? [] : Object.create(prototype);
  for (const key of Object.keys(value)) {
    const at = `${path}/${key}`;
    if (!Array.isArray(value)) unseen.set(at, true);
    copy[key] = listen(value[key], at, unseen, Object.prototype);
  }
  return new Proxy(copy, {
    get(target, key) {
      if (typeof key === "string") unseen.delete(`${path}/${key}`);
      return target[key];
    },
  });
}

function check(object) {
  const problems = [];
  const unseen = new Map();
  try {
    const heard = listen(object, "", unseen, modelOf(object).prototype);
    heard.validate();
  } catch (error) {
    problems.push(error.message);
  }
  // Below a field that does not exist nothing is looked at either: the topmost one is enough.
  const paths = [...unseen.keys()];
  for (const path of paths)
    if (!paths.some((other) => path.startsWith(`${other}/`))) problems.push(`${path}: there is no such field`);
  return problems;
}

const objects = JSON.parse(require("fs").readFileSync(0, "utf8"));
for (const object of objects)
  for (const problem of check(object))
    console.log(`${object.kind} ${(object.metadata || {}).name}: ${problem}`);
console.log(objects.length);
