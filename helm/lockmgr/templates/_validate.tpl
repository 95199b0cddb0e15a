{{/* What a schema cannot say. */}}
{{- define "lockmgr.validate" -}}
{{- $v := .Values }}
{{- $raft := $v.raft }}
{{- if gt (mul 2 (int64 $raft.heartbeatIntervalMs)) (int64 $raft.electionTimeoutMs) }}
{{- fail (printf "raft.heartbeatIntervalMs (%d) must be at most half of raft.electionTimeoutMs (%d)" (int64 $raft.heartbeatIntervalMs) (int64 $raft.electionTimeoutMs)) }}
{{- end }}
{{- if gt (int64 $v.lock.minTimeoutMs) (int64 $v.lock.defaultTimeoutMs) }}
{{- fail (printf "lock.minTimeoutMs (%d) must not be above lock.defaultTimeoutMs (%d)" (int64 $v.lock.minTimeoutMs) (int64 $v.lock.defaultTimeoutMs)) }}
{{- end }}
{{- if gt (int64 $v.lock.defaultTimeoutMs) (int64 $v.lock.maxTimeoutMs) }}
{{- fail (printf "lock.defaultTimeoutMs (%d) must not be above lock.maxTimeoutMs (%d)" (int64 $v.lock.defaultTimeoutMs) (int64 $v.lock.maxTimeoutMs)) }}
{{- end }}
{{- $age := int64 $v.grpc.maxConnectionAgeMs }}
{{- if and (gt $age 0) (lt $age 1000) }}
{{- fail (printf "grpc.maxConnectionAgeMs (%d) must be 0 (never) or at least 1000" $age) }}
{{- end }}
{{- if lt (int64 $v.replicaCount) (include "lockmgr.voters" . | int64) }}
{{- fail (printf "replicaCount: %s nodes formed this region and vote; %d of them cannot go on without the others" (include "lockmgr.voters" .) (int64 $v.replicaCount)) }}
{{- end }}
{{- $voters := include "lockmgr.voters" . | int64 }}
{{- $spare := max 1 (div (sub $voters 1) 2) }}
{{- if and $v.pdb.enabled (gt (int64 $v.pdb.maxUnavailable) $spare) }}
{{- fail (printf "pdb.maxUnavailable (%d): of %d nodes that vote at most %d may be missing at a time" (int64 $v.pdb.maxUnavailable) $voters $spare) }}
{{- end }}
{{- $ownKey := printf "%s-peer-key" (include "lockmgr.fullname" .) }}
{{- if eq $v.peerKey.existingSecret $ownKey }}
{{- $secret := default (dict) (lookup "v1" "Secret" .Release.Namespace $ownKey) }}
{{- $annotations := default (dict) (get (default (dict) (get $secret "metadata")) "annotations") }}
{{- if eq (default "" (get $annotations "meta.helm.sh/release-name")) .Release.Name }}
{{- fail (printf "peerKey.existingSecret: %s is of this release, which would remove it; copy it to a Secret of another name" $ownKey) }}
{{- end }}
{{- end }}
{{- range $key, $_ := $v.config }}
{{- if has $key (splitList " " (include "lockmgr.ownKeys" $)) }}
{{- fail (printf "config.%s: other objects depend on it, so values of the chart make it" $key) }}
{{- end }}
{{- end }}
{{- $ports := list }}
{{- $named := list (list "service.grpcPort" $v.service.grpcPort) (list "service.regionPort" $v.service.regionPort) (list "service.actuatorPort" $v.service.actuatorPort) }}
{{- if $raft.port }}
{{- $named = append $named (list "raft.port" $raft.port) }}
{{- end }}
{{- range $named }}
{{- $key := index . 0 }}
{{- $port := int64 (index . 1) }}
{{- if has $port $ports }}
{{- fail (printf "%s: port %d is used twice; service.grpcPort, regionPort, actuatorPort and raft.port must differ" $key $port) }}
{{- end }}
{{- if and (ge $port 15000) (le $port 15090) }}
{{- fail (printf "%s: ports 15000 to 15090 belong to Istio's sidecar, not %d" $key $port) }}
{{- end }}
{{- if lt $port 1024 }}
{{- fail (printf "%s: the node is not root and cannot listen on port %d; 1024 and above" $key $port) }}
{{- end }}
{{- $ports = append $ports $port }}
{{- end }}
{{- range $v.service.extraPorts }}
{{- if has (int64 .port) $ports }}
{{- fail (printf "service.extraPorts: %d is a port of the node" (int64 .port)) }}
{{- end }}
{{- end }}
{{- $regions := list (lower $v.region.id) }}
{{- range $v.region.peers }}
{{- if eq (lower .regionId) (lower $v.region.id) }}
{{- fail (printf "region.peers: %q is region.id, this region itself" .regionId) }}
{{- end }}
{{- if has (lower .regionId) $regions }}
{{- fail (printf "region.peers: the region %q is there twice" .regionId) }}
{{- end }}
{{- $regions = append $regions (lower .regionId) }}
{{- $namespace := default (include "lockmgr.namespaceOfHost" (dict "root" $ "host" .host)) .namespace }}
{{- if and (eq (include "lockmgr.regionTrust" $) "trusted") (not $namespace) }}
{{- fail (printf "region.peers: %q is not a Service of this cluster. Give its namespace in the mesh (namespace), or let regions prove themselves by region.keySecret or tls" .host) }}
{{- end }}
{{- end }}
{{- if and $v.tls.enabled (not $v.tls.existingSecret) }}
{{- fail "tls.enabled needs tls.existingSecret, the Secret with tls.crt, tls.key and ca.crt" }}
{{- end }}
{{- if and $v.access.existingSecret (not $v.tls.enabled) }}
{{- fail "access.existingSecret needs tls.enabled: tokens are not taken in plaintext" }}
{{- end }}
{{- if and $v.actuator.token.existingSecret $v.istio.enabled $v.istio.metricsMerge }}
{{- fail "istio.metricsMerge: the sidecar that asks for the metrics has no token; leave it off, or actuator.token" }}
{{- end }}
{{- if eq $v.readinessProbe.type "grpc" }}
{{- if $v.tls.enabled }}
{{- fail "readinessProbe.type grpc: the kubelet does not speak TLS there; use tcp or http" }}
{{- end }}
{{- if semverCompare "<1.24-0" .Capabilities.KubeVersion.Version }}
{{- fail "readinessProbe.type grpc needs Kubernetes 1.24; use tcp or http" }}
{{- end }}
{{- end }}
{{- if and $v.istio.authorizationPolicy.enabled $v.istio.authorizationPolicy.monitoringNamespaces $v.istio.peerAuthentication.actuatorPermissive }}
{{- fail "istio.authorizationPolicy.monitoringNamespaces would deny whom istio.peerAuthentication.actuatorPermissive lets in: who is outside the mesh has no namespace" }}
{{- end }}
{{- if lt (include "lockmgr.stopSeconds" . | int64) 12 }}
{{- fail (printf "terminationGracePeriodSeconds: of %d, lifecycle.preStop.seconds leave %s; stopping needs 12" (int64 $v.terminationGracePeriodSeconds) (include "lockmgr.stopSeconds" .)) }}
{{- end }}
{{- $stop := min 600 (sub (include "lockmgr.stopSeconds" . | int64) 4) }}
{{- if gt (mul 2 (int64 $v.stopDelaySeconds)) $stop }}
{{- fail (printf "stopDelaySeconds (%d) must be at most half of the time for a stop, here %d s: terminationGracePeriodSeconds less 4 and what lifecycle.preStop takes" (int64 $v.stopDelaySeconds) $stop) }}
{{- end }}
{{- if and $v.lifecycle.preStop.enabled (semverCompare "<1.30-0" .Capabilities.KubeVersion.Version) }}
{{- fail "lifecycle.preStop needs Kubernetes 1.30, where the kubelet itself can wait: the image has no program for it" }}
{{- end }}
{{- range $where := list "podSecurityContext" "securityContext" }}
{{- if eq (int64 (default 0 (index $v $where).runAsUser)) 1337 }}
{{- fail (printf "%s.runAsUser: 1337 is the user of Istio's sidecar" $where) }}
{{- end }}
{{- end }}
{{- if and $v.metrics.podMonitor.enabled $v.metrics.serviceMonitor.enabled }}
{{- fail "metrics.podMonitor and metrics.serviceMonitor would scrape everything twice; enable one of them" }}
{{- end }}
{{- end }}
