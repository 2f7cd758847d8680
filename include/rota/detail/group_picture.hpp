// What a node knows of the whole group: nodes, schedules, and who has what, in the shape that strategies plan on. It is
// kept up to date rather than drawn anew: a change costs O(change), a view for a strategy nothing but its spans. The
// leader of a million schedules thus pays for what happens, not for what there is.
//
// Where each schedule counts follows from its record: at the live node that it is being handed to; else at its live owner;
// else it is an orphan. Every live node has the list of what counts there, and every schedule its place in its list, so
// moving one is O(1). What follows from a record is undone (detach) before the record changes, and made anew after.
//
// Nothing here judges what is told: order and completeness are the business of group_feed.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../attributes.hpp"
#include "../cluster_view.hpp"
#include "assert.hpp"
#include "defects.hpp"
#include "late.hpp"

namespace rota::detail {

/// From ids to numbers: open addressing over a table that the caller owns the strings of. Four to eight bytes an id.
template <typename Strings>
class id_index {
public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    [[nodiscard]] std::uint32_t find(std::string_view id, Strings const& strings) const {
        if (table_.empty()) return none;
        for (auto at = hash(id) & mask(); table_[at] != none; at = (at + 1) & mask()) {
            if (strings[table_[at]] == id) return table_[at];
        }
        return none;
    }
    void insert(std::uint32_t number, Strings const& strings) {
        if (2 * (used_ + 1) > table_.size()) grow(strings);
        auto at = hash(strings[number]) & mask();
        while (table_[at] != none) at = (at + 1) & mask();
        table_[at] = number;
        ++used_;
    }
    /// Before the string changes. What stands behind the gap moves up, so that no search ends too early.
    void erase(std::uint32_t number, Strings const& strings) {
        auto gap = hash(strings[number]) & mask();
        while (table_[gap] != number) gap = (gap + 1) & mask();
        for (auto at = (gap + 1) & mask(); table_[at] != none; at = (at + 1) & mask()) {
            auto const home = hash(strings[table_[at]]) & mask();
            if (((at - home) & mask()) < ((at - gap) & mask())) continue;
            table_[gap] = table_[at];
            gap = at;
        }
        table_[gap] = none;
        --used_;
    }
    [[nodiscard]] std::size_t size() const { return used_; }

private:
    // FNV-1a with a finaliser: ids tend to differ in their last bytes.
    static std::size_t hash(std::string_view id) {
        std::uint64_t h = 0xcbf29ce484222325u;
        for (char const c : id) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
        h ^= h >> 32;
        h *= 0x9fb21c651e98df25u;
        return static_cast<std::size_t>(h ^ (h >> 29));
    }
    [[nodiscard]] std::size_t mask() const { return table_.size() - 1; }
    void grow(Strings const& strings) {
        std::vector<std::uint32_t> old(table_.empty() ? 16 : 2 * table_.size(), none);
        old.swap(table_);
        for (auto const number : old) {
            if (number == none) continue;
            auto at = hash(strings[number]) & mask();
            while (table_[at] != none) at = (at + 1) & mask();
            table_[at] = number;
        }
    }

    std::vector<std::uint32_t> table_;
    std::size_t used_ = 0;
};

template <typename Defects = sound>
class group_picture {
    template <typename T>
    using late_vector = std::vector<late<T, Defects>>;
    using numbers = late_vector<std::uint32_t>;

public:
    static constexpr std::uint32_t none = cluster_view::none;

    struct record {
        fencing_token generation = 0;
        fencing_token owner = 0;
        fencing_token moving_to = 0;
        double weight = 1;
        std::string_view traits{};
    };
    struct node {
        std::string_view id{};
        bool alive = false;
        std::uint32_t capacity = unlimited;
        std::string_view traits{};
        std::uint32_t owned = 0;  // records that name it as their owner
        fencing_token gone_at = 0;
        bool left = false;
    };

    group_picture() = default;
    group_picture(group_picture&&) = default;
    group_picture& operator=(group_picture&&) = default;

    // ------------------------------------------------ what is told of nodes

    /// A live node, or news of one. `unread`: what counts there according to the server, for as long as the schedules
    /// themselves are still to be read (see complete()).
    void put_node(fencing_token incarnation, std::string_view id, std::uint32_t capacity, std::string_view traits,
                  std::uint32_t unread = 0) {
        auto const m = member_of(incarnation);
        auto& n = members_[m];
        n.id = id;
        if (n.capacity != capacity) ++terms_;
        n.capacity = capacity;
        set_traits(n, traits);
        n.unread = unread;
        if (!n.alive) come_alive(m);
        refresh(m);
    }
    /// A node that is gone. `gone_at`: since when its schedules may be given to others.
    void put_departed(fencing_token incarnation, std::string_view id, bool left, fencing_token gone_at,
                      std::uint32_t unread = 0) {
        auto const m = member_of(incarnation);
        members_[m].id = id;
        members_[m].unread = unread;
        take_out(incarnation, left, gone_at);
    }
    void take_out(fencing_token incarnation, bool left, fencing_token gone_at) {
        auto const m = member_of(incarnation);
        if (members_[m].alive) {
            auto affected = held_[members_[m].dense];
            for (auto const s : moving_) {
                if (slots_[s].owner == m && view_[s].owner != members_[m].dense) affected.push_back(s);
            }
            for (auto const s : affected) detach(s);
            leave_the_living(m);
            members_[m].alive = false;
            depart(m);
            for (auto const s : affected) attach(s);
        } else if (members_[m].departure == none) {
            depart(m);
            for (auto const s : orphans_) {
                if (slots_[s].owner == m) view_[s].departed = members_[m].departure;
            }
        }
        members_[m].left = left;
        members_[m].gone_at = gone_at;
    }
    /// What a departed node had may be given to others from now on, if it might not before.
    void may_be_taken_over(fencing_token incarnation, fencing_token now) {
        auto const at = by_incarnation_.find(incarnation);
        if (at == by_incarnation_.end()) return;
        auto& n = members_[at->second];
        if (!n.alive && n.gone_at == 0) n.gone_at = now;
    }
    /// It owns nothing more, and is not heard of again.
    void forget(fencing_token incarnation) {
        auto const at = by_incarnation_.find(incarnation);
        if (at == by_incarnation_.end()) return;
        auto const m = at->second;
        if (members_[m].alive) take_out(incarnation, false, 0);
        members_[m].known = false;
        if (members_[m].references > 0 && members_[m].departure != none) {  // damage: it should own nothing
            for (auto const s : orphans_) {
                if (slots_[s].owner == m) view_[s].departed = none;
            }
            end_departure(m);
        }
        release_if_unused(m);
    }

    void order(std::string const& node_id, bool drain) {
        ++terms_;
        drain ? void(drained_.insert(node_id)) : void(drained_.erase(node_id));
        for (auto const& n : nodes_) {
            if (n.id == node_id) refresh(by_incarnation_.find(n.incarnation)->second);
        }
    }
    void set_maintenance(bool on) { maintenance_ = on; }
    [[nodiscard]] bool maintenance() const { return maintenance_; }
    /// Another number than before: what plans must heed has changed, beyond who is there and has what.
    [[nodiscard]] std::uint64_t terms() const { return terms_; }
    [[nodiscard]] bool is_drained(std::string_view node_id) const { return drained_.contains(node_id); }

    // ------------------------------------------------ what is told of schedules

    void put(std::string_view id, record const& r) {
        auto s = find(id);
        if (s == none) {
            s = free_slot(id);
        } else {
            detach(s);
        }
        auto& slot = slots_[s];
        auto const owner = refer(slot.owner, r.owner);
        auto const target = refer(slot.moving_to, r.moving_to);
        drop_reference(std::exchange(slot.owner, owner));
        drop_reference(std::exchange(slot.moving_to, target));
        view_[s].generation = r.generation;
        view_[s].weight = r.weight;
        set_kind(s, r.traits);
        attach(s);
    }
    /// No effect if it is there already.
    void put_new(std::string_view id, record const& r) {
        if (find(id) == none) put(id, r);
    }
    void set_moving(std::string_view id, fencing_token to) {
        auto const s = find(id);
        if (s == none) return;
        auto r = record_of(s);
        r.moving_to = to;
        put(id, r);
    }
    void set_attributes(std::string_view id, double weight, std::string_view traits) {
        auto const s = find(id);
        if (s == none) return;
        auto r = record_of(s);
        if (r.traits != traits) ++terms_;
        r.weight = weight;
        r.traits = traits;
        put(id, r);
    }
    void erase(std::string_view id) {
        auto const s = find(id);
        if (s == none) return;
        detach(s);
        drop_reference(std::exchange(slots_[s].owner, none));
        drop_reference(std::exchange(slots_[s].moving_to, none));
        set_kind(s, {});
        index_.erase(s, ids_);
        ids_[s].clear();
        view_[s] = {};
        free_.push_back(s);
    }

    /// It is about to be read. Until it is complete, loads are what the server counts.
    void begin() { complete_ = false; }
    /// All of it has been read: loads are what the lists say from now on. Returns the nodes for which the server counted
    /// another number: its counters may be wrong, or something changed meanwhile.
    std::vector<fencing_token> complete() {
        complete_ = true;
        std::vector<fencing_token> doubtful;
        for (auto const& [incarnation, m] : by_incarnation_) {
            if (std::exchange(members_[m].unread, 0) != 0 && members_[m].known) doubtful.push_back(incarnation);
            refresh(m);
        }
        return doubtful;
    }
    [[nodiscard]] bool is_complete() const { return complete_; }
    /// One that counts at `holder` according to the server was read, and counts there now by itself.
    void was_read(fencing_token holder) {
        auto const at = by_incarnation_.find(holder);
        if (at == by_incarnation_.end()) return;
        --members_[at->second].unread;
        refresh(at->second);
    }

    /// A hand-off began at `when`, of those that a budget counts.
    void note_move(fencing_token when) {
        recent_.push_back(when);
        auto old = outdated(when);
        if (recent_.size() > most_recent) old = old < recent_.size() / 2 ? recent_.size() / 2 : old;
        if (old > recent_.size() / 4)
            recent_.erase(recent_.begin(), recent_.begin() + static_cast<std::ptrdiff_t>(old));
    }
    /// Of one who has only now read all this: what changed hands within the minute before `now` may have been moved.
    void assume_moves(fencing_token now) {
        recent_.clear();
        if (now == 0) return;  // not known
        // By seconds: a budget need not know it better, and there may be a million.
        constexpr fencing_token second = 1'000'000;
        std::size_t count[61] = {};
        for (auto const& s : view_) {
            if (s.generation == 0 || s.generation + 60 * second <= now) continue;
            ++count[s.generation < now ? (now - s.generation) / second : 0];
        }
        for (std::size_t ago = 61; ago-- > 0;) {
            auto const room = most_recent - recent_.size();
            recent_.insert(recent_.end(), count[ago] < room ? count[ago] : room, now - ago * second);
        }
    }

    // ------------------------------------------------ reading

    /// Valid until the next change.
    [[nodiscard]] cluster_view view(fencing_token now) {
        for (auto const& [incarnation, m] : by_incarnation_) {
            auto const& n = members_[m];
            if (n.departure == none) continue;
            departures_[n.departure] = {
                n.id, incarnation, n.left,
                microseconds{n.gone_at != 0 && now > n.gone_at ? static_cast<microseconds::rep>(now - n.gone_at) : 0}};
        }
        cluster_view v;
        v.nodes = nodes_;
        v.schedules = view_;
        v.orphans = orphans_;
        v.kinds = kinds_;
        v.departures = departures_;
        v.now = now;
        v.recent_moves = recent_;
        v.recent_moves = v.recent_moves.subspan(outdated(now));
        v.complete = complete_;
        return v;
    }

    [[nodiscard]] std::size_t schedule_count() const { return index_.size(); }
    [[nodiscard]] std::uint32_t find(std::string_view id) const { return index_.find(id, ids_); }
    [[nodiscard]] std::string const& id_of(std::uint32_t s) const { return ids_[s]; }
    [[nodiscard]] record record_of(std::uint32_t s) const {
        return {view_[s].generation, token_of(slots_[s].owner), token_of(slots_[s].moving_to), view_[s].weight,
                kind_names_[view_[s].kind]};
    }
    /// Calls use(number) for each schedule.
    template <typename Use>
    void each_number(Use&& use) const {
        for (std::uint32_t s = 0; s < slots_.size(); ++s) {
            if (!ids_[s].empty()) use(s);
        }
    }
    /// Calls use(id, record) for each schedule, in no particular order.
    template <typename Use>
    void each_schedule(Use&& use) const {
        each_number([&](std::uint32_t s) { use(ids_[s], record_of(s)); });
    }
    [[nodiscard]] node node_of(fencing_token incarnation) const {
        auto const at = by_incarnation_.find(incarnation);
        if (at == by_incarnation_.end()) return {};
        auto const& n = members_[at->second];
        return {n.id, n.alive, n.capacity, n.traits, n.owned, n.gone_at, n.left};
    }
    /// The server has it among its nodes, live or dead; false: only a record names it.
    [[nodiscard]] bool is_listed(fencing_token incarnation) const {
        auto const at = by_incarnation_.find(incarnation);
        return at != by_incarnation_.end() && members_[at->second].known;
    }
    template <typename Use>
    void each_node(Use&& use) const {
        for (auto const& [incarnation, m] : by_incarnation_) {
            if (members_[m].known) use(incarnation, node_of(incarnation));
        }
    }
    [[nodiscard]] std::size_t orphan_count() const { return orphans_.size(); }

private:
    static constexpr std::size_t most_recent = 65'536;

    struct links {
        std::uint32_t owner = none;      // a member; none: nobody
        std::uint32_t moving_to = none;  // likewise
        std::uint32_t place = 0;         // in the list where it counts
    };
    struct member {
        fencing_token incarnation = 0;
        std::string id{};
        std::string traits{};
        std::string zone{};
        std::vector<std::string> labels{};
        double reported = -1;
        std::uint32_t capacity = unlimited;
        std::uint32_t dense = none;      // its place among the living
        std::uint32_t departure = none;  // ... or among the departed
        std::uint32_t owned = 0;
        std::uint32_t references = 0;  // by owner and moving_to of schedules
        std::int64_t unread = 0;       // what counts here at the server, less what of it was read
        fencing_token gone_at = 0;
        bool alive = false;
        bool left = false;
        bool known = false;  // the server lists it; false: it was only named by a record
    };

    // How many of the recent moves are more than an hour old.
    [[nodiscard]] std::size_t outdated(fencing_token now) const {
        constexpr fencing_token hour = 3'600'000'000;
        std::size_t old = 0;
        while (old < recent_.size() && recent_[old] + hour < now) ++old;
        return old;
    }

    // ------------------------------------------------ members

    std::uint32_t member_of(fencing_token incarnation) {
        auto const m = refer_to(incarnation);
        members_[m].known = true;
        return m;
    }
    std::uint32_t refer_to(fencing_token incarnation) {
        auto const at = by_incarnation_.find(incarnation);
        if (at != by_incarnation_.end()) return at->second;
        std::uint32_t m = 0;
        if (!free_members_.empty()) {
            m = free_members_.back();
            free_members_.pop_back();
            members_[m] = {};
        } else {
            m = static_cast<std::uint32_t>(members_.size());
            members_.emplace_back();
        }
        members_[m].incarnation = incarnation;
        by_incarnation_[incarnation] = m;
        return m;
    }
    // The member of a record's new reference; counted before the old one is dropped, so that it is not freed between.
    std::uint32_t refer(std::uint32_t before, fencing_token incarnation) {
        if (incarnation == 0) return none;
        auto const m = before != none && members_[before].incarnation == incarnation ? before : refer_to(incarnation);
        ++members_[m].references;
        return m;
    }
    void drop_reference(std::uint32_t m) {
        if (m == none) return;
        --members_[m].references;
        release_if_unused(m);
    }
    void release_if_unused(std::uint32_t m) {
        auto& n = members_[m];
        if (n.known || n.references > 0) return;
        end_departure(m);
        by_incarnation_.erase(n.incarnation);
        n = {};
        free_members_.push_back(m);
    }
    [[nodiscard]] fencing_token token_of(std::uint32_t m) const { return m == none ? 0 : members_[m].incarnation; }

    void set_traits(member& n, std::string_view traits) {
        if (n.traits == traits) return;
        n.traits = traits;
        auto described = attributes_of(traits);
        if (n.zone != described.zone || n.labels != described.labels) ++terms_;
        n.zone = std::move(described.zone);
        n.labels = std::move(described.labels);
        n.reported = reported_load_of(traits).value_or(-1);
    }

    void come_alive(std::uint32_t m) {
        // Schedules may name it already, if their page was read before it was heard of.
        numbers affected;
        if (members_[m].owned > 0) {
            for (auto const s : orphans_) {
                if (slots_[s].owner == m) affected.push_back(s);
            }
        }
        for (auto const s : moving_) {
            if (slots_[s].moving_to == m) affected.push_back(s);
        }
        std::set<late<std::uint32_t, Defects>> const once(affected.begin(), affected.end());
        for (auto const s : once) detach(s);
        auto& n = members_[m];
        end_departure(m);
        n.alive = true;
        n.dense = static_cast<std::uint32_t>(nodes_.size());
        nodes_.emplace_back();
        held_.emplace_back();
        for (auto const s : once) attach(s);
    }
    // The last of the living takes its place. It holds nothing by now.
    void leave_the_living(std::uint32_t m) {
        auto const hole = std::exchange(members_[m].dense, none);
        ROTA_ASSERT(held_[hole].empty());
        auto const last = static_cast<std::uint32_t>(nodes_.size() - 1);
        if (hole != last) {
            nodes_[hole] = nodes_[last];
            held_[hole].swap(held_[last]);
            members_[by_incarnation_.find(nodes_[hole].incarnation)->second].dense = hole;
            for (auto const s : held_[hole]) view_[s].owner = hole;
        }
        nodes_.pop_back();
        held_.pop_back();
    }
    void depart(std::uint32_t m) {
        if (free_departures_.empty()) {
            members_[m].departure = static_cast<std::uint32_t>(departures_.size());
            departures_.emplace_back();
        } else {
            members_[m].departure = free_departures_.back();
            free_departures_.pop_back();
        }
        departures_[members_[m].departure].incarnation = members_[m].incarnation;
    }

    void end_departure(std::uint32_t m) {
        auto const place = std::exchange(members_[m].departure, none);
        if (place == none) return;
        departures_[place] = {};
        free_departures_.push_back(place);
    }

    // What the view says of a live node.
    void refresh(std::uint32_t m) {
        auto const& n = members_[m];
        if (!n.alive) return;
        auto& shown = nodes_[n.dense];
        shown.id = n.id;
        shown.incarnation = n.incarnation;
        shown.draining = is_drained(n.id) && !Defects::has(defect::drain_ignored);
        shown.capacity = shown.draining ? 0 : n.capacity;
        shown.zone = n.zone;
        shown.labels = n.labels;
        shown.reported = n.reported;
        shown.load = static_cast<std::uint32_t>(held_[n.dense].size());
        if (n.unread > 0) shown.load += static_cast<std::uint32_t>(n.unread);
        shown.schedules = held_[n.dense];
    }

    // ------------------------------------------------ schedules

    std::uint32_t free_slot(std::string_view id) {
        std::uint32_t s = 0;
        if (!free_.empty()) {
            s = free_.back();
            free_.pop_back();
            slots_[s] = {};
            ids_[s] = id;
        } else {
            s = static_cast<std::uint32_t>(slots_.size());
            slots_.emplace_back();
            ids_.emplace_back(id);
            view_.emplace_back();
        }
        view_[s].id = ids_[s];
        index_.insert(s, ids_);
        return s;
    }

    void detach(std::uint32_t s) {
        auto& shown = view_[s];
        auto& list = shown.owner == none ? orphans_ : held_[shown.owner];
        auto const place = slots_[s].place;
        list[place] = list.back();
        slots_[list[place]].place = place;
        list.pop_back();
        if (shown.owner != none) {
            auto& n = nodes_[shown.owner];
            --n.load;
            n.weight = list.empty() ? 0 : n.weight - shown.weight;
            n.schedules = list;
        }
        if (auto const owner = slots_[s].owner; owner != none) --members_[owner].owned;
        if (slots_[s].moving_to != none) moving_.erase(s);
    }

    void attach(std::uint32_t s) {
        auto& slot = slots_[s];
        auto& shown = view_[s];
        bool const owned = slot.owner != none && members_[slot.owner].alive;
        // On its way from a live node: counts for where it goes; if that one is gone, it will be given up.
        shown.moving = owned && slot.moving_to != none;
        bool const arrives = shown.moving && members_[slot.moving_to].alive;
        shown.owner = arrives ? members_[slot.moving_to].dense : owned ? members_[slot.owner].dense : none;
        shown.departed = owned || slot.owner == none ? none : members_[slot.owner].departure;
        if (slot.owner != none) ++members_[slot.owner].owned;
        if (slot.moving_to != none) moving_.insert(s);
        auto& list = shown.owner == none ? orphans_ : held_[shown.owner];
        slot.place = static_cast<std::uint32_t>(list.size());
        list.push_back(s);
        if (shown.owner == none) return;
        auto& n = nodes_[shown.owner];
        ++n.load;
        n.weight += shown.weight;
        n.schedules = list;
    }

    // ------------------------------------------------ rules

    void set_kind(std::uint32_t s, std::string_view traits) {
        auto const before = view_[s].kind;
        if (kind_names_[before] == traits) return;
        view_[s].kind = kind_of(traits);
        if (view_[s].kind != 0) ++kind_uses_[view_[s].kind];
        if (before == 0 || --kind_uses_[before] > 0) return;
        kind_numbers_.erase(kind_names_[before]);
        kind_names_[before].clear();
        kinds_[before] = {};
        free_kinds_.push_back(before);
    }
    std::uint32_t kind_of(std::string_view traits) {
        if (traits.empty()) return 0;
        auto const known = kind_numbers_.find(traits);
        if (known != kind_numbers_.end()) return known->second;
        std::uint32_t k = 0;
        if (!free_kinds_.empty()) {
            k = free_kinds_.back();
            free_kinds_.pop_back();
        } else {
            k = static_cast<std::uint32_t>(kinds_.size());
            kinds_.emplace_back();
            kind_names_.emplace_back();
            kind_rules_.emplace_back();
            kind_uses_.push_back(0);
        }
        kind_names_[k] = traits;
        kind_rules_[k] = rules_of(traits);
        kind_numbers_[std::string{traits}] = k;
        auto const& rules = kind_rules_[k];
        kinds_[k] = {rules.pin, rules.group, rules.required, rules.forbidden};
        return k;
    }

    std::map<fencing_token, std::uint32_t> by_incarnation_;
    std::deque<member> members_;  // (a deque: views point into them)
    numbers free_members_;
    late_vector<cluster_view::node> nodes_;  // the living
    std::vector<numbers> held_;              // ... and what counts at each
    late_vector<cluster_view::departure> departures_;
    numbers free_departures_;
    std::set<std::string, std::less<>> drained_;
    bool maintenance_ = false;
    std::uint64_t terms_ = 0;

    std::deque<std::string> ids_;
    id_index<std::deque<std::string>> index_;
    std::vector<links> slots_;
    late_vector<cluster_view::schedule> view_;
    numbers free_;
    numbers orphans_;
    std::set<late<std::uint32_t, Defects>> moving_;  // those that are being handed over, from live nodes or dead ones

    late_vector<cluster_view::kind> kinds_ = late_vector<cluster_view::kind>(1);
    std::deque<std::string> kind_names_ = std::deque<std::string>(1);  // traits; of the first: none
    std::deque<placement_rules> kind_rules_ = std::deque<placement_rules>(1);
    numbers kind_uses_ = numbers(1);
    numbers free_kinds_;
    std::map<std::string, std::uint32_t, std::less<>> kind_numbers_;

    late_vector<fencing_token> recent_;
    bool complete_ = true;
};

}  // namespace rota::detail
