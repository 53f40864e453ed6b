{{- /* Labels of every object. Takes the name that app.kubernetes.io/name gives it. */}}
{{- define "vdiwarden.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/part-of: vdiwarden
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- end }}

{{- /* An image by its digest, or else by its tag. */}}
{{- define "vdiwarden.image" -}}
{{- $tag := .image.tag | default (printf "%s%s" (.tagPrefix | default "") .root.Chart.AppVersion) -}}
{{ .root.Values.images.registry }}/{{ .image.repository }}{{ if .image.digest }}@{{ .image.digest }}{{ else }}:{{ $tag }}{{ end }}
{{- end }}

{{- /* The domain, or what to do without one. */}}
{{- define "vdiwarden.domain" -}}
{{- required "domain: the domain under which desktops have their addresses is missing; set it, such as --set domain=vdi.example.com" .Values.domain -}}
{{- end }}

{{- /* What follows the domain in addresses. */}}
{{- define "vdiwarden.portSuffix" -}}
{{- if ne (int .Values.publicPort) 443 }}:{{ int .Values.publicPort }}{{ end -}}
{{- end }}

{{- /* Whether TLS ends at a proxy: "true" or nothing. */}}
{{- define "vdiwarden.plainHTTP" -}}
{{- if or (eq .Values.exposure.type "ingress") (and (eq .Values.exposure.type "gatewayAPI") (eq .Values.exposure.gatewayAPI.route "HTTPRoute")) }}true{{ end -}}
{{- end }}

{{- /* The port of the Service for browsers. */}}
{{- define "vdiwarden.gatewayPort" -}}
{{- if eq .Values.exposure.type "LoadBalancer" }}{{ int .Values.publicPort }}{{ else if include "vdiwarden.plainHTTP" . }}80{{ else }}443{{ end -}}
{{- end }}

{{- define "vdiwarden.loginKeys" -}}
{{ .Values.loginKeys.existingSecret | default "vdi-login-keys" }}
{{- end }}

{{- define "vdiwarden.activityToken" -}}
{{ .Values.activityToken.existingSecret | default "vdi-activity-token" }}
{{- end }}

{{- define "vdiwarden.signingKeys" -}}
{{ .Values.signingKeys.existingSecret | default "vdi-gateway-keys" }}
{{- end }}

{{- /* The Secrets that controller and gateway share and make themselves, as a JSON list. */}}
{{- define "vdiwarden.madeSecrets" -}}
{{- $made := list -}}
{{- if not .Values.loginKeys.existingSecret }}{{ $made = append $made "vdi-login-keys" }}{{ end -}}
{{- if not .Values.activityToken.existingSecret }}{{ $made = append $made "vdi-activity-token" }}{{ end -}}
{{ toJson $made }}
{{- end }}

{{- /* What all pods have in common: who they are, and where they run. */}}
{{- define "vdiwarden.pod" -}}
serviceAccountName: {{ .name }}
automountServiceAccountToken: true
enableServiceLinks: false
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector: {matchLabels: {app.kubernetes.io/name: {{ $.name }}}}
    matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}

{{- /* What all containers have in common: they get nothing of their node. */}}
{{- define "vdiwarden.container" -}}
imagePullPolicy: {{ .Values.images.pullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- /* Probes on the port with the operations. */}}
{{- define "vdiwarden.probes" -}}
livenessProbe:
  httpGet: {path: /healthz, port: operations}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: operations}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{- /* The names of the floor's ValidatingAdmissionPolicies and of their bindings, as a JSON list. */}}
{{- define "vdiwarden.floor" -}}
{{ list "vdi-controller" "vdi-desktops" "vdi-network" "vdi-sessions" | toJson }}
{{- end }}

{{- /* Annotations of what the pod of `helm test` may do: nobody may outside of the test, however it ends. */}}
{{- define "vdiwarden.checkRights" -}}
helm.sh/hook: test
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end }}
