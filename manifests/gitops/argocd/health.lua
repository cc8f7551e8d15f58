-- Health of the four kinds of trimtab.dev, for Argo CD. It needs no library.
-- docs/reference/health.md says what each reason comes to.
local health = {status = "Progressing", message = "the operator has not seen it yet"}
local seen = obj.status
if seen == nil or seen.conditions == nil or seen.observedGeneration ~= obj.metadata.generation then
  return health
end

local told = {}
for _, condition in ipairs(seen.conditions) do
  told[condition.type] = condition
end
local stalled, reconciling = told.Stalled, told.Reconciling
if stalled == nil or reconciling == nil then
  health.message = "the operator does not say how it stands"
  return health
end

if stalled.status == "True" then
  health.status = "Degraded"
  health.message = stalled.reason .. ": " .. (stalled.message or "")
elseif reconciling.status == "True" then
  local paused = {PausedByStep = true, PausedByPerson = true, PausedByPolicy = true}
  if paused[reconciling.reason] then
    health.status = "Suspended"
  end
  health.message = reconciling.reason .. ": " .. (reconciling.message or "")
else
  local said = told.Ready or told.Verified or told.Watching or told.Complete or {}
  health.status = "Healthy"
  health.message = said.message or ""
end
return health
