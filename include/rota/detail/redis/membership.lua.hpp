// The scripts of membership and leadership: join, describe_node, give_order, tick (brief or in full), leave, renounce,
// reap. See operations.hpp for what they do.
#pragma once

namespace rota::detail::lua {

// ARGV: connection, P, nonce, ttl, capacity, on_conflict, seen, node_id, 1;traits.
// Reply: incarnation, epoch, seq, superseded.
inline constexpr char join[] = R"lua(
local nonce, ttl, capacity, seen, id, traits = ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[7]), ARGV[8], ARGV[9]
local refused = absurd(seen)
if refused then return refused end

local older = call('HGET', k_ids, id)
local deadline = older and call('ZSCORE', k_nodes, older)
if deadline then
    if match(call('HGET', k_info, older) or '', '^%d+|(%d+)|') == nonce then
        call('ZADD', k_nodes, now + ttl, older)
        return {0, older, epoch or '0', seq, '0'}
    end
    if tonumber(ARGV[6]) == conflict_refuse and tonumber(deadline) > now then
        return {errc_conflict, 'another live process has this node_id'}
    end
end
call('ZCARD', k_nodes)
call('ZCARD', k_dead)
call('ZCARD', k_roster)
call('HLEN', k_info)

ensure_epoch(seen)
local inc = fmt(int, mint(seen))
if deadline then emit('event_superseded|0|' .. older .. '|0|' .. inc .. '|1', id) end
emit('event_joined|0|0|0|' .. inc .. '|' .. traits .. '|' .. capacity, id)
refused = verify_step()
if refused then return refused end

commit_step()
if deadline then
    call('ZREM', k_nodes, older)
    call('ZADD', k_dead, deadline, older)
end
call('ZADD', k_nodes, now + ttl, inc)
call('ZADD', k_roster, 0, fmt('%016.0f', inc))
call('HSET', k_info, inc, capacity .. '|' .. nonce .. '|' .. ARGV[4] .. '|0|' .. traits .. '|' .. id)
call('HSET', k_ids, id, inc)
return {0, inc, epoch, seq, deadline and older or '0'}
)lua";

// ARGV: connection, P, incarnation, capacity, 1;traits. Reply: nothing.
inline constexpr char describe_node[] = R"lua(
local inc, capacity, traits = ARGV[3], ARGV[4], ARGV[5]
local info = call('ZSCORE', k_nodes, inc) and call('HGET', k_info, inc)
if not info then return {errc_not_joined} end
local capacity_before, middle, traits_before, id = match(info, '^(%d+)(|%d+|%d+|%d|)([^|]*)|(.*)$')
if capacity == capacity_before and traits == traits_before then return {0} end
emit('event_described|0|0|0|' .. inc .. '|' .. traits .. '|' .. capacity, id)
local refused = verify_step()
if refused then return refused end

commit_step()
call('HSET', k_info, inc, capacity .. middle .. traits .. '|' .. id)
return {0}
)lua";

// `orders` has a field for each node_id that is drained, and one without a name for maintenance.
//
// ARGV: connection, P, kind, node_id (empty for maintenance); KEYS[18]: orders. Reply: nothing.
inline constexpr char give_order[] = R"lua(
local k_orders, kind, id = KEYS[18], tonumber(ARGV[3]), ARGV[4]
local begins = kind == order_drain or kind == order_begin_maintenance
if (call('HEXISTS', k_orders, id) == 1) == begins then return {0} end
if kind == order_drain and call('HEXISTS', k_ids, id) == 0 then return {errc_unknown_node} end
ensure_epoch(0)
emit('event_ordered|0|0|' .. ARGV[3] .. '|0|1', id)
local refused = verify_step()
if refused then return refused end

commit_step()
if begins then call('HSET', k_orders, id, '1') else call('HDEL', k_orders, id) end
return {0}
)lua";

// What runs once per follower and heartbeat, and mostly is all that does: without the common pieces, it writes one score and
// tells what one MGET read. The caller looks whether that settles it: each word that is sent along, and each key that no
// other node has, costs the server a percent of the whole. So a late one of an older connection is not found out either:
// it extends a deadline, and no more.
//
// KEYS: head, fence, leader, ver:<incarnation>, nodes. ARGV: incarnation, ttl.
// Reply: a text, which costs the server less than an array: s|us|epoch-seq|fence|version|leader's record; empty: unsettled.
inline constexpr char brief_tick[] = R"lua(
local call = redis.call
local v = call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
if not (v[1] and v[2]) or
        -- 0 also if the deadline is the same as before.
        call('ZADD', KEYS[5], 'XX', 'CH', now + ARGV[2], ARGV[1]) == 0 and not call('ZSCORE', KEYS[5], ARGV[1]) then
    return ''
end
return time[1] .. '|' .. time[2] .. '|' .. v[1] .. '|' .. v[2] .. '|' .. (v[4] or '0') .. '|' .. (v[3] or '')
)lua";

// KEYS: session, head, fence, leader, ver:<incarnation>, nodes, dead, ids, events, info.
// ARGV: connection, incarnation, epoch, term, candidate, ttl, lease, seen, node_id.
// Reply: status, now, epoch, fence, seq; if ok also: leader's record, version; if it leads also: next_expiry (-1: none),
// expired, dead, next_dead (-1: none), candidates.
inline constexpr char tick[] = R"lua(
local call, fmt = redis.call, string.format
local v = call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
if v[1] and tonumber(v[1]) > tonumber(ARGV[1]) then
    return {errc_conflict, 'an older connection of this session'}
end
local inc, term, seen, leader = ARGV[2], ARGV[4], tonumber(ARGV[8]), v[4]
if seen > now + limit_seen_lead and seen > tonumber(v[3] or 0) + limit_seen_lead then
    return {errc_refused_by_server, "a fencing token of more than an hour ahead of the server's clock"}
end
for i = 1, 5 do
    -- MGET shows a key of another type as missing; GET refuses it.
    if not v[i] then call('GET', KEYS[i]) end
end
local ends, held_under, holder, lease, id = 0
if leader then
    ends, held_under, holder, lease, id = string.match(leader, '^(%d+)|(%d+)|(%d+)|(%d+)|(.*)$')
    ends = tonumber(ends)
end
local pulled_in = leader and ends > now + lease
local fence, epoch, seq = tonumber(v[3] or 0), string.match(v[2] or '', '^(%d+)%-(%d+)$')
seq = tonumber(seq or 0)

local function mint()
    fence = math.max(fence + 1, now, seen + 1)
    return fmt('%.0f', fence)
end

local function head()
    return epoch .. '-' .. fmt('%.0f', seq)
end

local function emit(record, id)
    seq = seq + 1
    call('XADD', KEYS[9], 'MAXLEN', '~', 'limit_events', head(), 'e',
         record .. '|' .. #id .. ':' .. id)
end

local function commit()
    call('MSET', KEYS[2], head(), KEYS[3], fmt('%.0f', fence))
end

if not (epoch and fence >= seen) then
    epoch = mint()
    if seen > 0 then emit('event_data_lost|0|0|' .. epoch .. '|0|1', '') end
    commit()
    return {0, status_data_lost, now, epoch, fence, seq}
end
if epoch ~= ARGV[3] then return {0, status_data_lost, now, epoch, fence, seq} end

if not call('ZSCORE', KEYS[6], inc) then
    local holder = call('HGET', KEYS[8], ARGV[9])
    return {0, holder and holder ~= inc and status_fenced or status_reaped, now, epoch, fence, seq}
end

local function lease_until(deadline, under, by, lease, its_id)
    leader = fmt('%.0f', deadline) .. '|' .. under .. '|' .. by .. '|' .. lease .. '|' .. its_id
end

if pulled_in then
    ends = now + lease
    lease_until(ends, held_under, holder, lease, id)
end
local renews = holder == inc and held_under == term
local takes = not renews and ARGV[5] == '1' and ends <= now
local leads = renews or takes or holder == inc and ends > now

local next_expiry, expired, dead, next_dead, candidates = -1, {}, {}, -1, {}
local latest = 0
if leads then
    -- The two earliest deadlines: one of them is another node's, if there is any other.
    local first = call('ZRANGE', KEYS[6], 0, 1, 'WITHSCORES')
    local other = first[1] == inc and 3 or 1
    local has_others, after_now = first[other], '(' .. fmt('%.0f', now)
    if has_others and tonumber(first[other + 1]) > now then
        next_expiry = first[other + 1] - now
    elseif has_others then
        for _, node in ipairs(call('ZRANGEBYSCORE', KEYS[6], '-inf', now, 'LIMIT', 0, limit_batch + 1)) do
            if node ~= inc and #expired < limit_batch then expired[#expired + 1] = node end
        end
        local later = call('ZRANGEBYSCORE', KEYS[6], after_now, '+inf', 'WITHSCORES', 'LIMIT', 0, 2)
        other = later[1] == inc and 3 or 1
        if later[other] then next_expiry = later[other + 1] - now end
    end
    local freshest = has_others and call('ZREVRANGE', KEYS[6], 0, 3, 'WITHSCORES') or {}
    if freshest[1] then latest = tonumber(freshest[2]) end
    for i = 1, #freshest, 2 do
        if freshest[i] ~= inc and tonumber(freshest[i + 1]) > now and #candidates < 3 then
            candidates[#candidates + 1] = freshest[i]
        end
    end
    local soonest = call('ZRANGE', KEYS[7], 0, 0, 'WITHSCORES')
    if soonest[1] and tonumber(soonest[2]) <= now then
        dead = call('ZRANGEBYSCORE', KEYS[7], '-inf', now, 'LIMIT', 0, limit_batch)
        soonest = call('ZRANGEBYSCORE', KEYS[7], after_now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    end
    if soonest[1] then
        next_dead = soonest[2] - now
        latest = math.max(latest, tonumber(call('ZREVRANGE', KEYS[7], 0, 0, 'WITHSCORES')[2]))
    end
end

-- Other nodes' deadlines that are further ahead than the node's ttl.
local too_late = {}
if latest > now + ARGV[6] then
    for i = 6, 7 do
        for _, node in ipairs(call('ZRANGEBYSCORE', KEYS[i], '(' .. fmt('%.0f', now + ARGV[6]), '+inf')) do
            local ttl = node ~= inc and string.match(call('HGET', KEYS[10], node) or '', '^%d+|%d+|(%d+)|')
            if ttl then too_late[#too_late + 1] = {KEYS[i], now + ttl, node} end
        end
    end
end

if renews then
    lease_until(now + ARGV[7], term, inc, ARGV[7], id)
elseif takes then
    call('XLEN', KEYS[9])
    term = mint()
    lease_until(now + ARGV[7], term, inc, ARGV[7], ARGV[9])
    emit('event_led|0|' .. (holder or '0') .. '|' .. term .. '|' .. inc .. '|1|' .. ARGV[7] .. '|', ARGV[9])
    commit()
end
if renews or takes or pulled_in then call('SET', KEYS[4], leader) end
call('ZADD', KEYS[6], 'XX', now + ARGV[6], inc)
for _, node in ipairs(too_late) do call('ZADD', node[1], 'XX', 'LT', node[2], node[3]) end
if not leads then return {0, status_ok, now, epoch, fence, seq, leader or '', v[5] or '0'} end
return {0, status_ok, now, epoch, fence, seq, leader, v[5] or '0', next_expiry, expired, dead, next_dead, candidates}
)lua";

// Passes leadership to the first of the nodes ARGV[first..] that can have it, or tells them that it is vacant.
inline constexpr char succession[] = R"lua(
-- The leader's record from then on; nothing: it is vacant.
local function give_up_lead(first)
    local held_under, holder, lease = match(leader, '^%d+|(%d+)|(%d+)|(%d+)|')
    local infos, deadlines = {}, {}
    if first <= #ARGV then
        infos, deadlines = call('HMGET', k_info, unpack(ARGV, first)), call('ZMSCORE', k_nodes, unpack(ARGV, first))
    end
    for i = first, #ARGV do
        local inc, info, deadline = ARGV[i], infos[i - first + 1], deadlines[i - first + 1]
        if inc ~= holder and info and deadline and tonumber(deadline) > now then
            local id, term = match(info, '^%d+|%d+|%d+|%d|[^|]*|(.*)$'), fmt(int, mint(0))
            local words = {'event_led|0|', holder, '|', term, '|', inc, '|1|', lease, '|'}
            for j = i + 1, #ARGV do words[#words + 1] = ARGV[j] .. ',' end
            words[#words + 1] = '|' .. #id .. ':' .. id
            emit_and_tell(inc, words)
            return fmt(int, now + lease) .. '|' .. term .. '|' .. inc .. '|' .. lease .. '|' .. id
        end
    end
    local record = 'event_vacated|0|' .. holder .. '|' .. held_under .. '|0|1'
    emit(record, '')
    for i = first, #ARGV do
        if ARGV[i] ~= holder and infos[i - first + 1] and deadlines[i - first + 1] then tell(ARGV[i], record, '') end
    end
end

local function commit_succession(record)
    if record then call('SET', k_leader, record) else call('DEL', k_leader) end
end
)lua";

// ARGV: connection, P, incarnation, successors... Reply: nothing.
inline constexpr char leave[] = R"lua(
local inc = ARGV[3]
local led = leader and match(leader, '^%d+|%d+|(%d+)|') == inc
local n = node(inc)
local grants_early = false
if n and n.live then
    take_out(inc, n, 'event_left')
elseif n and n.deadline > now then
    n.deadline = now
    grants_early = true
end
forget_if_done(inc)
calling = #events > 0
local next_leader = led and give_up_lead(4)
verify_departures()
local refused = verify_step()
if refused then return refused end

commit_step()
if led then commit_succession(next_leader) end
if grants_early then call('ZADD', k_dead, now, inc) end
commit_departures()
return {0}
)lua";

// ARGV: connection, P, incarnation, term, successors... Reply: nothing.
inline constexpr char renounce[] = R"lua(
if not leads(ARGV[3], ARGV[4]) then return {0} end
calling = false
local next_leader = give_up_lead(5)
local refused = verify_step()
if refused then return refused end

commit_step()
commit_succession(next_leader)
return {0}
)lua";

// ARGV: connection, P, incarnation, term, nodes... Reply: those taken out.
inline constexpr char reap[] = R"lua(
if not leads(ARGV[3], ARGV[4]) then return {errc_not_leader} end
local answer = {0}
for i = 5, #ARGV do
    local inc = ARGV[i]
    local n = node(inc)
    if n and n.live and n.deadline <= now and inc ~= ARGV[3] then
        take_out(inc, n, 'event_died')
        answer[#answer + 1] = inc
    end
    forget_if_done(inc)
end
verify_departures()
local refused = verify_step()
if refused then return refused end

commit_step()
commit_departures()
return answer
)lua";

}  // namespace rota::detail::lua
