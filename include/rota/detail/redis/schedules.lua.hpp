// The scripts of schedules: register, update, trigger, lookup, unregister, claim, adopt, revoke, acknowledge. See operations.hpp
// for what they do.
#pragma once

namespace rota::detail::lua {

// ARGV: connection, P, ids..., weight;traits... Reply: nothing, it always succeeds.
inline constexpr char register_schedules[] = R"lua(
local n = (#ARGV - 2) / 2
ensure_epoch(0)
read_schedules(3, 2 + n)
for i = 3, 2 + n do
    local id, weight = ARGV[i], ARGV[n + i]
    if not records[id] then
        records[id] = {generation = '0', owner = '0', weight = weight}
        own_set[#own_set + 1] = id
        own_set[#own_set + 1] = '0|0|' .. weight
        unowned_added[#unowned_added + 1] = '0'
        unowned_added[#unowned_added + 1] = id
        emit('event_registered|0|0|0|0|' .. weight, id)
    end
end
verify_schedules()
local refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
return {0}
)lua";

// What is stored of one that is triggered: weight;t=token;traits.
inline constexpr char triggers[] = R"lua(
-- Without the token, and the token.
local function untriggered(weight)
    local number, token, traits = match(weight, '^([^;]*);t=(%d+)(.*)$')
    if number then return number .. traits, token end
    return weight, '0'
end

local function triggered(weight, token)
    if token == '0' then return weight end
    local number, traits = match(weight, '^([^;]*)(.*)$')
    return number .. ';t=' .. token .. traits
end
)lua";

// ARGV: connection, P, ids..., done..., owners...; KEYS[19..]: of the owners. Reply: code, token of each.
inline constexpr char trigger[] = R"lua(
local n, answer = (#ARGV - 2) / 3, {0}
ensure_epoch(0)
read_schedules(3, 2 + n)
for i = 3, 2 + n do
    local id, done, owner = ARGV[i], ARGV[n + i], ARGV[2 * n + i]
    local s = records[id]
    local code, token = 0, 0
    if not s then
        code = errc_unknown_schedule
    elseif done == '0' and s.owner ~= owner then
        code = errc_conflict
    else
        local weight, before = untriggered(s.weight)
        if done == '0' then
            token = fmt(int, mint(0))
            s.weight = triggered(weight, token)
            local holder = node(owner)
            if holder and holder.live then
                tell(owner, 'event_updated|0|' .. owner .. '|' .. s.generation .. '|0|' .. s.weight, id)
            end
        elseif before == done then
            s.weight = weight
        end
        if done == '0' or before == done then
            own_set[#own_set + 1] = id
            own_set[#own_set + 1] = s.generation .. '|' .. s.owner .. '|' .. s.weight
        end
    end
    answer[#answer + 1] = code
    answer[#answer + 1] = token
end
verify_schedules()
local refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
return answer
)lua";

// ARGV: connection, P, ids..., weight;traits..., owners...; KEYS[19..]: of the owners. Reply: code of each.
inline constexpr char update_schedules[] = R"lua(
local n, answer = (#ARGV - 2) / 3, {0}
read_schedules(3, 2 + n)
for i = 3, 2 + n do
    local id, weight, owner = ARGV[i], ARGV[n + i], ARGV[2 * n + i]
    local s = records[id]
    local code = 0
    if not s then
        code = errc_unknown_schedule
    elseif s.owner ~= owner then
        code = errc_conflict
    elseif untriggered(s.weight) ~= weight then
        local _, token = untriggered(s.weight)
        s.weight = triggered(weight, token)
        own_set[#own_set + 1] = id
        own_set[#own_set + 1] = s.generation .. '|' .. owner .. '|' .. s.weight
        local record = 'event_updated|0|' .. owner .. '|' .. s.generation .. '|0|' .. s.weight
        local holder = node(owner)
        if holder and holder.live then tell(owner, record, id) end
        emit(record, id)
    end
    answer[#answer + 1] = code
end
local refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
return answer
)lua";

// KEYS: own, moves. ARGV: ids... Reply: what is stored of them, twice.
inline constexpr char lookup[] = R"lua(
if #ARGV == 0 then return {0, {}, {}} end
return {0, redis.call('HMGET', KEYS[1], unpack(ARGV)), redis.call('HMGET', KEYS[2], unpack(ARGV))}
)lua";

// ARGV: connection, P, nonce, ids..., owners...; KEYS[19..]: buried, then of the owners. Reply: code of each.
inline constexpr char unregister_schedules[] = R"lua(
local n, nonce, answer = (#ARGV - 3) / 2, ARGV[3], {0}
read_schedules(4, 3 + n)
read_tombstones(4, 3 + n)
for i = 1, n do
    local id, owner = ARGV[3 + i], ARGV[3 + n + i]
    local s, g = records[id], stones[id]
    if g and g.nonce == nonce and tonumber(g.kept) > now then
        answer[i + 1] = 0 -- a repeat, even if it was registered anew meanwhile
    elseif not s then
        answer[i + 1] = errc_unknown_schedule
    elseif s.owner ~= owner then
        answer[i + 1] = errc_conflict
    else
        answer[i + 1] = 0
        local holder = node(owner)
        local stone = {owner = owner, ends = holder and holder.deadline or 0, nonce = nonce}
        -- An earlier owner that may still believe keeps its guard.
        if is_guarded(id) then stone.owner, stone.ends = g.owner, g.ends end
        stone.kept = math.max(tonumber(stone.ends), now + limit_repeat_window)
        bury(id, stone)
        records[id] = nil
        detach(id, owner)
        if s.to then drop_move(id, s.to) end
        own_deleted[#own_deleted + 1] = id
        local record = 'event_unregistered|0|' .. owner .. '|0|0|1'
        if holder and holder.live then tell(owner, record, id) end
        emit(record, id)
    end
end
verify_schedules()
verify_burial()
local refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
commit_burial()
return answer
)lua";

// ARGV: connection, P, incarnation, seen, ids...; KEYS[19..]: of the node. Reply: code, token of each.
inline constexpr char claim[] = R"lua(
local inc, seen = ARGV[3], tonumber(ARGV[4])
local refused = behind(seen)
if refused then return refused end
local me = node(inc)
if not me or not me.live then return {errc_not_joined} end
calling = false
read_schedules(5, #ARGV)
read_tombstones(5, #ARGV)
local answer = {0}
for i = 5, #ARGV do
    local id = ARGV[i]
    local s = records[id]
    local code, token = 0, 0
    if not s then
        code = errc_unknown_schedule
    elseif s.owner == inc then
        token = s.generation
    elseif s.owner ~= '0' then
        code = errc_owned_by_other
    elseif is_guarded(id) then
        code = errc_conflict
    elseif me.load + me.pending >= me.capacity then
        code = errc_capacity_exceeded
    else
        token = mint(seen)
        if s.to then drop_move(id, s.to) end
        hand_to(id, s.weight, '0', inc, token, 'event_owned|reason_claimed|0|')
        s.owner, s.generation = inc, token
    end
    answer[#answer + 1] = code
    answer[#answer + 1] = token
end
verify_schedules()
refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
return answer
)lua";

// What adopt and revoke have in common: ARGV[7] is the number of items n, then come their ids, the generation that the
// record of each is expected to have, the number of ways, the ways of the items in order, from|to|reason|open|count| for
// as many of them, and the incarnations in those; KEYS[19..]: of those.
inline constexpr char ways[] = R"lua(
local find, sub, n = string.find, string.sub, tonumber(ARGV[7])
local first_way = 9 + 2 * n
local last_way = 8 + 2 * n + ARGV[8 + 2 * n]

local function way_at(i)
    local from, to, reason, open, size = match(ARGV[i], '^(%d+)|(%d+)|(%d+)|(%d)|(%d+)|$')
    return {from = from, to = to, reason = reason, open = open, count = tonumber(size), source = node(from),
            target = node(to), is_target = is_target(to), owner = '|' .. from .. '|', unit = '|' .. from .. '|1'}
end

-- What its record says of the weight, if it has that generation and the owner that the way expects, and can be read.
local function weight_of(text, generation, way)
    if find(text, generation, 1, true) ~= 1 then return end
    local rest = sub(text, #generation + 1)
    if rest == way.unit then return '1' end
    if sub(rest, 1, #way.owner) ~= way.owner then return end
    local weight = sub(rest, #way.owner + 1)
    if is_weight(weight) then return weight end
end
)lua";

// ARGV: connection, P, incarnation, term, seen, as_of, and as the piece above says. Reply: code, token of each.
//
// A new leader has tens of thousands of these to send, and others wait meanwhile: the loop calls little, as every step
// of Lua costs in Redis.
inline constexpr char adopt[] = R"lua(
local seen = tonumber(ARGV[5])
local refused = behind(seen)
if refused then return refused end
if not leads(ARGV[3], ARGV[4]) then return {errc_not_leader} end
refused = moved_on(ARGV[6])
if refused then return refused end
local own, moves = read_own(8, 7 + n)
local are_stones = read_tombstones(8, 7 + n)
read_nodes(last_way + 1, #ARGV)
calling = false
-- From here on mint() gives the next number. Its text is that of all but its last two digits, and those: formatting it
-- anew takes as long as half the loop.
fence = math.max(fence, now - 1, seen)
local digit, last_two, two, hundreds = {[0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'}, {}, fence % 100, nil
hundreds = fmt(int, (fence - two) / 100)
local answer, done, sources, i, set = {0}, {}, {}, 0, 0
for w = first_way, last_way do
    local way = way_at(w)
    local from, to, source, target = way.from, way.to, way.source, way.target
    local head, owner_next = 'event_owned|' .. way.reason .. '|' .. from .. '|', '|' .. to .. '|'
    local is_orphan = from == '0' or not may_believe(from)
    local room = way.is_target and target.capacity - target.load - target.pending
    local removed, added = from == '0' and unowned_removed or by_removed[from] or {}, by_added[to] or {}
    local words, given, last_removed, last_added = {}, 0, #removed, #added
    for _ = 1, way.count do
        i = i + 1
        local id, text, move = ARGV[7 + i], own[i], moves[i]
        local code, token = 0, 0
        local weight = text and is_orphan and weight_of(text, ARGV[7 + n + i], way)
        move = move and match(move, '^%d+')
        if not text then
            code = errc_unknown_schedule
        elseif not weight or done[id] or are_stones and is_guarded(id) then
            code = errc_conflict
        elseif not room then
            code = errc_unknown_node
        -- A hand-off to this very node has its place already.
        elseif room < 1 and (room < 0 or move ~= to) then
            code = errc_capacity_exceeded
        else
            fence = fence + 1
            token = fence
            two = two + 1
            if two == 100 then two, hundreds = 0, fmt(int, fence / 100) end
            local ending = last_two[two]
            if not ending then
                ending = digit[(two - two % 10) / 10] .. digit[two % 10]
                last_two[two] = ending
            end
            done[id] = true
            if move then
                drop_move(id, move)
                room = target.capacity - target.load - given - target.pending
            end
            room = room - 1
            text = hundreds .. ending .. owner_next .. weight
            own_set[set + 1] = id
            own_set[set + 2] = text
            set = set + 2
            removed[last_removed + given + 1] = id
            added[last_added + 2 * given + 1] = '0'
            added[last_added + 2 * given + 2] = id
            words[4 * given + 1] = head
            words[4 * given + 2] = text
            words[4 * given + 3] = lengths[#id] or mark_of(id)
            words[4 * given + 4] = id
            given = given + 1
        end
        answer[2 * i] = code
        answer[2 * i + 1] = token
    end
    if given > 0 then
        counted = true
        calling = calling or way.reason ~= 'reason_transferred'
        emit_and_tell(to, words)
        by_added[to] = added
        count(to, target, given, 0)
        if source then
            by_removed[from] = removed
            count(from, source, -given, 0)
            if not sources[from] then
                sources[from] = true
                sources[#sources + 1] = from
            end
        end
    end
end
for _, inc in ipairs(sources) do forget_if_done(inc) end
calling = calling or #forgotten > 0
verify_schedules()
verify_departures()
refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
commit_departures()
return answer
)lua";

// ARGV: connection, P, incarnation, term, time for the hand-off, as_of, and as said above. Reply: code, token of each.
inline constexpr char revoke[] = R"lua(
local inc, term, handoff = ARGV[3], ARGV[4], ARGV[5]
if term ~= '0' then
    if not leads(inc, term) then return {errc_not_leader} end
else
    local me = node(inc)
    if not me or not me.live then return {errc_not_joined} end
end
local refused = moved_on(ARGV[6])
if refused then return refused end
local own, moves = read_own(8, 7 + n)
read_nodes(last_way + 1, #ARGV)
local answer, deadline, begun, i = {0}, fmt('|' .. int .. '|', now + handoff), {}, 0
for w = first_way, last_way do
    local way = way_at(w)
    local from, to, target = way.from, way.to, way.target
    local head, middle = 'event_moving|' .. way.reason .. '|' .. from .. '|', '|' .. to .. '|'
    local tail, as_move = '|' .. handoff .. '|' .. way.open, to .. deadline .. way.reason .. '|' .. way.open
    local words = {}
    for _ = 1, way.count do
        i = i + 1
        local id, generation, text = ARGV[7 + i], ARGV[7 + n + i], own[i]
        local moving_to = begun[id] or moves[i] and match(moves[i], '^%d+')
        local code, token = 0, 0
        local weight = text and weight_of(text, generation, way)
        if not text then
            code = errc_unknown_schedule
        elseif term == '0' and from ~= inc then
            code = errc_not_owner
        elseif not weight or not (way.source and way.source.live) or to == from or moving_to and moving_to ~= to then
            code = errc_conflict
        elseif not moving_to and not way.is_target then
            code = errc_unknown_node
        elseif not moving_to and target.load + target.pending >= target.capacity then
            code = errc_capacity_exceeded
        else
            token = generation
            if not moving_to then
                begun[id] = to
                local m = #moves_set
                moves_set[m + 1], moves_set[m + 2] = id, as_move
                count(to, target, 0, 1)
                put_word(words, head .. generation .. middle .. weight .. tail, id)
            end
        end
        answer[2 * i], answer[2 * i + 1] = code, token
    end
    if #words > 0 then emit_and_tell(from, words) end
end
refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
return answer
)lua";

// One hand-over, as most are: what the next script does for many, with fewer calls. Somebody waits for it.
//
// KEYS: session, epoch, fence, seq, ver:<to>, lock, nodes, dead, info, load, pending, own, moves, unowned, events, calls,
// by:<incarnation>, by:<to>, inbox:<to>.
// ARGV: connection, incarnation, seen, id, expected (generation|incarnation|), to, 1 if unasked, for how long the lock
// goes with it (0: it does not). Reply: code, token, remaining.
inline constexpr char acknowledge_one[] = R"lua(
local v = call('MGET', unpack(KEYS, 1, 6))
for i = 1, 5 do
    -- MGET shows a key of another type as missing; GET refuses it.
    if not v[i] then call('GET', KEYS[i]) end
end
if v[1] and v[1] ~= ARGV[1] and tonumber(v[1]) > tonumber(ARGV[1]) then
    return {errc_conflict, 'an older connection of this session'}
end
local inc, seen, id, expected, to = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local fence = tonumber(v[3] or 0)
if fence < seen then return {errc_not_joined, 'the server has lost writes'} end
local live = call('ZMSCORE', KEYS[7], inc, to)
if not live[1] then return {errc_not_joined} end

local own, move = call('HGET', KEYS[12], id), call('HGET', KEYS[13], id)
if not own then return {0, errc_unknown_schedule, 0, 0} end
local asked, reason = to, 'reason_transferred'
if move then
    asked, reason = match(move, '^(%d+)|%d+|(%d+)|%d$')
elseif ARGV[7] ~= '1' or to == '0' then
    asked = nil
end
local weight = asked == to and string.find(own, expected, 1, true) == 1 and string.sub(own, #expected + 1)
if not weight or weight ~= '1' and not is_weight(weight) then return {0, errc_conflict, 0, 0} end
if v[6] then
    local deadline, holder = match(v[6], '^(%d+)|%d+|(%d+)|')
    if deadline and tonumber(deadline) > now and
            (holder == inc or call('ZSCORE', KEYS[7], holder) or
             tonumber(call('ZSCORE', KEYS[8], holder) or 0) > now) then
        return {0, errc_locked_by_other, 0, deadline - now}
    end
end

-- A counter that cannot be read says nothing; see mend.
local function counter(text)
    local value = tonumber(text or 0)
    return value and value >= 0 and value or 0
end
local loads = call('HMGET', KEYS[10], inc, to)
local load_before, load = counter(loads[1]), counter(loads[2])
local info, code = live[2] and tonumber(live[2]) > now and call('HGET', KEYS[9], to), 0
-- Who takes any number need not be counted for, unless the count is to change.
local limited = info and string.find(info, 'limit_unlimited|', 1, true) ~= 1
local pending = (move or limited) and counter(call('HGET', KEYS[11], to)) or 0
if not info then
    code = errc_unknown_node
elseif limited and load + pending >= match(info, '^%d+') + (move and 1 or 0) then
    code = errc_capacity_exceeded
end
if code ~= 0 and not move then return {0, code, 0, 0} end
if not (v[2] and v[4]) then return {errc_conflict, 'the group has lost its epoch'} end
local target, lease = to, code == 0 and ARGV[8] ~= '0' and ARGV[8]
if lease and not v[6] then call('GET', KEYS[6]) end
if code ~= 0 then target, reason = '0', 'reason_given_up' end
local version = code == 0 and (v[5] or 0) + 1
-- The log that is written first of all need not be looked at before.
if version and not v[5] and call('XLEN', KEYS[19]) > 0 then
    -- The counter alone was lost: go on from the log, whose numbers never go back.
    version = match(call('XREVRANGE', KEYS[19], '+', '-', 'COUNT', '1')[1][1], '^%d+') + 1
end
call('XLEN', KEYS[15])
local calling = code ~= 0 or reason ~= 'reason_transferred'
if calling then call('XLEN', KEYS[16]) end
call('ZCARD', KEYS[17])
if code ~= 0 then call('ZCARD', KEYS[14]) end
call('ZCARD', KEYS[18])

fence = math.max(fence + 1, now, seen + 1)
local token, seq = fmt(int, fence), v[4] + 1
local told = 'event_owned|' .. reason .. '|' .. inc .. '|' .. token .. '|' .. target .. '|' .. weight .. '|' ..
             (lease and lease .. '|' or '') .. #id .. ':' .. id
-- What is too old is thrown away now and then: each word costs.
local function append(log, major, minor, number, limit)
    local at = major .. '-' .. minor
    if number % 16 > 0 then
        call('XADD', log, at, 'e', told)
    else
        call('XADD', log, 'MAXLEN', '~', limit, at, 'e', told)
    end
end
local seq_text, version_text = fmt(int, seq), version and fmt(int, version)
if version then append(KEYS[19], version_text, '0', version, 'limit_changes') end
append(KEYS[15], v[2], seq_text, seq, 'limit_events')
if calling then call('XADD', KEYS[16], 'MAXLEN', '1', v[2] .. '-' .. seq_text, 'e', '') end
call('HSET', KEYS[12], id, token .. '|' .. target .. '|' .. weight)
call('ZREM', KEYS[17], id)
if lease then
    -- In ms and twice as long: it only collects garbage.
    local kept = math.max(math.ceil(lease / 500), 1)
    call('SET', KEYS[6], fmt(int .. '|%s|%s|0', now + lease, token, to), 'PX', fmt(int, kept))
end
if load_before > 0 then load_before = load_before - 1 end
if to == inc then load = load_before end
if version then
    call('ZADD', KEYS[18], '0', id)
    call('HSET', KEYS[10], inc, load_before, to, load + 1)
    call('MSET', KEYS[3], token, KEYS[4], seq_text, KEYS[5], version_text)
else
    call('ZADD', KEYS[14], '0', id)
    call('HSET', KEYS[10], inc, load_before)
    call('MSET', KEYS[3], token, KEYS[4], seq_text)
end
if move then
    call('HDEL', KEYS[13], id)
    if pending > 0 then call('HSET', KEYS[11], to, pending - 1) end
end
return {0, code, token, 0}
)lua";

// ARGV: connection, P, incarnation, seen, number of items, number of places (the same, or 0), ids..., in whose place
// each goes (empty: nobody's)..., expected (generation|incarnation|)..., tos (+to: unasked)..., incarnations in them...;
// KEYS[19..]: lock:<id>, then of the node and those. Reply: code, token, remaining of each.
inline constexpr char acknowledge_many[] = R"lua(
local inc, seen, n, places = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local find, sub = string.find, string.sub
local refused = behind(seen)
if refused then return refused end
local me = node(inc)
if not me or not me.live then return {errc_not_joined} end
local all_expected, tos = 6 + n + places, 6 + 2 * n + places
local own, moves = read_own(7, all_expected)
read_nodes(tos + n + 1, #ARGV)
local locks = n > 0 and call('MGET', unpack(KEYS, 19, 18 + n)) or {}
local answer, done, asked = {0}, {}, {}
calling = false

-- What was asked for by `move`, to|deadline|reason|open.
local function look_into(move)
    local to, reason, open = match(move, '^(%d+)|%d+|(%d+)|(%d)$')
    local it = {to = to, open = open == '1', target = to and is_target(to) and node(to),
                wanted = reason == 'reason_transferred'}
    if to then
        it.head = 'event_owned|' .. reason .. '|' .. inc .. '|'
        it.called_off = 'event_moving|' .. reason .. '|' .. inc .. '|'
    end
    asked[move] = it
    return it
end

for i = 1, n do
    local id, expected, to = ARGV[6 + i], ARGV[all_expected + i], ARGV[tos + i]
    local unasked = false
    if string.byte(to) == 43 then -- +
        unasked, to = true, sub(to, 2)
    end
    local place = places > 0 and ARGV[6 + n + i] or ''
    local is_substitute = place ~= ''
    local text, move, weight, generation = own[i], moves[is_substitute and n + i or i], nil, nil
    local it = move and (asked[move] or look_into(move))
    unasked = unasked and not move and to ~= '0'
    if unasked then it = asked[to] or look_into(to .. '|0|reason_transferred|0') end
    if text and it and it.to == to and find(text, expected, 1, true) == 1 and not done[id] then
        weight = sub(text, #expected + 1)
        if weight ~= '1' and not is_weight(weight) then weight = nil end
    end
    if weight and is_substitute then
        local owner, other
        if own[n + i] then generation, owner, other = parse(own[n + i]) end
        if moves[i] or done[place] or not it.open or owner ~= inc or other ~= weight then weight = nil end
    end
    local code, token, remaining = 0, 0, 0
    if not text then
        code = errc_unknown_schedule
    elseif not weight then
        code = errc_conflict
    else
        local deadline, holder
        if locks[i] then deadline, holder = match(locks[i], '^(%d+)|%d+|(%d+)|') end
        if deadline and tonumber(deadline) > now and may_believe(holder) then
            code, remaining = errc_locked_by_other, deadline - now
        else
            local target = it.target
            if not target then
                code = errc_unknown_node
            elseif target.load + target.pending >= target.capacity + (unasked and 0 or 1) then
                code = errc_capacity_exceeded
            end
            if code == 0 or not (is_substitute or unasked) then
                token = mint(seen)
                done[id] = true
                calling = calling or code ~= 0 or is_substitute or not it.wanted
                if unasked then
                    move = nil
                elseif is_substitute then
                    done[place] = true
                    drop_move(place, to)
                    emit(it.called_off .. generation .. '|0|' .. weight .. '|0|0', place)
                else
                    drop_move(id, to)
                end
                if code == 0 then
                    hand_to(id, weight, inc, to, token, it.head)
                else
                    hand_to(id, weight, inc, '0', token, 'event_owned|reason_given_up|' .. inc .. '|')
                end
            end
        end
    end
    local a = 3 * i - 1
    answer[a], answer[a + 1], answer[a + 2] = code, token, remaining
end
verify_schedules()
refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
return answer
)lua";

}  // namespace rota::detail::lua
