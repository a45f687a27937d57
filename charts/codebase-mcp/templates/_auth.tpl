{{/* Who calls the server, and what they may: docs/identity.md. */}}

{{- define "codebase-mcp.authMode" -}}{{ dig "mode" "none" (.Values.auth | default dict) }}{{- end }}

{{/* The server's environment for it. */}}
{{- define "codebase-mcp.authEnv" -}}
{{- $auth := .Values.auth | default dict -}}
{{- $mode := include "codebase-mcp.authMode" . -}}
- name: CODEBASE_AUTH
  value: {{ $mode }}
{{- if $auth.readOnly }}
- name: CODEBASE_READ_ONLY
  value: "true"
{{- end }}
{{- if eq $mode "kubernetes" }}
- name: CODEBASE_AUTH_AUDIENCES
  value: {{ join "," ($auth.audiences | default (list "codebase-mcp")) | quote }}
{{- else if eq $mode "oidc" }}
- name: CODEBASE_OIDC_ISSUER
  value: {{ required "auth.mode is oidc: set auth.oidc.issuer to the URL of the issuer" $auth.oidc.issuer | quote }}
- name: CODEBASE_PUBLIC_URL
  value: {{ required "auth.mode is oidc: set auth.publicUrl to the URL of the server, https://.../mcp" $auth.publicUrl | quote }}
- name: CODEBASE_OIDC_GRANTS
  value: {{ $auth.oidc.grants | default list | toJson | quote }}
- name: CODEBASE_OIDC_GROUPS_CLAIM
  value: {{ $auth.oidc.groupsClaim | default "groups" | quote }}
- name: CODEBASE_OIDC_NAME_CLAIM
  value: {{ $auth.oidc.nameClaim | default "sub" | quote }}
{{- else if eq $mode "tokens" }}
- name: CODEBASE_TOKENS_FILE
  value: /etc/codebase-mcp/tokens/tokens.yaml
{{- end }}
{{- end }}

{{/* The static tokens, mounted as a folder: a file alone would not follow its Secret. */}}
{{- define "codebase-mcp.authMounts" -}}
{{- if eq (include "codebase-mcp.authMode" .) "tokens" }}
- name: tokens
  mountPath: /etc/codebase-mcp/tokens
  readOnly: true
{{- end }}
{{- end }}

{{- define "codebase-mcp.authVolumes" -}}
{{- if eq (include "codebase-mcp.authMode" .) "tokens" }}
- name: tokens
  secret:
    secretName: {{ required "auth.mode is tokens: set auth.tokensSecret to the Secret with the key tokens.yaml" .Values.auth.tokensSecret }}
    defaultMode: 0440
{{- end }}
{{- end }}
