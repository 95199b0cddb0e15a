{{/* One endpoint of a PodMonitor or ServiceMonitor. Alerts tell regions apart by "job", nodes by "instance". */}}
{{- define "lockmgr.scrape" -}}
{{- $merged := and .root.Values.istio.enabled .root.Values.istio.metricsMerge -}}
- port: http-actuator
  path: {{ ternary "/stats/prometheus" "/actuator/prometheus" $merged }}
  interval: {{ .interval }}
  {{- with .root.Values.actuator.token.existingSecret }}
  authorization:
    credentials:
      name: {{ . }}
      key: token
  {{- end }}
  relabelings:
    - sourceLabels: [__meta_kubernetes_pod_name]
      targetLabel: instance
    {{- if $merged }}
    # The sidecar has the metrics of the node and its own.
    - sourceLabels: [__meta_kubernetes_pod_ip]
      targetLabel: __address__
      replacement: "$1:15020"
    {{- end }}
{{- end }}
