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

// ARGV: connection, P, ids..., done..., owners...; KEYS[18..]: of the owners. Reply: code, token of each.
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

// ARGV: connection, P, ids..., weight;traits..., owners...; KEYS[18..]: of the owners. Reply: code of each.
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

// ARGV: connection, P, nonce, ids..., owners...; KEYS[18..]: buried, then of the owners. Reply: code of each.
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

// ARGV: connection, P, incarnation, seen, ids...; KEYS[18..]: of the node. Reply: code, token of each.
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
// as many of them, and the incarnations in those; KEYS[18..]: of those.
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
calling = false
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
    if #words > 0 then
        emit_and_tell(from, words)
        calling = calling or way.reason ~= 'reason_transferred'
    end
end
refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
return answer
)lua";

// One hand-over that nobody asked for but its owner, to a node that can take it: what the next script does for any, in
// fewer calls and words, because somebody waits for it. All that is unusual it leaves to that one, and does nothing then.
//
// KEYS: session, head, fence, ver:<to>, lock, nodes, info, load, pending, own, moves, events, by:<incarnation>, by:<to>,
// inbox:<to>. ARGV: connection, incarnation, seen, id, expected (generation|incarnation|), to, for how long the lock goes
// with it (0: it does not). Reply: code, token, remaining; or an empty text: left to acknowledge.
inline constexpr char hand_over[] = R"lua(
local session, head, fence, version, lock = unpack(call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]))
local inc, id, expected, to = ARGV[2], ARGV[4], ARGV[5], ARGV[6]
-- The session's record is gone after a day.
if session and session ~= ARGV[1] or not (head and fence and version) or lock or
        tonumber(fence) < tonumber(ARGV[3]) then
    return ''
end
local live = call('ZMSCORE', KEYS[6], inc, to)
local own = call('HGET', KEYS[10], id)
if not live[1] or tonumber(live[2] or 0) <= now or not own or string.find(own, expected, 1, true) ~= 1 or
        call('HEXISTS', KEYS[11], id) == 1 then
    return ''
end
local weight = string.sub(own, #expected + 1)
if weight ~= '1' and not is_weight(weight) then return '' end
local info, loads = call('HGET', KEYS[7], to), call('HMGET', KEYS[8], inc, to)
local load_before, load = match(loads[1] or '0', '^%d+$'), match(loads[2] or '0', '^%d+$')
if not (info and load_before and load) then return '' end
-- Who takes any number need not be counted for.
if string.find(info, 'limit_unlimited|', 1, true) ~= 1 then
    local pending = match(call('HGET', KEYS[9], to) or '0', '^%d+$')
    if not pending or load + pending >= tonumber(match(info, '^%d+')) then return '' end
end
local epoch, seq = match(head, '^(%d+)%-(%d+)$')
if not epoch then return '' end
call('XLEN', KEYS[12])
call('ZCARD', KEYS[13])
call('ZCARD', KEYS[14])
-- MGET shows a key of another type as missing; GET refuses it.
local lease = ARGV[7] ~= '0' and not call('GET', KEYS[5]) and ARGV[7]

fence = math.max(fence + 1, now)
local token = fmt('%.0f', fence)
version, seq = fmt('%.0f', version + 1), fmt('%.0f', seq + 1)
head = epoch .. '-' .. seq
local told = 'event_owned|reason_transferred|' .. inc .. '|' .. token .. '|' .. to .. '|' .. weight .. '|' ..
             (lease and lease .. '|' or '') .. #id .. ':' .. id
-- What is too old is thrown away now and then: each word costs.
local function append(log, at, number, limit)
    if number % 16 > 0 then
        call('XADD', log, at, 'e', told)
    else
        call('XADD', log, 'MAXLEN', '~', limit, at, 'e', told)
    end
end
-- The log that is written first of all need not be looked at before.
append(KEYS[15], version .. '-0', version, 'limit_changes')
append(KEYS[12], head, seq, 'limit_events')
call('HSET', KEYS[10], id, token .. '|' .. to .. '|' .. weight)
call('ZREM', KEYS[13], id)
if lease then
    -- In ms and twice as long: it only collects garbage.
    local kept = math.max(math.ceil(lease / 500), 1)
    call('SET', KEYS[5], fmt('%.0f|%s|%s|0', now + lease, token, to), 'PX', fmt('%.0f', kept))
end
call('ZADD', KEYS[14], '0', id)
call('HSET', KEYS[8], inc, math.max(load_before - 1, 0) .. '', to, load + 1 .. '')
call('MSET', KEYS[2], head, KEYS[3], token, KEYS[4], version)
return {0, 0, token, 0}
)lua";

// ARGV: connection, P, incarnation, seen, number of items, number of places (the same, or 0), for how long its lock goes
// with a single one (0: it does not), ids..., in whose place each goes (empty: nobody's)..., expected
// (generation|incarnation|)..., tos (+to: unasked)..., incarnations in them...; KEYS[18..]: lock:<id>, then of the node
// and those. Reply: code, token, remaining of each.
inline constexpr char acknowledge[] = R"lua(
local inc, seen, n, places = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local find, sub = string.find, string.sub
local refused = behind(seen)
if refused then return refused end
local me = node(inc)
if not me or not me.live then return {errc_not_joined} end
local first, all_expected, tos = 8, 7 + n + places, 7 + 2 * n + places
local own, moves = read_own(first, all_expected)
read_nodes(tos + n + 1, #ARGV)
local locks = n > 0 and call('MGET', unpack(KEYS, 18, 17 + n)) or {}
local lease = n == 1 and places == 0 and ARGV[7] ~= '0' and ARGV[7]
local answer, done, asked, lock = {0}, {}, {}, nil
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
    local id, expected, to = ARGV[first - 1 + i], ARGV[all_expected + i], ARGV[tos + i]
    local unasked = false
    if string.byte(to) == 43 then -- +
        unasked, to = true, sub(to, 2)
    end
    local place = places > 0 and ARGV[first - 1 + n + i] or ''
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
                calling = calling or code ~= 0 or not it.wanted
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
                    hand_to(id, weight, inc, to, token, it.head, lease)
                    if lease then lock = fmt(int .. '|' .. int .. '|%s|0', now + lease, token, to) end
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
-- MGET shows a key of another type as missing; GET refuses it.
if lock and not locks[1] then call('GET', KEYS[18]) end
refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
-- In ms and twice as long: it only collects garbage.
if lock then call('SET', KEYS[18], lock, 'PX', fmt(int, math.max(math.ceil(lease / 500), 1))) end
return answer
)lua";

}  // namespace rota::detail::lua
