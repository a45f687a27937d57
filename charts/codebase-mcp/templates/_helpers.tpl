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

{{/* Labels of a pod: those, the site's, and the component's own. Takes the same. */}}
{{- define "codebase-mcp.podLabels" -}}
{{ include "codebase-mcp.selectorLabels" . }}
{{- with merge (dict) ((index .root.Values .component).podLabels | default dict) (.root.Values.commonLabels | default dict) }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Annotations of an object or a pod, or nothing: the site's, and its own. Takes (dict "root" $ "own" its own). */}}
{{- define "codebase-mcp.annotations" -}}
{{- with merge (dict) (.own | default dict) (.root.Values.commonAnnotations | default dict) -}}
annotations: {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end }}

{{/* All labels of an object. Takes the same as those of selectors. */}}
{{- define "codebase-mcp.labels" -}}
{{- with .root.Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{ include "codebase-mcp.selectorLabels" . }}
app.kubernetes.io/part-of: codebase-mcp
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{/* Reference of an image. Takes (dict "root" $ "name" key under .Values.images). The registry of a site takes the place of
the one that the repository names, as a mirror keeps the rest of the path. */}}
{{- define "codebase-mcp.image" -}}
{{- $image := index .root.Values.images .name -}}
{{- $repository := $image.repository -}}
{{- with (.root.Values.global | default dict).imageRegistry -}}
{{- $parts := splitList "/" $repository -}}
{{- if and (gt (len $parts) 1) (regexMatch "[.:]|^localhost$" (first $parts)) -}}{{- $parts = rest $parts -}}{{- end -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (join "/" $parts) -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($image.tag | default .root.Values.images.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end }}

{{/* Secrets with registry credentials, as a list: the chart's, and those of all charts of a site. */}}
{{- define "codebase-mcp.imagePullSecrets" -}}
{{- $secrets := .Values.imagePullSecrets | default list -}}
{{- range (.Values.global | default dict).imagePullSecrets -}}
{{- $secrets = append $secrets (ternary (dict "name" .) . (kindIs "string" .)) -}}
{{- end -}}
{{- with uniq $secrets }}{{- toYaml . }}{{- end -}}
{{- end }}

{{/* Name of a component's account. Takes (dict "root" $ "component" name). */}}
{{- define "codebase-mcp.serviceAccount" -}}
{{- dig "serviceAccount" "name" "" (index .root.Values .component) | default (printf "%s-%s" (include "codebase-mcp.fullname" .root) .component) -}}
{{- end }}

{{/* A component's account, unless the site makes it. Takes the same. */}}
{{- define "codebase-mcp.serviceAccountObject" -}}
{{- if dig "serviceAccount" "create" true (index .root.Values .component) -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "codebase-mcp.serviceAccount" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "codebase-mcp.labels" . | nindent 4 }}
  {{- include "codebase-mcp.annotations" (dict "root" .root "own" (dig "serviceAccount" "annotations" dict (index .root.Values .component))) | nindent 2 }}
automountServiceAccountToken: false
{{- end -}}
{{- end }}

{{/* Lays the fields of `over` over those of `base`, and leaves out those that its `omit` names: helm drops a null. Takes
(dict "base" dict "over" dict). */}}
{{- define "codebase-mcp.laidOver" -}}
{{- $laid := deepCopy .base -}}
{{- range $name, $value := omit (.over | default dict) "enabled" "omit" -}}{{- $_ := set $laid $name $value -}}{{- end -}}
{{- range (.over | default dict).omit -}}{{- $_ := unset $laid . -}}{{- end -}}
{{- toYaml $laid -}}
{{- end }}

{{/* The security context of a pod: Pod Security `restricted`, with the component's fields laid over it; nothing where that
is switched off. Takes (dict "root" $ "values" the component's "user" number). */}}
{{- define "codebase-mcp.podSecurityContext" -}}
{{- $own := .values.podSecurityContext | default dict -}}
{{- if ne (dig "enabled" true $own | toString) "false" -}}
{{- $base := dict "runAsNonRoot" true "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- if not .root.Values.clusterAssignsUsers -}}
{{- $_ := merge $base (dict "runAsUser" .user "runAsGroup" .user "fsGroup" .user) -}}
{{- end -}}
securityContext: {{- include "codebase-mcp.laidOver" (dict "base" $base "over" $own) | nindent 2 }}
{{- end -}}
{{- end }}

{{/* The same, of a container. Takes the component's values. */}}
{{- define "codebase-mcp.containerSecurityContext" -}}
{{- $own := .containerSecurityContext | default dict -}}
{{- if ne (dig "enabled" true $own | toString) "false" -}}
{{- $base := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
securityContext: {{- include "codebase-mcp.laidOver" (dict "base" $base "over" $own) | nindent 2 }}
{{- end -}}
{{- end }}

{{/* A probe with the site's fields laid over it. Takes (dict "base" text of the probe "over" dict). */}}
{{- define "codebase-mcp.probe" -}}
{{- include "codebase-mcp.laidOver" (dict "base" (fromYaml .base) "over" .over) -}}
{{- end }}

{{/* Where a pod may run, with what priority, runtime and names. Takes (dict "root" $ "component" name). */}}
{{- define "codebase-mcp.placement" -}}
{{- $values := index .root.Values .component -}}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "priorityClassName" "runtimeClassName" "schedulerName" "hostAliases" "dnsPolicy" "dnsConfig" }}
{{- with index $values $field }}
{{ dict $field . | toYaml }}
{{- end }}
{{- end }}
{{- with include "codebase-mcp.spread" . }}
{{ . }}
{{- end }}
{{- end }}

{{/* How pods are spread: by the site's constraints, whose selector may be left out; else several over the nodes, as well
as it can be done. Takes the same. */}}
{{- define "codebase-mcp.spread" -}}
{{- $values := index .root.Values .component -}}
{{- $constraints := $values.topologySpreadConstraints -}}
{{- $several := or (gt (int $values.replicas) 1) (dig "autoscaling" "enabled" false $values) -}}
{{- if and (not $constraints) $several -}}
{{- $constraints = list (dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway") -}}
{{- end -}}
{{- with $constraints -}}
{{- $selector := dict "matchLabels" (include "codebase-mcp.selectorLabels" $ | fromYaml) -}}
topologySpreadConstraints:
{{- range . }}
  - {{- merge (dict) . (dict "labelSelector" $selector) | toYaml | nindent 4 }}
{{- end }}
{{- end -}}
{{- end }}

{{/* What a site adds to a container: variables from ConfigMaps and Secrets. Takes the component's values. */}}
{{- define "codebase-mcp.envFrom" -}}
{{- with .envFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Secret that holds the database's `url`. */}}
{{- define "codebase-mcp.databaseSecret" -}}
{{- .Values.database.existingSecret | default .Values.postgres.existingSecret | default (printf "%s-database" (include "codebase-mcp.fullname" .)) -}}
{{- end }}

{{/* What the StatefulSet that is there asks for its volume; empty where there is none, or it cannot be looked up. A
StatefulSet's claim cannot be changed: with another size, helm upgrade would fail. */}}
{{- define "codebase-mcp.volumeSize" -}}
{{- $name := printf "%s-postgres" (include "codebase-mcp.fullname" .) -}}
{{- range dig "spec" "volumeClaimTemplates" list (lookup "apps/v1" "StatefulSet" .Release.Namespace $name) -}}
{{- if eq .metadata.name "data" -}}{{- .spec.resources.requests.storage -}}{{- end -}}
{{- end -}}
{{- end }}

{{/* Whether `each` program has a role of its own in the database, or all have `one`. */}}
{{- define "codebase-mcp.databaseRoles" -}}
{{- $made := not (or .Values.database.existingSecret .Values.postgres.existingSecret) -}}
{{- dig "roles" "" .Values.database | default (ternary "each" "one" $made) -}}
{{- end }}

{{/* The database's address as a file: a rotated password is read again, while a variable stays as it was. Of the role that
owns the schema, only the operator has it. Takes (dict "root" $ "component" name). */}}
{{- define "codebase-mcp.databaseEnv" -}}
- name: CODEBASE_DATABASE_URL_FILE
  value: /var/run/codebase-mcp/database/url
{{- if and (eq .component "operator") (eq (include "codebase-mcp.databaseRoles" .root) "each") }}
- name: CODEBASE_DATABASE_OWNER_URL_FILE
  value: /var/run/codebase-mcp/database/owner-url
- name: CODEBASE_SERVER_DELETES
  value: {{ dig "allowDeletion" false .root.Values.server | quote }}
{{- end }}
{{- include "codebase-mcp.databaseCAEnv" .root }}
{{- end }}

{{/* How programs check whose certificate the database has; nothing where no authority is given. Takes the root. */}}
{{- define "codebase-mcp.databaseCAEnv" -}}
{{- with include "codebase-mcp.databaseCA" . }}
- name: PGSSLMODE
  value: {{ dig "sslMode" "verify-full" $.Values.database }}
- name: PGSSLROOTCERT
  value: /var/run/codebase-mcp/database-ca/ca.crt
{{- end }}
{{- end }}

{{/* Name of the Secret with the authority that signed the database's certificate; empty for none. */}}
{{- define "codebase-mcp.databaseCA" -}}
{{- dig "caSecret" "name" "" .Values.database | default (include "codebase-mcp.postgresTLS" .) -}}
{{- end }}

{{/* Name of the Secret with the embedded database's certificate; empty for none. */}}
{{- define "codebase-mcp.postgresTLS" -}}
{{- if not .Values.database.existingSecret -}}{{- dig "tls" "existingSecret" "" .Values.postgres -}}{{- end -}}
{{- end }}

{{- define "codebase-mcp.databaseMounts" -}}
- name: database
  mountPath: /var/run/codebase-mcp/database
  readOnly: true
{{- if include "codebase-mcp.databaseCA" . }}
- name: database-ca
  mountPath: /var/run/codebase-mcp/database-ca
  readOnly: true
{{- end }}
{{- end }}

{{/* Takes (dict "root" $ "component" name). A pod has no other program's address. */}}
{{- define "codebase-mcp.databaseVolumes" -}}
{{- $url := ternary (dig "existingSecretKey" "url" .root.Values.database) "url" (not (empty .root.Values.database.existingSecret)) -}}
- name: database
  secret:
    secretName: {{ include "codebase-mcp.databaseSecret" .root }}
    defaultMode: 0440
    items:
{{- if eq (include "codebase-mcp.databaseRoles" .root) "each" }}
      - key: {{ .component }}-url
        path: url
      {{- if eq .component "operator" }}
      - key: {{ $url }}
        path: owner-url
      {{- end }}
{{- else }}
      - key: {{ $url }}
        path: url
{{- end }}
{{- include "codebase-mcp.databaseCAVolume" .root }}
{{- end }}

{{- define "codebase-mcp.databaseCAVolume" -}}
{{- with include "codebase-mcp.databaseCA" . }}
- name: database-ca
  secret:
    secretName: {{ . }}
    items:
      - key: {{ dig "caSecret" "key" "ca.crt" $.Values.database }}
        path: ca.crt
{{- end }}
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

{{/* Where spans are sent, for all three programs. Takes the root. */}}
{{- define "codebase-mcp.tracingEnv" -}}
{{- $tracing := .Values.tracing | default dict }}
{{- with $tracing.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- with dig "headersSecret" "name" "" $tracing }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ dig "headersSecret" "key" "headers" $tracing }}
{{- end }}
{{- end }}
{{- end }}

{{/* Port of an address. Takes the address. */}}
{{- define "codebase-mcp.portOf" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end }}

{{/* Rules for name lookups: at the cluster's own servers, where networkPolicy.dns says which these are. Takes the root. */}}
{{- define "codebase-mcp.nameLookups" -}}
# names; 5353 is where OpenShift's servers listen
- ports:
    {{- range $port := list 53 5353 }}
    - {port: {{ $port }}, protocol: UDP}
    - {port: {{ $port }}, protocol: TCP}
    {{- end }}
  {{- if kindIs "invalid" .Values.networkPolicy.dns }}
  to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
      podSelector: {matchLabels: {k8s-app: kube-dns}}
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: openshift-dns}}
    # NodeLocal DNSCache, and GKE's Cloud DNS
    - ipBlock: {cidr: 169.254.20.10/32}
    - ipBlock: {cidr: 169.254.169.254/32}
  {{- else }}
  {{- with .Values.networkPolicy.dns }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end }}

{{/* Rules for what a component needs outside of the release. Takes (dict "root" $ "component" name). */}}
{{- define "codebase-mcp.outgoing" -}}
{{- $git := include "codebase-mcp.gitPorts" . | fromJsonArray -}}
{{- with $git }}
# git hosts: public ones, and those in networks that the values name
- ports:
    {{- range . }}
    - port: {{ . }}
    {{- end }}
  to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except:
          [0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16, 198.18.0.0/15,
          224.0.0.0/3]
    # All that is given out of IPv6: private and link-local addresses lie elsewhere.
    - ipBlock: {cidr: "2000::/3"}
    # The same IPv4 as NAT64 shows it to clusters of IPv6 alone.
    - ipBlock:
        cidr: 64:ff9b::/96
        except:
          ["64:ff9b::/104", "64:ff9b::a00:0/104", "64:ff9b::6440:0/106", "64:ff9b::7f00:0/104", "64:ff9b::a9fe:0/112",
          "64:ff9b::ac10:0/108", "64:ff9b::c0a8:0/112", "64:ff9b::c612:0/111", "64:ff9b::e000:0/99"]
    {{- range $.root.Values.networkPolicy.privateNetworks }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
{{- end }}
{{- $services := list -}}
{{- range include "codebase-mcp.servicePorts" . | fromJsonArray -}}
{{- if not (has . $git) -}}{{- $services = append $services . -}}{{- end -}}
{{- end }}
{{- with $services }}
# the proxy, the collector of traces and embedding services, which may be in the cluster; nothing that answers on the link: a cloud's metadata
- ports:
    {{- range . }}
    - port: {{ . }}
    {{- end }}
  to:
    - namespaceSelector: {}
    - ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16]}
    - ipBlock: {cidr: "::/0", except: ["fe80::/10"]}
{{- end }}
{{- end }}

{{/* Ports of git, as JSON, for indexers that may clone: those of the values, and of HOST:PORT in repositories.gitHosts. */}}
{{- define "codebase-mcp.gitPorts" -}}
{{- $values := .root.Values -}}
{{- $ports := list -}}
{{- if and (eq .component "indexer") $values.repositories.gitHosts -}}
{{- range $values.networkPolicy.gitPorts -}}{{- $ports = append $ports (int .) -}}{{- end -}}
{{- range $values.repositories.gitHosts -}}
{{- with regexFind ":[0-9]+$" . -}}{{- $ports = append $ports (trimPrefix ":" . | int) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- uniq $ports | toJson -}}
{{- end }}

{{/* Ports of what a component's values name: the collector of traces, the proxy, embedding services; as JSON. */}}
{{- define "codebase-mcp.servicePorts" -}}
{{- $proxy := ternary "" (.root.Values.proxy | default dict).https (eq .component "operator") -}}
{{- $addresses := list (.root.Values.tracing | default dict).endpoint $proxy -}}
{{- range (index .root.Values .component).env -}}
{{- if has .name (list "OLLAMA_URL" "OPENAI_BASE_URL") -}}{{- $addresses = append $addresses .value -}}{{- end -}}
{{- end -}}
{{- $ports := list -}}
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
      (include "codebase-mcp.databaseEnv" (dict "root" . "component" "indexer") | fromYamlArray)
      (include "codebase-mcp.sourceEnv" . | fromYamlArray)
      (include "codebase-mcp.networkEnv" . | fromYamlArray)
      (include "codebase-mcp.tracingEnv" . | fromYamlArray)
      (list (dict "name" "CODEBASE_LOG_LEVEL" "value" .Values.logLevel)
        (dict "name" "CODEBASE_SKIP_SECRET_FILES" "value" (dig "secrets" "skipFiles" true .Values.indexer | toString))
        (dict "name" "CODEBASE_REDACT_SECRETS" "value" (dig "secrets" "redactTokens" true .Values.indexer | toString)))
      (ternary (list (dict "name" "CODEBASE_REQUIRE_SANDBOX" "value" "true")) list (dig "requireSandbox" false .Values.indexer))
      .Values.indexer.env -}}
{{- $template := dict
      "image" (include "codebase-mcp.image" (dict "root" . "name" "indexer"))
      "imagePullPolicy" .Values.imagePullPolicy
      "imagePullSecrets" (include "codebase-mcp.imagePullSecrets" . | fromYamlArray)
      "serviceAccountName" (include "codebase-mcp.serviceAccount" (dict "root" . "component" "indexer"))
      "resources" .Values.indexer.resources
      "env" $env
      "volumes" (concat (include "codebase-mcp.databaseVolumes" (dict "root" . "component" "indexer") | fromYamlArray) (include "codebase-mcp.rootVolumes" . | fromYamlArray) (.Values.indexer.extraVolumes | default list))
      "volumeMounts" (concat (include "codebase-mcp.databaseMounts" . | fromYamlArray) (include "codebase-mcp.rootMounts" . | fromYamlArray))
      "workSizeLimit" .Values.indexer.workSizeLimit
      "tmpSizeLimit" .Values.indexer.tmpSizeLimit
      "nodeSelector" .Values.indexer.nodeSelector
      "tolerations" .Values.indexer.tolerations
      "affinity" .Values.indexer.affinity
      "labels" (merge (dict "app.kubernetes.io/instance" .Release.Name) (.Values.indexer.podLabels | default dict) (.Values.commonLabels | default dict))
      "annotations" (merge (dict) (.Values.indexer.podAnnotations | default dict) (.Values.commonAnnotations | default dict)) -}}
{{- $optional := dict
      "extraVolumeMounts" .Values.indexer.extraVolumeMounts
      "envFrom" .Values.indexer.envFrom
      "initContainers" .Values.indexer.initContainers
      "runtimeClassName" .Values.indexer.runtimeClassName
      "schedulerName" .Values.indexer.schedulerName
      "hostAliases" .Values.indexer.hostAliases
      "dnsPolicy" .Values.indexer.dnsPolicy
      "dnsConfig" .Values.indexer.dnsConfig -}}
{{- range $field, $value := $optional -}}
{{- if $value -}}{{- $_ := set $template $field $value -}}{{- end -}}
{{- end -}}
{{- $context := .Values.indexer.podSecurityContext | default dict -}}
{{- if eq (dig "enabled" true $context | toString) "false" -}}
{{- $_ := set $template "podSecurityContext" nil -}}
{{- else -}}
{{- $over := ternary (dict "runAsUser" nil "runAsGroup" nil "fsGroup" nil) (dict) (default false .Values.clusterAssignsUsers) -}}
{{- range $name, $value := omit $context "enabled" "omit" -}}{{- $_ := set $over $name $value -}}{{- end -}}
{{- range $context.omit -}}{{- $_ := set $over . nil -}}{{- end -}}
{{- with $over -}}{{- $_ := set $template "podSecurityContext" . -}}{{- end -}}
{{- end -}}
{{- $context := .Values.indexer.containerSecurityContext | default dict -}}
{{- if eq (dig "enabled" true $context | toString) "false" -}}
{{- $_ := set $template "securityContext" nil -}}
{{- else -}}
{{- $over := omit $context "enabled" "omit" -}}
{{- range $context.omit -}}{{- $_ := set $over . nil -}}{{- end -}}
{{- with $over -}}{{- $_ := set $template "securityContext" . -}}{{- end -}}
{{- end -}}
{{- with include "codebase-mcp.priorityClass" . -}}
{{- $_ := set $template "priorityClassName" . -}}
{{- end -}}
{{- toPrettyJson $template -}}
{{- end }}

{{/* How many pods of a component an eviction may take at once, where it has several. Takes (dict "root" $ "component" name). */}}
{{- define "codebase-mcp.disruptionBudget" -}}
{{- $values := index .root.Values .component -}}
{{- $budget := $values.podDisruptionBudget | default dict -}}
{{- $several := or (gt (int $values.replicas) 1) (dig "autoscaling" "enabled" false $values) -}}
{{- if and $several (ne (dig "enabled" true $budget | toString) "false") }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "codebase-mcp.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "codebase-mcp.labels" . | nindent 4 }}
  {{- include "codebase-mcp.annotations" (dict "root" .root) | nindent 2 }}
spec:
  {{- with $budget.minAvailable }}
  minAvailable: {{ . }}
  {{- else }}
  maxUnavailable: {{ $budget.maxUnavailable | default 1 }}
  {{- end }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "codebase-mcp.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end }}

{{/* Which addresses a Service has. Takes the root. */}}
{{- define "codebase-mcp.ipFamilies" -}}
{{- $network := .Values.network | default dict -}}
{{- with $network.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with $network.ipFamilies }}
ipFamilies: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Release and namespace of another release that keeps the definition; empty for none. helm would end with "invalid
ownership metadata". Asked only where this release may make definitions, since it has to be allowed to. */}}
{{- define "codebase-mcp.definitionOwner" -}}
{{- if .Values.crds.enabled -}}
{{- $found := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "indexingjobs.indexing.codebase-mcp.io" -}}
{{- $release := dig "metadata" "annotations" "meta.helm.sh/release-name" "" $found -}}
{{- $namespace := dig "metadata" "annotations" "meta.helm.sh/release-namespace" "" $found -}}
{{- if and $release (or (ne $release .Release.Name) (ne $namespace .Release.Namespace)) -}}
release {{ $release }} in namespace {{ $namespace }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "codebase-mcp.ownsDefinition" -}}
{{- and .Values.crds.enabled (not (include "codebase-mcp.definitionOwner" .)) -}}
{{- end }}


{{/* How the server, when it asks nobody who calls, is reached by others than those whom the values name, as JSON: a
sentence's end for each way, with what to do. Takes the root. */}}
{{- define "codebase-mcp.entrances" -}}
{{- $server := .Values.server -}}
{{- $found := list -}}
{{- $front := "set auth.mode" -}}
{{- if eq (include "codebase-mcp.authMode" .) "none" -}}
{{- if dig "ingress" "enabled" false $server -}}
{{- $hosts := list -}}{{- range $server.ingress.hosts -}}{{- $hosts = append $hosts .host -}}{{- end -}}
{{- $found = append $found (printf "by an Ingress, as %s: %s" (join ", " $hosts) $front) -}}
{{- end -}}
{{- if dig "httpRoute" "enabled" false $server -}}
{{- $found = append $found (printf "by an HTTPRoute, as %s: %s" (join ", " $server.httpRoute.hostnames) $front) -}}
{{- end -}}
{{- if and (eq $server.service.type "LoadBalancer") (not $server.service.loadBalancerSourceRanges) -}}
{{- $found = append $found "from wherever its LoadBalancer is: name networks in server.service.loadBalancerSourceRanges" -}}
{{- else if eq $server.service.type "NodePort" -}}
{{- $found = append $found "at every node's address: make server.service.type ClusterIP" -}}
{{- end -}}
{{- if not .Values.networkPolicy.enabled -}}
{{- $found = append $found "by every pod of the cluster: switch networkPolicy.enabled on" -}}
{{- else if not .Values.networkPolicy.serverFrom -}}
{{- $found = append $found "by every pod of the cluster: name those that may in networkPolicy.serverFrom" -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end }}


{{/* What indexers' pods may hold by the values, as JSON: names of Secrets and of claims, folders of nodes, images, added
capabilities, and kinds of volumes besides the usual ones. `ownSecrets` are those that no job may name. Takes the root. */}}
{{- define "codebase-mcp.knownToIndexers" -}}
{{- $pod := include "codebase-mcp.podTemplate" . | fromJson -}}
{{- $secrets := list -}}{{- $claims := list -}}{{- $hostPaths := list -}}{{- $kinds := list -}}{{- $images := list $pod.image -}}
{{- range $pod.volumes -}}
{{- range $kind, $source := omit . "name" -}}
{{- if eq $kind "secret" -}}{{- $secrets = append $secrets $source.secretName -}}
{{- else if eq $kind "persistentVolumeClaim" -}}{{- $claims = append $claims $source.claimName -}}
{{- else if eq $kind "hostPath" -}}{{- $hostPaths = append $hostPaths $source.path -}}
{{- else if eq $kind "projected" -}}
{{- range $source.sources -}}{{- with .secret -}}{{- $secrets = append $secrets .name -}}{{- end -}}{{- end -}}
{{- else if not (has $kind (list "emptyDir" "configMap" "downwardAPI")) -}}{{- $kinds = append $kinds $kind -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $pod.initContainers -}}{{- $images = append $images .image -}}{{- end -}}
{{- $capabilities := list -}}
{{- range prepend ($pod.initContainers | default list) $pod -}}
{{- $capabilities = concat $capabilities (((.securityContext | default dict).capabilities | default dict).add | default list) -}}
{{- range .env -}}{{- with (.valueFrom | default dict).secretKeyRef -}}{{- $secrets = append $secrets .name -}}{{- end -}}{{- end -}}
{{- range .envFrom -}}{{- with .secretRef -}}{{- $secrets = append $secrets .name -}}{{- end -}}{{- end -}}
{{- end -}}
{{- $own := append $secrets (include "codebase-mcp.databaseSecret" .) -}}
{{- range $pod.imagePullSecrets -}}{{- $own = append $own .name -}}{{- end -}}
{{- dict "secrets" (uniq $secrets) "ownSecrets" (uniq $own) "claims" $claims "hostPaths" $hostPaths "images" (uniq $images)
      "otherKinds" (uniq $kinds) "capabilities" (uniq $capabilities) | toJson -}}
{{- end }}

{{/* Lets a policy act in the namespace of the release alone. Takes (dict "root" $ "name" name). */}}
{{- define "codebase-mcp.admissionBinding" -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels: {{- include "codebase-mcp.labels" (dict "root" .root "component" "admission") | nindent 4 }}
  {{- include "codebase-mcp.annotations" (dict "root" .root) | nindent 2 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
  matchResources:
    namespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: {{ .root.Release.Namespace }}
{{- end }}
