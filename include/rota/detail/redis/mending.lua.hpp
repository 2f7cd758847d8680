// The script mend, which looks again at records that seemed to disagree. See operations.hpp for what it does.
#pragma once

namespace rota::detail::lua {

// ARGV: connection, P, incarnation, term, seen, number of items, ids..., holders of each (joined by ,)..., nodes to
// recount...; KEYS[18..]: buried, then of the holders and nodes. Reply: code, token of each.
inline constexpr char mend[] = R"lua(
local seen, n = tonumber(ARGV[5]), tonumber(ARGV[6])
local refused = behind(seen)
if refused then return refused end
if not leads(ARGV[3], ARGV[4]) then return {errc_not_leader} end
call('HLEN', k_own)
call('HLEN', k_load)
call('HLEN', k_pending)
read_tombstones(7, 6 + n)
local own = n > 0 and call('HMGET', k_own, unpack(ARGV, 7, 6 + n)) or {}
local moves = n > 0 and call('HMGET', k_moves, unpack(ARGV, 7, 6 + n)) or {}
local lists, named, dropped = {}, {}, {}

-- What the index of inc has more or less after this step.
local function relist(inc, id, adds)
    if adds then append_scored(by_added, inc, id) else append(by_removed, inc, id) end
    lists[inc] = (lists[inc] or 0) + (adds and 1 or -1)
end

-- The earlier guard of an id holds as well; and a repeat of its unregistering is still known.
local function guard(id, owner, ends)
    local g = stones[id] or {kept = 0, nonce = '0'}
    local stone = {owner = owner, ends = ends, kept = g.kept, nonce = g.nonce}
    if is_guarded(id) then
        if g.owner ~= owner then stone.owner = '0' end
        stone.ends = math.max(ends, g.ends)
    end
    bury(id, stone)
end

-- Reads all there is of one, and decides.
local function mend(i)
    local id = ARGV[6 + i]
    local generation, owner, weight
    if own[i] then generation, owner, weight = parse(own[i]) end
    if not generation then owner = '0' end
    local holder, owner_lists, knows_owner, mended = node(owner), false, false, false
    local others, is_named = {}, {}
    for inc in string.gmatch(ARGV[6 + n + i], '%d+') do
        named[inc] = true
        if inc == owner then knows_owner = true end
        if not is_named[inc] then
            is_named[inc] = true
            if call('ZSCORE', P .. 'by:' .. inc, id) then
                if holder and inc == owner then owner_lists = true else others[#others + 1] = inc end
            end
        end
    end
    if holder and not knows_owner then return errc_conflict, 0 end
    local unowned = call('ZSCORE', k_unowned, id)
    local to, is_move = nil, moves[i]
    if is_move then to = match(is_move, '^([1-9]%d*)|%d+|%d+|%d$') end

    local believer, ends = nil, 0
    for _, inc in ipairs(others) do
        mended = true
        relist(inc, id, false)
        local it = node(inc)
        if it and it.live then tell(inc, 'event_unregistered|0|' .. inc .. '|0|0|1', id) end
        if it and it.deadline > now then
            believer = (not believer or believer == inc) and inc or '0'
            ends = math.max(ends, it.deadline)
        end
    end
    local exists = own[i] or mended or unowned
    -- A hand-off that cannot be read, or of what nobody has or is not listed as it should be, or to whom has it.
    local is_listed = owner_lists and not unowned and #others == 0
    if is_move and not (to and is_listed and to ~= owner) then
        mended = mended or exists
        moves_deleted[#moves_deleted + 1] = id
        dropped[id] = true
        local target = to and node(to)
        if target then count(to, target, 0, -1) end
    end
    if not exists then return 0, 0 end
    -- Where anything is wrong with it, its owner and all who follow may know it as another's: it begins anew.
    if not holder and (mended or not generation or owner ~= '0' or not unowned) then
        mended = true
        if not generation then weight = '1' end
        generation = fmt(int, mint(seen))
        local text = generation .. '|0|' .. weight
        own_set[#own_set + 1] = id
        own_set[#own_set + 1] = text
        emit('event_owned|reason_repaired|' .. owner .. '|' .. text, id)
    end
    if holder then
        if unowned then unowned_removed[#unowned_removed + 1] = id end
        if not owner_lists then relist(owner, id, true) end
        if mended or not is_listed then
            mended = true
            generation = fmt(int, mint(seen))
            local text = generation .. '|' .. owner .. '|' .. weight
            own_set[#own_set + 1] = id
            own_set[#own_set + 1] = text
            if holder.live then tell(owner, 'event_owned|reason_repaired|0|' .. text, id) end
            emit('event_owned|reason_repaired|0|' .. text, id)
        end
    else
        if not unowned then
            mended = true
            unowned_added[#unowned_added + 1] = '0'
            unowned_added[#unowned_added + 1] = id
        end
        if believer then guard(id, believer, ends) end
    end
    return 0, mended and generation or 0
end

local answer = {0}
for i = 1, n do answer[2 * i], answer[2 * i + 1] = mend(i) end

for i = 7 + 2 * n, #ARGV do named[ARGV[i]] = true end
local pending, strangers = nil, {}
if next(named) and call('HLEN', k_moves) - #moves_deleted <= limit_counted_moves then
    pending = {}
    local all = call('HGETALL', k_moves)
    for i = 1, #all, 2 do
        local to = not dropped[all[i]] and match(all[i + 1], '^%d+')
        if to then pending[to] = (pending[to] or 0) + 1 end
    end
end
for inc in pairs(named) do
    local it, load = node(inc), call('ZCARD', P .. 'by:' .. inc) + (lists[inc] or 0)
    if it then
        it.load = load
        if pending then it.pending = pending[inc] or 0 end
        changed[inc] = it
    else
        strangers[#strangers + 1] = inc
    end
end
verify_schedules()
verify_burial()
refused = verify_step()
if refused then return refused end

commit_step()
commit_schedules()
commit_nodes()
commit_burial()
if #strangers > 0 then
    call('HDEL', k_load, unpack(strangers))
    call('HDEL', k_pending, unpack(strangers))
end
return answer
)lua";

}  // namespace rota::detail::lua
