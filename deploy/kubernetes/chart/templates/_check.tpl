{{/* What the schema cannot say: values that contradict each other, in plain words. */}}

{{- define "plaudit.check" -}}
{{- if ne (dig "auth" "mode" "keys" .Values.config) "keys" }}
{{- fail "config.auth.mode: must be keys here: an open service listens on loopback only, which no Service reaches" }}
{{- end }}
{{- if not .Values.keys.secret }}
{{- fail "keys.secret: name the Secret with the key file: without keys neither intake nor query starts" }}
{{- end }}
{{- range list "intake" "query" }}
{{- if dig . "listen" "" $.Values.config }}
{{- fail (printf "config.%s.listen: the port is the chart's; change %s.service.port" . .) }}
{{- end }}
{{- end }}
{{- range $path := list "clickhouse.password" "auth.token_secret" }}
{{- $keys := splitList "." $path }}
{{- if not (kindIs "map" (dig (first $keys) (last $keys) (dict) $.Values.config)) }}
{{- fail (printf "config.%s: is a secret, and a ConfigMap is none; name its Secret in secretSettings" $path) }}
{{- end }}
{{- end }}
{{- include "plaudit.checkSecrets" (list "" (dig "kafka" "properties" (dict) .Values.config)) }}
{{- $partitions := dig "kafka" "partitions" 12 .Values.config | int }}
{{- $auto := .Values.sink.autoscaling }}
{{- $sinks := ternary $auto.maxReplicas .Values.sink.replicas $auto.enabled | int }}
{{- if gt $sinks $partitions }}
{{- fail (printf "sink.%s: %d sinks share %d partitions, so some would have nothing to do; raise config.kafka.partitions, or have fewer" (ternary "autoscaling.maxReplicas" "replicas" $auto.enabled) $sinks $partitions) }}
{{- end }}
{{- range $component := list "intake" "sink" }}
{{- $auto := (get $.Values $component).autoscaling }}
{{- if and $auto.enabled (gt (int $auto.minReplicas) (int $auto.maxReplicas)) }}
{{- fail (printf "%s.autoscaling: minReplicas is above maxReplicas" $component) }}
{{- end }}
{{- end }}
{{- range $component := list "intake" "sink" "query" }}
{{- $values := get $.Values $component }}
{{- if lt (int $values.terminationGracePeriodSeconds) (add $values.preStopSeconds 30 | int) }}
{{- fail (printf "%s.terminationGracePeriodSeconds: a service takes up to 28 s to drain, after preStopSeconds: give it at least %d" $component (add $values.preStopSeconds 30)) }}
{{- end }}
{{- end }}
{{- if and .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled }}
{{- fail "monitoring: podMonitor and serviceMonitor would scrape every pod twice; enable one" }}
{{- end }}
{{- range .Values.mounts }}
{{- if eq (empty .secret) (empty .configMap) }}
{{- fail (printf "mounts: %s needs either a secret or a configMap" .name) }}
{{- end }}
{{- end }}
{{- end }}

{{/* (path, tree of kafka.properties): no leaf of it is a secret, by the words of plaudit-kafka's
properties.rs, which reads `a.b`, `a: {b: …}` and `a_b` as one name. Where a secret is, is none. */}}
{{- define "plaudit.checkSecrets" -}}
{{- range $key, $value := index . 1 }}
{{- $path := printf "%s.%s" (index $ 0) $key }}
{{- $name := $path | lower | replace "_" "." }}
{{- if kindIs "map" $value }}
{{- include "plaudit.checkSecrets" (list $path $value) }}
{{- else if and (regexMatch "password|secret|pem|key|oauthbearer\\.config|passphrase|token|jaas" $name) (not (regexMatch "\\.(file|location|url)$" $name)) }}
{{- fail (printf "config.kafka.properties%s: is a secret, and a ConfigMap is none; name its Secret in secretSettings" $path) }}
{{- end }}
{{- end }}
{{- end }}
