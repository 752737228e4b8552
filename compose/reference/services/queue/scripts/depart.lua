-- Forget consumers that hold nothing: this one when it leaves, and those that were killed.
-- KEYS: the streams. ARGV: group, this consumer, idle milliseconds after which others are gone.
-- A consumer that holds messages stays: with it Redis would forget who holds them.
for _, stream in ipairs(KEYS) do
  local found = redis.pcall('XINFO', 'CONSUMERS', stream, ARGV[1])
  for _, fields in ipairs(found.err and {} or found) do
    local consumer = {}
    for index = 1, #fields, 2 do
      consumer[fields[index]] = fields[index + 1]
    end
    local gone = consumer['name'] == ARGV[2] or consumer['idle'] > tonumber(ARGV[3])
    if gone and consumer['pending'] == 0 then
      redis.call('XGROUP', 'DELCONSUMER', stream, ARGV[1], consumer['name'])
    end
  end
end
return 1
