{{/* Name of everything: the release's name, with the chart's name where it does not say so. */}}
{{- define "trimtab.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains "trimtab" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-trimtab" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Name of what exists once in a cluster: two releases in two namespaces must not collide. */}}
{{- define "trimtab.clusterName" -}}
{{- if eq .Release.Namespace "trimtab-system" -}}
{{- include "trimtab.fullname" . -}}
{{- else -}}
{{- printf "%s-%s" .Release.Namespace (include "trimtab.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- define "trimtab.storeName" -}}
{{- printf "%s-store" (include "trimtab.fullname" .) -}}
{{- end -}}

{{- define "trimtab.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "trimtab.fullname" .) -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "trimtab.artifactsSecretName" -}}
{{- .Values.artifacts.existingSecret | default "trimtab-artifacts" -}}
{{- end -}}

{{- define "trimtab.signingKeyName" -}}
{{- .Values.signingKey.existingSecret | default (printf "%s-signing-key" (include "trimtab.fullname" .)) -}}
{{- end -}}

{{/* The destinations as the operator reads them. */}}
{{- define "trimtab.notifications" -}}
{{- pick .Values.notifications "dashboardURL" "destinations" | toJson -}}
{{- end -}}

{{/* Where the operator keeps the counts of open windows; empty: nowhere. */}}
{{- define "trimtab.checkpointUri" -}}
{{- if .Values.checkpoint.uri -}}
{{- .Values.checkpoint.uri -}}
{{- else if and .Values.store.enabled .Values.store.buckets -}}
{{- printf "s3://%s/trimtab-checkpoints" (first .Values.store.buckets) -}}
{{- end -}}
{{- end -}}

{{/* S3 endpoint as the pods see it; empty means AWS itself. */}}
{{- define "trimtab.artifactsEndpoint" -}}
{{- if .Values.store.enabled -}}
{{- printf "http://%s.%s.svc:%d" (include "trimtab.storeName" .) .Release.Namespace (int .Values.store.port) -}}
{{- else -}}
{{- .Values.artifacts.endpoint -}}
{{- end -}}
{{- end -}}

{{/* Labels of one component. Usage: include "trimtab.labels" (list . "operator") */}}
{{- define "trimtab.labels" -}}
{{- $root := index . 0 -}}
{{ include "trimtab.selectorLabels" . }}
app.kubernetes.io/part-of: trimtab
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Labels of pods. No version here: an upgrade that changes nothing else restarts nothing. */}}
{{- define "trimtab.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: trimtab
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}
