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

{{/* (root, component): is there a certificate for it? */}}
{{- define "plaudit.tls" -}}
{{- if and (eq (index . 1) "intake") (index . 0).Values.intake.tls.secret }}true{{ end }}
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
{{- if include "plaudit.tls" . }}
- name: tls
  secret: {secretName: {{ $root.Values.intake.tls.secret }}, defaultMode: 0440}
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

{{/* (root, component): a container that runs `plaudit COMPONENT` once. */}}
{{- define "plaudit.once" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 -}}
automountServiceAccountToken: false
enableServiceLinks: false
restartPolicy: OnFailure
securityContext:
  {{- include "plaudit.podSecurityContext" $root | nindent 2 }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
containers:
  - name: {{ $component }}
    image: {{ include "plaudit.image" $root }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args: [{{ $component }}, --config, /etc/plaudit/config/plaudit.toml]
    {{- with include "plaudit.env" . | trim }}
    env:
      {{- . | nindent 6 }}
    {{- end }}
    resources:
      {{- toYaml (get $root.Values $component).resources | nindent 6 }}
    securityContext:
      {{- include "plaudit.securityContext" $root | nindent 6 }}
    volumeMounts:
      {{- include "plaudit.volumeMounts" . | trim | nindent 6 }}
volumes:
  {{- include "plaudit.volumes" . | trim | nindent 2 }}
{{- end }}

{{/* (root, component, ports): the template of a service's pod. */}}
{{- define "plaudit.service" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
{{- $values := get $root.Values $component -}}
metadata:
  labels:
    {{- include "plaudit.labels" . | nindent 4 }}
  annotations:
    checksum/config: {{ include "plaudit.config" $root | sha256sum }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  securityContext:
    {{- include "plaudit.podSecurityContext" $root | nindent 4 }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  containers:
    - name: {{ $component }}
      image: {{ include "plaudit.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [{{ $component }}, --config, /etc/plaudit/config/plaudit.toml]
      env:
        {{- include "plaudit.env" . | trim | nindent 8 }}
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
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        {{- include "plaudit.securityContext" $root | nindent 8 }}
      volumeMounts:
        {{- include "plaudit.volumeMounts" . | trim | nindent 8 }}
  volumes:
    {{- include "plaudit.volumes" . | trim | nindent 4 }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: {{ $values.spread }}
      labelSelector:
        matchLabels:
          {{- include "plaudit.selector" $ | nindent 10 }}
      matchLabelKeys: [{{ if eq $component "sink" }}controller-revision-hash{{ else }}pod-template-hash{{ end }}]
    {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
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
