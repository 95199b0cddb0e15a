{{- define "lockmgr.affinity" -}}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" (include "lockmgr.selectorLabels" . | fromYaml)) }}
{{- if .Values.affinity }}
{{- toYaml .Values.affinity }}
{{- else if eq .Values.antiAffinity "hard" }}
{{- toYaml (dict "podAntiAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (list $term))) }}
{{- else if eq .Values.antiAffinity "soft" }}
{{- toYaml (dict "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 100 "podAffinityTerm" $term)))) }}
{{- end }}
{{- end }}

{{- define "lockmgr.spread" -}}
{{- if kindIs "invalid" .Values.topologySpreadConstraints -}}
- maxSkew: 1
  topologyKey: topology.kubernetes.io/zone
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "lockmgr.selectorLabels" . | nindent 6 }}
{{- else if .Values.topologySpreadConstraints }}
{{- toYaml .Values.topologySpreadConstraints }}
{{- end }}
{{- end }}

{{/* Volumes of secrets; each is mounted at /etc/lockmgr-NAME. Group-readable: the group is fsGroup. */}}
{{- define "lockmgr.secretVolumes" -}}
{{- with .Values.actuator.token.existingSecret -}}
- name: actuator
  secret:
    secretName: {{ . }}
    defaultMode: 288 # 0440
{{ end -}}
{{- if .Values.tls.enabled -}}
- name: tls
  secret:
    secretName: {{ .Values.tls.existingSecret }}
    defaultMode: 288 # 0440
{{- if .Values.access.existingSecret }}
- name: access
  secret:
    secretName: {{ .Values.access.existingSecret }}
    defaultMode: 288 # 0440
{{- end }}
{{- else -}}
- name: keys
  secret:
    secretName: {{ include "lockmgr.peerKeySecret" . }}
    defaultMode: 288 # 0440
{{- if .Values.region.keySecret }}
- name: region
  secret:
    secretName: {{ .Values.region.keySecret }}
    defaultMode: 288 # 0440
{{- end }}
{{- end }}
{{- end }}

{{/* (dict "root" $ "probe" VALUES): what is asked, and how often. */}}
{{- define "lockmgr.probe" -}}
{{- $service := .root.Values.service }}
{{- if eq .probe.type "http" -}}
httpGet:
  path: {{ .probe.path }}
  port: {{ int64 $service.actuatorPort }}
{{- else if eq .probe.type "grpc" -}}
grpc:
  port: {{ int64 $service.grpcPort }}
{{- else -}}
tcpSocket:
  port: {{ int64 $service.grpcPort }}
{{- end }}
{{ toYaml (omit .probe "type" "path") }}
{{- end }}

{{/* Seconds of the grace period that are left when the node is told to stop. */}}
{{- define "lockmgr.stopSeconds" -}}
{{- $waits := ternary (int64 .Values.lifecycle.preStop.seconds) (int64 0) .Values.lifecycle.preStop.enabled }}
{{- sub (int64 .Values.terminationGracePeriodSeconds) $waits }}
{{- end }}

{{/* Of a port of a Service: where in the pod it leads to. */}}
{{- define "lockmgr.targetPort" -}}
{{- $port := default .port .targetPort }}
{{- kindIs "string" $port | ternary $port (int64 $port) }}
{{- end }}

{{/* Whom lockctl asks, and what it shows. (dict "root" $ "host" HOST "name" IN-THE-CERTIFICATE) */}}
{{- define "lockmgr.lockctlEnv" -}}
{{- $tls := .root.Values.tls -}}
- name: LOCKCTL_ENDPOINTS
  value: {{ .host }}:{{ int64 .root.Values.service.grpcPort }}
{{- if $tls.enabled }}
- name: LOCKCTL_CACERT
  value: /etc/lockmgr-tls/{{ ternary "peer-ca.crt" "ca.crt" $tls.peerCa }}
- name: LOCKCTL_CERT
  value: /etc/lockmgr-tls/tls.crt
- name: LOCKCTL_KEY
  value: /etc/lockmgr-tls/tls.key
- name: LOCKCTL_SERVER_NAME
  value: {{ .name }}
{{- end }}
{{- end }}

{{/* How grpcurl gets in from outside, where the host is that of a forwarded port. */}}
{{- define "lockmgr.grpcurlTls" -}}
{{- $tls := .Values.tls }}
{{- if not $tls.enabled }}-plaintext
{{- else }}-cacert {{ ternary "peer-ca.crt" "ca.crt" $tls.peerCa }} -servername {{ include "lockmgr.fullname" . }}-0
{{- if eq $tls.clientAuth "require" }} -cert client.crt -key client.key{{ end }}
{{- end }}
{{- end }}
