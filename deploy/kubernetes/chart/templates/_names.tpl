{{/* Names and labels. A component is intake, sink, query, migrate or verify. */}}

{{- define "plaudit.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "plaudit.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{- $name := include "plaudit.name" . }}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* (root, component) */}}
{{- define "plaudit.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "plaudit.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "plaudit.labels" -}}
{{- $root := index . 0 -}}
{{ include "plaudit.selector" . }}
app.kubernetes.io/part-of: plaudit
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
{{- end }}

{{- define "plaudit.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}
