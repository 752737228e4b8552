-- Put messages in, all or none; one whose job waits or is leased already is left alone.
-- KEYS: the streams, then the hash of ids (job id -> "<stream number> <entry id>").
-- ARGV: the most messages that all streams may hold; then stream number, job id, body of each.
-- Answers how many were new, or -1 where they would be too many.
local streams, ids = #KEYS - 1, KEYS[#KEYS]

local function waits(job_id)
  local number, entry = string.match(redis.call('HGET', ids, job_id) or '', '^(%d+) (.+)$')
  return number ~= nil and #redis.call('XRANGE', KEYS[tonumber(number)], entry, entry) > 0
end

local fresh, seen = {}, {}
for index = 2, #ARGV, 3 do
  local job_id = ARGV[index + 1]
  if not seen[job_id] and not waits(job_id) then
    fresh[#fresh + 1] = index
  end
  seen[job_id] = true
end

local length = 0
for number = 1, streams do
  length = length + redis.call('XLEN', KEYS[number])
end
if #fresh > 0 and length + #fresh > tonumber(ARGV[1]) then
  return -1
end

for _, index in ipairs(fresh) do
  local number, job_id, body = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  local entry = redis.call('XADD', KEYS[tonumber(number)], '*', 'job_id', job_id, 'body', body)
  redis.call('HSET', ids, job_id, number .. ' ' .. entry)
end
return #fresh
