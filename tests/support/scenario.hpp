// Scenarios on virtual time: any number of coordinators on one memory_store, each with a clock, a connection, a strategy
// and a record of events of its own. Time passes by pass() and until() alone, in steps; after each step every node that
// is up and has something to do ticks.
//
// What must hold at any instant is checked after every step, before and after the ticks: at most one leader, no schedule
// believed in by two nodes, at most one valid handle of a lock, tokens that rise, and events that tell each gain and each
// loss once, in order. A scenario need not ask for it.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/core.h>

#include <rota/clock/manual_clock.hpp>
#include <rota/coordinator.hpp>
#include <rota/sink/recording_sink.hpp>
#include <rota/transport/memory.hpp>

#include "../catch.hpp"

namespace rota_test {

using namespace std::chrono_literals;
using rota::microseconds;

/// A strategy that a test can exchange while the group runs. A handle: copies share one rule.
class scripted_strategy {
public:
    using rule = std::function<void(rota::cluster_view const&, rota::plan&)>;

    void use(rule r) const { *rule_ = std::move(r); }
    void use_least_moves() const {
        use([](auto const& view, auto& into) { rota::least_moves{}.make_plan(view, into); });
    }
    void make_plan(rota::cluster_view const& view, rota::plan& into) const { (*rule_)(view, into); }

    scripted_strategy() : rule_{std::make_shared<rule>()} { use_least_moves(); }

private:
    std::shared_ptr<rule> rule_;
};

/// Every id of `prefix`0 … `prefix`(count-1).
[[nodiscard]] inline std::vector<std::string> ids(std::string const& prefix, std::size_t count) {
    std::vector<std::string> list;
    for (std::size_t i = 0; i < count; ++i) list.push_back(fmt::format("{}{:03}", prefix, i));
    return list;
}
[[nodiscard]] inline std::vector<rota::schedule> schedules(std::string const& prefix, std::size_t count) {
    std::vector<rota::schedule> list;
    for (auto& id : ids(prefix, count)) list.push_back({.id = std::move(id)});
    return list;
}

/// A node of a scenario and all that belongs to it.
struct member {
    using coordinator =
        rota::basic_coordinator<rota::memory_transport, rota::manual_clock, scripted_strategy, rota::recording_sink>;

    std::string name;
    rota::manual_clock clock{};
    double rate = 1;  ///< of its clock, against the server's
    rota::memory_transport wire;
    scripted_strategy strategy{};
    rota::recording_sink record{};
    bool running = true;  ///< false: the process stands still or is dead
    rota::event_scope scope{};
    std::unique_ptr<coordinator> node{};

    coordinator* operator->() const { return node.get(); }

    [[nodiscard]] std::vector<std::string> owned() const {
        std::vector<std::string> list;
        for (auto& s : node->owned()) list.push_back(s.id);
        return list;
    }
    [[nodiscard]] bool owns(std::string const& id) const {
        for (auto& s : node->owned()) {
            if (s.id == id) return true;
        }
        return false;
    }
    [[nodiscard]] rota::fencing_token generation_of(std::string const& id) const {
        for (auto& s : node->owned()) {
            if (s.id == id) return s.generation;
        }
        return 0;
    }

    template <typename Event>
    [[nodiscard]] std::vector<Event> told() const {
        std::vector<Event> list;
        for (auto& e : record.events()) {
            if (auto* held = std::get_if<Event>(&e)) list.push_back(*held);
        }
        return list;
    }

    /// The process is gone without a word: nothing that it sends arrives any more, and it does nothing.
    void crash() {
        wire.refuse(true);
        running = false;
    }
    /// The process stands still (SIGSTOP); its clock does not.
    void pause() { running = false; }
    void wake_up() { running = true; }
    /// The network is gone, the process is not.
    void cut() const { wire.refuse(true); }
    void mend() const { wire.refuse(false); }
};

class scenario {
public:
    rota::memory_store store{rota::manual_time};
    rota::options defaults{};  ///< of nodes added from now on; node_id is set by add()

    scenario() = default;
    explicit scenario(rota::options d) : defaults{std::move(d)} {}
    scenario(scenario const&) = delete;
    scenario& operator=(scenario const&) = delete;
    ~scenario() {
        kept_.clear();
        for (auto& m : members_) {
            m->wire.lose_replies(0);
            m->node.reset();
            heard(*m, true);
        }
    }

    /// A node that has not joined yet. `node_id` may be that of another member: then `name` tells them apart.
    member& add(std::string const& name, rota::options o, double rate = 1) {
        if (o.node_id.empty()) o.node_id = name;
        auto m = std::make_unique<member>(member{.name = name, .wire = rota::memory_transport{store}});
        m->rate = rate;
        m->scope = o.event_scope;
        m->node = std::make_unique<member::coordinator>(std::move(o), m->wire, m->clock, m->strategy, m->record);
        members_.push_back(std::move(m));
        heard_.emplace_back();
        return *members_.back();
    }
    member& add(std::string const& name) { return add(name, defaults); }

    /// A node that has joined.
    member& join(std::string const& name, rota::options o, double rate = 1) {
        auto& m = add(name, std::move(o), rate);
        auto const r = m->join();
        INFO("join of " << name << (r ? std::string{} : r.error().message()));
        CHECK(r.has_value());
        check();
        return m;
    }
    member& join(std::string const& name) { return join(name, defaults); }

    [[nodiscard]] member& operator[](std::size_t i) { return *members_[i]; }

    /// Time passes, for the server and for all.
    void pass(microseconds duration, microseconds step = 10ms) {
        for (microseconds left = duration; left > 0us; left -= step) one_step(std::min(step, left));
    }

    /// Time passes until the condition holds, at most `limit`. How long it took; more than `limit` if it did not hold.
    template <typename Condition>
    [[nodiscard]] microseconds until(Condition&& condition, microseconds limit, microseconds step = 1ms) {
        microseconds passed{};
        while (!condition()) {
            if (passed > limit) return passed;
            one_step(step);
            passed += step;
        }
        return passed;
    }

    /// Time passes for the server and the clocks; nobody ticks.
    void pass_silently(microseconds duration) {
        advance(duration);
        check();
    }

    /// Keeps a handle under the eyes of check() until the scenario ends.
    rota::schedule_lock& keep(rota::schedule_lock lock) {
        if (!lock.name().empty()) {
            auto& last = last_token_[lock.name()];
            if (lock.token() <= last)
                complain(fmt::format("the token of {} does not rise: {} after {}", lock.name(), lock.token(), last));
            last = lock.token();
        }
        return kept_.emplace_back(std::move(lock));
    }
    rota::schedule_lock& keep(rota::result<rota::schedule_lock> lock) {
        INFO("lock: " << (lock ? std::string{} : lock.error().message()));
        REQUIRE(lock.has_value());
        return keep(std::move(*lock));
    }

    /// Who owns it, as far as the nodes believe; nullptr: nobody.
    [[nodiscard]] member* owner_of(std::string const& id) {
        for (auto& m : members_) {
            if (m->owns(id)) return m.get();
        }
        return nullptr;
    }
    [[nodiscard]] member* leader() {
        for (auto& m : members_) {
            if (m->node->is_leader()) return m.get();
        }
        return nullptr;
    }
    /// How many schedules are owned by somebody.
    [[nodiscard]] std::size_t owned() {
        std::size_t sum = 0;
        for (auto& m : members_) sum += m->node->owned().size();
        return sum;
    }

    /// All that must hold at any instant. Called after every step.
    void check() {
        std::string leaders;
        std::map<std::string, std::string> owners;
        for (auto& m : members_) {
            if (m->node->is_leader()) {
                if (!leaders.empty()) complain(fmt::format("{} and {} lead at once", leaders, m->name));
                leaders = m->name;
            }
            for (auto& s : m->node->owned()) {
                auto const [other, first] = owners.try_emplace(s.id, m->name);
                if (!first) complain(fmt::format("{} and {} own {} at once", other->second, m->name, s.id));
            }
            heard(*m, false);
        }
        std::map<std::string, rota::fencing_token> valid;
        for (auto& lock : kept_) {
            if (!lock.valid()) continue;
            auto const [other, first] = valid.try_emplace(lock.name(), lock.token());
            if (!first)
                complain(fmt::format("two locks of {} are valid at once: {} and {}", lock.name(), other->second,
                                     lock.token()));
        }
    }

    /// In addition, once a group is quiet: what each node was told is what it owns.
    void check_told() {
        check();
        for (std::size_t i = 0; i < members_.size(); ++i) {
            auto& m = *members_[i];
            if (m.scope != rota::event_scope::own || !m.running) continue;
            std::string told, owns;
            for (auto& [id, generation] : heard_[i].owned) told += id + ' ';
            for (auto& id : m.owned()) owns += id + ' ';
            if (told != owns)
                complain(fmt::format("{} was told that it owns [ {}], and owns [ {}]", m.name, told, owns));
        }
    }

private:
    // What the events so far amount to.
    struct understanding {
        std::size_t events = 0;
        rota::fencing_token incarnation = 0;
        bool leads = false;
        bool suspended = false;
        std::map<std::string, rota::fencing_token> owned;
    };

    void advance(microseconds step) {
        store.advance(step);
        for (auto& m : members_) {
            // Whole microseconds, whatever the rate: by the server's time so far.
            auto const server = (store.now() - start_).count();
            auto const before = static_cast<double>(server - step.count()) * m->rate;
            auto const after = static_cast<double>(server) * m->rate;
            m->clock.advance(
                microseconds{static_cast<microseconds::rep>(after) - static_cast<microseconds::rep>(before)});
        }
    }

    void one_step(microseconds step) {
        advance(step);
        check();
        for (auto& m : members_) {
            if (!m->running || m->node->next_tick() > 0us) continue;
            (void)m->node->tick();
            check();
        }
    }

    void heard(member& m, bool at_the_end) {
        std::size_t index = 0;
        while (members_[index].get() != &m) ++index;
        auto& u = heard_[index];
        auto const fresh = m.record.events(u.events);
        u.events += fresh.size();
        for (auto const& e : fresh) {
            auto wrong = [&](std::string_view what) {
                complain(fmt::format("{} was told \"{}\": {}", m.name, rota::describe(e), what));
            };
            if (auto* joined = std::get_if<rota::node_joined>(&e)) {
                if (m.scope == rota::event_scope::own && !u.owned.empty()) {
                    wrong(fmt::format("but never that it lost {} of its last membership", u.owned.begin()->first));
                }
                if (u.leads) wrong("but never that it leads no more");
                u.incarnation = joined->node.incarnation;
                u.suspended = false;
                u.owned.clear();
            } else if (std::holds_alternative<rota::node_suspended>(e)) {
                if (std::exchange(u.suspended, true)) wrong("but it was suspended");
            } else if (std::holds_alternative<rota::node_resumed>(e)) {
                if (!std::exchange(u.suspended, false)) wrong("but it was not suspended");
            } else if (auto* led = std::get_if<rota::leadership_changed>(&e)) {
                bool const now = u.incarnation != 0 && led->leader.incarnation == u.incarnation;
                bool const before = u.incarnation != 0 && led->previous.incarnation == u.incarnation;
                if (now && !before && u.leads) wrong("but it led already");
                if (before && !now && !u.leads) wrong("but it did not lead");
                if (now || before) u.leads = now;
            } else if (auto* changed = std::get_if<rota::ownership_changed>(&e);
                       changed && m.scope == rota::event_scope::own) {
                if (changed->to.incarnation == u.incarnation) {
                    auto const [mine, first] = u.owned.try_emplace(changed->schedule, changed->generation);
                    if (!first) wrong("but it was told to own it already");
                    mine->second = changed->generation;
                } else if (changed->from.incarnation == u.incarnation) {
                    if (u.owned.erase(changed->schedule) == 0) wrong("but it did not own it, as far as it was told");
                } else {
                    wrong("which is none of its business");
                }
            }
        }
        if (at_the_end && m.scope == rota::event_scope::own && !u.owned.empty()) {
            complain(fmt::format("{} ended, and was never told that it lost {}", m.name, u.owned.begin()->first));
        }
    }

    void complain(std::string const& text) {
        if (++complaints_ > 5) return;  // one fault is seen at every step
        UNSCOPED_INFO("after " << (store.now() - start_).count() / 1000 << " ms");
        FAIL_CHECK(text);
    }

    microseconds start_ = store.now();
    std::vector<std::unique_ptr<member>> members_;
    std::vector<understanding> heard_;
    std::deque<rota::schedule_lock> kept_;
    std::map<std::string, rota::fencing_token> last_token_;
    int complaints_ = 0;
};

}  // namespace rota_test
