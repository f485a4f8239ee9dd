{{/* The chart's name, and the release's: 52 characters leave room for endings and hashes. */}}
{{- define "eventworker.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "eventworker.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "eventworker.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "eventworker.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "eventworker.selector" -}}
app.kubernetes.io/name: {{ include "eventworker.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "eventworker.labels" -}}
{{ include "eventworker.commonLabels" . }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "eventworker.commonLabels" -}}
app.kubernetes.io/name: {{ include "eventworker.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "eventworker.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "eventworker.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "eventworker.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* A value as text. Helm reads whole numbers as floats, and 5000000 would become 5e+06. */}}
{{- define "eventworker.text" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) -}}
{{- printf "%.0f" . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* A duration such as 1m30s in milliseconds. */}}
{{- define "eventworker.milliseconds" -}}
{{- $text := toString .value -}}
{{- if not (regexMatch "^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$" $text) -}}
{{- fail (printf "%s: want a duration such as 20s or 1m30s, got %q" .key $text) -}}
{{- end -}}
{{- $ms := regexFind "[0-9]+ms" $text | trimSuffix "ms" | default "0" | int -}}
{{- $text = regexReplaceAll "[0-9]+ms" $text "" -}}
{{- $s := regexFind "[0-9]+s" $text | trimSuffix "s" | default "0" | int -}}
{{- $m := regexFind "[0-9]+m" $text | trimSuffix "m" | default "0" | int -}}
{{- $h := regexFind "[0-9]+h" $text | trimSuffix "h" | default "0" | int -}}
{{- add (mul (add (mul $h 3600) (mul $m 60) $s) 1000) $ms -}}
{{- end -}}

{{- define "eventworker.drain" -}}
{{- include "eventworker.milliseconds" (dict "key" "config.drain_timeout" "value" (default "20s" .Values.config.drain_timeout)) -}}
{{- end -}}

{{/* The grace period: longer than the drain, or the last commit is cut off and messages come twice. */}}
{{- define "eventworker.grace" -}}
{{- $drain := div (include "eventworker.drain" . | int | add 999) 1000 | int -}}
{{- $grace := int .Values.terminationGracePeriodSeconds -}}
{{- if eq $grace 0 -}}
{{- add $drain 25 -}}
{{- else if lt $grace (add $drain 10 | int) -}}
{{- fail (printf "terminationGracePeriodSeconds: %d is too short for config.drain_timeout %ds: want at least %d, or 0" $grace $drain (add $drain 10)) -}}
{{- else -}}
{{- $grace -}}
{{- end -}}
{{- end -}}

{{/* Secrets stand in Secrets: values and ConfigMaps are read by more people, and kept in histories. Whatever
has the name of a secret is refused, also where the worker knows no such key. */}}
{{- define "eventworker.refuseSecrets" -}}
{{- range $key, $value := .at -}}
{{- $path := printf "%s.%s" $.path $key -}}
{{- if kindIs "map" $value -}}
{{- include "eventworker.refuseSecrets" (dict "path" $path "at" $value) -}}
{{- else if and $value (regexMatch "^(.*_)?(api_key|password|token|secret)$" $key) -}}
{{- $instead := get (dict
      "config.kafka.sasl.password" "secrets.kafkaPassword"
      "config.store.redis.password" "secrets.redisPassword"
      "config.store.redis.sentinel_password" "secrets.redisSentinelPassword"
      "config.admin.token" "secrets.adminToken") $path -}}
{{- $application := regexFind "^config\\.insights\\.applications\\.[^.]+\\.api_key$" $path | trimPrefix "config.insights.applications." | trimSuffix ".api_key" -}}
{{- if $application }}{{ $instead = printf "secrets.insights.%s" $application }}{{ end -}}
{{- fail (printf "%s: put it into a Secret and name that in %s" $path ($instead | default "secrets")) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The tls part of the configuration for the keys of a Secret whose files begin with a name. */}}
{{- define "eventworker.tls" -}}
enabled: true
{{- if .secret.caKey }}
ca_file: /etc/eventworker/secrets/{{ .name }}-ca.crt
{{- end }}
{{- if .secret.certKey }}
cert_file: /etc/eventworker/secrets/{{ .name }}-tls.crt
{{- end }}
{{- if .secret.keyKey }}
key_file: /etc/eventworker/secrets/{{ .name }}-tls.key
{{- end }}
{{- end -}}

{{/* What the worker or the cluster would refuse only after the release is in. */}}
{{- define "eventworker.refuseUnrunnable" -}}
{{- $config := .Values.config -}}
{{- $admin := get $config "admin" | default dict -}}
{{- if and (hasKey $admin "listen") (not (regexMatch "^(0\\.0\\.0\\.0|\\[::\\])?:9402$" (toString $admin.listen))) -}}
{{- fail (printf "config.admin.listen: leave it out, the chart sets :9402: probes, PodMonitor and NetworkPolicy ask that port of the pod's address, got %q" (toString $admin.listen)) -}}
{{- end -}}
{{- $path := dig "store" "path" "" $config | toString -}}
{{- if and (eq .Values.store.kind "disk") $path (not (hasPrefix "/var/lib/eventworker/" (printf "%s/" (clean $path)))) -}}
{{- fail (printf "config.store.path: leave it out, or name a folder below /var/lib/eventworker, where the volume is: the rest of the container cannot be written, got %q" $path) -}}
{{- end -}}
{{- $rebalance := dig "kafka" "rebalance_timeout" "30s" $config -}}
{{- if ge (include "eventworker.drain" . | int) (include "eventworker.milliseconds" (dict "key" "config.kafka.rebalance_timeout" "value" $rebalance) | int) -}}
{{- fail (printf "config.drain_timeout: %s is not shorter than config.kafka.rebalance_timeout (%s), for which the group waits: shorten it, or raise that" (default "20s" $config.drain_timeout) $rebalance) -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas: %d is more than autoscaling.maxReplicas (%d): raise that, at most to the partitions of a topic" (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- if and (hasKey .Values.podSecurityContext "runAsUser") (eq (toString .Values.podSecurityContext.runAsUser) "0") -}}
{{- fail "podSecurityContext.runAsUser: 0 is root, and the container has runAsNonRoot: leave it out, or name another user" -}}
{{- end -}}
{{- range $name, $value := .Values.env -}}
{{- if hasPrefix "EVENTWORKER_" $name -}}
{{- fail (printf "env.%s: set it in config, and a secret in secrets: what stands in variables wins over the configuration and passes by the chart's checks" $name) -}}
{{- end -}}
{{- if and (not (kindIs "map" $value)) (or (regexMatch "(API_KEY|PASSWORD|TOKEN|SECRET|_HEADERS)$" $name) (regexMatch "://[^/@]*:[^/@]*@" (toString $value))) -}}
{{- fail (printf "env.%s: put it into a Secret and name that: {valueFrom: {secretKeyRef: {name: …, key: …}}}" $name) -}}
{{- end -}}
{{- end -}}
{{- include "eventworker.refuseApplications" . -}}
{{- end -}}

{{/* Each application that the group serves needs its id and its key. */}}
{{- define "eventworker.refuseApplications" -}}
{{- $only := dig "insights" "only" list .Values.config -}}
{{- $applications := dig "insights" "applications" dict .Values.config -}}
{{- $secrets := .Values.secrets.insights | default dict -}}
{{- range $name := concat (keys $applications) (keys $secrets) | uniq | sortAlpha -}}
{{- if or (not $only) (has $name $only) -}}
{{- $application := get $applications $name | default dict -}}
{{- if not $application.app_id -}}
{{- fail (printf "config.insights.applications.%s.app_id: set the application's id as Algolia's dashboard shows it; without this application, set config.insights.applications.%s and secrets.insights.%s to null" $name $name $name) -}}
{{- end -}}
{{- if not (or (hasKey $secrets $name) $application.api_key_file) -}}
{{- fail (printf "config.insights.applications.%s: put its search-only API key into a Secret and name that in secrets.insights.%s" $name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The configuration file: what the chart knows, under what config says. */}}
{{- define "eventworker.config" -}}
{{- include "eventworker.refuseSecrets" (dict "path" "config" "at" .Values.config) -}}
{{- include "eventworker.refuseUnrunnable" . -}}
{{- if and (dig "store" "kind" "" .Values.config) (ne (dig "store" "kind" "" .Values.config) .Values.store.kind) -}}
{{- fail "config.store.kind: set store.kind, which also chooses between StatefulSet and Deployment" -}}
{{- end -}}
{{- $secrets := .Values.secrets -}}
{{- $store := dict "kind" .Values.store.kind -}}
{{- if eq .Values.store.kind "disk" -}}
{{- $_ := set $store "path" "/var/lib/eventworker/queries" -}}
{{- end -}}
{{- $redis := dict -}}
{{- if $secrets.redisPassword.existingSecret -}}
{{- $_ := set $redis "password_file" "/etc/eventworker/secrets/redis-password" -}}
{{- end -}}
{{- if $secrets.redisSentinelPassword.existingSecret -}}
{{- $_ := set $redis "sentinel_password_file" "/etc/eventworker/secrets/redis-sentinel-password" -}}
{{- end -}}
{{- if $secrets.redisTLS.existingSecret -}}
{{- $_ := set $redis "tls" (include "eventworker.tls" (dict "name" "redis" "secret" $secrets.redisTLS) | fromYaml) -}}
{{- end -}}
{{- if $redis }}{{ $_ := set $store "redis" $redis }}{{ end -}}
{{- $kafka := dict -}}
{{- if $secrets.kafkaPassword.existingSecret -}}
{{- $_ := set $kafka "sasl" (dict "password_file" "/etc/eventworker/secrets/kafka-password") -}}
{{- end -}}
{{- if $secrets.kafkaTLS.existingSecret -}}
{{- $_ := set $kafka "tls" (include "eventworker.tls" (dict "name" "kafka" "secret" $secrets.kafkaTLS) | fromYaml) -}}
{{- end -}}
{{- $applications := dict -}}
{{- range $name, $secret := $secrets.insights -}}
{{- $_ := set $applications $name (dict "api_key_file" (printf "/etc/eventworker/secrets/insights-%s" $name)) -}}
{{- end -}}
{{- $admin := dict "listen" ":9402" -}}
{{- if $secrets.adminToken.existingSecret -}}
{{- $_ := set $admin "token_file" "/etc/eventworker/secrets/admin-token" -}}
{{- end -}}
{{- $own := dict "store" $store "admin" $admin "log" (dict "format" "json") "insights" (dict "applications" $applications) -}}
{{- if $kafka }}{{ $_ := set $own "kafka" $kafka }}{{ end -}}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.config)) -}}
{{- end -}}

{{/* The sources of the projected volume with all secrets. */}}
{{- define "eventworker.secretSources" -}}
{{- range $name, $secret := .Values.secrets.insights }}
- secret:
    name: {{ $secret.existingSecret }}
    items: [{key: {{ $secret.key | quote }}, path: {{ printf "insights-%s" $name | quote }}}]
{{- end }}
{{- with .Values.secrets.kafkaPassword }}{{ if .existingSecret }}
- secret:
    name: {{ .existingSecret }}
    items: [{key: {{ .key | quote }}, path: kafka-password}]
{{- end }}{{ end }}
{{- range $name, $secret := dict "kafka" .Values.secrets.kafkaTLS "redis" .Values.secrets.redisTLS }}{{ if $secret.existingSecret }}
- secret:
    name: {{ $secret.existingSecret }}
    items:
      {{- if $secret.caKey }}
      - {key: {{ $secret.caKey | quote }}, path: {{ $name }}-ca.crt}
      {{- end }}
      {{- if $secret.certKey }}
      - {key: {{ $secret.certKey | quote }}, path: {{ $name }}-tls.crt}
      {{- end }}
      {{- if $secret.keyKey }}
      - {key: {{ $secret.keyKey | quote }}, path: {{ $name }}-tls.key}
      {{- end }}
{{- end }}{{ end }}
{{- with .Values.secrets.redisPassword }}{{ if .existingSecret }}
- secret:
    name: {{ .existingSecret }}
    items: [{key: {{ .key | quote }}, path: redis-password}]
{{- end }}{{ end }}
{{- with .Values.secrets.redisSentinelPassword }}{{ if .existingSecret }}
- secret:
    name: {{ .existingSecret }}
    items: [{key: {{ .key | quote }}, path: redis-sentinel-password}]
{{- end }}{{ end }}
{{- with .Values.secrets.adminToken }}{{ if .existingSecret }}
- secret:
    name: {{ .existingSecret }}
    items: [{key: {{ .key | quote }}, path: admin-token}]
{{- end }}{{ end }}
{{- end -}}

{{- define "eventworker.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Mounts and volumes that worker and replay share. */}}
{{- define "eventworker.mounts" -}}
- {name: config, mountPath: /etc/eventworker/config, readOnly: true}
{{- if include "eventworker.secretSources" . | trim }}
- {name: secrets, mountPath: /etc/eventworker/secrets, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "eventworker.volumes" -}}
- name: config
  configMap: {name: {{ include "eventworker.fullname" . }}}
{{- with include "eventworker.secretSources" . | trim }}
- name: secrets
  projected:
    # Read by the pod's group only.
    defaultMode: 0440
    sources:
      {{- . | nindent 6 }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "eventworker.env" -}}
{{- range $name, $value := . }}
{{- if kindIs "map" $value }}
- name: {{ $name }}
  {{- toYaml $value | nindent 2 }}
{{- else }}
- {name: {{ $name }}, value: {{ include "eventworker.text" $value | quote }}}
{{- end }}
{{- end }}
{{- end -}}

{{/* The pod of the Deployment and of the StatefulSet. */}}
{{- define "eventworker.pod" -}}
metadata:
  labels:
    {{- include "eventworker.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: eventworker
    # Another configuration rolls the pods.
    checksum/config: {{ include "eventworker.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "eventworker.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ include "eventworker.grace" . }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  containers:
    - name: eventworker
      image: {{ include "eventworker.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [run, --config, /etc/eventworker/config/eventworker.yaml]
      {{- with .Values.env }}
      env:
        {{- include "eventworker.env" . | trim | nindent 8 }}
      {{- end }}
      ports:
        - {name: admin, containerPort: 9402, protocol: TCP}
      startupProbe:
        httpGet: {path: /livez, port: admin}
        {{- toYaml .Values.startupProbe | nindent 8 }}
      livenessProbe:
        httpGet: {path: /livez, port: admin}
        {{- toYaml .Values.livenessProbe | nindent 8 }}
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        {{- toYaml .Values.readinessProbe | nindent 8 }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        {{- include "eventworker.containerSecurity" . | nindent 8 }}
      volumeMounts:
        {{- include "eventworker.mounts" . | nindent 8 }}
        {{- if eq .Values.store.kind "disk" }}
        - {name: store, mountPath: /var/lib/eventworker}
        {{- end }}
  volumes:
    {{- include "eventworker.volumes" . | nindent 4 }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- if .Values.topologySpreadConstraints }}
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
    {{- else }}
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "eventworker.selector" . | nindent 10 }}
    {{- end }}
{{- end -}}
