{{/* A pod that runs lockctl. (dict "root" $ "name" NAME "init" LIST "args" LIST): each of init runs before args. */}}
{{- define "lockmgr.test" -}}
{{- $v := .root.Values }}
apiVersion: v1
kind: Pod
metadata:
  {{- $istio := dict }}
  {{- if $v.istio.enabled }}
  {{- $istio = dict "sidecar.istio.io/nativeSidecar" "true" "proxy.istio.io/config" "{\"holdApplicationUntilProxyStarts\":true}" }}
  {{- end }}
  {{- $labels := dict "app.kubernetes.io/name" (printf "%s-test" (include "lockmgr.name" .root)) "lockmgr-client" "true" }}
  {{- $hook := dict "helm.sh/hook" "test" "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded" }}
  {{- include "lockmgr.metadata" (dict "root" .root "name" (printf "%s-%s" (include "lockmgr.fullname" .root) .name) "labels" $labels "annotations" (mustMerge $hook $v.tests.podAnnotations $istio)) | nindent 2 }}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    {{- include "lockmgr.podSecurityContext" .root | nindent 4 }}
  {{- with $v.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $v.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .init }}
  initContainers:
    {{- range $i, $args := . }}
    {{- include "lockmgr.testContainer" (dict "root" $.root "name" (printf "step-%d" $i) "args" $args) | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    {{- include "lockmgr.testContainer" (dict "root" .root "name" "test" "args" .args) | nindent 4 }}
  {{- if $v.tls.enabled }}
  volumes:
    - name: tls
      secret:
        secretName: {{ $v.tls.existingSecret }}
        defaultMode: 288 # 0440
  {{- end }}
{{- end }}

{{- define "lockmgr.testContainer" -}}
{{- $v := .root.Values -}}
- name: {{ .name }}
  image: {{ default (include "lockmgr.image" .root) $v.tests.image | quote }}
  imagePullPolicy: {{ $v.image.pullPolicy }}
  command: [lockctl]
  args: {{ toJson .args }}
  env:
    {{- include "lockmgr.lockctlEnv" (dict "root" .root "host" (include "lockmgr.host" .root) "name" (printf "%s-0" (include "lockmgr.fullname" .root))) | nindent 4 }}
    {{- with $v.tests.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  resources:
    limits:
      cpu: 200m
      memory: 64Mi
    requests:
      cpu: 10m
      memory: 16Mi
  securityContext:
    {{- include "lockmgr.securityContext" .root | nindent 4 }}
  {{- if $v.tls.enabled }}
  volumeMounts:
    - name: tls
      mountPath: /etc/lockmgr-tls
      readOnly: true
  {{- end }}
{{- end }}
