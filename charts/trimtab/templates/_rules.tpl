{{/*
What the operator may do, verb by verb. It cannot write anybody's `spec`: no update or patch of its
own kinds, only of their status. It cannot read a Secret.
*/}}
{{- define "trimtab.operatorRules" -}}
- apiGroups: [trimtab.dev]
  resources: [modeldeployments, modelversions, driftpolicies, retrainjobs]
  verbs: [get, list, watch]
- apiGroups: [trimtab.dev]
  resources: [modeldeployments/status, modelversions/status, driftpolicies/status, retrainjobs/status]
  verbs: [get, patch]
# A cause makes a RetrainJob; its result makes a ModelVersion.
- apiGroups: [trimtab.dev]
  resources: [modelversions, retrainjobs]
  verbs: [create]
# Owner references that block deletion ask for this where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [trimtab.dev]
  resources: [modeldeployments/finalizers, retrainjobs/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
{{ include "trimtab.engineRules" . }}
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# The token Secret of a Deployment: made once, mounted by the pods, never read by the operator.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
# One event per object and reason, a series: made, read by a later process, gone on with.
- apiGroups: [""]
  resources: [events]
  verbs: [get, create, patch]
{{- if .Values.notifications.destinations }}
# The annotation trimtab.dev/notify: of the namespace of what was decided, its metadata alone.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end }}
{{- end -}}
