{{- /* The controller's settings: the chart's, and further ones. */}}
{{- define "vdiwarden.controllerConfig" -}}
{{- $config := dict
    "domain" (include "vdiwarden.domain" .)
    "gateway-namespace" .Release.Namespace
    "activity-url" (printf "http://vdi-gateway-activity.%s.svc:8081/activity" .Release.Namespace)
    "activity-token-secret" (include "vdiwarden.activityToken" .)
    "login-keys-secret" (include "vdiwarden.loginKeys" .)
-}}
{{- with include "vdiwarden.portSuffix" . }}
{{- $_ := set $config "url-template" (printf "https://{user}.{domain}%s" .) }}
{{- end }}
{{- with .Values.podCIDRs }}
{{- $_ := set $config "pod-cidr" . }}
{{- end }}
{{- merge $config .Values.controller.settings | toYaml }}
{{- end }}
