{{- define "gpu-operator.labels" -}}
app.kubernetes.io/name: gpu-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "gpu-operator.hardware" -}}
{{- dict "nodes" .Values.standIn.nodes "mig-configs" .Values.standIn.migConfigs
      "migStrategy" .Values.mig.strategy "sandbox" .Values.sandboxWorkloads.enabled
      "defaultWorkload" .Values.sandboxWorkloads.defaultWorkload
      "defaultMigConfig" .Values.migManager.config.default | toPrettyJson }}
{{- end }}

{{- define "gpu-operator.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
