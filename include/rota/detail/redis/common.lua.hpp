// Lua that several scripts of redis_scripts.hpp begin with: the group's counters, what a step tells, nodes, and who has
// which schedule. Each piece is prepended only where it is used, after those that it uses.
//
// A script has no way back once it has written. So each reads first (which also finds keys of a wrong type), decides on
// Lua tables, and writes last: verify_…() is the end of reading, commit_…() writes. Words such as errc_conflict,
// event_left or limit_events are replaced by their numbers before a script is sent, within quotes as well.
//
// Numbers are kept as the text they have in Redis and compared as text; arithmetic makes them doubles, exact below
// 2^53, which only fmt(int, n) turns back into text without loss (`..` keeps 14 digits). What is given to a command is
// text where it can be: a number costs Redis a conversion to floating point notation, which is half the price of a call.
#pragma once

namespace rota::detail::lua {

// For a script that has not `group`.
inline constexpr char shorthands[] = R"lua(
local call, fmt, match = redis.call, string.format, string.match
)lua";

// How to format a whole number: %d takes half the time of %.0f, where the server's long has 64 bits.
inline constexpr char whole[] = R"lua(
local int = string.format('%d', 2 ^ 52) == '4503599627370496' and '%d' or '%.0f'
)lua";

// KEYS of every script that changes more than locks; ARGV[1] is the number of the connection, ARGV[2] what all keys
// begin with. Keys that depend on the request follow in KEYS, and are named by P .. 'by:' .. incarnation and so on.
inline constexpr char group[] = R"lua(
local call, fmt, match = redis.call, string.format, string.match
local k_session, k_head, k_fence, k_leader, k_events, k_nodes, k_dead, k_info, k_ids, k_roster,
      k_load, k_pending, k_own, k_unowned, k_moves, k_gone, k_calls = unpack(KEYS, 1, 17)
local P = ARGV[2]

local counters = call('MGET', k_session, k_head, k_fence, k_leader)
for i = 1, 4 do
    -- MGET shows a key of another type as missing; GET refuses it.
    if not counters[i] then call('GET', KEYS[i]) end
end
if counters[1] and tonumber(counters[1]) > tonumber(ARGV[1]) then
    return {errc_conflict, 'an older connection of this session'}
end
-- The head is the id of the newest event.
local epoch, seq = match(counters[2] or '', '^(%d+)%-(%d+)$')
local fence, leader = tonumber(counters[3] or 0), counters[4]
seq = tonumber(seq or 0)
local counted, founded = false, false

local function mint(seen)
    counted = true
    fence = fence + 1
    if fence < now then fence = now end
    if fence <= seen then fence = seen + 1 end
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

-- Of one whose request was made from what the group was at that event.
local function moved_on(as_of)
    return as_of ~= '0' and tonumber(as_of) ~= seq and {errc_conflict, 'the group has changed'}
end
)lua";

// What one step tells: one entry of the group's event log, and one of the change log of each node concerned. Both hold
// the same words; an entry is all of them in one text (a field for each costs more than the rest of the step):
//   kind|reason|from|generation|to|weight;traits|length:id
// with |capacity before the id where a node joins or is described, |time for the hand-off|open where a move begins,
// |lease|who comes next, each with a comma where a node comes to lead, |lease of the lock where that goes with a schedule.
// All parts come as text: joining numbers is four times slower.
inline constexpr char step[] = R"lua(
local events, told, versions, lengths = {}, {}, {}, {}
-- Whether any of the events is one of which op::calls_leader() is true: they are, but where a script says otherwise.
local calling = true

-- |length: of an id.
local function mark_of(id)
    local mark = '|' .. #id .. ':'
    lengths[#id] = mark
    return mark
end

local function list_in(lists, key)
    local list = lists[key]
    if not list then
        list = {}
        lists[key] = list
    end
    return list
end

-- In pieces: joined one by one they would be texts that differ in few places, which is what Lua's hash of a long text
-- overlooks; each would then be compared with many.
local function put_word(list, record, id)
    local n = #list
    list[n + 1] = record
    list[n + 2] = lengths[#id] or mark_of(id)
    list[n + 3] = id
end

local function emit(record, id)
    put_word(events, record, id)
end

local function tell(inc, record, id)
    put_word(list_in(told, inc), record, id)
end

-- Words that stand together, to all.
local function emit_and_tell(inc, words)
    local text = table.concat(words)
    events[#events + 1] = text
    local list = list_in(told, inc)
    list[#list + 1] = text
end

-- A missing epoch, or a fence below what the caller has seen: writes were lost, or (seen 0) the group is new.
local function ensure_epoch(seen)
    if epoch and fence >= seen then return end
    epoch, founded = fmt(int, mint(seen)), true
    if seen > 0 then emit('event_data_lost|0|0|' .. epoch .. '|0|1', '') end
end

-- The end of reading. Returns what to answer if the step cannot be logged.
local function verify_step()
    if #events > 0 then
        if not (founded or epoch) then return {errc_conflict, 'the group has lost its epoch'} end
        call('XLEN', k_events)
        if calling then call('XLEN', k_calls) end
    end
    local nodes, keys = {}, {}
    for inc in pairs(told) do
        nodes[#nodes + 1] = inc
        keys[#keys + 1] = P .. 'ver:' .. inc
    end
    local found = #keys > 0 and call('MGET', unpack(keys)) or {}
    for i, inc in ipairs(nodes) do
        local inbox, version = P .. 'inbox:' .. inc, found[i] or call('GET', keys[i])
        if call('XLEN', inbox) > 0 and not version then
            -- The counter alone was lost: go on from the log, whose numbers never go back.
            version = match(call('XREVRANGE', inbox, '+', '-', 'COUNT', 1)[1][1], '^%d+')
        end
        versions[i] = {inbox, (version or 0) + 1 .. '', keys[i], told[inc]}
    end
end

-- Up to Redis 7.0, a node that reads both logs is woken by the one that is written first: what concerns it comes before
-- what all may know.
local function commit_step()
    if #events > 0 then
        counted = true
        seq = seq + 1
    end
    local set = {}
    local head = epoch and epoch .. '-' .. fmt(int, seq)
    if counted then set = {k_head, head, k_fence, fmt(int, fence)} end
    local n = #set
    for _, v in ipairs(versions) do
        local version = v[2]
        call('XADD', v[1], 'MAXLEN', '~', 'limit_changes', version .. '-0', 'e', table.concat(v[4]))
        set[n + 1], set[n + 2] = v[3], version
        n = n + 2
    end
    if #events > 0 then
        call('XADD', k_events, 'MAXLEN', '~', 'limit_events', head, 'e', table.concat(events))
        if calling then call('XADD', k_calls, 'MAXLEN', '1', head, 'e', '') end
    end
    if n > 0 then call('MSET', unpack(set)) end
end
)lua";

// Nodes, live and dead, each read once per step; many at once by read_nodes.
// info is capacity|nonce|ttl|1 if it left in order, else 0|1;traits|id.
inline constexpr char nodes[] = R"lua(
local known, changed, departed = {}, {}, {}

-- A counter that cannot be read says nothing; see mend.
local function counter(text)
    local value = tonumber(text or 0)
    return value and value >= 0 and value or 0
end

local function know(inc, info, live, dead, load, pending)
    local n = info and {
        info = info,
        live = live and true,
        -- live: taken for dead from then on; dead: its schedules may be adopted from then on
        deadline = tonumber(live or dead or 0),
        capacity = tonumber(match(info, '^%d+')),
        load = counter(load),
        pending = counter(pending),
    }
    known[inc] = n or false
    return n
end

local function node(inc)
    local n = known[inc]
    if n ~= nil then return n end
    local info = inc ~= '0' and call('HGET', k_info, inc)
    if not info then return know(inc) end
    local live = call('ZSCORE', k_nodes, inc)
    return know(inc, info, live, not live and call('ZSCORE', k_dead, inc), call('HGET', k_load, inc),
                call('HGET', k_pending, inc))
end

-- Reads those whose incarnations are ARGV[first..last].
local function read_nodes(first, last)
    if last < first then return end
    local info = call('HMGET', k_info, unpack(ARGV, first, last))
    local live = call('ZMSCORE', k_nodes, unpack(ARGV, first, last))
    local load = call('HMGET', k_load, unpack(ARGV, first, last))
    local pending = call('HMGET', k_pending, unpack(ARGV, first, last))
    for i = first, last do
        local j = i - first + 1
        local inc, deadline = ARGV[i], live[j]
        know(inc, info[j], deadline, not deadline and call('ZSCORE', k_dead, inc), load[j], pending[j])
    end
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
    load, pending = n.load + load, n.pending + pending
    n.load, n.pending = load > 0 and load or 0, pending > 0 and pending or 0
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
)lua";

inline constexpr char leadership[] = R"lua(
local function leads(inc, term)
    if not leader then return false end
    local held_under, holder = match(leader, '^%d+|(%d+)|(%d+)|')
    return holder == inc and held_under == term
end
)lua";

// Nodes that go, and dead ones that own nothing more and are forgotten.
inline constexpr char departures[] = R"lua(
local gone, gone_ids, forgotten, left, from_dead = {}, {}, {}, {}, {}

local function take_out(inc, n, kind)
    local before, after, id = match(n.info, '^(%d+|%d+|%d+)|%d|([^|]*|(.*))$')
    n.live, n.deadline, n.goes = false, now, true
    gone[#gone + 1] = inc
    -- A newer incarnation may have the name by now.
    if call('HGET', k_ids, id) == inc then gone_ids[#gone_ids + 1] = id end
    if kind == 'event_left' then left = {inc, before .. '|1|' .. after} end
    emit(kind .. '|0|' .. inc .. '|0|0|1', id)
end

local function forget_if_done(inc)
    local n = node(inc)
    if not n or n.live or n.deadline > now or n.load > 0 then return end
    known[inc], changed[inc], departed[inc] = false, nil, true
    forgotten[#forgotten + 1] = inc
    if not n.goes then from_dead[#from_dead + 1] = inc end
    emit('event_forgotten|0|' .. inc .. '|0|0|1', '')
end

local function verify_departures()
    if #forgotten > 0 then call('ZCARD', k_roster) end
    call('ZCARD', k_dead)
end

local function commit_departures()
    if #gone > 0 then
        -- Those that are forgotten at once are dead for no time.
        local since = {}
        for _, inc in ipairs(gone) do
            if not departed[inc] then
                since[#since + 1] = now
                since[#since + 1] = inc
            end
        end
        call('ZREM', k_nodes, unpack(gone))
        if #since > 0 then call('ZADD', k_dead, unpack(since)) end
    end
    if #gone_ids > 0 then call('HDEL', k_ids, unpack(gone_ids)) end
    if #left > 0 and not departed[left[1]] then call('HSET', k_info, unpack(left)) end
    if #forgotten > 0 then
        local padded, keys = {}, {}
        for i, inc in ipairs(forgotten) do
            padded[i] = fmt('%016.0f', inc)
            local n = #keys
            keys[n + 1], keys[n + 2], keys[n + 3] = P .. 'by:' .. inc, P .. 'ver:' .. inc, P .. 'inbox:' .. inc
        end
        if #from_dead > 0 then call('ZREM', k_dead, unpack(from_dead)) end
        call('ZREM', k_roster, unpack(padded))
        call('HDEL', k_info, unpack(forgotten))
        call('HDEL', k_load, unpack(forgotten))
        call('HDEL', k_pending, unpack(forgotten))
        call('DEL', unpack(keys))
    end
end
)lua";

inline constexpr char weights[] = R"lua(
-- weight;traits
local function is_weight(text)
    local number = match(text, '^[^;|]*')
    local value = match(number, '^%d[%d.]*[eE]?[+-]?%d*$') and tonumber(number)
    return value and value > 0 and value < math.huge and not string.find(text, '|', 1, true)
end
)lua";

// What is stored of a schedule, generation|owner|weight;traits, as its three parts; nothing if it cannot be read.
inline constexpr char record[] = R"lua(
-- Of 16 digits at most, and as text unlike any other.
local function is_token(text)
    return text == '0' or #text <= 16 and string.byte(text) ~= 48
end

local function parse(text)
    local generation, owner, weight = match(text, '^(%d+)|(%d+)|(.*)$')
    if generation and is_token(generation) and is_token(owner) and (weight == '1' or is_weight(weight)) then
        return generation, owner, weight
    end
end
)lua";

// The schedules of a request: what is stored of each, read once, and what becomes of it.
inline constexpr char schedules[] = R"lua(
local records = {}
local own_set, own_deleted, moves_set, moves_deleted = {}, {}, {}, {}
local unowned_added, unowned_removed, by_added, by_removed = {}, {}, {}, {}
-- Of a token, an owner and a weight.
local record_format = int .. '|%s|%s'

-- What own and moves hold of the schedules whose ids are ARGV[first..last].
local function read_own(first, last)
    if last < first then return {}, {} end
    -- Mostly nothing is moving.
    return call('HMGET', k_own, unpack(ARGV, first, last)),
        call('HLEN', k_moves) > 0 and call('HMGET', k_moves, unpack(ARGV, first, last)) or {}
end

-- The same as records.
local function read_schedules(first, last)
    local own, moves = read_own(first, last)
    for i = first, last do
        local text, move = own[i - first + 1], moves[i - first + 1]
        if text then
            local generation, owner, weight = parse(text)
            -- One that cannot be read has an owner that is nobody, and is not '0' either.
            local s = {generation = generation or '', owner = owner or '', weight = weight or '1'}
            if move then s.to = match(move, '^%d+') end
            records[ARGV[i]] = s
        end
    end
end

local function append(lists, inc, id)
    local list = list_in(lists, inc)
    list[#list + 1] = id
end

-- In pairs, as ZADD takes them.
local function append_scored(lists, inc, id)
    local list = list_in(lists, inc)
    local n = #list
    list[n + 1], list[n + 2] = '0', id
end

local function detach(id, owner)
    if owner == '0' then
        unowned_removed[#unowned_removed + 1] = id
        return
    end
    local n = node(owner)
    if n then
        append(by_removed, owner, id)
        n.load = n.load > 0 and n.load - 1 or 0
        changed[owner] = n
    end
end

local function drop_move(id, to)
    local target = node(to)
    if target then count(to, target, 0, -1) end
    moves_deleted[#moves_deleted + 1] = id
end

-- Makes `to` (0: nobody) the owner in place of `from`, and tells so. `head` is what the word of it begins with:
-- event_owned|reason|from|. `lease`: of the lock that goes with it, or nothing.
local function hand_to(id, weight, from, to, token, head, lease)
    detach(id, from)
    local text = fmt(record_format, token, to, weight)
    local n = #own_set
    own_set[n + 1], own_set[n + 2] = id, text
    text = lease and head .. text .. '|' .. lease or head .. text
    emit(text, id)
    if to == '0' then
        unowned_added[#unowned_added + 1] = '0'
        unowned_added[#unowned_added + 1] = id
        return
    end
    append_scored(by_added, to, id)
    local target = node(to)
    target.load = target.load + 1
    changed[to] = target
    tell(to, text, id)
end

local function verify_schedules()
    call('ZCARD', k_unowned)
    for inc in pairs(by_added) do call('ZCARD', P .. 'by:' .. inc) end
    for inc in pairs(by_removed) do call('ZCARD', P .. 'by:' .. inc) end
end

local function commit_schedules()
    if #own_set > 0 then call('HSET', k_own, unpack(own_set)) end
    if #own_deleted > 0 then call('HDEL', k_own, unpack(own_deleted)) end
    if #moves_deleted > 0 then call('HDEL', k_moves, unpack(moves_deleted)) end
    if #moves_set > 0 then call('HSET', k_moves, unpack(moves_set)) end
    if #unowned_removed > 0 then call('ZREM', k_unowned, unpack(unowned_removed)) end
    if #unowned_added > 0 then call('ZADD', k_unowned, unpack(unowned_added)) end
    for inc, ids in pairs(by_removed) do
        -- The index of a node that is forgotten goes as a whole.
        if not departed[inc] then call('ZREM', P .. 'by:' .. inc, unpack(ids)) end
    end
    for inc, pairs in pairs(by_added) do call('ZADD', P .. 'by:' .. inc, unpack(pairs)) end
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

// What stays of schedules that were unregistered or mended, in the hash `gone`: inc|until|kept|nonce. The owner of then
// may believe in it until it has heard; 0: several may.
inline constexpr char tombstones[] = R"lua(
local stones = {}

-- Reads those of the schedules whose ids are ARGV[first..last]. Whether there are any.
local function read_tombstones(first, last)
    -- Mostly there are none.
    if last < first or call('HLEN', k_gone) == 0 then return false end
    local values = call('HMGET', k_gone, unpack(ARGV, first, last))
    for i = first, last do
        local text = values[i - first + 1]
        if text then
            local g = {}
            g.owner, g.ends, g.kept, g.nonce = match(text, '^(%d+)|(%d+)|(%d+)|(%d+)$')
            if g.owner then stones[ARGV[i]] = g end
        end
    end
    return true
end

local function is_guarded(id)
    local g = stones[id]
    return g and tonumber(g.ends) > now and (g.owner == '0' or may_believe(g.owner))
end
)lua";

// Writes tombstones, and throws those away that have had their time: `buried` knows it. KEYS[18] is `buried`.
inline constexpr char burial[] = R"lua(
local k_buried = KEYS[18]
local buried, overdue = {}, {}

-- May be called for an id once, with a stone that is not changed after.
local function bury(id, stone)
    stones[id] = stone
    buried[#buried + 1] = id
end

local function verify_burial()
    if #buried > 0 then
        call('HLEN', k_gone)
        overdue = call('ZRANGEBYSCORE', k_buried, '-inf', now, 'LIMIT', 0, 2 * #buried)
    end
end

local function commit_burial()
    if #buried == 0 then return end
    if #overdue > 0 then
        call('HDEL', k_gone, unpack(overdue))
        call('ZREM', k_buried, unpack(overdue))
    end
    local set, scores = {}, {}
    for i, id in ipairs(buried) do
        local g = stones[id]
        set[2 * i - 1], set[2 * i] = id, fmt('%s|' .. int .. '|' .. int .. '|%s', g.owner, g.ends, g.kept, g.nonce)
        scores[2 * i - 1], scores[2 * i] = fmt(int, math.max(g.ends, g.kept)), id
    end
    call('HSET', k_gone, unpack(set))
    call('ZADD', k_buried, unpack(scores))
    -- In ms and twice as long: it only collects garbage.
    local last = call('ZREVRANGE', k_buried, 0, 0, 'WITHSCORES')
    local kept = math.ceil(math.max(last[2] - now, 0) / 500) + 1
    call('PEXPIRE', k_gone, kept)
    call('PEXPIRE', k_buried, kept)
end
)lua";

}  // namespace rota::detail::lua
