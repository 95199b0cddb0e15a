{{/* Names and labels. A name leaves room for what Kubernetes adds to it in labels of pods. */}}
{{- define "lockmgr.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "lockmgr.fullname" -}}
{{- $name := include "lockmgr.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "lockmgr.headless" -}}
{{ include "lockmgr.fullname" . }}-headless
{{- end }}

{{- define "lockmgr.host" -}}
{{ include "lockmgr.fullname" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end }}

{{- define "lockmgr.headlessHost" -}}
{{ include "lockmgr.headless" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end }}

{{- define "lockmgr.selectorLabels" -}}
app.kubernetes.io/name: {{ include "lockmgr.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
{{- end }}

{{/* Of every object. What selectors and Helm go by is not the user's to change. */}}
{{- define "lockmgr.labels" -}}
{{- $own := include "lockmgr.selectorLabels" . | fromYaml }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- toYaml (mustMerge $own .Values.commonLabels) }}
{{- end }}

{{/* What is under metadata of an object. (dict "root" $ "name" NAME "labels" MAP "annotations" MAP); the
     last two may be left out, and win over the general ones. */}}
{{- define "lockmgr.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace | toYaml }}
labels:
  {{- mustMergeOverwrite (include "lockmgr.labels" .root | fromYaml) (default (dict) .labels) | toYaml | nindent 2 }}
{{- with mustMerge (dict) (default (dict) .annotations) (default (dict) .root.Values.commonAnnotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "lockmgr.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "lockmgr.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "lockmgr.image" -}}
{{- with .Values.image -}}
{{- with .registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ kindIs "string" .tag | ternary .tag (int64 .tag) }}{{ end }}
{{- end }}
{{- end }}

{{- define "lockmgr.peerKeySecret" -}}
{{- default (printf "%s-peer-key" (include "lockmgr.fullname" .)) .Values.peerKey.existingSecret }}
{{- end }}

{{/* How many nodes formed the region, and vote: the StatefulSet remembers it. */}}
{{- define "lockmgr.voters" -}}
{{- $there := lookup "apps/v1" "StatefulSet" .Release.Namespace (include "lockmgr.fullname" .) }}
{{- $kept := get (default (dict) (default (dict) $there.metadata).annotations) "lockmgr/voters" }}
{{- default (int64 .Values.replicaCount | toString) $kept }}
{{- end }}

{{/* How other regions prove themselves: tls, key, trusted (the mesh vouches for them), or none. */}}
{{- define "lockmgr.regionTrust" -}}
{{- if .Values.tls.enabled }}tls
{{- else if .Values.region.keySecret }}key
{{- else if .Values.region.peers }}trusted
{{- else }}none
{{- end }}
{{- end }}

{{/* Of a host: the namespace, if it is a Service of this cluster. (dict "root" $ "host" HOST) */}}
{{- define "lockmgr.namespaceOfHost" -}}
{{- $pattern := printf "^[a-z0-9-]+\\.[a-z0-9-]+\\.svc(\\.%s)?\\.?$" (replace "." "\\." .root.Values.clusterDomain) }}
{{- if regexMatch $pattern .host }}{{ index (splitList "." .host) 1 }}
{{- else if not (contains "." .host) }}{{ .root.Release.Namespace }}
{{- end }}
{{- end }}

{{/* JSON list of the namespaces in which the other regions run. */}}
{{- define "lockmgr.peerNamespaces" -}}
{{- $all := list }}
{{- range .Values.region.peers }}
{{- $all = append $all (default (include "lockmgr.namespaceOfHost" (dict "root" $ "host" .host)) .namespace) }}
{{- end }}
{{- without ($all | uniq) "" | toJson }}
{{- end }}

{{/* Whether Istio is wanted, and the group of its API that is asked for is served. */}}
{{- define "lockmgr.istioNetworking" -}}
{{- if and .Values.istio.enabled (.Capabilities.APIVersions.Has "networking.istio.io/v1beta1") }}yes{{ end }}
{{- end }}
{{- define "lockmgr.istioSecurity" -}}
{{- if and .Values.istio.enabled (.Capabilities.APIVersions.Has "security.istio.io/v1beta1") }}yes{{ end }}
{{- end }}

{{/* Names and protocols of the ports: Istio goes by either, and finds TLS opaque. */}}
{{- define "lockmgr.servicePorts" -}}
{{- $grpc := ternary "tls" "grpc" .Values.tls.enabled -}}
- name: {{ ternary "tls-grpc" "grpc" .Values.tls.enabled }}
  port: {{ int64 .Values.service.grpcPort }}
  targetPort: {{ int64 .Values.service.grpcPort }}
  protocol: TCP
  appProtocol: {{ $grpc }}
- name: {{ ternary "tls-region" "grpc-region" .Values.tls.enabled }}
  port: {{ int64 .Values.service.regionPort }}
  targetPort: {{ int64 .Values.service.regionPort }}
  protocol: TCP
  appProtocol: {{ $grpc }}
- name: http-actuator
  port: {{ int64 .Values.service.actuatorPort }}
  targetPort: {{ int64 .Values.service.actuatorPort }}
  protocol: TCP
  appProtocol: http
{{- end }}

{{/* Those of the nodes: also the one that they have for each other. A mesh passes it on as it is: calls
     it would send, for a while, to where a pod was before its restart. */}}
{{- define "lockmgr.nodePorts" -}}
{{ include "lockmgr.servicePorts" . }}
{{- with int64 .Values.raft.port }}
- name: tcp-raft
  port: {{ . }}
  targetPort: {{ . }}
  protocol: TCP
  appProtocol: tcp
{{- end }}
{{- end }}

{{- define "lockmgr.podSecurityContext" -}}
{{- $own := dict "runAsNonRoot" true "runAsUser" 65532 "runAsGroup" 65532 "fsGroup" 65532 "seccompProfile" (dict "type" "RuntimeDefault") }}
{{- if semverCompare ">=1.20-0" .Capabilities.KubeVersion.Version }}
{{- $_ := set $own "fsGroupChangePolicy" "OnRootMismatch" }}
{{- end }}
{{- toYaml (mustMergeOverwrite $own (deepCopy .Values.podSecurityContext)) }}
{{- end }}

{{- define "lockmgr.securityContext" -}}
{{- $own := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) }}
{{- toYaml (mustMergeOverwrite $own (deepCopy .Values.securityContext)) }}
{{- end }}

{{/* Annotations of pods in a mesh. */}}
{{- define "lockmgr.istioAnnotations" -}}
{{- if .Values.istio.enabled }}
{{- $proxy := dict "terminationDrainDuration" .Values.istio.terminationDrainDuration }}
{{- if .Values.istio.holdApplication }}{{ $_ := set $proxy "holdApplicationUntilProxyStarts" true }}{{ end }}
{{- if .Values.istio.exitOnZeroConnections }}{{ $_ := set $proxy "proxyMetadata" (dict "EXIT_ON_ZERO_ACTIVE_CONNECTIONS" "true") }}{{ end }}
sidecar.istio.io/rewriteAppHTTPProbers: {{ .Values.istio.rewriteProbes | quote }}
proxy.istio.io/config: {{ toJson $proxy | quote }}
{{- if .Values.istio.metricsMerge }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ int64 .Values.service.actuatorPort | quote }}
prometheus.io/path: /actuator/prometheus
{{- else }}
prometheus.istio.io/merge-metrics: "false"
{{- end }}
{{- end }}
{{- end }}

{{/* How a Service is called. (dict "root" $ "balanced" BOOL): pods behind the headless Service are called by name.
     The word LEAST_REQUEST is as old as Istio 1.14; from 1.22 on its API has a version by which that can be told. */}}
{{- define "lockmgr.traffic" -}}
{{- $how := .root.Values.istio.destinationRule.loadBalancer }}
{{- if and (not $how) (.root.Capabilities.APIVersions.Has "networking.istio.io/v1") }}{{ $how = "LEAST_REQUEST" }}{{ end -}}
tls:
  mode: ISTIO_MUTUAL
{{- if and .balanced $how }}
loadBalancer:
  simple: {{ $how }}
{{- end }}
connectionPool:
  tcp:
    connectTimeout: 2s
    tcpKeepalive:
      time: 60s
      interval: 10s
      probes: 3
{{- end }}
