// The scripts of schedules: register, lookup, unregister, claim, adopt, revoke, acknowledge. See operations.hpp for
// what they do.
#pragma once

namespace rota::detail::lua {

// ARGV: connection, P, ids..., weights... Reply: nothing, it always succeeds.
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
        unowned_added[#unowned_added + 1] = id
        emit('event_registered', '0', '0', '0', '0', weight, 'limit_unlimited', id)
    end
end
verify_schedules()
local refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
return {0}
)lua";

// KEYS: own, moves. ARGV: ids... Reply: what is stored of them, twice.
inline constexpr char lookup[] = R"lua(
if #ARGV == 0 then return {0, {}, {}} end
return {0, redis.call('HMGET', KEYS[1], unpack(ARGV)), redis.call('HMGET', KEYS[2], unpack(ARGV))}
)lua";

// ARGV: connection, P, nonce, ids..., owners...; KEYS[17..]: gone:<id>, then of the owners. Reply: code of each.
inline constexpr char unregister_schedules[] = R"lua(
local n, nonce, answer, buried = (#ARGV - 3) / 2, ARGV[3], {0}, {}
read_schedules(4, 3 + n)
read_tombstones(4, 3 + n, n > 0 and strings(17, 16 + n) or {})
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
        stones[id] = stone
        buried[#buried + 1] = id
        records[id] = nil
        detach(id, s)
        drop_move(id, s)
        own_deleted[#own_deleted + 1] = id
        if holder and holder.live then tell(owner, 'change_removed', '0', '0', '0', '1', '0', id) end
        emit('event_unregistered', '0', owner, '0', '0', '1', 'limit_unlimited', id)
    end
end
verify_schedules()
local refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
for _, id in ipairs(buried) do
    local g = stones[id]
    call('SET', P .. 'gone:' .. id, fmt('%.0f|%.0f|%.0f', g.owner, g.ends, g.kept) .. '|' .. g.nonce,
         'PX', math.ceil((g.kept - now) / 500))
end
return answer
)lua";

// ARGV: connection, P, incarnation, seen, ids...; KEYS[17..]: gone:<id>, then the node's. Reply: code, token of each.
inline constexpr char claim[] = R"lua(
local inc, seen = ARGV[3], tonumber(ARGV[4])
local refused = behind(seen)
if refused then return refused end
local me = node(inc)
if not me or not me.live then return {errc_not_joined} end
read_schedules(5, #ARGV)
read_tombstones(5, #ARGV, #ARGV > 4 and call('MGET', unpack(KEYS, 17, 12 + #ARGV)) or {})
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
        hand_to(id, s, inc, token, 'reason_claimed')
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

// ARGV: connection, P, incarnation, term, seen, ids..., generations..., froms..., tos..., reasons...;
// KEYS[17..]: gone:<id>, then of froms and tos. Reply: code, token of each.
inline constexpr char adopt[] = R"lua(
local n, seen = (#ARGV - 5) / 5, tonumber(ARGV[5])
local refused = behind(seen)
if refused then return refused end
if not leads(ARGV[3], ARGV[4]) then return {errc_not_leader} end
read_schedules(6, 5 + n)
read_tombstones(6, 5 + n, n > 0 and call('MGET', unpack(KEYS, 17, 16 + n)) or {})
local answer, sources, is_source = {0}, {}, {}
for i = 6, 5 + n do
    local id, generation, from, to, reason = ARGV[i], ARGV[n + i], ARGV[2 * n + i], ARGV[3 * n + i], ARGV[4 * n + i]
    local s = records[id]
    local code, token = 0, 0
    if not s then
        code = errc_unknown_schedule
    elseif s.generation ~= generation or s.owner ~= from or from ~= '0' and may_believe(from) or is_guarded(id) then
        code = errc_conflict
    elseif not is_target(to) then
        code = errc_unknown_node
    else
        local target = node(to)
        -- A hand-off to this very node has its place already.
        if target.load + target.pending - (s.to == to and 1 or 0) >= target.capacity then
            code = errc_capacity_exceeded
        else
            token = mint(seen)
            hand_to(id, s, to, token, reason)
            if from ~= '0' and not is_source[from] then
                is_source[from] = true
                sources[#sources + 1] = from
            end
        end
    end
    answer[#answer + 1] = code
    answer[#answer + 1] = token
end
for _, inc in ipairs(sources) do forget_if_done(inc) end
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

// ARGV: connection, P, incarnation, term, handoff deadline, ids..., generations..., froms..., tos..., reasons...;
// KEYS[17..]: of the froms. Reply: code, token of each.
inline constexpr char revoke[] = R"lua(
local n, inc, term, handoff = (#ARGV - 5) / 5, ARGV[3], ARGV[4], ARGV[5]
if term ~= '0' then
    if not leads(inc, term) then return {errc_not_leader} end
else
    local me = node(inc)
    if not me or not me.live then return {errc_not_joined} end
end
read_schedules(6, 5 + n)
local answer, deadline = {0}, fmt('%.0f', now + handoff)
for i = 6, 5 + n do
    local id, generation, from, to, reason = ARGV[i], ARGV[n + i], ARGV[2 * n + i], ARGV[3 * n + i], ARGV[4 * n + i]
    local s, owner = records[id], node(from)
    local code, token = 0, 0
    if not s then
        code = errc_unknown_schedule
    elseif term == '0' and from ~= inc then
        code = errc_not_owner
    elseif s.generation ~= generation or s.owner ~= from or not (owner and owner.live) or to == from or
            s.to and s.to ~= to then
        code = errc_conflict
    elseif s.to then
        token = generation
    elseif not is_target(to) then
        code = errc_unknown_node
    elseif node(to).load + node(to).pending >= node(to).capacity then
        code = errc_capacity_exceeded
    else
        token = generation
        s.to = to
        local m = #moves_set
        moves_set[m + 1], moves_set[m + 2] = id, to .. '|' .. deadline .. '|' .. reason
        count(to, node(to), 0, 1)
        tell(from, 'change_revoking', generation, to, reason, s.weight, handoff, id)
        emit('event_moving', generation, from, to, reason, s.weight, 'limit_unlimited', id)
    end
    answer[#answer + 1] = code
    answer[#answer + 1] = token
end
local refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
return answer
)lua";

// ARGV: connection, P, incarnation, seen, ids..., generations..., tos...; KEYS[17..]: lock:<id>, then the node's and of
// the tos. Reply: code, token, remaining of each.
inline constexpr char acknowledge[] = R"lua(
local n, inc, seen = (#ARGV - 4) / 3, ARGV[3], tonumber(ARGV[4])
local refused = behind(seen)
if refused then return refused end
local me = node(inc)
if not me or not me.live then return {errc_not_joined} end
read_schedules(5, 4 + n)
local locks = n > 0 and call('MGET', unpack(KEYS, 17, 16 + n)) or {}
local answer = {0}
for i = 1, n do
    local id, generation, to = ARGV[4 + i], ARGV[4 + n + i], ARGV[4 + 2 * n + i]
    local s = records[id]
    local code, token, remaining = 0, 0, 0
    if not s then
        code = errc_unknown_schedule
    elseif s.generation ~= generation or s.owner ~= inc or s.to ~= to then
        code = errc_conflict
    else
        local deadline, holder
        if locks[i] then deadline, holder = match(locks[i], '^(%d+)|%d+|(%d+)|') end
        if deadline and tonumber(deadline) > now and may_believe(holder) then
            code, remaining = errc_locked_by_other, deadline - now
        else
            local target = is_target(to) and node(to)
            if not target then
                code = errc_unknown_node
            elseif target.load + target.pending - 1 >= target.capacity then
                code = errc_capacity_exceeded
            end
            token = mint(seen)
            if code == 0 then
                hand_to(id, s, to, token, s.reason)
            else
                hand_to(id, s, '0', token, 'reason_given_up')
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
