// Lua that several scripts of redis_scripts.hpp begin with: the group's counters, what a step tells, nodes, and who has
// which schedule. Each piece is prepended only where it is used, in the order in which it stands here.
//
// A script has no way back once it has written. So each reads first (which also finds keys of a wrong type), decides on
// Lua tables, and writes last: verify_…() is the end of reading, commit_…() writes. Words such as errc_conflict,
// event_left or limit_events are replaced by their numbers before a script is sent, within quotes as well.
//
// Numbers are kept as the text they have in Redis and compared as text; arithmetic makes them doubles, exact below
// 2^53, which only '%.0f' turns back into text without loss (`..` keeps 14 digits).
#pragma once

namespace rota::detail::lua {

// KEYS of every script that changes more than locks; ARGV[1] is the number of the connection, ARGV[2] what all keys
// begin with. Keys that depend on the request follow in KEYS, and are named by P .. 'by:' .. incarnation and so on.
inline constexpr char group[] = R"lua(
local call, fmt, match = redis.call, string.format, string.match
local k_session, k_epoch, k_fence, k_seq, k_events, k_leader, k_nodes, k_dead, k_info, k_ids, k_roster,
      k_load, k_pending, k_own, k_unowned, k_moves = unpack(KEYS, 1, 16)
local P = ARGV[2]

local counters = call('MGET', k_session, k_epoch, k_fence, k_seq)
for i = 1, 4 do
    -- MGET shows a key of another type as missing; GET refuses it.
    if not counters[i] then call('GET', KEYS[i]) end
end
if counters[1] and tonumber(counters[1]) > tonumber(ARGV[1]) then
    return {errc_conflict, 'an older connection of this session'}
end
local epoch, fence, seq = counters[2], tonumber(counters[3] or 0), tonumber(counters[4] or 0)
local counted, founded = false, false

local function mint(seen)
    counted = true
    fence = math.max(fence + 1, now, seen + 1)
    return fence
end

-- Of one that joins: may know of tokens that this server has lost, but not of just any.
local function absurd(seen)
    return seen > math.max(now, fence) + limit_seen_lead and
        {errc_refused_by_server, "a fencing token of more than an hour ahead of the server's clock"}
end

-- Of a member: it is told by its next tick.
local function behind(seen)
    return fence < seen and {errc_not_joined, 'the server has lost writes'}
end
)lua";

// What one step tells: one entry of the group's event log, and one of the change log of each node concerned. An entry
// is a list of pairs: numbers joined by |, and an id. All parts come as text: joining numbers is four times slower.
inline constexpr char step[] = R"lua(
local events, told, versions = {}, {}, {}

local function emit(kind, generation, from, to, reason, weight, capacity, id)
    local n = #events
    events[n + 1] = kind .. '|' .. generation .. '|' .. from .. '|' .. to .. '|' .. reason .. '|' .. weight ..
        '|' .. capacity
    events[n + 2] = id
end

local function tell(inc, kind, generation, other, reason, weight, handoff, id)
    local entry = told[inc]
    if not entry then
        entry = {}
        told[inc] = entry
    end
    local n = #entry
    entry[n + 1] = kind .. '|' .. generation .. '|' .. other .. '|' .. reason .. '|' .. weight .. '|' .. handoff
    entry[n + 2] = id
end

-- A missing epoch, or a fence below what the caller has seen: writes were lost, or (seen 0) the group is new.
local function ensure_epoch(seen)
    if epoch and counters[4] and fence >= seen then return end
    epoch, founded = fmt('%.0f', mint(seen)), true
    if seen > 0 then emit('event_data_lost', epoch, '0', '0', '0', '1', 'limit_unlimited', '') end
end

-- The end of reading. Returns what to answer if the step cannot be logged.
local function verify_step()
    if #events > 0 then
        if not founded and not (epoch and counters[4]) then return {errc_conflict, 'the group has lost its epoch'} end
        call('XLEN', k_events)
    end
    for inc in pairs(told) do
        local inbox = P .. 'inbox:' .. inc
        local version = call('GET', P .. 'ver:' .. inc)
        if call('XLEN', inbox) > 0 and not version then
            -- The counter alone was lost: go on from the log, whose numbers never go back.
            version = match(call('XREVRANGE', inbox, '+', '-', 'COUNT', 1)[1][1], '^%d+')
        end
        versions[inc] = fmt('%.0f', (version or 0) + 1)
    end
end

local function commit_step()
    if #events > 0 then
        counted = true
        seq = seq + 1
        call('XADD', k_events, 'MAXLEN', '~', limit_events, epoch .. '-' .. fmt('%.0f', seq), unpack(events))
    end
    if counted then
        call('MSET', k_epoch, epoch, k_fence, fmt('%.0f', fence), k_seq, fmt('%.0f', seq))
    end
    for inc, version in pairs(versions) do
        call('XADD', P .. 'inbox:' .. inc, 'MAXLEN', '~', limit_changes, version .. '-0', unpack(told[inc]))
        call('SET', P .. 'ver:' .. inc, version)
    end
end
)lua";

// Nodes, live and dead, each read once per step.
inline constexpr char nodes[] = R"lua(
local known, changed = {}, {}

local function node(inc)
    local n = known[inc]
    if n == nil then
        local info = inc ~= '0' and call('HGET', k_info, inc)
        n = false
        if info then
            local live = call('ZSCORE', k_nodes, inc)
            n = {
                info = info,
                live = live and true,
                -- live: taken for dead from then on; dead: its schedules may be adopted from then on
                deadline = tonumber(live or call('ZSCORE', k_dead, inc) or 0),
                capacity = tonumber(match(info, '^%d+')),
                load = tonumber(call('HGET', k_load, inc) or 0),
                pending = tonumber(call('HGET', k_pending, inc) or 0),
            }
        end
        known[inc] = n
    end
    return n
end

local function may_believe(inc)
    local n = node(inc)
    return n and (n.live or n.deadline > now)
end

local function is_target(inc)
    local n = node(inc)
    return n and n.live and n.deadline > now
end

local function count(inc, n, load, pending)
    n.load, n.pending = n.load + load, n.pending + pending
    changed[inc] = n
end

local function commit_nodes()
    local load, pending = {}, {}
    for inc, n in pairs(changed) do
        local i = #load
        load[i + 1], load[i + 2] = inc, n.load
        pending[i + 1], pending[i + 2] = inc, n.pending
    end
    if #load > 0 then
        call('HSET', k_load, unpack(load))
        call('HSET', k_pending, unpack(pending))
    end
end

local function leads(inc, term)
    local leader = call('GET', k_leader)
    if not leader then return false end
    local held_under, holder = match(leader, '^%d+|(%d+)|(%d+)|')
    return holder == inc and held_under == term
end
)lua";

// Nodes that go, and dead ones that own nothing more and are forgotten.
inline constexpr char departures[] = R"lua(
local gone, gone_ids, forgotten = {}, {}, {}

local function take_out(inc, n, kind)
    local id = match(n.info, '^%d+|%d+|%d+|(.*)$')
    n.live, n.deadline = false, now
    gone[#gone + 1] = inc
    -- A newer incarnation may have the name by now.
    if call('HGET', k_ids, id) == inc then gone_ids[#gone_ids + 1] = id end
    emit(kind, '0', inc, '0', '0', '1', 'limit_unlimited', id)
end

local function forget_if_done(inc)
    local n = node(inc)
    if not n or n.live or n.deadline > now or n.load > 0 then return end
    known[inc], changed[inc] = false, nil
    forgotten[#forgotten + 1] = inc
    emit('event_forgotten', '0', inc, '0', '0', '1', 'limit_unlimited', '')
end

local function verify_departures()
    if #forgotten > 0 then call('ZCARD', k_roster) end
    call('ZCARD', k_dead)
end

local function commit_departures()
    if #gone > 0 then
        local since = {}
        for _, inc in ipairs(gone) do
            since[#since + 1] = now
            since[#since + 1] = inc
        end
        call('ZREM', k_nodes, unpack(gone))
        call('ZADD', k_dead, unpack(since))
    end
    if #gone_ids > 0 then call('HDEL', k_ids, unpack(gone_ids)) end
    if #forgotten > 0 then
        local padded, keys = {}, {}
        for i, inc in ipairs(forgotten) do
            padded[i] = fmt('%016.0f', inc)
            local n = #keys
            keys[n + 1], keys[n + 2], keys[n + 3] = P .. 'by:' .. inc, P .. 'ver:' .. inc, P .. 'inbox:' .. inc
        end
        call('ZREM', k_dead, unpack(forgotten))
        call('ZREM', k_roster, unpack(padded))
        call('HDEL', k_info, unpack(forgotten))
        call('HDEL', k_load, unpack(forgotten))
        call('HDEL', k_pending, unpack(forgotten))
        call('DEL', unpack(keys))
    end
end
)lua";

// The schedules of a request: what is stored of each, read once, and what becomes of it.
inline constexpr char schedules[] = R"lua(
local records = {}
local own_set, own_deleted, moves_set, moves_deleted = {}, {}, {}, {}
local unowned_added, unowned_removed, by_added, by_removed = {}, {}, {}, {}

-- Reads the schedules whose ids are ARGV[first..last].
local function read_schedules(first, last)
    if last < first then return end
    local own = call('HMGET', k_own, unpack(ARGV, first, last))
    -- Mostly nothing is moving.
    local moves = call('HLEN', k_moves) > 0 and call('HMGET', k_moves, unpack(ARGV, first, last)) or {}
    for i = first, last do
        local text, move = own[i - first + 1], moves[i - first + 1]
        if text then
            local generation, owner, weight = match(text, '^(%d+)|(%d+)|(.*)$')
            local s = {generation = generation, owner = owner, weight = weight}
            if move then s.to, s.deadline, s.reason = match(move, '^(%d+)|(%d+)|(%d+)') end
            records[ARGV[i]] = s
        end
    end
end

local function append(lists, inc, id)
    local list = lists[inc]
    if not list then
        list = {}
        lists[inc] = list
    end
    list[#list + 1] = id
end

local function detach(id, s)
    if s.owner == '0' then
        unowned_removed[#unowned_removed + 1] = id
        return
    end
    local n = node(s.owner)
    if n then
        append(by_removed, s.owner, id)
        count(s.owner, n, -1, 0)
    end
end

local function drop_move(id, s)
    if not s.to then return end
    local target = node(s.to)
    if target then count(s.to, target, 0, -1) end
    s.to = nil
    moves_deleted[#moves_deleted + 1] = id
end

-- Makes `to` (0: nobody) the owner, and tells so.
local function hand_to(id, s, to, generation, reason)
    local from = s.owner
    generation = fmt('%.0f', generation)
    detach(id, s)
    drop_move(id, s)
    s.owner, s.generation = to, generation
    local n = #own_set
    own_set[n + 1], own_set[n + 2] = id, generation .. '|' .. to .. '|' .. s.weight
    if to == '0' then
        unowned_added[#unowned_added + 1] = id
    else
        append(by_added, to, id)
        count(to, node(to), 1, 0)
        tell(to, 'change_granted', generation, from, reason, s.weight, '0', id)
    end
    emit('event_owned', generation, from, to, reason, s.weight, 'limit_unlimited', id)
end

local function verify_schedules()
    call('ZCARD', k_unowned)
    for inc in pairs(by_added) do call('ZCARD', P .. 'by:' .. inc) end
    for inc in pairs(by_removed) do call('ZCARD', P .. 'by:' .. inc) end
end

local function add_all(key, ids)
    local members = {}
    for i = 1, #ids do members[2 * i - 1], members[2 * i] = '0', ids[i] end
    call('ZADD', key, unpack(members))
end

local function commit_schedules()
    if #own_set > 0 then call('HSET', k_own, unpack(own_set)) end
    if #own_deleted > 0 then call('HDEL', k_own, unpack(own_deleted)) end
    if #moves_deleted > 0 then call('HDEL', k_moves, unpack(moves_deleted)) end
    if #moves_set > 0 then call('HSET', k_moves, unpack(moves_set)) end
    if #unowned_removed > 0 then call('ZREM', k_unowned, unpack(unowned_removed)) end
    if #unowned_added > 0 then add_all(k_unowned, unowned_added) end
    for inc, ids in pairs(by_removed) do call('ZREM', P .. 'by:' .. inc, unpack(ids)) end
    for inc, ids in pairs(by_added) do add_all(P .. 'by:' .. inc, ids) end
end
)lua";

// Values of KEYS[first..last], strings that are to be written. MGET shows a key of another type as missing, so those
// that seem to be are looked at again, all by one EXISTS.
inline constexpr char strings[] = R"lua(
local function strings(first, last)
    local values, absent = redis.call('MGET', unpack(KEYS, first, last)), {}
    for i = first, last do
        if not values[i - first + 1] then absent[#absent + 1] = KEYS[i] end
    end
    if #absent > 0 and redis.call('EXISTS', unpack(absent)) > 0 then
        for _, key in ipairs(absent) do redis.call('GET', key) end
    end
    return values
end
)lua";

// What stays of unregistered schedules, inc|until|kept|nonce: the owner of then may believe in it until it has heard.
inline constexpr char tombstones[] = R"lua(
local stones = {}

-- Reads the tombstones of the schedules whose ids are ARGV[first..last] out of what their keys, KEYS[17..], hold.
local function read_tombstones(first, last, values)
    for i = first, last do
        local text = values[i - first + 1]
        if text then
            local g = {}
            g.owner, g.ends, g.kept, g.nonce = match(text, '^(%d+)|(%d+)|(%d+)|(%d+)$')
            stones[ARGV[i]] = g
        end
    end
end

local function is_guarded(id)
    local g = stones[id]
    return g and tonumber(g.ends) > now and may_believe(g.owner)
end
)lua";

}  // namespace rota::detail::lua
