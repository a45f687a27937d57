-- Health of an IndexingJob for Argo CD: resource.customizations.health.indexing.codebase-mcp.io_IndexingJob
local health = {status = "Progressing", message = "waits for the operator"}
if obj.status ~= nil then
  health.message = obj.status.message or ""
  if obj.spec.suspend then health.status = "Suspended" end
  for _, condition in ipairs(obj.status.conditions or {}) do
    if condition.status == "True" and condition.type == "Complete" then health.status = "Healthy" end
    if condition.status == "True" and condition.type == "Stalled" then health.status = "Degraded" end
  end
end
return health
