{{/* plaudit.toml, and what cannot be in it. */}}

{{/* What the chart decides, under what the values say. */}}
{{- define "plaudit.config" -}}
{{- $auth := dict "mode" "keys" "keys_file" (printf "/etc/plaudit/keys/%s" .Values.keys.key) }}
{{- $intake := dict "listen" "0.0.0.0:8080" }}
{{- $query := dict "listen" "0.0.0.0:8081" }}
{{- range $component, $section := dict "intake" $intake "query" $query }}
{{- if include "plaudit.tls" (list $ $component) }}
{{- $_ := set $section "tls" (dict "cert_file" "/etc/plaudit/tls/tls.crt" "key_file" "/etc/plaudit/tls/tls.key") }}
{{- end }}
{{- end }}
{{- if .Values.query.enabled }}
{{- $scheme := ternary "https" "http" (not (empty .Values.query.tls.secret)) }}
{{- $_ := set $intake "query_url" (printf "%s://%s-query:%v" $scheme (include "plaudit.fullname" .) .Values.query.service.port) }}
{{- end }}
{{- $base := dict "auth" $auth "intake" $intake "query" $query }}
{{- $config := mergeOverwrite $base (deepCopy .Values.config) }}
{{- include "plaudit.integers" $config }}
{{- $config | toToml }}
{{- end }}

{{/* (dict): makes its whole numbers integers. All that come from a file of values are fractions. */}}
{{- define "plaudit.integers" -}}
{{- range $key, $value := . }}
{{- if kindIs "map" $value }}
{{- include "plaudit.integers" $value }}
{{- else if kindIs "slice" $value }}
{{- $items := list }}
{{- range $value }}
{{- $item := dict "is" . }}
{{- include "plaudit.integers" $item }}
{{- $items = append $items $item.is }}
{{- end }}
{{- $_ := set $ $key $items }}
{{- else if kindIs "float64" $value }}
{{- if eq $value (floor $value) }}
{{- $_ := set $ $key (int64 $value) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* (root, component): the variables of a container, those of Secrets among them. */}}
{{- define "plaudit.env" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
{{- $sections := dict
  "intake" (list "intake" "auth" "kafka" "metrics")
  "sink" (list "sink" "kafka" "clickhouse")
  "query" (list "query" "auth" "clickhouse")
  "migrate" (list "kafka" "clickhouse")
  "verify" (list "kafka" "clickhouse") }}
{{- $ports := dict "intake" 9101 "sink" 9102 "query" 9103 }}
{{- with get $ports $component }}
- name: PLAUDIT__OBSERVE__LISTEN
  value: 0.0.0.0:{{ . }}
{{- end }}
{{- if eq $component "sink" }}
{{- /* A name that a restarted pod has again, and nobody else: its group's static member. */}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: PLAUDIT__KAFKA__PROPERTIES__GROUP_INSTANCE_ID
  value: $(POD_NAMESPACE).$(POD_NAME)
{{- $kafka := dig "kafka" "properties" (dict) $root.Values.config }}
{{- $group := get $kafka "group" | default (dict) }}
{{- if not (has "consumer" (list (get $kafka "group.protocol") (get $kafka "group_protocol") (get $group "protocol"))) }}
- name: PLAUDIT__KAFKA__PROPERTIES__SESSION_TIMEOUT_MS
  value: "{{ mul $root.Values.sink.sessionTimeoutSeconds 1000 }}"
{{- end }}
{{- end }}
{{- range $root.Values.secretSettings }}
{{- if has (first (splitList "." .setting)) (get $sections $component) }}
- name: PLAUDIT__{{ .setting | upper | replace "." "__" }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end }}
{{- end }}
{{- with $root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
