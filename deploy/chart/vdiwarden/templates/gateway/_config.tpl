{{- /* The gateway's settings: the chart's, and further ones. */}}
{{- define "vdiwarden.gatewayConfig" -}}
{{- $config := dict
    "public-url" (printf "https://%s%s" (include "vdiwarden.domain" .) (include "vdiwarden.portSuffix" .))
    "activity-token-secret" (include "vdiwarden.activityToken" .)
    "login-keys-secret" (include "vdiwarden.loginKeys" .)
    "keys-secret" (include "vdiwarden.signingKeys" .)
    "drain" (printf "%ds" (int .Values.gateway.drainSeconds))
-}}
{{- if include "vdiwarden.plainHTTP" . }}
{{- $_ := set $config "insecure-http" true }}
{{- else }}
{{- $_ := set $config "tls-cert" "/etc/vdiwarden/tls/tls.crt" }}
{{- $_ := set $config "tls-key" "/etc/vdiwarden/tls/tls.key" }}
{{- end }}
{{- with .Values.podCIDRs }}
{{- $_ := set $config "pod-cidr" . }}
{{- end }}
{{- with .Values.usernamePrefix }}
{{- $_ := set $config "username-prefix" . }}
{{- end }}
{{- with .Values.oidc }}
{{- if .issuer }}
{{- $_ := set $config "oidc-issuer" .issuer }}
{{- $_ := set $config "oidc-client-id" (required "oidc.clientID: the gateway's client ID at oidc.issuer is missing" .clientID) }}
{{- if .clientSecret.existingSecret }}
{{- $_ := set $config "oidc-client-secret-file" (printf "/etc/vdiwarden/oidc-client/%s" .clientSecret.key) }}
{{- end }}
{{- if ne (default "email_verified" .emailVerifiedClaim) "email_verified" }}
{{- $_ := set $config "oidc-email-verified-claim" .emailVerifiedClaim }}
{{- end }}
{{- if or .ca.existingSecret .ca.existingConfigMap }}
{{- $_ := set $config "oidc-ca" (printf "/etc/vdiwarden/oidc-ca/%s" .ca.key) }}
{{- end }}
{{- else if .clientID }}
{{- fail "oidc.issuer: the URL of the provider that oidc.clientID belongs to is missing" }}
{{- end }}
{{- end }}
{{- merge $config .Values.gateway.settings | toYaml }}
{{- end }}
