{{/* Names and snippets that several templates share.

`helm upgrade --reuse-values` brings the values of the release before, without those that this version added: they are
read with `dig` or `default`, with the default of values.yaml. Helm hands a null over as a name that is missing, so null
means the default as well, and what may be without a limit has a word of its own for that.
*/}}

{{- define "codebase-mcp.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* One for each namespace, whatever its release is called: only one operator acts on its jobs. */}}
{{- define "codebase-mcp.lease" -}}codebase-mcp-operator{{- end }}

{{/* Labels that never change in the life of a release: what selectors select. Takes (dict "root" $ "component" name). */}}
{{- define "codebase-mcp.selectorLabels" -}}
app.kubernetes.io/name: codebase-mcp
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* All labels of an object. Takes the same. */}}
{{- define "codebase-mcp.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{ include "codebase-mcp.selectorLabels" . }}
app.kubernetes.io/part-of: codebase-mcp
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{/* Reference of an image. Takes (dict "root" $ "name" key under .Values.images). */}}
{{- define "codebase-mcp.image" -}}
{{- $image := index .root.Values.images .name -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end }}

{{/* Pod Security `restricted`, for a whole pod. Takes the user's number. */}}
{{- define "codebase-mcp.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The same, for a container. */}}
{{- define "codebase-mcp.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Where a pod may run. Takes the component's values. */}}
{{- define "codebase-mcp.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Secret that holds the database's `url`. */}}
{{- define "codebase-mcp.databaseSecret" -}}
{{- .Values.database.existingSecret | default .Values.postgres.existingSecret | default (printf "%s-database" (include "codebase-mcp.fullname" .)) -}}
{{- end }}

{{/* The database's address as a file: a rotated password is read again, while a variable stays as it was. */}}
{{- define "codebase-mcp.databaseEnv" -}}
- name: CODEBASE_DATABASE_URL_FILE
  value: /var/run/codebase-mcp/database/url
{{- end }}

{{- define "codebase-mcp.databaseMounts" -}}
- name: database
  mountPath: /var/run/codebase-mcp/database
  readOnly: true
{{- end }}

{{- define "codebase-mcp.databaseVolumes" -}}
- name: database
  secret:
    secretName: {{ include "codebase-mcp.databaseSecret" . }}
    defaultMode: 0440
    items:
      - key: url
        path: url
{{- end }}

{{/* What may be indexed, for the server and for indexers alike. */}}
{{- define "codebase-mcp.sourceEnv" -}}
{{- $roots := list -}}
{{- range $number, $root := .Values.repositories.roots -}}
{{- $one := dict "path" $root.path "mount" (printf "/repositories/%d" $number) -}}
{{- with $root.hostPath }}{{ $_ := set $one "host" . }}{{ end -}}
{{- $roots = append $roots $one -}}
{{- end -}}
- name: CODEBASE_ROOTS
  value: {{ toJson $roots | quote }}
- name: CODEBASE_GIT_HOSTS
  value: {{ join "," .Values.repositories.gitHosts | quote }}
{{- end }}

{{/* How hosts outside the cluster are reached, for the server and for indexers alike. */}}
{{- define "codebase-mcp.networkEnv" -}}
{{- $proxy := .Values.proxy | default dict }}
{{- with $proxy.https }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
- name: NO_PROXY
  value: {{ join "," (compact (list "localhost,127.0.0.1,.svc,.cluster.local,$(KUBERNETES_SERVICE_HOST)" $proxy.except)) | quote }}
{{- end }}
{{- with .Values.trustedCA }}
- name: CODEBASE_TRUSTED_CA
  value: {{ . | quote }}
{{- end }}
{{- with .Values.repositories.sshKnownHosts }}
- name: CODEBASE_SSH_KNOWN_HOSTS
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Port of an address. Takes the address. */}}
{{- define "codebase-mcp.portOf" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end }}

{{/* Ports that a component needs outside of the release, as JSON: those of the hosts, the proxy and the embedding
services that the values name. Takes (dict "root" $ "component" name). */}}
{{- define "codebase-mcp.outgoingPorts" -}}
{{- $values := .root.Values -}}
{{- $addresses := compact (list ($values.proxy | default dict).https) -}}
{{- range (index $values .component).env -}}
{{- if has .name (list "OLLAMA_URL" "OPENAI_BASE_URL") -}}{{- $addresses = append $addresses .value -}}{{- end -}}
{{- end -}}
{{- $ports := list -}}
{{- if and (eq .component "indexer") $values.repositories.gitHosts -}}
{{- range $values.networkPolicy.gitPorts -}}{{- $ports = append $ports (int .) -}}{{- end -}}
{{- range $values.repositories.gitHosts -}}
{{- with regexFind ":[0-9]+$" . -}}{{- $ports = append $ports (trimPrefix ":" . | int) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- range compact $addresses -}}{{- $ports = append $ports (include "codebase-mcp.portOf" . | int) -}}{{- end -}}
{{- uniq $ports | toJson -}}
{{- end }}

{{- define "codebase-mcp.rootVolumes" -}}
{{- range $number, $root := .Values.repositories.roots }}
- name: repositories-{{ $number }}
  {{- if $root.existingClaim }}
  persistentVolumeClaim:
    claimName: {{ $root.existingClaim }}
    readOnly: true
  {{- else }}
  hostPath:
    path: {{ $root.hostPath | quote }}
    type: Directory
  {{- end }}
{{- end }}
{{- end }}

{{- define "codebase-mcp.rootMounts" -}}
{{- range $number, $root := .Values.repositories.roots }}
- name: repositories-{{ $number }}
  mountPath: /repositories/{{ $number }}
  readOnly: true
{{- end }}
{{- end }}

{{/* PriorityClass of indexers; empty for none. A class belongs to the whole cluster, so its name says whose it is. */}}
{{- define "codebase-mcp.priorityClass" -}}
{{- $class := .Values.indexer.priorityClass -}}
{{- if or $class.name (not $class.create) -}}
{{- $class.name -}}
{{- else -}}
{{- printf "%s-%s-indexer" .Release.Namespace (include "codebase-mcp.fullname" .) -}}
{{- end -}}
{{- end }}

{{/* What the operator needs to know of indexer pods, as JSON: fields of a pod, in its spelling. */}}
{{- define "codebase-mcp.podTemplate" -}}
{{- $env := concat
      (include "codebase-mcp.databaseEnv" . | fromYamlArray)
      (include "codebase-mcp.sourceEnv" . | fromYamlArray)
      (include "codebase-mcp.networkEnv" . | fromYamlArray)
      (list (dict "name" "CODEBASE_LOG_LEVEL" "value" .Values.logLevel)
        (dict "name" "CODEBASE_SKIP_SECRET_FILES" "value" (dig "secrets" "skipFiles" true .Values.indexer | toString))
        (dict "name" "CODEBASE_REDACT_SECRETS" "value" (dig "secrets" "redactTokens" true .Values.indexer | toString)))
      .Values.indexer.env -}}
{{- $template := dict
      "image" (include "codebase-mcp.image" (dict "root" . "name" "indexer"))
      "imagePullPolicy" .Values.imagePullPolicy
      "imagePullSecrets" .Values.imagePullSecrets
      "serviceAccountName" (printf "%s-indexer" (include "codebase-mcp.fullname" .))
      "resources" .Values.indexer.resources
      "env" $env
      "volumes" (concat (include "codebase-mcp.databaseVolumes" . | fromYamlArray) (include "codebase-mcp.rootVolumes" . | fromYamlArray))
      "volumeMounts" (concat (include "codebase-mcp.databaseMounts" . | fromYamlArray) (include "codebase-mcp.rootMounts" . | fromYamlArray))
      "workSizeLimit" .Values.indexer.workSizeLimit
      "tmpSizeLimit" .Values.indexer.tmpSizeLimit
      "nodeSelector" .Values.indexer.nodeSelector
      "tolerations" .Values.indexer.tolerations
      "affinity" .Values.indexer.affinity
      "labels" (merge (dict "app.kubernetes.io/instance" .Release.Name) .Values.indexer.podLabels)
      "annotations" .Values.indexer.podAnnotations -}}
{{- with include "codebase-mcp.priorityClass" . -}}
{{- $_ := set $template "priorityClassName" . -}}
{{- end -}}
{{- toPrettyJson $template -}}
{{- end }}
