{{/* What the chart sets in lockmgr.cfg, as YAML. The name of the node, one of peers, comes from the pod as
     LOCKMGR_NODE. */}}
{{- define "lockmgr.settings" -}}
{{- $v := .Values -}}
data_dir: /var/lib/lockmgr/node
run_dir: /run/lockmgr
{{- /* Before the kubelet's patience is over. */}}
stop_timeout_ms: {{ min 600000 (mul 1000 (sub (include "lockmgr.stopSeconds" $ | int64) 4)) }}
{{- /* Services hear of the stop meanwhile. */}}
stop_delay_ms: {{ mul 1000 (int64 $v.stopDelaySeconds) }}
listen: {{ $v.listen | quote }}
{{- if $v.tls.enabled }}
tls:
  ca: /etc/lockmgr-tls/ca.crt
  {{- if $v.tls.peerCa }}
  peer_ca: /etc/lockmgr-tls/peer-ca.crt
  {{- end }}
  cert: /etc/lockmgr-tls/tls.crt
  key: /etc/lockmgr-tls/tls.key
  client_auth: {{ $v.tls.clientAuth | quote }}
{{- if $v.access.existingSecret }}
access: /etc/lockmgr-access/access
{{- end }}
{{- else }}
peer_key: /etc/lockmgr-keys/peer.key
{{- end }}
replica_count: {{ int64 $v.replicaCount }}
peers:
  {{- range $i := until (int $v.replicaCount) }}
  - name: "{{ include "lockmgr.fullname" $ }}-{{ $i }}"
    host: "{{ include "lockmgr.fullname" $ }}-{{ $i }}.{{ include "lockmgr.headlessHost" $ }}"
    grpc_port: {{ int64 $v.service.grpcPort }}
  {{- end }}
region:
  id: {{ $v.region.id | quote }}
  {{- if eq (include "lockmgr.regionTrust" .) "key" }}
  peer_key: /etc/lockmgr-region/region.key
  {{- else if eq (include "lockmgr.regionTrust" .) "trusted" }}
  peer_auth: trusted
  {{- end }}
  peers: {{- if not $v.region.peers }} []{{ end }}
    {{- range $v.region.peers }}
    - region_id: {{ .regionId | quote }}
      host: {{ .host | trimSuffix "." | quote }}
      port: {{ int64 .port }}
    {{- end }}
raft:
  election_timeout_ms: {{ int64 $v.raft.electionTimeoutMs }}
  heartbeat_interval_ms: {{ int64 $v.raft.heartbeatIntervalMs }}
  snapshot_bytes: {{ int64 $v.raft.snapshotBytes }}
  trailing_entries: {{ int64 $v.raft.trailingEntries }}
lock:
  default_timeout_ms: {{ int64 $v.lock.defaultTimeoutMs }}
  max_timeout_ms: {{ int64 $v.lock.maxTimeoutMs }}
  min_timeout_ms: {{ int64 $v.lock.minTimeoutMs }}
grpc:
  max_connection_age_ms: {{ int64 $v.grpc.maxConnectionAgeMs }}
  max_connection_age_grace_ms: {{ int64 $v.grpc.maxConnectionAgeGraceMs }}
  keepalive_time_ms: {{ int64 $v.grpc.keepaliveTimeMs }}
  keepalive_timeout_ms: {{ int64 $v.grpc.keepaliveTimeoutMs }}
  keepalive_min_interval_ms: {{ int64 $v.grpc.keepaliveMinIntervalMs }}
  reflection: {{ ternary "on" "off" $v.grpc.reflection | quote }}
service:
  grpc_port: {{ int64 $v.service.grpcPort }}
  region_port: {{ int64 $v.service.regionPort }}
  {{- if $v.raft.port }}
  raft_port: {{ int64 $v.raft.port }}
  {{- end }}
  actuator_port: {{ int64 $v.service.actuatorPort }}
actuator:
  exposure:
    include: {{ toJson $v.actuator.exposure.include }}
  health_details: {{ $v.actuator.healthDetails | quote }}
  {{- if $v.actuator.token.existingSecret }}
  token: /etc/lockmgr-actuator/tokens
  {{- end }}
  lock_names: {{ $v.actuator.lockNames | quote }}
log:
  level: {{ $v.logging.level | quote }}
  format: {{ $v.logging.format | quote }}
limits:
  waiters_per_lock_max: {{ int64 $v.limits.waitersPerLockMax }}
  locks_max: {{ int64 $v.limits.locksMax }}
  holds_per_owner_max: {{ int64 $v.limits.holdsPerOwnerMax }}
  record_ring_size: {{ int64 $v.limits.recordRingSize }}
  sessions_max: {{ int64 $v.limits.sessionsMax }}
  session_window: {{ int64 $v.limits.sessionWindow }}
  concurrent_streams_max: {{ int64 $v.limits.concurrentStreamsMax }}
  request_bytes_max: {{ int64 $v.limits.requestBytesMax }}
  connections_per_address_max: {{ if kindIs "invalid" $v.limits.connectionsPerAddressMax }}{{ ternary 0 1000 $v.istio.enabled }}{{ else }}{{ int64 $v.limits.connectionsPerAddressMax }}{{ end }}
{{- end }}

{{/* Keys of lockmgr.cfg that other objects depend on: values of the chart set them, and `config` does not. */}}
{{- define "lockmgr.ownKeys" -}}
node data_dir run_dir stop_timeout_ms stop_delay_ms tls access peer_key replica_count peers region service
{{- end }}

{{/* lockmgr.cfg: the above, and over it what `config` says. */}}
{{- define "lockmgr.config" -}}
{{- mustMergeOverwrite (include "lockmgr.settings" . | fromYaml) (deepCopy .Values.config) | include "lockmgr.libconfigKeys" }}
{{- end }}

{{/* The keys of a group. What is null is not there. */}}
{{- define "lockmgr.libconfigKeys" -}}
{{- range $key, $one := . }}
{{- if not (kindIs "invalid" $one) }}
{{ $key }} = {{ include "lockmgr.libconfig" $one }};
{{- end }}
{{- end }}
{{- end }}

{{/* A value in the form of libconfig. Numbers from YAML have no kind of their own; those above 2^31 need an L. */}}
{{- define "lockmgr.libconfig" -}}
{{- if kindIs "map" . -}}
{
    {{- include "lockmgr.libconfigKeys" . | replace "\n" "\n    " }}
}
{{- else if kindIs "slice" . -}}
{{- $groups := or (not .) (kindIs "map" (first .)) -}}
{{ ternary "(" "[" $groups }}
{{- range $i, $one := . }}{{ if $i }},{{ end }}
    {{ include "lockmgr.libconfig" $one | replace "\n" "\n    " }}
{{- end }}
{{ ternary ")" "]" $groups }}
{{- else if kindIs "string" . -}}
{{ toJson . }}
{{- else if kindIs "bool" . -}}
{{ . }}
{{- else -}}
{{- if ne (float64 .) (float64 (int64 .)) }}{{ fail (printf "config: %v is not a whole number" .) }}{{ end -}}
{{ int64 . }}{{ if gt (int64 .) 2147483647 }}L{{ end }}
{{- end }}
{{- end }}
