// The reference store and Redis are driven by the same random operations, under one stepped clock, and must give equal
// replies, and at intervals hold the same state: 200 sequences of 500 operations, chosen with an eye on the state so
// that most of them are plausible and deep states are reached; some are late, repeated (a reply was lost), from an
// older connection, or plainly wrong. In every fourth sequence the records are damaged now and then, and mended at the
// end. Every kind of outcome must have been seen by the end, else this tests less than it says.
//
// ROTA_TEST_SEED=<number> runs only the sequence of that seed.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "../catch.hpp"
#include "../support/async_store.hpp"
#include "../support/describe.hpp"
#include "../support/reference_store.hpp"
#include "../support/script_clock_transport.hpp"

namespace differential_test {

using namespace rota;
using namespace rota::test;
using namespace std::chrono_literals;

namespace {

/// Chooses what happens next.
class generator {
public:
    generator(std::uint64_t seed, reference_store const& model) : random_{seed}, model_{model} {}

    /// Looks at the state before the next choice.
    void look() {
        before_seq_ = state_.seq;
        auto const epoch = state_.epoch;
        state_ = model_.state();
        if (state_.epoch != epoch) epoch_begins_after_ = state_.seq < before_seq_ ? 0 : before_seq_;
        live_.clear();
        dead_.clear();
        for (auto const& [incarnation, node] : state_.nodes) (node.live ? live_ : dead_).push_back(incarnation);
    }

    bool chance(unsigned per_mille) { return below(1000) < per_mille; }
    std::uint64_t below(std::uint64_t count) { return random_() % count; }

    microseconds time_step() {
        auto const kind = below(1000);
        if (kind < 500) return 0us;
        if (kind < 930) return microseconds{below(200'000)};
        if (kind < 970) return microseconds{1'000'000 + below(3'000'000)};
        if (kind < 990) return microseconds{8'000'000 + below(6'000'000)};
        if (kind < 996) return node_ttl;                                      // exactly to a deadline
        if (kind < 998) return -microseconds{5'000'000 + below(20'000'000)};  // the clock steps back
        return 61s;
    }

    operation next() {
        static constexpr std::pair<unsigned, operation (generator::*)()> choices[] = {
            {40, &generator::join},          {200, &generator::tick},       {12, &generator::leave},
            {15, &generator::renounce},      {130, &generator::acquire},    {60, &generator::extend},
            {60, &generator::release},       {60, &generator::registering}, {20, &generator::lookup},
            {20, &generator::unregistering}, {80, &generator::claim},       {50, &generator::reap},
            {80, &generator::adopt},         {80, &generator::revoke},      {80, &generator::acknowledge},
            {30, &generator::trigger},       {40, &generator::changes},     {30, &generator::events},
            {30, &generator::schedules},     {20, &generator::nodes},       {20, &generator::describing},
            {20, &generator::ordering},      {30, &generator::updating},    {20, &generator::scan},
            {30, &generator::mend},
        };
        if (live_.size() < 3 && chance(300)) return join();
        unsigned total = 0;
        for (auto const& [weight, make] : choices) total += weight;
        auto at = below(total);
        for (auto const& [weight, make] : choices) {
            if (at < weight) return (this->*make)();
            at -= weight;
        }
        return op::lookup{};
    }

    /// Damage, mostly to what is there.
    store_damage damage() {
        using kind = store_damage::kind;
        store_damage d{.what = static_cast<kind>(below(static_cast<std::uint64_t>(kind::set_pending) + 1))};
        d.id = some_ids(1, [](auto const&) { return true; }).front();
        d.node = any_node();
        if ((d.what == kind::list || d.what == kind::unlist || d.what == kind::change_owner) && chance(300)) d.node = 0;
        if (d.what == kind::unlist && chance(700)) d.node = at(d.id).owner;
        d.count = static_cast<std::uint32_t>(below(4));
        damaged_.push_back(d.id);
        return d;
    }
    /// Names all that there is, or was.
    op::mend mend_all(fencing_token leader, fencing_token term) const {
        op::mend r{.incarnation = leader, .term = term};
        for (auto const& [incarnation, node] : state_.nodes) r.recount.push_back(incarnation);
        for (auto const& id : ids()) r.items.push_back({id, r.recount});
        return r;
    }

    /// What the caller of `request` remembers of its reply.
    void learn(operation const& request, reply const& answer) {
        if (auto const* j = std::get_if<op::joined>(&answer)) {
            epochs_[j->incarnation] = j->epoch;
            former_.push_back(j->incarnation);
        }
        (void)request;
    }

private:
    static constexpr microseconds node_ttl = 10s;

    template <typename T>
    T const& pick(std::vector<T> const& from) {
        return from[below(from.size())];
    }
    std::string any_id() { return pick(ids()); }
    static std::vector<std::string> const& ids() {
        static std::vector<std::string> const all{"a",
                                                  "b",
                                                  "c",
                                                  "d",
                                                  "e",
                                                  "schedule-6",
                                                  "schedule-7",
                                                  std::string{"\0", 1},
                                                  std::string{"n\0ul", 4},
                                                  "x|y",
                                                  "1|2|",
                                                  "\r\n",
                                                  "\xff~",
                                                  std::string(512, 'z')};
        return all;
    }
    // Mostly alike, so that one may go in another's place.
    double any_weight() {
        static constexpr double weights[] = {1, 1, 1, 1, 2, 0.1, 1e100};
        return weights[below(std::size(weights))];
    }
    std::string any_rules() {
        static std::vector<std::string> const rules{"", "", "", "", "g=x", "p=n1;r=a,b;f=c"};
        return pick(rules);
    }
    std::string any_attributes() {
        static std::vector<std::string> const attributes{"", "z=a", "z=b;l=x;m=1.5"};
        return pick(attributes);
    }
    std::uint32_t any_capacity() {
        static constexpr std::uint32_t capacities[] = {0, 1, 2, 4, unlimited, unlimited, unlimited};
        return capacities[below(std::size(capacities))];
    }
    std::string any_name() {
        static std::vector<std::string> const names{"n1", "n2", "n3|", std::string{"n\0", 2}, "n5"};
        return pick(names);
    }
    fencing_token any_node() {
        auto const kind = below(100);
        if (kind < 85 && !live_.empty()) return pick(live_);
        if (kind < 93 && !dead_.empty()) return pick(dead_);
        if (kind < 98 && !former_.empty()) return pick(former_);
        return 1 + below(1000);
    }
    // A live node that owns something, mostly.
    fencing_token any_owner() {
        std::vector<fencing_token> owners;
        for (auto incarnation : live_) {
            if (state_.nodes.at(incarnation).load > 0) owners.push_back(incarnation);
        }
        return owners.empty() || chance(50) ? any_node() : pick(owners);
    }
    std::vector<fencing_token> some_nodes() {
        std::vector<fencing_token> some(below(4));
        for (auto& each : some) each = any_node();
        std::sort(some.begin(), some.end());
        some.erase(std::unique(some.begin(), some.end()), some.end());
        return some;
    }
    // Mostly what is right.
    template <typename T>
    T about(T right, unsigned wrong_per_mille = 60) {
        if (!chance(wrong_per_mille)) return right;
        return right + 1 - below(3);
    }
    fencing_token seen() {
        auto const kind = below(1000);
        if (kind < 500) return 0;
        if (kind < 900) return state_.fence;
        if (kind < 985) return state_.fence - below(1000);
        if (kind < 995) return state_.fence + below(2'000'000);
        return static_cast<fencing_token>(model_.now()) + 3'600'000'000 + below(3);
    }
    // Below the fence nearly always: above it means that data was lost, and everything begins anew.
    fencing_token seen_by_member() {
        auto const s = seen();
        return s > state_.fence && !chance(200) ? state_.fence : s;
    }
    std::size_t batch_size() { return chance(500) ? 1 : below(6); }

    // Up to `most` different ids for which `wanted` holds, or any.
    template <typename Wanted>
    std::vector<std::string> some_ids(std::size_t most, Wanted wanted) {
        std::vector<std::string> candidates, registered, chosen;
        for (auto const& [id, schedule] : state_.schedules) {
            if (wanted(schedule)) candidates.push_back(id);
            registered.push_back(id);
        }
        if (candidates.empty() && chance(500)) candidates = registered;
        for (std::size_t i = 0; i < most; ++i) {
            auto id = candidates.empty() || chance(100) ? any_id() : pick(candidates);
            if (std::find(chosen.begin(), chosen.end(), id) == chosen.end()) chosen.push_back(std::move(id));
        }
        return chosen;
    }
    group_state::schedule at(std::string const& id) const {
        auto const s = state_.schedules.find(id);
        bool const readable = s != state_.schedules.end() && s->second.owner != ~fencing_token{0};
        return readable ? s->second : group_state::schedule{};
    }
    bool is_live(fencing_token incarnation) const {
        auto const n = state_.nodes.find(incarnation);
        return n != state_.nodes.end() && n->second.live;
    }

    operation join() {
        return op::join{.node_id = any_name(),
                        .nonce = chance(900) ? random_() : 7,
                        .node_ttl = chance(900) ? node_ttl : microseconds{20s},
                        .capacity = any_capacity(),
                        .on_conflict = chance(300) ? conflict_policy::refuse : conflict_policy::take_over,
                        .seen = seen_by_member(),
                        .traits = any_attributes()};
    }
    operation describing() {
        op::describe_node r{any_node(), any_capacity(), any_attributes()};
        if (auto const n = state_.nodes.find(r.incarnation); n != state_.nodes.end() && chance(200)) {
            r.capacity = n->second.capacity;
            r.traits = n->second.traits;
        }
        return r;
    }
    operation ordering() {
        return op::give_order{static_cast<op::order_kind>(below(4)), chance(900) ? any_name() : "nobody"};
    }
    // Mostly none.
    std::uint64_t as_of() { return chance(700) ? 0 : about(state_.seq, 200); }
    operation tick() {
        auto const incarnation = any_node();
        auto const node = state_.nodes.find(incarnation);
        auto const epoch = epochs_.find(incarnation);
        bool const leads = state_.leader.incarnation == incarnation;
        auto const term = leads && chance(900) ? about(state_.leader.term) : 0;
        return op::tick{.incarnation = incarnation,
                        .node_id = node == state_.nodes.end() ? any_name() : node->second.id,
                        .epoch = epoch == epochs_.end() || chance(300) ? state_.epoch : epoch->second,
                        .term = term,
                        .candidate = chance(400),
                        .node_ttl = chance(900) ? node_ttl : microseconds{5s},
                        .leader_lease = chance(700) ? 8s : 30s,
                        .seen = seen_by_member(),
                        .brief = term == 0 && chance(500)};
    }
    operation leave() { return op::leave{any_node(), any_name(), some_nodes()}; }
    operation renounce() {
        return op::renounce{chance(800) && state_.leader.incarnation != 0 ? state_.leader.incarnation : any_node(),
                            about(state_.leader.term), some_nodes()};
    }
    operation acquire() {
        op::acquire_locks r{.incarnation = any_node(),
                            .kind = chance(700) ? op::lock_kind::schedule : op::lock_kind::name,
                            .ttl = microseconds{5'000'000 + below(10'000'000)},
                            .nonce = below(4),
                            .seen = seen()};
        if (chance(800)) r.incarnation = any_owner();
        auto const mine = [&](auto const& s) { return s.owner == r.incarnation; };
        for (auto const& id : some_ids(batch_size(), mine)) r.items.push_back({id, about(at(id).generation)});
        return r;
    }
    // Locks that are held, with their tokens, and one holder of them.
    std::vector<op::lock_ref> held(op::lock_kind kind, fencing_token& holder) {
        auto const& locks = kind == op::lock_kind::schedule ? state_.locks : state_.names;
        std::vector<op::lock_ref> refs;
        std::vector<std::string> ids;
        for (auto const& [id, lock] : locks) ids.push_back(id);
        holder = any_node();
        if (!ids.empty() && chance(900)) holder = locks.at(pick(ids)).holder;
        for (auto const& [id, lock] : locks) {
            if (lock.holder == holder && refs.size() < 5 && chance(700)) refs.push_back({id, about(lock.token)});
        }
        if (chance(100)) refs.push_back({std::string{"never"}, state_.fence});
        if (chance(600) && refs.size() > 1) refs.resize(1);
        return refs;
    }
    operation extend() {
        op::extend_locks r{.kind = chance(700) ? op::lock_kind::schedule : op::lock_kind::name,
                           .ttl = microseconds{5'000'000 + below(10'000'000)}};
        r.items = held(r.kind, r.incarnation);
        if (chance(100)) r.incarnation = any_node();
        return r;
    }
    operation release() {
        op::release_locks r{.kind = chance(700) ? op::lock_kind::schedule : op::lock_kind::name};
        fencing_token holder = 0;
        r.items = held(r.kind, holder);
        return r;
    }
    operation registering() {
        op::register_schedules r;
        for (auto const& id : some_ids(batch_size(), [](auto const&) { return false; })) {
            r.items.push_back({id, any_weight(), any_rules()});
        }
        return r;
    }
    operation updating() {
        op::update_schedules r;
        for (auto const& id : some_ids(batch_size(), [](auto const&) { return true; })) {
            r.items.push_back({id, any_weight(), any_rules(), chance(900) ? at(id).owner : any_node()});
        }
        return r;
    }
    operation lookup() {
        return op::lookup{some_ids(batch_size(), [](auto const&) { return true; })};
    }
    operation unregistering() {
        op::unregister_schedules r{.nonce = below(4)};
        for (auto const& id : some_ids(batch_size(), [](auto const&) { return true; })) {
            r.items.push_back({id, chance(900) ? at(id).owner : any_node()});
        }
        return r;
    }
    operation claim() {
        op::claim r{.incarnation = any_node(), .seen = seen()};
        r.ids = some_ids(batch_size(), [](auto const& s) { return s.owner == 0; });
        return r;
    }
    // By the leader, mostly.
    fencing_token leader() {
        return chance(970) && state_.leader.incarnation != 0 ? state_.leader.incarnation : any_node();
    }
    operation reap() {
        if (state_.leader.incarnation == 0 && chance(800)) return tick();
        op::reap r{leader(), about(state_.leader.term, 30), some_nodes()};
        for (auto const& [incarnation, node] : state_.nodes) {
            if (node.deadline <= model_.now() && chance(800)) r.nodes.push_back(incarnation);
        }
        std::sort(r.nodes.begin(), r.nodes.end());
        r.nodes.erase(std::unique(r.nodes.begin(), r.nodes.end()), r.nodes.end());
        return r;
    }
    operation adopt() {
        if (state_.leader.incarnation == 0 && chance(800)) return tick();
        op::adopt r{.incarnation = leader(), .term = about(state_.leader.term, 30), .items = {}, .seen = seen()};
        r.as_of = as_of();
        for (auto const& id : some_ids(batch_size(), [&](auto const& s) { return !is_live(s.owner); })) {
            auto const s = at(id);
            r.items.push_back({id, about(s.generation), chance(950) ? s.owner : any_node(),
                               s.move.to != 0 && chance(500) ? s.move.to : any_node(),
                               chance(800)   ? change_reason::placed
                               : chance(500) ? change_reason::rebalanced
                                             : change_reason::transferred});
        }
        return r;
    }
    operation revoke() {
        op::revoke r{.handoff_deadline = microseconds{below(6'000'000)}, .as_of = as_of()};
        bool const by_leader = chance(500) && state_.leader.incarnation != 0;
        r.incarnation = by_leader ? state_.leader.incarnation : any_owner();
        r.term = by_leader ? about(state_.leader.term, 30) : 0;
        auto const wanted = [&](auto const& s) { return by_leader ? is_live(s.owner) : s.owner == r.incarnation; };
        for (auto const& id : some_ids(batch_size(), wanted)) {
            auto const s = at(id);
            r.items.push_back({id, about(s.generation), s.owner, s.move.to != 0 && chance(500) ? s.move.to : any_node(),
                               chance(800) ? change_reason::rebalanced : change_reason::transferred, chance(500)});
        }
        return r;
    }
    operation acknowledge() {
        op::acknowledge r{.incarnation = any_node(), .items = {}, .seen = seen()};
        std::vector<fencing_token> owners;
        for (auto const& [id, s] : state_.schedules) {
            if (s.move.to != 0) owners.push_back(s.owner);
        }
        if (chance(200)) return give();
        if (owners.empty() && chance(800)) return revoke();
        if (!owners.empty() && chance(950)) r.incarnation = pick(owners);
        for (auto const& id :
             some_ids(batch_size(), [&](auto const& s) { return s.move.to != 0 && s.owner == r.incarnation; })) {
            auto const asked = at(id);
            auto const to = chance(950) ? asked.move.to : any_node();
            std::vector<std::string> others;
            for (auto const& [other, s] : state_.schedules) {
                bool const like = s.weight == asked.weight && s.traits == asked.traits && s.move.to == 0;
                if (s.owner == r.incarnation && (like || chance(100))) others.push_back(other);
            }
            if (others.empty() || chance(asked.move.open ? 200 : 700)) {
                r.items.push_back({id, about(asked.generation), to, {}});
            } else {
                auto const other = chance(950) ? pick(others) : any_id();
                r.items.push_back({other, about(at(other).generation), to, id});
            }
        }
        if (chance(300)) r.lock_ttl = microseconds{5'000'000 + below(10'000'000)};
        return r;
    }
    // What nobody asked for.
    operation give() {
        op::acknowledge r{.incarnation = any_owner(), .items = {}, .seen = seen()};
        for (auto const& id :
             some_ids(chance(700) ? 1 : batch_size(), [&](auto const& s) { return s.owner == r.incarnation; })) {
            r.items.push_back({id, about(at(id).generation), any_node(), {}, true});
        }
        if (chance(300)) r.lock_ttl = microseconds{5'000'000 + below(10'000'000)};
        return r;
    }
    operation trigger() {
        op::trigger r;
        for (auto const& id : some_ids(chance(700) ? 1 : batch_size(), [&](auto const&) { return true; })) {
            auto const s = at(id);
            if (chance(300)) {
                r.items.push_back({id, 0, about(s.triggered, 200)});
            } else {
                r.items.push_back({id, chance(900) ? s.owner : any_node(), 0});
            }
        }
        return r;
    }
    operation changes() {
        auto const incarnation = any_node();
        auto const node = state_.nodes.find(incarnation);
        auto const newest = node == state_.nodes.end() ? 0 : node->second.version;
        return op::changes_since{incarnation, chance(200) ? newest + 1 : below(newest + 1)};
    }
    // A cursor belongs to the epoch that it was got in.
    operation events() {
        static constexpr std::uint32_t limits[] = {0, 1, 3, 64, 1000};
        auto const seq = epoch_begins_after_ + below(state_.seq - epoch_begins_after_ + 1);
        return op::events_since{about(state_.epoch), chance(100) ? state_.seq + 1 : seq,
                                limits[below(std::size(limits))]};
    }
    operation schedules() {
        return op::schedules_page{chance(400) ? 0 : any_node(), chance(500) ? std::string{} : any_id(),
                                  static_cast<std::uint32_t>(below(6))};
    }
    operation scan() { return op::scan_page{0, static_cast<std::uint32_t>(below(6))}; }
    operation mend() {
        if (state_.leader.incarnation == 0 && chance(800)) return tick();
        op::mend r{.incarnation = leader(), .term = about(state_.leader.term, 30), .seen = seen()};
        auto const most = damaged_.empty() || chance(400) ? batch_size() : 0;
        for (auto const& id : some_ids(most, [](auto const&) { return true; })) {
            auto& item = r.items.emplace_back(op::mend::item{id, some_nodes()});
            if (chance(900)) item.holders.push_back(at(id).owner);
        }
        if (!damaged_.empty() && r.items.empty()) {
            r.items.push_back({damaged_.back(), live_});
            damaged_.pop_back();
        }
        r.recount = some_nodes();
        return r;
    }
    operation nodes() { return op::nodes_page{chance(500) ? 0 : any_node(), static_cast<std::uint32_t>(below(6))}; }

    std::mt19937_64 random_;
    reference_store const& model_;
    group_state state_;
    std::uint64_t before_seq_ = 0;
    std::uint64_t epoch_begins_after_ = 0;
    std::vector<fencing_token> live_, dead_, former_;
    std::vector<std::string> damaged_;
    std::map<fencing_token, fencing_token> epochs_;
};

/// How often each kind of outcome was seen, by a name like "claim: conflict".
class outcome_census {
public:
    void count(operation const& request, result<reply> const& answer) {
        auto const name = [&] {
            auto const text = describe(request);
            return text.substr(0, text.find('{'));
        }();
        if (!answer) {
            auto const& detail = answer.error().detail;
            ++seen_[fmt::format("{}! {}", name,
                                detail == "the group has changed" ? detail : to_string(answer.error().code))];
            return;
        }
        count_substitutes(request, *answer);
        if (auto const* outcomes = std::get_if<op::outcomes>(&*answer)) {
            for (auto const& item : outcomes->items) {
                ++seen_[fmt::format("{}: {}", name, item.ok() ? "ok" : to_string(item.code))];
            }
        } else if (auto const* ticked = std::get_if<op::ticked>(&*answer)) {
            static constexpr char const* statuses[] = {"ok", "reaped", "fenced", "data lost", "unsettled"};
            static_assert(std::size(statuses) == static_cast<std::size_t>(rota::op::last_tick_status) + 1);
            ++seen_[fmt::format("tick: {}", statuses[static_cast<int>(ticked->status)])];
            auto const& sweep = ticked->sweep;
            if (!sweep.expired.empty()) ++seen_["tick: expired"];
            if (!sweep.dead.empty()) ++seen_["tick: dead"];
            if (sweep.next_dead != microseconds::max()) ++seen_["tick: next_dead"];
            if (sweep.candidates.size() == 3) ++seen_["tick: candidates"];
        } else if (auto const* changes = std::get_if<op::changes_reply>(&*answer)) {
            static constexpr char const* kinds[] = {"granted", "revoking", "removed", "vacancy", "updated", "led"};
            static_assert(std::size(kinds) == static_cast<std::size_t>(rota::op::last_change_kind) + 1);
            if (changes->gap) ++seen_["change: gap"];
            for (auto const& c : changes->items) {
                ++seen_[fmt::format("change: {}", kinds[static_cast<int>(c.kind)])];
                if (c.open) ++seen_["change: revoking, open"];
                if (c.kind == rota::op::change_kind::granted && c.lease > 0us) ++seen_["change: granted, locked"];
                if (c.reason == change_reason::repaired) ++seen_["change: granted, repaired"];
            }
        } else if (auto const* events = std::get_if<op::events_reply>(&*answer)) {
            static constexpr char const* kinds[] = {"registered", "unregistered", "owned",   "moving",    "joined",
                                                    "superseded", "left",         "died",    "forgotten", "led",
                                                    "vacated",    "data_lost",    "updated", "described", "ordered"};
            if (events->gap) ++seen_["event: gap"];
            for (auto const& e : events->items) {
                ++seen_[fmt::format("event: {}", kinds[static_cast<int>(e.kind)])];
                if (e.kind == op::group_event_kind::owned && e.reason == change_reason::given_up)
                    ++seen_["event: given up"];
                if (e.kind == op::group_event_kind::owned && e.reason == change_reason::repaired)
                    ++seen_["event: repaired"];
                if (e.kind == op::group_event_kind::moving && e.to == 0) ++seen_["event: called off"];
            }
        } else if (auto const* page = std::get_if<op::page_reply>(&*answer)) {
            ++seen_[page->strays.empty() ? "schedules_page: ok" : "schedules_page: strays"];
        } else if (auto const* scanned = std::get_if<op::scan_reply>(&*answer)) {
            ++seen_[scanned->broken.empty() ? "scan_page: ok" : "scan_page: broken"];
        } else if (auto const* nodes = std::get_if<op::nodes_reply>(&*answer)) {
            ++seen_["nodes_page: ok"];
            if (nodes->maintenance) ++seen_["nodes_page: maintenance"];
            if (!nodes->drained.empty()) ++seen_["nodes_page: drained"];
            for (auto const& n : nodes->items) {
                if (n.left && n.gone_for > 0us) ++seen_["nodes_page: left"];
                if (!n.left && n.gone_for > 0us) ++seen_["nodes_page: dead"];
            }
        } else if (auto const* joined = std::get_if<op::joined>(&*answer)) {
            ++seen_[joined->superseded != 0 ? "join: superseding" : "join: ok"];
        } else {
            ++seen_[fmt::format("{}: ok", name)];
        }
    }

    void count_substitutes(operation const& request, reply const& answer) {
        auto const* outcomes = std::get_if<op::outcomes>(&answer);
        if (auto const* r = std::get_if<op::acknowledge>(&request)) {
            for (std::size_t i = 0; i < r->items.size(); ++i) {
                auto const code = outcomes->items[i].code;
                if (r->items[i].unasked) ++seen_[fmt::format("gift: {}", code == errc{} ? "ok" : to_string(code))];
                if (r->items[i].instead_of.empty()) continue;
                ++seen_[fmt::format("substitute: {}", code == errc{} ? "ok" : to_string(code))];
            }
        } else if (std::holds_alternative<op::mend>(request)) {
            for (auto const& item : outcomes->items) {
                if (item.ok()) ++seen_[item.token == 0 ? "mend: sound" : "mend: mended"];
            }
        }
    }
    [[nodiscard]] std::uint64_t of(std::string const& name) const {
        auto const found = seen_.find(name);
        return found == seen_.end() ? 0 : found->second;
    }
    [[nodiscard]] std::string text() const {
        std::string all;
        for (auto const& [name, count] : seen_) all += fmt::format("{:>8}  {}\n", count, name);
        return all;
    }

private:
    std::map<std::string, std::uint64_t> seen_;
};

constexpr char const* expected_outcomes[] = {
    "join: ok",
    "join: superseding",
    "join! conflict",
    "join! refused by the server",
    "tick: ok",
    "tick: reaped",
    "tick: fenced",
    "tick: data lost",
    "tick: unsettled",
    "tick: expired",
    "tick: dead",
    "tick: next_dead",
    "tick: candidates",
    "tick! conflict",
    "tick! refused by the server",
    "leave: ok",
    "leave! conflict",
    "renounce: ok",
    "renounce! conflict",
    "acquire_locks: ok",
    "acquire_locks: locked by another holder",
    "acquire_locks: unknown schedule",
    "acquire_locks: not the owner",
    "acquire_locks! not joined",
    "acquire_locks! conflict",
    "extend_locks: ok",
    "extend_locks: lock lost",
    "extend_locks: not the owner",
    "extend_locks! not joined",
    "extend_locks! conflict",
    "release_locks: ok",
    "release_locks: lock lost",
    "release_locks! conflict",
    "register_schedules: ok",
    "register_schedules! conflict",
    "lookup: ok",
    "unregister_schedules: ok",
    "unregister_schedules: unknown schedule",
    "unregister_schedules: conflict",
    "unregister_schedules! conflict",
    "claim: ok",
    "claim: unknown schedule",
    "claim: owned by another node",
    "claim: capacity exceeded",
    "claim: conflict",
    "claim! not joined",
    "claim! conflict",
    "reap: ok",
    "reap! not the leader",
    "reap! conflict",
    "adopt: ok",
    "adopt: unknown schedule",
    "adopt: conflict",
    "adopt: unknown node",
    "adopt: capacity exceeded",
    "adopt! not the leader",
    "adopt! conflict",
    "revoke: ok",
    "revoke: unknown schedule",
    "revoke: not the owner",
    "revoke: conflict",
    "revoke: unknown node",
    "revoke: capacity exceeded",
    "revoke! not the leader",
    "revoke! not joined",
    "revoke! conflict",
    "acknowledge: ok",
    "acknowledge: unknown schedule",
    "acknowledge: conflict",
    "acknowledge: locked by another holder",
    "acknowledge: capacity exceeded",  // of gifts alone: revoke has kept the place of what was asked for
    "acknowledge: unknown node",
    "trigger: ok",
    "trigger: unknown schedule",
    "trigger: conflict",
    "trigger! conflict",
    "gift: ok",
    "gift: conflict",
    "gift: locked by another holder",
    "gift: unknown node",
    "gift: capacity exceeded",
    "acknowledge! not joined",
    "acknowledge! conflict",
    "change: granted",
    "change: granted, locked",
    "change: revoking",
    "change: removed",
    "change: vacancy",
    "change: led",
    "change: gap",
    "changes_since! not joined",
    "event: registered",
    "event: unregistered",
    "event: owned",
    "event: moving",
    "event: joined",
    "event: superseded",
    "event: left",
    "event: died",
    "event: forgotten",
    "event: led",
    "event: vacated",
    "event: data_lost",
    "event: given up",
    "event: gap",
    "event: updated",
    "event: described",
    "event: ordered",
    "event: called off",
    "event: repaired",
    "schedules_page: ok",
    "schedules_page: strays",
    "nodes_page: ok",
    "nodes_page: maintenance",
    "nodes_page: drained",
    "nodes_page: left",
    "nodes_page: dead",
    "describe_node: ok",
    "describe_node! not joined",
    "describe_node! conflict",
    "give_order: ok",
    "give_order! unknown node",
    "give_order! conflict",
    "update_schedules: ok",
    "update_schedules: unknown schedule",
    "update_schedules: conflict",
    "update_schedules! conflict",
    "adopt! the group has changed",
    "revoke! the group has changed",
    "substitute: ok",
    "substitute: conflict",
    "substitute: unknown schedule",
    "substitute: unknown node",
    "substitute: locked by another holder",
    "change: updated",
    "change: revoking, open",
    "change: granted, repaired",
    "scan_page: ok",
    "scan_page: broken",
    "mend: sound",
    "mend: mended",
    "mend: conflict",
    "mend! not the leader",
    "mend! not joined",
    "mend! conflict",
};

bool equal(result<reply> const& a, result<reply> const& b) {
    if (a.has_value() != b.has_value()) return false;
    return a ? *a == *b : a.error().code == b.error().code;
}

/// One random sequence on both stores.
template <typename Redis>
class duel {
public:
    duel(std::uint64_t seed, Redis& redis, outcome_census& census)
        : choose_{seed, model_},
          redis_{redis},
          census_{census},
          damaging_{seed % 4 == 0} {
        redis_.begin_anew();
    }

    void run(int operations) {
        for (int i = 0; i < operations; ++i) {
            choose_.look();
            if (choose_.chance(1)) {
                note("everything is lost");
                model_.lose_everything();
                redis_.lose_everything();
            }
            if (damaging_ && choose_.chance(40)) damage();
            step_time(choose_.time_step());
            auto const request = choose_.next();
            auto& number = numbers_[choose_.below(numbers_.size())];
            auto const session = static_cast<std::uint64_t>(&number - numbers_.data()) + (std::uint64_t{1} << 63);
            if (choose_.chance(20)) connect_anew(session, number);
            bool const late = number > 1 && choose_.chance(20);
            perform(request, {session, late ? number - 1 : number});
            if (choose_.chance(80)) {  // its reply was lost
                if (choose_.chance(500)) connect_anew(session, number);
                if (choose_.chance(300)) step_time(choose_.time_step());
                perform(request, {session, number});
            }
            if (i % 25 == 24) compare_states();
        }
        if (damaging_) mend_all();
        compare_states();
        CHECK(redis_.contradictions() == std::vector<std::string>{});
    }

    [[nodiscard]] std::string history() const {
        std::string all;
        for (auto const& line : last_) all += line + '\n';
        return all;
    }

private:
    void note(std::string line) {
        last_.push_back(std::move(line));
        if (last_.size() > 60) last_.pop_front();
    }
    void fail(std::string const& what) {
        note(what);
        throw std::runtime_error("the stores differ");
    }
    void step_time(microseconds by) {
        if (by == microseconds{}) return;
        note(fmt::format("{} us later", by.count()));
        model_.advance(by);
        redis_.advance(by);
    }
    void connect_anew(std::uint64_t session, std::uint64_t& number) {
        ++number;
        note(fmt::format("session {} connects as {}", session, number));
        model_.raise({session, number});
        redis_.raise({session, number});
    }
    void damage() {
        auto const d = choose_.damage();
        note(describe(d));
        model_.inflict(d);
        redis_.inflict(d);
        damaged_ = true;
    }
    // A new leader looks into everything.
    void mend_all() {
        rota::detail::connection_stamp const from{std::uint64_t{1} << 62, 1};
        step_time(61s);
        auto const joined = model_.perform(op::join{.node_id = "healer", .node_ttl = 10s}, from);
        (void)redis_.perform(op::join{.node_id = "healer", .node_ttl = 10s}, from);
        auto const healer = std::get<op::joined>(*joined);
        op::tick const stands{.incarnation = healer.incarnation,
                              .node_id = "healer",
                              .epoch = healer.epoch,
                              .candidate = true,
                              .node_ttl = 10s,
                              .leader_lease = 10s};
        perform(stands, from);
        choose_.look();
        perform(choose_.mend_all(healer.incarnation, model_.state().leader.term), from);
        damaged_ = false;
    }
    // All that a scan from the beginning to the end gives.
    template <typename Store>
    static result<reply> scanned(Store& store, op::scan_page request, rota::detail::connection_stamp from) {
        std::map<std::string, schedule_status> items;
        std::set<std::string> broken;
        do {
            auto const answer = store.perform(request, from);
            if (!answer) return answer.error();
            auto const& page = std::get<op::scan_reply>(*answer);
            for (auto const& item : page.items) items[item.id] = item;
            broken.insert(page.broken.begin(), page.broken.end());
            request.cursor = page.next;
        } while (request.cursor != 0);
        op::scan_reply all;
        for (auto const& [id, item] : items) all.items.push_back(item);
        all.broken.assign(broken.begin(), broken.end());
        return reply{std::move(all)};
    }
    template <typename Store>
    static result<reply> answer_of(Store& store, operation const& request, rota::detail::connection_stamp from) {
        if (auto const* scan = std::get_if<op::scan_page>(&request)) return scanned(store, *scan, from);
        return store.perform(request, from);
    }
    void perform(operation const& request, rota::detail::connection_stamp from) {
        auto const expected = answer_of(model_, request, from);
        auto const got = answer_of(redis_, request, from);
        note(
            fmt::format("[{}.{}] {}\n    -> {}", from.session & 7, from.number, describe(request), describe(expected)));
        if (!equal(expected, got)) fail("    Redis says: " + describe(got));
        census_.count(request, expected);
        if (expected) choose_.learn(request, *expected);
    }
    void compare_states() {
        auto const expected = model_.state();
        auto const got = redis_.state();
        if (auto const wrong = find_contradictions(expected); !damaged_ && !wrong.empty())
            fail("the reference contradicts itself: " + wrong[0]);
        if (expected == got) return;
        auto differ = [&](char const* what, bool same) {
            if (!same) note(fmt::format("    the state differs in {}", what));
        };
        differ("epoch, fence or seq",
               expected.epoch == got.epoch && expected.fence == got.fence && expected.seq == got.seq);
        differ("what calls the leader", expected.called == got.called);
        differ("leader", expected.leader == got.leader);
        differ("nodes", expected.nodes == got.nodes);
        differ("schedules", expected.schedules == got.schedules);
        differ("unowned", expected.unowned == got.unowned);
        differ("stray moves", expected.stray_moves == got.stray_moves);
        differ("orders", expected.drained == got.drained && expected.maintenance == got.maintenance);
        differ("locks", expected.locks == got.locks && expected.names == got.names);
        fail("    Redis holds another state");
    }

    reference_store model_;
    generator choose_;
    Redis& redis_;
    outcome_census& census_;
    bool damaging_;
    bool damaged_ = false;
    std::array<std::uint64_t, 3> numbers_{};
    std::deque<std::string> last_;
};

// Sequences of operations, or the one of ROTA_TEST_SEED; gives how many.
template <typename Redis>
std::uint64_t play_duels(Redis& redis, std::uint64_t sequences, outcome_census& census) {
    std::uint64_t first = 1;
    if (auto const* only = std::getenv("ROTA_TEST_SEED")) {
        first = std::stoull(only);
        sequences = 1;
    }
    for (auto seed = first; seed < first + sequences; ++seed) {
        duel<Redis> d{seed, redis, census};
        try {
            d.run(500);
        } catch (std::runtime_error const& e) {
            FAIL(e.what() << ", seed " << seed << " (ROTA_TEST_SEED=" << seed << "). The last of it:\n" << d.history());
        }
    }
    return sequences;
}

}  // namespace

TEST_CASE("the reference store and Redis answer alike") {
    redis_server server;
    script_clock_transport redis{server};
    outcome_census census;
    if (play_duels(redis, 200, census) == 1) return;
    INFO("seen:\n" << census.text());
    for (auto const* outcome : expected_outcomes) {
        INFO("never seen: " << outcome);
        CHECK(census.of(outcome) > 0);
    }
}

TEST_CASE("the reference store and Redis through hiredis_async answer alike") {
    redis_server server;
    outcome_census census;
    async_store redis{server, std::make_unique<poll_loop_driver>()};
    (void)play_duels(redis, 40, census);
}

}  // namespace differential_test
