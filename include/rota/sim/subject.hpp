// What is under test, behind two small interfaces: the production algorithm of a node, and the reference model of the
// server's state. Both take a template parameter for planted defects; behind an interface the rest of the simulator is
// compiled once, whatever is planted. Nothing here adds behaviour.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "../detail/node_core.hpp"
#include "../detail/store.hpp"

namespace rota::sim {

/// Where a node stands.
enum class standing : std::uint8_t { out, joining, member, fenced };

/// node_core<Defects>, see there.
class node_machine {
public:
    virtual ~node_machine() = default;
    virtual void want_join(instant now) = 0;
    virtual void want_tick(instant now) = 0;
    virtual void begin_leave() = 0;
    virtual std::optional<operation> leave_operation() const = 0;
    virtual void finish_leave(bool done) = 0;
    virtual std::optional<operation> begin_renounce(instant now) = 0;
    virtual void rebalance_now() = 0;
    virtual void describe(node_attributes) = 0;
    virtual void report_load(double load, instant now) = 0;
    virtual std::optional<operation> next(instant now) = 0;
    virtual void done(operation const&, result<reply> const&, instant sent, instant now) = 0;
    virtual instant due() const = 0;
    virtual subscription what_to_listen_for() const = 0;
    virtual void hear(std::optional<pushed_news> const&, instant now) = 0;
    virtual std::vector<event> take_events() = 0;
    virtual result<void> can_act(instant now) const = 0;
    virtual op::acquire_locks acquisition(op::lock_kind, std::vector<std::string> names, microseconds ttl) = 0;
    virtual instant on_acquired(op::lock_kind, std::string const& name, op::outcome const&, instant sent,
                                instant now) = 0;
    struct taken_lock {
        fencing_token token = 0;
        instant until{};
    };
    virtual std::optional<taken_lock> take_handed(std::string const& schedule, microseconds ttl, instant now) = 0;
    virtual std::optional<fencing_token> handed_in_the_way_of(std::string const& schedule, instant now) = 0;
    virtual void on_locked_by_other(std::string const& schedule) = 0;
    virtual void on_lock_granted(std::string const& schedule) = 0;
    virtual instant on_extended(op::lock_kind, std::string const& name, op::outcome const&, instant sent,
                                instant now) = 0;
    virtual void on_releasing(op::lock_kind, std::string const& name, fencing_token) = 0;
    virtual void on_released(op::lock_kind, std::string const& name, fencing_token) = 0;
    virtual bool give(std::string const& schedule, fencing_token to, instant now) = 0;
    virtual void see(fencing_token) = 0;
    virtual void own_log_moved() = 0;
    virtual void group_log_moved() = 0;
    virtual std::uint64_t new_nonce() = 0;
    virtual void server_changed() = 0;  ///< the transport has connected to another server, or another run of it

    virtual standing state() const = 0;
    virtual node_ref self() const = 0;
    virtual fencing_token seen() const = 0;
    virtual options const& settings() const = 0;
    virtual std::optional<error> last_failure() const = 0;
    /// Whether its picture of the group is up to date as far as it knows, and with which event.
    virtual bool picture_is_current() const = 0;
    virtual std::uint64_t picture_cursor() const = 0;
    virtual fencing_token picture_epoch() const = 0;
    /// All of it has been read, if not yet what happened meanwhile.
    virtual bool picture_is_complete() const = 0;
    struct pictured {
        fencing_token generation = 0;
        fencing_token owner = 0;
        fencing_token moving_to = 0;
        double weight = 1;
        std::string_view traits{};
        friend bool operator==(pictured const&, pictured const&) = default;
    };
    virtual std::optional<pictured> picture_of(std::string const& schedule) const = 0;
    virtual std::size_t pictured_schedules() const = 0;
    struct pictured_node {
        std::string_view id{};
        bool alive = false;
        std::uint32_t capacity = unlimited;
        std::string_view traits{};
        std::uint32_t owned = 0;
        bool draining = false;
        friend bool operator==(pictured_node const&, pictured_node const&) = default;
    };
    virtual pictured_node picture_of_node(fencing_token incarnation) const = 0;
    virtual bool pictures_maintenance() const = 0;
    virtual node_attributes const& attributes() const = 0;
    virtual plan const& last_plan() = 0;
    /// What is planted in it concerns how its process uses it, too.
    virtual bool suffers_from(detail::defect) const = 0;
};

/// What the server holds, as far as invariants look at it.
struct stored_leader {
    std::int64_t deadline = 0;
    fencing_token term = 0;
    fencing_token incarnation = 0;
};
struct stored_schedule {
    fencing_token generation = 0;
    fencing_token owner = 0;
    fencing_token moving_to = 0;
    double weight = 1;
    std::string_view traits{};     // as it is stored: gone with the next request
    std::int64_t handoff_until{};  // when extensions end
    bool open = false;             // another may go in its place
};
struct stored_node {
    std::string_view id{};
    bool live = false;
    std::int64_t deadline = 0;
    std::uint32_t capacity = unlimited;
    std::uint32_t load = 0;
    std::uint32_t pending = 0;
    std::string_view traits{};
};
struct stored_lock {
    std::int64_t deadline = 0;
    fencing_token token = 0;
    fencing_token holder = 0;
};

/// basic_store<Defects>, see there. `now`: µs of the server's clock.
class store_model {
public:
    virtual ~store_model() = default;
    virtual std::unique_ptr<store_model> copy() const = 0;
    virtual void raise(detail::connection_stamp) = 0;
    virtual result<reply> perform(operation const&, detail::connection_stamp, std::int64_t now) = 0;

    virtual std::uint64_t seq() const = 0;
    virtual fencing_token epoch() const = 0;
    virtual fencing_token fence() const = 0;
    virtual std::uint64_t version_of(fencing_token incarnation) const = 0;
    virtual pushed_news news_for(subscription const&) const = 0;
    virtual bool has_news_for(subscription const&) const = 0;
    virtual stored_leader leader() const = 0;
    virtual std::optional<stored_schedule> schedule(std::string const& id) const = 0;
    virtual std::optional<stored_node> node(fencing_token incarnation) const = 0;
    virtual std::optional<stored_lock> lock(op::lock_kind, std::string const& name) const = 0;
    virtual std::size_t schedule_count() const = 0;
    virtual std::size_t unowned_count() const = 0;
    /// All of them, in order. Not for every event.
    virtual std::vector<std::pair<std::string, stored_schedule>> schedules() const = 0;
    virtual std::vector<std::pair<fencing_token, stored_node>> nodes() const = 0;

    virtual bool maintenance() const = 0;
    virtual bool is_drained(std::string_view node_id) const = 0;
    virtual std::vector<std::string> drained() const = 0;
    /// Whether the index of `holder` (0: of nobody) lists the schedule.
    virtual bool lists(fencing_token holder, std::string const& id) const = 0;
    /// What of its records and indexes does not agree, in words; empty: all does.
    virtual std::string disagreement() const = 0;
    virtual void inflict(detail::store_damage const&) = 0;
};

template <typename Defects>
class node_machine_of final : public node_machine {
public:
    node_machine_of(options o, detail::planner strategy, std::shared_ptr<detail::belief> published,
                    std::uint64_t entropy)
        : core_{std::move(o), strategy, std::move(published), entropy} {}

    void want_join(instant now) override { core_.want_join(now); }
    void want_tick(instant now) override { core_.want_tick(now); }
    void begin_leave() override { core_.begin_leave(); }
    std::optional<operation> leave_operation() const override { return core_.leave_operation(); }
    void finish_leave(bool done) override { core_.finish_leave(done); }
    std::optional<operation> begin_renounce(instant now) override { return core_.begin_renounce(now); }
    void rebalance_now() override { core_.rebalance_now(); }
    void describe(node_attributes attributes) override { core_.description().set(std::move(attributes)); }
    void report_load(double load, instant now) override { core_.description().measured(load, now); }
    std::optional<operation> next(instant now) override { return core_.next(now); }
    void done(operation const& request, result<reply> const& answer, instant sent, instant now) override {
        core_.done(request, answer, sent, now);
    }
    instant due() const override { return core_.due(); }
    subscription what_to_listen_for() const override { return core_.what_to_listen_for(); }
    void hear(std::optional<pushed_news> const& news, instant now) override { core_.hear(news, now); }
    std::vector<event> take_events() override {
        return core_.has_events() ? core_.take_events() : std::vector<event>{};
    }
    result<void> can_act(instant now) const override { return core_.can_act(now); }
    op::acquire_locks acquisition(op::lock_kind kind, std::vector<std::string> names, microseconds ttl) override {
        return core_.acquisition(kind, std::move(names), ttl);
    }
    instant on_acquired(op::lock_kind kind, std::string const& name, op::outcome const& grant, instant sent,
                        instant now) override {
        return core_.on_acquired(core_.entry_of(kind, name), grant, sent, now);
    }
    std::optional<taken_lock> take_handed(std::string const& schedule, microseconds ttl, instant now) override {
        auto const taken = core_.take_handed(schedule, ttl, now);
        if (!taken) return std::nullopt;
        return taken_lock{taken->token, taken->until};
    }
    std::optional<fencing_token> handed_in_the_way_of(std::string const& schedule, instant now) override {
        return core_.handed_in_the_way_of(schedule, now);
    }
    void on_locked_by_other(std::string const& schedule) override { core_.on_locked_by_other(schedule); }
    void on_lock_granted(std::string const& schedule) override { core_.on_lock_granted(schedule); }
    instant on_extended(op::lock_kind kind, std::string const& name, op::outcome const& grant, instant sent,
                        instant now) override {
        return core_.on_extended(kind, name, grant, sent, now);
    }
    void on_releasing(op::lock_kind kind, std::string const& name, fencing_token token) override {
        core_.on_releasing(kind, name, token);
    }
    void on_released(op::lock_kind kind, std::string const& name, fencing_token token) override {
        core_.on_released(kind, name, token);
    }
    bool give(std::string const& schedule, fencing_token to, instant now) override {
        bool const given = core_.give(schedule, to, now);
        if (given) core_.forget_given(schedule);  // nobody waits for it
        return given;
    }
    void see(fencing_token token) override { core_.see(token); }
    void own_log_moved() override { core_.own_log_moved(); }
    void group_log_moved() override { core_.group_log_moved(); }
    std::uint64_t new_nonce() override { return core_.new_nonce(); }

    void server_changed() override {
        if constexpr (requires(core& c) { c.server_changed(); }) core_.server_changed();
    }

    standing state() const override { return static_cast<standing>(core_.state()); }
    node_ref self() const override { return core_.self(); }
    fencing_token seen() const override { return core_.seen(); }
    options const& settings() const override { return core_.settings(); }
    std::optional<error> last_failure() const override { return core_.last_failure(); }
    bool picture_is_current() const override { return core_.feed().current(); }
    std::uint64_t picture_cursor() const override { return core_.feed().cursor(); }
    fencing_token picture_epoch() const override { return core_.feed().epoch(); }
    std::optional<pictured> picture_of(std::string const& schedule) const override {
        auto const& all = core_.feed().picture();
        auto const s = all.find(schedule);
        if (s == all.none) return std::nullopt;
        auto const r = all.record_of(s);
        return pictured{r.generation, r.owner, r.moving_to, r.weight, r.traits};
    }
    bool picture_is_complete() const override { return core_.feed().active() && core_.feed().picture().is_complete(); }
    std::size_t pictured_schedules() const override { return core_.feed().picture().schedule_count(); }
    pictured_node picture_of_node(fencing_token incarnation) const override {
        auto const& all = core_.feed().picture();
        auto const n = all.node_of(incarnation);
        return {n.id, n.alive, n.capacity, n.traits, n.owned, n.alive && all.is_drained(n.id)};
    }
    bool pictures_maintenance() const override { return core_.feed().picture().maintenance(); }
    node_attributes const& attributes() const override { return core_.description().attributes(); }
    plan const& last_plan() override { return core_.leading().last_plan(); }
    bool suffers_from(detail::defect d) const override {
        if constexpr (std::is_same_v<Defects, detail::sound>) {
            return false;
        } else {
            return Defects::has(d);
        }
    }

private:
    using core = detail::node_core<Defects>;
    static_assert(static_cast<int>(core::standing::out) == static_cast<int>(standing::out) &&
                  static_cast<int>(core::standing::joining) == static_cast<int>(standing::joining) &&
                  static_cast<int>(core::standing::member) == static_cast<int>(standing::member) &&
                  static_cast<int>(core::standing::fenced) == static_cast<int>(standing::fenced));
    core core_;
};

template <typename Defects>
class store_model_of final : public store_model {
public:
    std::unique_ptr<store_model> copy() const override { return std::make_unique<store_model_of>(*this); }
    void raise(detail::connection_stamp from) override { store_.raise(from); }
    result<reply> perform(operation const& request, detail::connection_stamp from, std::int64_t now) override {
        return store_.perform(request, from, now);
    }
    std::uint64_t seq() const override { return store_.seq(); }
    fencing_token epoch() const override { return store_.epoch(); }
    fencing_token fence() const override { return store_.fence(); }
    std::uint64_t version_of(fencing_token incarnation) const override { return store_.version_of(incarnation); }
    pushed_news news_for(subscription const& sub) const override { return store_.news_for(sub); }
    bool has_news_for(subscription const& sub) const override { return store_.has_news_for(sub); }
    stored_leader leader() const override {
        auto const& l = store_.leader();
        return {l.deadline, l.term, l.incarnation};
    }
    std::optional<stored_schedule> schedule(std::string const& id) const override {
        auto const s = store_.schedules().find(id);
        if (s == store_.schedules().end()) return std::nullopt;
        return of(s->second);
    }
    std::optional<stored_node> node(fencing_token incarnation) const override {
        auto const n = store_.nodes().find(incarnation);
        if (n == store_.nodes().end()) return std::nullopt;
        return of(n->second);
    }
    std::optional<stored_lock> lock(op::lock_kind kind, std::string const& name) const override {
        auto const l = store_.locks(kind).find(name);
        if (l == store_.locks(kind).end()) return std::nullopt;
        return stored_lock{l->second.deadline, l->second.token, l->second.holder};
    }
    std::size_t schedule_count() const override { return store_.schedules().size(); }
    std::size_t unowned_count() const override { return store_.unowned().size(); }
    std::vector<std::pair<std::string, stored_schedule>> schedules() const override {
        std::vector<std::pair<std::string, stored_schedule>> all;
        for (auto const& [id, s] : store_.schedules()) all.emplace_back(id, of(s));
        return all;
    }
    std::vector<std::pair<fencing_token, stored_node>> nodes() const override {
        std::vector<std::pair<fencing_token, stored_node>> all;
        for (auto const& [incarnation, n] : store_.nodes()) all.emplace_back(incarnation, of(n));
        return all;
    }

    bool maintenance() const override { return store_.maintenance(); }
    bool is_drained(std::string_view node_id) const override { return store_.drained().contains(node_id); }
    std::vector<std::string> drained() const override { return {store_.drained().begin(), store_.drained().end()}; }
    bool lists(fencing_token holder, std::string const& id) const override {
        if (holder == 0) return store_.unowned().contains(id);
        auto const n = store_.nodes().find(holder);
        return n != store_.nodes().end() && n->second.owned.contains(id);
    }
    std::string disagreement() const override {
        std::map<fencing_token, std::uint32_t> owned, pending;
        for (auto const& [id, s] : store_.schedules()) {
            if (!lists(s.owner, id)) return id + " is not listed where it is";
            ++owned[s.owner];
            if (s.move.to != 0) ++pending[s.move.to];
        }
        if (owned[0] != store_.unowned().size()) return "something is listed as nobody's, and is not";
        for (auto const& [incarnation, n] : store_.nodes()) {
            if (owned[incarnation] != n.owned.size()) return n.id + " is listed with what it does not own";
            if (owned[incarnation] != n.load) return n.id + " counts what it owns wrongly";
            if (pending[incarnation] != n.pending) return n.id + " counts what is on its way to it wrongly";
        }
        return {};
    }
    void inflict(detail::store_damage const& d) override { store_.inflict(d); }

private:
    using store = detail::basic_store<Defects>;
    static stored_schedule of(typename store::schedule_record const& s) {
        return {s.generation, s.owner, s.move.to, s.weight, s.traits, s.move.deadline, s.move.open};
    }
    static stored_node of(typename store::node_record const& n) {
        return {n.id, n.live, n.deadline, n.capacity, static_cast<std::uint32_t>(n.owned.size()), n.pending, n.traits};
    }
    store store_;
};

}  // namespace rota::sim
