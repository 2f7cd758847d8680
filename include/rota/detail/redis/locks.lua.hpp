// The scripts of locks: acquire, extend, release, of schedules and of names, one and many. See operations.hpp for what
// they do. A lock is `deadline|token|incarnation|nonce` at lock:<id> or name:<name>.
#pragma once

namespace rota::detail::lua {

// One lock, the hottest script of all: no function, no table but what Redis makes, as few calls as the checks need.
//
// KEYS: session, fence, lock, nodes, dead, own, moves; for a name without the last two.
// ARGV: connection, incarnation, ttl, nonce, seen, name, generation; for a name without the last.
// Reply: code, token, remaining.
inline constexpr char acquire_one[] = R"lua(
local call, fmt = redis.call, string.format
local v = call('MGET', KEYS[1], KEYS[2], KEYS[3])
if v[1] and v[1] ~= ARGV[1] and tonumber(v[1]) > tonumber(ARGV[1]) then
    return {errc_conflict, 'an older connection of this session'}
end
local inc, ttl, token, lock = ARGV[2], tonumber(ARGV[3]), now, v[3]
if not v[2] then call('GET', KEYS[2]) elseif v[2] + 1 > token then token = v[2] + 1 end
if tonumber(v[2] or 0) < tonumber(ARGV[5]) then return {errc_not_joined, 'the server has lost writes'} end
if not call('ZSCORE', KEYS[4], inc) then return {errc_not_joined} end
if KEYS[6] then
    local own = call('HGET', KEYS[6], ARGV[6])
    if not own then return {0, errc_unknown_schedule, 0, 0} end
    -- generation|owner|weight;traits
    if string.find(own, ARGV[7] .. '|' .. inc .. '|', 1, true) ~= 1 or call('HEXISTS', KEYS[7], ARGV[6]) == 1 then
        return {0, errc_not_owner, 0, 0}
    end
end
if lock then
    local deadline, held, holder, nonce = string.match(lock, '^(%d+)|(%d+)|(%d+)|(%d+)$')
    deadline = tonumber(deadline)
    -- A holder that is not live may still believe until the time from which its schedules may be adopted.
    if deadline > now and (holder == inc or call('ZSCORE', KEYS[4], holder) or
                           tonumber(call('ZSCORE', KEYS[5], holder) or 0) > now) then
        if holder == inc and nonce == ARGV[4] then return {0, 0, held, deadline - now} end
        return {0, errc_locked_by_other, 0, deadline - now}
    end
end
local text = fmt(int .. '|' .. int .. '|%s|%s', now + ttl, token, inc, ARGV[4])
-- In ms and twice as long: it only collects garbage.
local kept = fmt(int, math.max(math.ceil(ttl / 500), 1))
if lock then
    call('SET', KEYS[3], text, 'PX', kept)
elseif not call('SET', KEYS[3], text, 'NX', 'PX', kept) then
    -- There, but MGET did not show it: not a string, which GET says.
    call('GET', KEYS[3])
end
call('SET', KEYS[2], fmt(int, token))
return {0, 0, token, ttl}
)lua";

// KEYS: session, fence, nodes, dead, own, moves, locks...
// ARGV: connection, incarnation, ttl, nonce, seen, names..., generations...; for named locks without the last two.
// Reply: code, token, remaining of each.
inline constexpr char acquire_many[] = R"lua(
local call, fmt, match = redis.call, string.format, string.match
local v = call('MGET', KEYS[1], KEYS[2])
if v[1] and tonumber(v[1]) > tonumber(ARGV[1]) then
    return {errc_conflict, 'an older connection of this session'}
end
local inc, ttl, seen, locks = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5]), #KEYS - 6
if not v[2] then call('GET', KEYS[2]) end
if tonumber(v[2] or 0) < seen then return {errc_not_joined, 'the server has lost writes'} end
if not call('ZSCORE', KEYS[3], inc) then return {errc_not_joined} end
if locks == 0 then return {0} end

local is_schedule, own, moves = #ARGV > 5, {}, {}
if is_schedule then
    own = call('HMGET', KEYS[5], unpack(ARGV, 6, 5 + locks))
    moves = call('HMGET', KEYS[6], unpack(ARGV, 6, 5 + locks))
end
local held = strings(7, 6 + locks)

local believes = {[inc] = true}
local function may_believe(holder)
    if believes[holder] == nil then
        believes[holder] = call('ZSCORE', KEYS[3], holder) and true or
                           tonumber(call('ZSCORE', KEYS[4], holder) or 0) > now
    end
    return believes[holder]
end

local answer, granted = {0}, {}
for i = 1, locks do
    local code, token, remaining = 0, 0, 0
    if is_schedule and not own[i] then
        code = errc_unknown_schedule
    elseif is_schedule and
            (string.find(own[i], ARGV[5 + locks + i] .. '|' .. inc .. '|', 1, true) ~= 1 or moves[i]) then
        code = errc_not_owner
    else
        local deadline, held_under, holder, nonce
        if held[i] then deadline, held_under, holder, nonce = match(held[i], '^(%d+)|(%d+)|(%d+)|(%d+)$') end
        if deadline and tonumber(deadline) > now and may_believe(holder) then
            remaining = deadline - now
            if holder == inc and nonce == ARGV[4] then token = held_under else code = errc_locked_by_other end
        else
            granted[#granted + 1] = i
        end
    end
    local n = 3 * i - 1
    answer[n], answer[n + 1], answer[n + 2] = code, token, remaining
end
if #granted == 0 then return answer end

local token = math.max(tonumber(v[2] or 0) + 1, now)
local head, tail = fmt(int .. '|', now + ttl), '|' .. inc .. '|' .. ARGV[4]
local kept = fmt(int, math.max(math.ceil(ttl / 500), 1))
for _, i in ipairs(granted) do
    call('SET', KEYS[6 + i], head .. fmt(int, token) .. tail, 'PX', kept)
    answer[3 * i], answer[3 * i + 1] = token, ttl
    token = token + 1
end
call('SET', KEYS[2], fmt(int, token - 1))
return answer
)lua";

// KEYS: session, nodes, moves, locks... ARGV: connection, incarnation, ttl, tokens..., names... (of schedules only).
// Reply: code, remaining of each.
inline constexpr char extend[] = R"lua(
local call = redis.call
local locks, inc, ttl = #KEYS - 3, ARGV[2], tonumber(ARGV[3])
local v = call('MGET', KEYS[1], unpack(KEYS, 4))
if v[1] and tonumber(v[1]) > tonumber(ARGV[1]) then
    return {errc_conflict, 'an older connection of this session'}
end
if not call('ZSCORE', KEYS[2], inc) then return {errc_not_joined} end
local moves = locks > 0 and #ARGV > 3 + locks and call('HMGET', KEYS[3], unpack(ARGV, 4 + locks)) or {}

local answer, till = {0}, now + ttl
local head, kept = string.format(int .. '|', till), string.format(int, math.ceil(ttl / 500))
for i = 1, locks do
    local code, remaining = errc_lock_lost, 0
    if v[i + 1] then
        local deadline, token, rest = string.match(v[i + 1], '^(%d+)|(%d+)(|.*)$')
        deadline = tonumber(deadline)
        if token == ARGV[3 + i] and deadline > now and string.find(rest, '|' .. inc .. '|', 1, true) == 1 then
            if moves[i] and tonumber(string.match(moves[i], '^%d+|(%d+)') or now + 1) <= now then
                code = errc_not_owner
            else
                code = 0
                if till > deadline then
                    deadline = till
                    call('SET', KEYS[3 + i], head .. token .. rest, 'PX', kept)
                end
                remaining = deadline - now
            end
        end
    end
    answer[2 * i], answer[2 * i + 1] = code, remaining
end
return answer
)lua";

// KEYS: session, locks... ARGV: connection, tokens... Reply: code of each.
inline constexpr char release[] = R"lua(
local call = redis.call
local v = call('MGET', unpack(KEYS))
if v[1] and tonumber(v[1]) > tonumber(ARGV[1]) then
    return {errc_conflict, 'an older connection of this session'}
end
local answer = {0}
for i = 2, #KEYS do
    answer[i] = errc_lock_lost
    if v[i] then
        local deadline, token = string.match(v[i], '^(%d+)|(%d+)|')
        -- DEL tells whether an earlier item of this request has released it.
        if token == ARGV[i] and tonumber(deadline) > now and call('DEL', KEYS[i]) == 1 then answer[i] = 0 end
    end
end
return answer
)lua";

}  // namespace rota::detail::lua
