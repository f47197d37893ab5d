{{/* The pod of every component: restricted, read-only, without a service account's token. */}}

{{- define "plaudit.securityContext" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
{{- end }}

{{- define "plaudit.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* (root, component): the Secret with the certificate of its listener, if there is one. */}}
{{- define "plaudit.tls" -}}
{{- dig "tls" "secret" "" (get (index . 0).Values (index . 1)) }}
{{- end }}

{{- define "plaudit.volumeMounts" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
- {name: config, mountPath: /etc/plaudit/config, readOnly: true}
{{- if has $component (list "intake" "query") }}
- {name: keys, mountPath: /etc/plaudit/keys, readOnly: true}
{{- end }}
{{- if include "plaudit.tls" . }}
- {name: tls, mountPath: /etc/plaudit/tls, readOnly: true}
{{- end }}
{{- range $root.Values.mounts }}
{{- if or (empty .services) (has $component .services) }}
- {name: {{ .name }}, mountPath: {{ .path }}, readOnly: true}
{{- end }}
{{- end }}
{{- end }}

{{- define "plaudit.volumes" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
- name: config
  configMap: {name: {{ include "plaudit.fullname" $root }}}
{{- if has $component (list "intake" "query") }}
- name: keys
  secret: {secretName: {{ $root.Values.keys.secret }}, defaultMode: 0440}
{{- end }}
{{- with include "plaudit.tls" . }}
- name: tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- range $root.Values.mounts }}
{{- if or (empty .services) (has $component .services) }}
- name: {{ .name }}
{{- if .secret }}
  secret: {secretName: {{ .secret }}, defaultMode: 0440}
{{- else }}
  configMap: {name: {{ .configMap }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* (root, component): labels and annotations of a pod. */}}
{{- define "plaudit.podMetadata" -}}
{{- $values := get (index . 0).Values (index . 1) -}}
labels:
  {{- include "plaudit.labels" . | nindent 2 }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  checksum/config: {{ include "plaudit.config" (index . 0) | sha256sum }}
  {{- with $values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* (root, component): what a pod is beside its containers, and where it may be. */}}
{{- define "plaudit.pod" -}}
{{- $root := index . 0 }}
{{- $values := get $root.Values (index . 1) -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $root.Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
securityContext:
  {{- include "plaudit.podSecurityContext" $root | nindent 2 }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
volumes:
  {{- include "plaudit.volumes" . | trim | nindent 2 }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with get $values $key }}
{{- dict $key . | toYaml | nindent 0 }}
{{- end }}
{{- end }}
{{- end }}

{{/* (root, component): a container that runs `plaudit COMPONENT`. */}}
{{- define "plaudit.container" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 -}}
name: {{ $component }}
image: {{ include "plaudit.image" $root }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
args: [{{ $component }}, --config, /etc/plaudit/config/plaudit.toml]
{{- with include "plaudit.env" . | trim }}
env:
  {{- . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml (get $root.Values $component).resources | nindent 2 }}
securityContext:
  {{- include "plaudit.securityContext" $root | nindent 2 }}
volumeMounts:
  {{- include "plaudit.volumeMounts" . | trim | nindent 2 }}
{{- end }}

{{/* (root, component): the template of a pod that does its work and ends. */}}
{{- define "plaudit.once" -}}
metadata:
  {{- include "plaudit.podMetadata" . | nindent 2 }}
spec:
  {{- include "plaudit.pod" . | nindent 2 }}
  restartPolicy: OnFailure
  containers:
    - {{ include "plaudit.container" . | indent 6 | trim }}
{{- end }}

{{/* (root, component, ports): the template of a service's pod. */}}
{{- define "plaudit.service" -}}
{{- $component := index . 1 }}
{{- $values := get (index . 0).Values $component -}}
metadata:
  {{- include "plaudit.podMetadata" . | nindent 2 }}
spec:
  {{- include "plaudit.pod" . | nindent 2 }}
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  containers:
    - {{ include "plaudit.container" . | indent 6 | trim }}
      ports:
        {{- range $name, $port := index . 2 }}
        - {name: {{ $name }}, containerPort: {{ $port }}}
        {{- end }}
      livenessProbe:
        httpGet: {path: /healthz, port: metrics}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: metrics}
        periodSeconds: 2
        timeoutSeconds: 3
        failureThreshold: 3
      {{- with $values.preStopSeconds }}
      lifecycle:
        # By the kubelet itself: the image has no shell.
        preStop: {sleep: {seconds: {{ . }}}}
      {{- end }}
  topologySpreadConstraints:
    {{- range $key, $unsatisfiable := dict "kubernetes.io/hostname" $values.spread "topology.kubernetes.io/zone" "ScheduleAnyway" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: {{ $unsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "plaudit.selector" $ | nindent 10 }}
      matchLabelKeys: [{{ if eq $component "sink" }}controller-revision-hash{{ else }}pod-template-hash{{ end }}]
    {{- end }}
{{- end }}

{{/* (root, component): one at a time may be taken away; one that is not ready always. */}}
{{- define "plaudit.pdb" -}}
{{- $root := index . 0 -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "plaudit.fullname" $root }}-{{ index . 1 }}
  labels:
    {{- include "plaudit.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "plaudit.selector" . | nindent 6 }}
{{- end }}
