{{- define "espresso-finality.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "espresso-finality.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "espresso-finality.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "espresso-finality.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "espresso-finality.selectorLabels" -}}
app.kubernetes.io/name: {{ include "espresso-finality.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "espresso-finality.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "espresso-finality.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: espresso-finality
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Labels of the pods that run the sidecar. */}}
{{- define "espresso-finality.podSelector" -}}
{{- if eq .Values.placement "beside-node" -}}
{{- if not .Values.besideNode.podLabels }}
{{- fail "besideNode.podLabels: set the labels of the node's pods" }}
{{- end }}
{{- toYaml .Values.besideNode.podLabels }}
{{- else -}}
{{- include "espresso-finality.selectorLabels" . }}
{{- end }}
{{- end }}

{{- define "espresso-finality.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "espresso-finality.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "espresso-finality.image" -}}
{{- $image := printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- if .Values.image.digest }}{{ $image }}@{{ .Values.image.digest }}{{ else }}{{ $image }}{{ end -}}
{{- end }}

{{/* The host name of the sidecar's Service. */}}
{{- define "espresso-finality.host" -}}
{{- default (printf "%s.%s.svc.cluster.local" (include "espresso-finality.fullname" .) .Release.Namespace) .Values.filter.sidecarHost }}
{{- end }}

{{/* Settings as the sidecar's environment variables. Numbers in a values file are floats, and large ones would become 1e+06. */}}
{{- define "espresso-finality.environment" -}}
{{- range $name, $value := . }}
  FINALITY_{{ upper $name }}: {{ kindIs "float64" $value | ternary (int64 $value) $value | toString | quote }}
{{- end }}
{{- end }}

{{/* Rejects a release whose sidecar could not start. */}}
{{- define "espresso-finality.requireSettings" -}}
{{- if not .Values.existingSecret }}
{{- $needed := list "node_execution_rpc" "l1_rpc" "query_service_url" }}
{{- if ne (get .Values.settings "rollup") "nitro" }}
{{- $needed = append $needed "node_consensus_rpc" }}
{{- end }}
{{- range $needed }}
{{- if not (or (get $.Values.settings .) (get $.Values.secretSettings .)) }}
{{- fail (printf "%s is not set: set it in settings, secretSettings or existingSecret" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The sidecar's container, without its volumes. */}}
{{- define "espresso-finality.container" -}}
name: sidecar
image: {{ include "espresso-finality.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args:
  - run
  {{- with .Values.extraArgs }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
env:
  - { name: FINALITY_LISTEN_ADDR, value: "0.0.0.0:8090" }
  - { name: FINALITY_STORE_PATH, value: /var/lib/finality/store.json }
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
envFrom:
  - configMapRef: { name: {{ include "espresso-finality.fullname" . }} }
  {{- if .Values.secretSettings }}
  - secretRef: { name: {{ include "espresso-finality.fullname" . }} }
  {{- end }}
  {{- with .Values.existingSecret }}
  - secretRef: { name: {{ . }} }
  {{- end }}
ports:
  - { name: finality, containerPort: 8090 }
{{- with .Values.probes.startup }}
startupProbe:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.probes.liveness }}
livenessProbe:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end }}

{{/*
The sidecar as a native sidecar: an item of the initContainers of a node's pod.
Use: {{ include "espresso-finality.nativeSidecar" (index .Subcharts "espresso-finality") | nindent N }}
*/}}
{{- define "espresso-finality.nativeSidecar" -}}
- {{ include "espresso-finality.container" . | nindent 2 | trim }}
  restartPolicy: Always
  volumeMounts:
    - { name: {{ .Values.besideNode.volumeName }}, mountPath: /var/lib/finality }
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* The filter's configuration with this cluster. */}}
{{- define "espresso-finality.filterConfig" -}}
{{- $own := dict "sidecar_cluster" .cluster "sidecar_authority" (include "espresso-finality.host" .root) -}}
{{- merge (deepCopy .root.Values.filter.config) $own | toYaml }}
{{- end }}
