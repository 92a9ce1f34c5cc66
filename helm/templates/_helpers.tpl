{{- define "weir.name" -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{- define "weir.selector" -}}
app.kubernetes.io/name: weir
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "weir.labels" -}}
{{ include "weir.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "weir.configMap" -}}
{{- .Values.existingConfigMap | default (printf "%s-pipelines" (include "weir.name" .)) -}}
{{- end }}

{{/* File name -> text, as JSON. */}}
{{- define "weir.pipelines" -}}
{{- .Values.pipelines | default (dict "example.yaml" (.Files.Get "example.yaml")) | toJson -}}
{{- end }}

{{/* The file that runs: the named one, or the only one. */}}
{{- define "weir.pipeline" -}}
{{- $files := include "weir.pipelines" . | fromJson | keys | sortAlpha -}}
{{- if .Values.existingConfigMap -}}
  {{- required "`pipeline` must name a file of existingConfigMap" .Values.pipeline -}}
{{- else if .Values.pipeline -}}
  {{- if not (has .Values.pipeline $files) -}}
    {{- fail (printf "`pipeline` is %q, but `pipelines` has: %s" .Values.pipeline (join ", " $files)) -}}
  {{- end -}}
  {{- .Values.pipeline -}}
{{- else if eq (len $files) 1 -}}
  {{- first $files -}}
{{- else -}}
  {{- fail (printf "`pipelines` has %d files: say in `pipeline` which one runs" (len $files)) -}}
{{- end -}}
{{- end }}
