-- Lease messages to one consumer: in each stream those whose lease has ended, then new ones.
-- KEYS: the streams, the most urgent first.
-- ARGV: group, consumer, how many at most, lease in milliseconds.
-- Answers {stream number, entry id, deliveries, job id, body} of each.
local group, consumer, wanted, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local claimed = {}

local function keep(number, entry, deliveries, fields)
  local values = {}
  for index = 1, #fields, 2 do
    values[fields[index]] = fields[index + 1]
  end
  claimed[#claimed + 1] = {number, entry, deliveries, values['job_id'], values['body']}
end

local function ended(stream, most)
  local look = {'XPENDING', stream, group, 'IDLE', lease, '-', '+', most}
  local found = redis.pcall(unpack(look))
  if found.err and string.find(found.err, 'NOGROUP', 1, true) then
    -- A new stream, or one that was lost or restored: whatever it holds is given out.
    redis.call('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
    return {}
  end
  return found.err and redis.call(unpack(look)) or found
end

for number, stream in ipairs(KEYS) do
  for _, pending in ipairs(#claimed < wanted and ended(stream, wanted - #claimed) or {}) do
    local message = redis.call('XCLAIM', stream, group, consumer, lease, pending[1])[1]
    if message then
      keep(number, message[1], pending[4] + 1, message[2])
    end
  end
  if #claimed < wanted then
    local read = redis.call('XREADGROUP', 'GROUP', group, consumer,
      'COUNT', wanted - #claimed, 'STREAMS', stream, '>')
    for _, message in ipairs(read and read[1][2] or {}) do
      keep(number, message[1], 1, message[2])
    end
  end
end
return claimed
