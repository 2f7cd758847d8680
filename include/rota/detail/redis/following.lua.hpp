// The scripts that only read: changes_since, events_since, schedules_page, nodes_page, scan_page. See operations.hpp
// for what they do. What is stored goes to the caller as it is; nothing is taken apart here that the caller can.
#pragma once

namespace rota::detail::lua {

// KEYS: nodes, ver:<incarnation>, inbox:<incarnation>. ARGV: incarnation, version. Reply: gap, version, entries.
inline constexpr char changes_since[] = R"lua(
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {errc_not_joined} end
local version, from = redis.call('GET', KEYS[2]) or '0', tonumber(ARGV[2])
local newest = tonumber(version)
if from == newest then return {0, 0, version, {}} end
local first = string.format('%.0f-0', from + 1)
local entries = from < newest and redis.call('XRANGE', KEYS[3], first, '+', 'COUNT', 'limit_change_steps') or {}
-- Versions have no holes: if the next is not the first one found, it is kept no more.
if not entries[1] or entries[1][1] ~= first then return {0, 1, version, {}} end
return {0, 0, version, entries}
)lua";

// KEYS: head, events. ARGV: epoch, seq, limit. Reply: gap, the newest one's seq, entries.
inline constexpr char events_since[] = R"lua(
local epoch, head = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+)%-(%d+)$')
epoch, head = epoch or '0', head or '0'
local newest, from, limit = tonumber(head), tonumber(ARGV[2]), tonumber(ARGV[3])
if epoch ~= ARGV[1] or from > newest then return {0, 1, head, {}} end
if from == newest then return {0, 0, head, {}} end
local first = epoch .. '-' .. string.format('%.0f', from + 1)
local entries = redis.call('XRANGE', KEYS[2], first, '+', 'COUNT', math.max(limit, 1))
-- Numbers have no holes: if the next is not the first one found, it is kept no more.
if not entries[1] or entries[1][1] ~= first then return {0, 1, head, {}} end
return {0, 0, head, limit > 0 and entries or {}}
)lua";

// KEYS: unowned, or by:<holder>; own, moves, and for a holder ver:<holder>. ARGV: after, limit.
// Reply: version, ids, what own holds of them, what moves holds of them, or nothing if nothing moves.
inline constexpr char schedules_page[] = R"lua(
local version = KEYS[4] and redis.call('GET', KEYS[4]) or '0'
-- After nothing is after the empty id, which none has.
local ids = redis.call('ZRANGEBYLEX', KEYS[1], '(' .. ARGV[1], '+', 'LIMIT', '0', ARGV[2])
if #ids == 0 then return {0, version, {}, {}, {}} end
return {0, version, ids, redis.call('HMGET', KEYS[2], unpack(ids)),
        redis.call('HLEN', KEYS[3]) > 0 and redis.call('HMGET', KEYS[3], unpack(ids)) or {}}
)lua";

// KEYS: head, roster, info, load, pending, nodes, dead, orders. ARGV: after (16 digits), limit.
// Reply: now, epoch, seq, whether maintenance, drained (if after is 0), incarnations, what the others hold of them.
inline constexpr char nodes_page[] = R"lua(
local call = redis.call
local epoch, seq = string.match(call('GET', KEYS[1]) or '', '^(%d+)%-(%d+)$')
epoch, seq = epoch or '0', seq or '0'
local maintenance = call('HEXISTS', KEYS[8], '')
local drained = tonumber(ARGV[1]) == 0 and call('HKEYS', KEYS[8]) or {}
local padded = call('ZRANGEBYLEX', KEYS[2], '(' .. ARGV[1], '+', 'LIMIT', '0', ARGV[2])
if #padded == 0 then return {0, now, epoch, seq, maintenance, drained, {}, {}, {}, {}, {}, {}} end
local nodes = {}
for i, text in ipairs(padded) do nodes[i] = string.match(text, '^0*(.*)$') end
return {0, now, epoch, seq, maintenance, drained, nodes, call('HMGET', KEYS[3], unpack(nodes)),
        call('HMGET', KEYS[4], unpack(nodes)), call('HMGET', KEYS[5], unpack(nodes)),
        call('ZMSCORE', KEYS[6], unpack(nodes)), call('ZMSCORE', KEYS[7], unpack(nodes))}
)lua";

// KEYS: own, moves. ARGV: cursor, limit. Reply: cursor, ids with what own holds of each, what moves holds of them, or
// nothing if nothing moves.
inline constexpr char scan_page[] = R"lua(
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found, moves, ids = page[2], {}, {}
if #found == 0 or redis.call('HLEN', KEYS[2]) == 0 then return {0, page[1], found, {}} end
for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
-- A hash that is small as the server is configured comes whole.
for i = 1, #ids, 1000 do
    for _, move in ipairs(redis.call('HMGET', KEYS[2], unpack(ids, i, math.min(i + 999, #ids)))) do
        moves[#moves + 1] = move
    end
end
return {0, page[1], found, moves}
)lua";

}  // namespace rota::detail::lua
