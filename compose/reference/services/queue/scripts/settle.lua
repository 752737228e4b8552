-- Do one thing with a leased message, if the lease is still that of the receipt.
-- KEYS: the message's stream, the hash of ids, the stream of the dead.
-- ARGV: extend | release | acknowledge | bury, group, consumer, entry id, deliveries, job id;
--       to bury also: body, reason, time in milliseconds, how many dead are kept at least.
-- Answers 1, or 0 where the lease has gone to someone else.
local action, group, consumer, entry = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local stream, ids, dead = KEYS[1], KEYS[2], KEYS[3]
-- Longer than any lease: a message that was given back waits no more.
local LONG_AGO_MILLISECONDS = 86400000

local look = {'XPENDING', stream, group, entry, entry, 1}
local held = redis.pcall(unpack(look))
if held.err then
  if string.find(held.err, 'NOGROUP', 1, true) then
    return 0
  end
  redis.call(unpack(look))
end
-- The count tells two leases of the same consumer apart: each claim adds one.
if #held == 0 or held[1][2] ~= consumer or held[1][4] ~= tonumber(ARGV[5]) then
  return 0
end

if action == 'extend' then
  redis.call('XCLAIM', stream, group, consumer, 0, entry, 'JUSTID')
  return 1
end
if action == 'release' then
  redis.call('XCLAIM', stream, group, consumer, 0, entry, 'IDLE', LONG_AGO_MILLISECONDS, 'JUSTID')
  return 1
end
if action == 'bury' then
  redis.call('XADD', dead, 'MAXLEN', '~', ARGV[10], '*', 'job_id', ARGV[6], 'body', ARGV[7],
    'deliveries', ARGV[5], 'reason', ARGV[8], 'died_at_milliseconds', ARGV[9])
end
redis.call('XACK', stream, group, entry)
redis.call('XDEL', stream, entry)
local known = redis.call('HGET', ids, ARGV[6])
if known and string.match(known, ' (.+)$') == entry then
  redis.call('HDEL', ids, ARGV[6])
end
return 1
