// The scripts of a connection itself: session, which makes it the newest of its session, and probe, which finds out
// whether the server lets us do what the other scripts need.
#pragma once

namespace rota::detail::lua {

// KEYS: session. ARGV: connection. Reply: nothing, or conflict if there is a newer one.
inline constexpr char session[] = R"lua(
local newest = redis.call('GET', KEYS[1])
if newest and tonumber(newest) > tonumber(ARGV[1]) then
    return {errc_conflict, 'an older connection of this session'}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', 86400000)
return {0}
)lua";

// KEYS: a key to throw away. Reply: 'OK', or the first error in the server's words, then the command in brackets.
// DEL comes first, so that nothing is written that could not be cleaned up. XREAD is for the connection that sleeps.
inline constexpr char probe[] = R"lua(
local key = KEYS[1]
local commands = {
    {'DEL', key}, {'TIME'}, {'GET', key}, {'MGET', key}, {'EXISTS', key},
    {'HGET', key, 'a'}, {'HMGET', key, 'a'}, {'HEXISTS', key, 'a'}, {'HLEN', key},
    {'HKEYS', key}, {'HGETALL', key}, {'HSCAN', key, '0'},
    {'ZSCORE', key, 'a'}, {'ZMSCORE', key, 'a'}, {'ZCARD', key}, {'ZRANGE', key, 0, 0}, {'ZREVRANGE', key, 0, 0},
    {'ZRANGEBYSCORE', key, 0, 0}, {'ZRANGEBYLEX', key, '-', '+'},
    {'XLEN', key}, {'XRANGE', key, '-', '+'}, {'XREVRANGE', key, '+', '-'}, {'XREAD', 'STREAMS', key, '0'},
    {'SET', key, '1', 'PX', 1000}, {'MSET', key, '1'}, {'DEL', key},
    {'HSET', key, 'a', '1'}, {'PEXPIRE', key, 1000}, {'HDEL', key, 'a'}, {'DEL', key},
    {'ZADD', key, 1, 'a'}, {'ZREM', key, 'a'}, {'DEL', key},
    {'XADD', key, 'MAXLEN', '~', 1, '1-0', 'a', '1'}, {'DEL', key},
}
for _, command in ipairs(commands) do
    local outcome = redis.pcall(unpack(command))
    if type(outcome) == 'table' and outcome.err then
        redis.pcall('DEL', key)
        return outcome.err .. ' [' .. command[1] .. ']'
    end
end
return 'OK'
)lua";

}  // namespace rota::detail::lua
