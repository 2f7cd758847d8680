// Runs the algorithm of node_core over a blocking transport, for any number of calling threads. It owns the mutex that
// guards core and command connection, the queue of events, and the sleep of run(). Policies reach it through `ports`, so
// it is compiled once whatever they are; and only where it is used, being a template.
//
// Lock order: sleep_, io_, queue_mutex_. None is held while a sink runs; while run() sleeps, only sleep_ is.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "../events.hpp"
#include "../options.hpp"
#include "../policies.hpp"
#include "../queries.hpp"
#include "../schedule_lock.hpp"
#include "belief.hpp"
#include "late.hpp"
#include "node_core.hpp"
#include "two_lane_mutex.hpp"

namespace rota::detail {

/// The policies of a blocking coordinator, type-erased.
class ports {
public:
    virtual result<void> open(transport_settings const&) = 0;
    virtual result<reply> perform(operation const&, microseconds timeout) = 0;
    virtual wake_reason wait(subscription const&, microseconds timeout) = 0;
    virtual void wake() = 0;
    virtual bool take_server_changed() = 0;
    virtual std::vector<error> take_warnings() = 0;
    virtual void deliver(event const&) noexcept = 0;
    virtual planner strategy() = 0;

protected:
    ~ports() = default;
};

template <typename Defects = sound>
class blocking_engine final : private lock_host {
    using event = late<rota::event, Defects>;
    using operation = late<rota::operation, Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;
    template <typename T>
    using results = late<rota::results<T>, Defects>;

public:
    blocking_engine(options given, ports& policies, std::shared_ptr<belief> published, std::uint64_t entropy)
        : ports_{policies},
          belief_{std::move(published)},
          core_{std::move(given), policies.strategy(), belief_, entropy},
          link_{std::make_shared<lock_link>(static_cast<lock_host&>(*this), belief_)} {}

    /// The coordinator's destructor: no handle reaches in any more, then one bounded leave.
    void shut_down() {
        link_->close();
        {
            std::unique_lock lock{queue_mutex_};
            closing_.store(true);
            ports_.wake();
            idle_.wait(lock, [this] { return !running_.load(); });
        }
        (void)leave();
    }

    // ================================================================ membership

    result<void> join() {
        if (auto r = enter(); !r) return r;
        auto const began = begin_join();
        if (!began) return began.error();
        auto const limit = now() + core_.settings().operation_timeout;
        bool unknown = false;
        for (unsigned n = 1;; ++n) {
            drive();
            std::lock_guard const io{io_};
            auto const state = core_.state();
            if (state == standing::member) break;
            auto failure = core_.last_failure().value_or(error{errc::unavailable, "could not join"});
            bool const again = failure == errc::outcome_unknown;
            unknown = unknown || again;
            if (state == standing::joining && again && n < most_attempts && now() < limit) {
                core_.want_tick(now());
                continue;
            }
            // What run() is still trying, or a member that was taken for dead, is left to try.
            if (*began && !running_.load()) core_.begin_leave();
            if (unknown) failure.code = errc::outcome_unknown;
            return failure;
        }
        if (has_more_to_do()) drive();  // its first tick, if joining took long
        return {};
    }

    result<void> tick() {
        if (auto r = enter(); !r) return r;
        {
            std::lock_guard const io{io_};
            if (core_.state() == standing::out) return {errc::not_joined, "join() first"};
            core_.want_tick(now());
        }
        drive();
        if (watched_.load()) listen();
        return outcome_of_tick();
    }

    /// From now on a loop watches the transport's wake_fd().
    void be_watched() { watched_.store(true); }

    result<void> run(std::stop_token stop, instant until) {
        if (auto r = enter(); !r) return r;
        if (running_.exchange(true)) return {errc::already_running, "run() is under way on another thread"};
        struct no_longer_running {
            blocking_engine& engine;
            ~no_longer_running() {
                std::lock_guard const lock{engine.queue_mutex_};
                engine.running_.store(false);
                engine.idle_.notify_all();
            }
        } const guard{*this};
        std::stop_callback const on_stop{stop, [this] { ports_.wake(); }};
        if (state() == standing::fenced) return fenced();
        if (stop.stop_requested() || now() >= until) return {};
        if (state() != standing::member) {
            if (auto r = begin_join(); !r) return r.error();
        }
        for (;;) {
            drive();
            auto const [state, failure] = where_we_are();
            if (state == standing::fenced) return fenced();
            if (state == standing::out) return failure ? result<void>{*failure} : result<void>{};
            auto const at = now();
            if (stop.stop_requested() || at >= until) return {};
            if (closing_.load()) return {errc::cancelled, "the coordinator is being destroyed"};
            auto const [listen, due] = fall_asleep();
            auto const wake_at = std::min(due, until);
            auto why = wake_reason::timeout;
            if (wake_at > at) {
                std::lock_guard const turn{sleep_};
                why = ports_.wait(listen, std::min(wake_at - at, longest_sleep));
            }
            std::lock_guard const io{lane_io_};
            nap_.reset();
            if (why == wake_reason::pushed) core_.want_tick(now());
        }
    }

    result<void> leave() {
        if (auto r = enter(); !r) return r;
        result<void> answer;
        {
            std::lock_guard const io{io_};
            core_.begin_leave();
            if (auto request = core_.leave_operation()) {
                collect();
                auto const reply = attempt(*request);
                core_.finish_leave(reply.has_value());
                if (!reply) answer = reply.error();
            }
            collect();
        }
        if (running_.load()) ports_.wake();
        deliver();
        return answer;
    }

    [[nodiscard]] microseconds next_tick() const {
        auto const at = now();
        auto const due = due_.load();
        return due > at ? due - at : microseconds{};
    }

    // ================================================================ leadership

    result<bool> try_become_leader() {
        if (auto r = tick(); !r) return r.error();
        return belief_->leads(now());
    }

    result<void> renounce() {
        if (auto r = enter(); !r) return r;
        result<void> answer;
        {
            std::lock_guard const io{io_};
            auto const request = core_.begin_renounce(now());
            if (!request) return {errc::not_leader, "this node does not lead"};
            collect();
            auto const sent = now();
            auto const reply = attempt(*request);
            if (reply) core_.done(*request, reply, sent, now());
            if (!reply) answer = reply.error();
            collect();
        }
        deliver();
        return answer;
    }

    result<void> rebalance() {
        if (auto r = enter(); !r) return r;
        {
            std::lock_guard const io{io_};
            if (auto r = core_.can_act(now()); !r) return r;
            if (!belief_->leads(now())) return {errc::not_leader, "only the leader rebalances"};
            if (core_.feed().picture().maintenance()) {
                return {errc::conflict, "the group is under maintenance: nothing is moved"};
            }
            core_.rebalance_now();
            core_.want_tick(now());
        }
        drive();
        if (auto r = outcome_of_tick(); !r) return r;
        std::lock_guard const io{io_};
        auto const& fault = core_.leading().last_fault();
        return fault.empty() ? result<void>{} : result<void>{errc::invalid_argument, fault};
    }

    // ================================================================ locks

    results<schedule_lock> lock_each(op::lock_kind kind, std::vector<std::string> names, microseconds ttl) {
        results<schedule_lock> locks;
        locks.reserve(names.size());
        auto refuse_rest = [&](error const& why) {
            while (locks.size() < names.size()) locks.push_back(why);
        };
        if (auto r = check_locks(kind, names, ttl); !r) {
            refuse_rest(r.error());
            return locks;
        }
        while (locks.size() < names.size()) {
            auto const begin = std::make_move_iterator(names.begin() + std::ssize(locks));
            auto const count = std::min<std::size_t>(op::max_batch, names.size() - locks.size());
            if (auto r = lock_page(kind, {begin, begin + static_cast<std::ptrdiff_t>(count)}, ttl, locks); !r) {
                refuse_rest(r.error());
            }
        }
        deliver();
        return locks;
    }

    result<schedule_lock> lock_one(op::lock_kind kind, std::string name, microseconds ttl) {
        std::vector<std::string> names;
        names.push_back(std::move(name));
        auto locks = lock_each(kind, std::move(names), ttl);
        return std::move(locks.front());
    }

    results<void> extend_each(std::span<schedule_lock> locks, microseconds ttl) {
        return in_batches(
            locks, [&](std::span<schedule_lock*> batch, op::lock_kind kind) { return extend_batch(batch, kind, ttl); });
    }

    results<void> release_each(std::span<schedule_lock> locks) {
        return in_batches(
            locks, [&](std::span<schedule_lock*> batch, op::lock_kind kind) { return release_batch(batch, kind); });
    }

    // ================================================================ schedules

    results<void> register_schedules(std::span<schedule const> list) {
        results<void> answers;
        if (auto r = enter(); !r) return all_failed<void>(list.size(), r.error());
        if (auto r = check_schedules(list); !r) return all_failed<void>(list.size(), r.error());
        each_page(list, [&](std::span<schedule const> page) {
            op::register_schedules request;
            for (auto const& s : page) request.items.push_back({s.id, s.weight, to_traits(s.rules)});
            auto const r = perform<op::register_schedules>(std::move(request));
            add_outcomes(answers, page.size(), r, [&](std::size_t i) { return in_words(page[i].id); });
        });
        after_change();
        return answers;
    }

    results<void> update_schedules(std::span<schedule const> list) {
        results<void> answers;
        if (auto r = enter(); !r) return all_failed<void>(list.size(), r.error());
        if (auto r = check_schedules(list); !r) return all_failed<void>(list.size(), r.error());
        each_page(list, [&](std::span<schedule const> page) {
            std::vector<std::string> ids;
            for (auto const& s : page) ids.push_back(s.id);
            at_their_owners(ids, answers, [&](std::vector<located> const& found) {
                op::update_schedules request;
                for (auto const& [i, owner] : found) {
                    request.items.push_back({page[i].id, page[i].weight, to_traits(page[i].rules), owner});
                }
                return perform<op::update_schedules>(std::move(request));
            });
        });
        after_change();
        return answers;
    }

    results<void> unregister_schedules(std::span<std::string const> ids) {
        results<void> answers;
        if (auto r = enter(); !r) return all_failed<void>(ids.size(), r.error());
        if (auto r = check_ids(ids); !r) return all_failed<void>(ids.size(), r.error());
        each_page(ids, [&](std::span<std::string const> page) {
            auto const nonce = new_nonce();
            at_their_owners(page, answers, [&](std::vector<located> const& found) {
                op::unregister_schedules request{.nonce = nonce};
                for (auto const& [i, owner] : found) request.items.push_back({page[i], owner});
                return perform<op::unregister_schedules>(std::move(request));
            });
        });
        after_change();
        return answers;
    }

    results<owned_schedule> claim(std::span<std::string const> ids) {
        results<owned_schedule> answers;
        if (auto r = enter(); !r) return all_failed<owned_schedule>(ids.size(), r.error());
        if (auto r = check_ids(ids); !r) return all_failed<owned_schedule>(ids.size(), r.error());
        each_page(ids, [&](std::span<std::string const> page) {
            op::claim request{.ids = {page.begin(), page.end()}};
            if (auto r = as_member(request); !r) {
                for (std::size_t i = 0; i < page.size(); ++i) answers.push_back(r.error());
                return;
            }
            auto const r = perform<op::claim>(request);
            for (std::size_t i = 0; i < page.size(); ++i) {
                if (!r) {
                    answers.push_back(r.error());
                } else if (!r->items[i].ok()) {
                    bool const guarded = r->items[i].code == errc::conflict;
                    auto const why = guarded ? ": registered anew, and an earlier owner may not have heard of it" : "";
                    answers.push_back(error{r->items[i].code, in_words(page[i]) + why});
                } else {
                    answers.push_back(owned_schedule{page[i], r->items[i].token});
                }
            }
            if (r) note_own_change(*r);
        });
        after_change();
        std::lock_guard const io{io_};
        for (auto& claimed : answers) {
            if (!claimed) continue;
            auto const s = belief_->table().find(claimed->id);  // the weight is known by now
            if (s != belief_->table().end()) claimed->weight = s->second.weight;
        }
        return answers;
    }

    result<void> transfer(std::string const& id, std::string const& node_id) {
        if (auto r = enter(); !r) return r;
        if (auto r = check_id("the schedule id", id); !r) return r;
        auto const to = incarnation_of(node_id);
        if (!to) return to.error();
        auto const found = perform<op::lookup>({.ids = {id}});
        if (!found) return found.error();
        auto const& [registered, status] = found->items.front();
        if (!registered) return {errc::unknown_schedule, in_words(id)};
        if (status.owner == *to && status.moving_to == 0) return {};
        result<op::outcomes> r = errc::not_leader;
        fencing_token self = 0, term = 0;
        {
            std::lock_guard const io{io_};
            if (auto can = core_.can_act(now()); !can) return can;
            self = core_.self().incarnation;
            if (belief_->leads(now())) term = belief_->term();
        }
        if (term == 0 && status.owner != self) {
            return {errc::not_leader, "only the owner or the leader transfers a schedule"};
        }
        auto const seen = seen_token();
        if (status.owner == *to) return {errc::conflict, in_words(id) + " is on its way to another node"};
        if (status.owner == 0) {
            r = perform<op::adopt>({.incarnation = self,
                                    .term = term,
                                    .items = {{id, status.generation, 0, *to, change_reason::transferred}},
                                    .seen = seen});
        } else {
            r = perform<op::revoke>({.incarnation = self,
                                     .term = status.owner == self ? 0 : term,
                                     .items = {{id, status.generation, status.owner, *to, change_reason::transferred}},
                                     .handoff_deadline = core_.settings().handoff_deadline});
        }
        if (!r) return r.error();
        note_own_change(*r);
        after_change();
        auto const& out = r->items.front();
        if (out.ok()) return {};
        if (out.code == errc::conflict) {  // also what a repeat is answered, once the first has taken effect
            auto const now_at = perform<op::lookup>({.ids = {id}});
            if (now_at && now_at->items.front().status.owner == *to) return {};
        }
        return {out.code, in_words(id) + " to " + in_words(node_id)};
    }

    // ================================================================ queries

    result<std::vector<node_status>> nodes() {
        if (auto r = enter(); !r) return r.error();
        std::vector<node_status> all;
        std::vector<std::string> drained;
        for (fencing_token after = 0;;) {
            auto page = perform<op::nodes_page>({.after = after});
            if (!page) return page.error();
            if (after == 0) drained = std::move(page->drained);
            for (auto& n : page->items) {
                after = n.node.incarnation;
                n.draining = find_where(drained, [&](auto const& id) { return id == n.node.id; }) != drained.end();
                all.push_back(std::move(n));
            }
            if (page->items.size() < op::max_batch) return all;
        }
    }

    result<std::vector<schedule_status>> orphaned() {
        auto const all = nodes();
        if (!all) return all.error();
        std::vector<schedule_status> orphans;
        if (auto r = read_holder(0, orphans); !r) return r.error();
        for (auto const& n : *all) {
            if (n.alive && n.remaining > microseconds{}) continue;
            if (auto r = read_holder(n.node.incarnation, orphans); !r) return r.error();
        }
        return orphans;
    }

    result<proposal> propose() {
        return propose_for([](auto&) { return result<void>{}; }, false);
    }

    result<proposal> propose_if_lost(std::string const& node_id) {
        return propose_for(
            [&](group_picture<Defects>& picture) -> result<void> {
                fencing_token lost = 0;
                picture.each_node([&](fencing_token incarnation, auto const& n) {
                    if (n.alive && n.id == node_id) lost = incarnation;
                });
                if (lost == 0) return {errc::unknown_node, in_words(node_id)};
                picture.take_out(lost, false, 0);
                return {};
            },
            true);
    }

    result<proposal> propose_if_joined(std::uint32_t count, node_attributes const& attributes) {
        if (auto r = check_labels(attributes.zone, attributes.labels); !r) return r.error();
        if (count > most_imagined) {
            return error{errc::invalid_argument, fmt::format("{} nodes, at most {} may be", count, most_imagined)};
        }
        return propose_for(
            [&](group_picture<Defects>& picture) -> result<void> {
                for (std::uint32_t i = 1; i <= count; ++i) {
                    picture.put_node((fencing_token{1} << 53) + i, fmt::format("new-{}", i),
                                     attributes.capacity.value_or(unlimited), to_traits(attributes));
                }
                return {};
            },
            true);
    }

    result<void> apply(proposal const& p) {
        if (auto r = enter(); !r) return r;
        if (p.hypothetical) return {errc::invalid_argument, "the proposal is for a group that is not as it assumes"};
        fencing_token self = 0, term = 0;
        {
            std::lock_guard const io{io_};
            if (auto can = core_.can_act(now()); !can) return can;
            if (!belief_->leads(now())) return {errc::not_leader, "only the leader applies a plan"};
            if (p.epoch != core_.epoch()) return {errc::conflict, "the group has lost data since the plan was made"};
            self = core_.self().incarnation;
            term = belief_->term();
            if (p.maintenance && p.voluntary > 0) {  // (if it was ordered since, the group has changed)
                return {errc::conflict, "the group is under maintenance: nothing is moved"};
            }
        }
        op::adopt placing{.incarnation = self, .term = term};
        op::revoke moving{.incarnation = self, .term = term, .handoff_deadline = core_.settings().handoff_deadline};
        for (auto const& m : p.moves) {
            if (m.from.incarnation == 0) {
                placing.items.push_back({m.schedule, m.generation, m.owner, m.to.incarnation, m.reason});
            } else {
                moving.items.push_back({m.schedule, m.generation, m.owner, m.to.incarnation, m.reason, false});
            }
        }
        auto as_of = p.as_of;  // asked of the first request alone: from then on the group changes by our own doing
        std::size_t refused = 0;
        auto r = apply_in_pages(placing, as_of, refused);
        if (r) r = apply_in_pages(moving, as_of, refused);
        after_change();
        if (r && refused > 0) {
            return {errc::conflict, fmt::format("{} of {} steps no longer applied", refused, p.moves.size())};
        }
        return r;
    }

    // ================================================================ attributes and orders

    result<void> set_attributes(node_attributes attributes) {
        if (auto r = enter(); !r) return r;
        if (auto r = check_labels(attributes.zone, attributes.labels); !r) return r;
        if (attributes.capacity == unlimited) {
            return {errc::invalid_argument, "the capacity is too large (leave it out for no limit)"};
        }
        {
            std::lock_guard const io{io_};
            core_.describe(std::move(attributes));
        }
        return told_to_group();
    }

    node_attributes attributes() {
        std::lock_guard const io{io_};
        return core_.attributes();
    }

    result<void> report_load(double load) {
        if (auto r = enter(); !r) return r;
        if (!is_finite(load) || load < 0) {
            return {errc::invalid_argument, fmt::format("the load is {}, must be finite and not negative", load)};
        }
        {
            std::lock_guard const io{io_};
            core_.report_load(load, now());
        }
        return told_to_group();
    }

    result<void> give_order(op::order_kind kind, std::string const& node_id) {
        if (auto r = enter(); !r) return r;
        bool const of_node = kind == op::order_kind::drain || kind == op::order_kind::undrain;
        if (of_node) {
            if (auto r = check_id("the node id", node_id); !r) return r;
        }
        auto const r = perform<op::give_order>({.kind = kind, .node_id = node_id});
        if (!r) return r.error() == errc::unknown_node ? error{errc::unknown_node, in_words(node_id)} : r.error();
        after_change();
        return {};
    }

    [[nodiscard]] instant now() const { return belief_->now(); }
    [[nodiscard]] bool in_sink() const { return delivering_.load() == std::this_thread::get_id(); }

private:
    using core = node_core<Defects>;
    using standing = typename core::standing;
    static constexpr microseconds longest_sleep = std::chrono::hours{1};
    static constexpr unsigned most_attempts = 3;
    static constexpr std::uint32_t most_imagined = 10'000;

    struct outcome_or_error {
        bool settled = false;
        errc code{};
        std::string words;

        void set(result<op::outcomes> const& r, std::size_t item) {
            code = r ? r->items[item].code : r.error().code;
            words = r ? std::string{} : r.error().detail;
            settled = code != errc::conflict;
        }
        result<void> as_result(std::string const& what) const {
            if (code == errc{}) return {};
            return {code, words.empty() ? what : words};
        }
    };

    result<void> enter() const {
        if (in_sink())
            return {errc::reentrant_call, "called from inside an event sink: only local reads are allowed there"};
        return {};
    }

    static result<void> fenced() { return {errc::fenced, "a newer process has this node_id"}; }

    standing state() {
        std::lock_guard const io{lane_io_};
        return core_.state();
    }
    std::pair<standing, std::optional<error>> where_we_are() {
        std::lock_guard const io{lane_io_};
        return {core_.state(), core_.last_failure()};
    }
    // What run() sleeps for. Calls of other threads may change that: see collect().
    struct nap {
        subscription listen;
        instant until{};
    };
    nap fall_asleep() {
        std::lock_guard const io{lane_io_};
        nap_ = {core_.what_to_listen_for(), core_.due()};
        return *nap_;
    }
    std::uint64_t new_nonce() {
        std::lock_guard const io{io_};
        return core_.new_nonce();
    }
    fencing_token seen_token() {
        std::lock_guard const io{io_};
        return core_.seen();
    }

    result<void> outcome_of_tick() {
        auto const [state, failure] = where_we_are();
        if (state == standing::fenced) return fenced();
        if (failure) return *failure;
        if (state != standing::member) return {errc::not_joined, "join() first"};
        return {};
    }

    // Whether it was neither a member nor trying to be one.
    result<bool> begin_join() {
        std::lock_guard const io{io_};
        if (auto r = open_locked(); !r) return r.error();
        if (core_.state() == standing::member) return false;
        bool const fresh = core_.state() != standing::joining;
        core_.want_join(now());
        core_.want_tick(now());
        return fresh;
    }

    bool has_more_to_do() {
        std::lock_guard const io{lane_io_};
        return core_.due() <= now();
    }

    // What run() does in its sleep, for a loop that does the sleeping itself: takes in what made wake_fd() readable, and
    // listens for what comes next.
    void listen() {
        std::unique_lock const turn{sleep_, std::try_to_lock};
        if (!turn) return;  // run() is asleep: it listens
        for (int rounds = 0; rounds < 2; ++rounds) {
            subscription next;
            {
                std::lock_guard const io{lane_io_};
                next = core_.what_to_listen_for();
            }
            if (ports_.wait(next, microseconds{}) != wake_reason::pushed) return;
            {
                std::lock_guard const io{lane_io_};
                core_.want_tick(now());
            }
            drive();
        }
    }

    // Before the first request: options and settings, as a whole.
    result<void> open_locked() {
        if (opened_) return {};
        auto const& o = core_.settings();
        if (auto r = validate(o); !r) return r;
        if (auto r = ports_.open({o.key_prefix, o.node_id, o.operation_timeout}); !r) return r;
        opened_ = true;
        return {};
    }

    // ---------------------------------------------------------------- schedules and plans

    struct located {
        std::size_t item = 0;
        fencing_token owner = 0;
    };

    // Requests that need to know where each schedule is: that is looked up first; who moved in between is looked up again.
    template <typename Ask>
    void at_their_owners(std::span<std::string const> page, results<void>& answers, Ask&& ask) {
        std::vector<outcome_or_error> state(page.size());
        for (int round = 0; round < 4; ++round) {
            op::lookup look;
            std::vector<located> open;
            for (std::size_t i = 0; i < page.size(); ++i) {
                if (state[i].settled) continue;
                look.ids.push_back(page[i]);
                open.push_back({i, 0});
            }
            if (open.empty()) break;
            auto const found = perform<op::lookup>(look);
            for (std::size_t k = 0; found && k < open.size(); ++k) open[k].owner = found->items[k].status.owner;
            auto const r = found ? ask(open) : result<op::outcomes>{found.error()};
            for (std::size_t k = 0; k < open.size(); ++k) state[open[k].item].set(r, k);
            if (r) note_own_change(*r);
        }
        for (std::size_t i = 0; i < page.size(); ++i) answers.push_back(state[i].as_result(in_words(page[i])));
    }

    static result<void> check_schedules(std::span<schedule const> list) {
        std::vector<std::string_view> ids;
        for (auto const& s : list) {
            if (auto r = check_schedule(s); !r) return at_item(&s - list.data(), r.error());
            ids.push_back(s.id);
        }
        return check_distinct(std::move(ids));
    }

    static result<void> check_schedule(schedule const& s) {
        if (auto r = check_id("a schedule id", s.id); !r) return r;
        if (!is_finite(s.weight) || s.weight <= 0) {
            return {errc::invalid_argument,
                    fmt::format("the weight of {} is {}, must be finite and more than 0", in_words(s.id), s.weight)};
        }
        if (!s.rules.pin.empty()) {
            if (auto r = check_id("a pin", s.rules.pin); !r) return r;
        }
        if (auto r = check_label("a group", s.rules.group, 0); !r) return r;
        if (auto r = check_labels({}, s.rules.required, "a required label"); !r) return r;
        return check_labels({}, s.rules.forbidden, "a forbidden label");
    }

    // What this node says of itself goes out with the lane, at once if it is a member.
    result<void> told_to_group() {
        bool member = false;
        {
            std::lock_guard const io{io_};
            collect();
            member = core_.state() == standing::member;
        }
        if (!member) return {};  // with the next join
        drive();
        auto r = outcome_of_tick();
        deliver();
        std::lock_guard const io{io_};
        if (r && !core_.is_described()) return {errc::unavailable, "not told yet: it goes out with the next contact"};
        return r;
    }

    // Reads the group as it is, makes of it what is to be assumed, and asks the strategy.
    template <typename Assume>
    result<proposal> propose_for(Assume&& assume, bool hypothetical) {
        if (auto r = enter(); !r) return r.error();
        group_feed<Defects> feed;
        auto const start = perform<op::nodes_page>({.limit = 1});
        if (!start) return start.error();
        feed.start(start->epoch);
        auto const server_time = [this] {
            std::lock_guard const io{io_};
            return core_.server_time(now());
        };
        while (auto request = feed.next()) {
            auto const answer = perform_any(*request);
            if (!answer) return answer.error();
            auto const at = server_time();
            if (auto* page = std::get_if<op::nodes_reply>(&*answer)) feed.on(*page, at);
            if (auto* page = std::get_if<op::page_reply>(&*answer)) feed.on(*page, at);
            if (auto* page = std::get_if<op::events_reply>(&*answer)) feed.on(*page, at, [](event const&) {});
        }
        auto& picture = feed.picture();
        if (auto r = assume(picture); !r) return r.error();
        plan p;
        std::string fault;
        {
            std::lock_guard const io{io_};  // the strategy is asked by one thread at a time
            auto const view = picture.view(core_.server_time(now()));
            fault = ports_.strategy()(view, p, [this] { return now(); }, microseconds::max());
            if (fault.empty()) return proposal_of(p, picture, view, feed, hypothetical);
        }
        return error{errc::invalid_argument, std::move(fault)};
    }

    static proposal proposal_of(plan const& p, group_picture<Defects> const& picture, cluster_view const& view,
                                group_feed<Defects> const& feed, bool hypothetical) {
        proposal out{.forced = p.forced,
                     .voluntary = p.voluntary,
                     .bound = p.bound,
                     .unplaced = p.unplaced,
                     .spread_before = p.spread_before,
                     .spread_after = p.spread_after,
                     .imbalance = view.nodes.empty() ? 0 : imbalance_of(p, view),
                     .epoch = feed.epoch(),
                     .as_of = feed.cursor(),
                     .maintenance = picture.maintenance(),
                     .hypothetical = hypothetical};
        auto const node = [&](std::uint32_t n) {
            return n == cluster_view::none ? node_ref{}
                                           : node_ref{std::string{view.nodes[n].id}, view.nodes[n].incarnation};
        };
        for (auto const& m : p.moves) {
            auto const was = picture.record_of(m.schedule);
            out.moves.push_back(
                {picture.id_of(m.schedule), node(m.from), node(m.to), m.reason(), was.generation, was.owner});
        }
        for (auto const& s : p.stuck) out.stuck.push_back({picture.id_of(s.schedule), in_words(s.why)});
        return out;
    }

    template <typename Op>
    result<void> apply_in_pages(Op all, std::uint64_t& as_of, std::size_t& refused) {
        auto items = std::exchange(all.items, {});
        using item = typename decltype(all.items)::value_type;
        result<void> outcome;
        each_page(std::span<item const>{items}, [&](std::span<item const> page) {
            if (!outcome) return;
            auto request = all;
            request.items = {page.begin(), page.end()};
            request.as_of = std::exchange(as_of, 0);
            if constexpr (std::is_same_v<Op, op::adopt>) request.seen = seen_token();
            auto const r = perform<Op>(std::move(request));
            if (!r) {
                outcome = r.error();
                return;
            }
            for (auto const& out : r->items) refused += out.ok() ? 0 : 1;
            note_own_change(*r);
        });
        return outcome;
    }

    // ---------------------------------------------------------------- events

    // Under io_: moves what happened to the queue, in order.
    void collect() {
        if (ports_.take_server_changed()) core_.server_changed();
        auto const due = core_.due();
        due_.store(due);
        if (nap_) {
            auto const listen = core_.what_to_listen_for();
            bool const other = listen.incarnation != nap_->listen.incarnation || listen.epoch != nap_->listen.epoch ||
                               listen.follow_group != nap_->listen.follow_group;
            if (other || due < nap_->until) {
                nap_.reset();
                ports_.wake();
            }
        }
        for (auto& w : ports_.take_warnings()) core_.tell(event{warning{std::move(w)}});
        if (!core_.has_events()) return;
        auto fresh = core_.take_events();
        std::lock_guard const lock{queue_mutex_};
        for (auto& e : fresh) queue_.push_back(std::move(e));
    }

    // Without any lock: one thread at a time delivers, in order. Who comes meanwhile leaves its events to that one, and
    // does not wait: the sink may be waiting for something that it holds.
    void deliver() {
        std::unique_lock lock{queue_mutex_};
        if (delivering_.load() != std::thread::id{}) return;
        while (!queue_.empty()) {
            delivering_.store(std::this_thread::get_id());
            auto const batch = std::exchange(queue_, {});
            lock.unlock();
            for (auto const& e : batch) ports_.deliver(e);
            lock.lock();
        }
        delivering_.store(std::thread::id{});
    }

    // ---------------------------------------------------------------- requests

    // One request of the user's, under io_: repeated (every operation has one effect) while that may help and the time
    // allowed is not up.
    result<reply> attempt(operation const& request) {
        auto const limit = now() + core_.settings().operation_timeout;
        bool unknown = false;
        for (unsigned n = 1;; ++n) {
            auto const left = limit - now();
            auto answer = ports_.perform(request, std::max(left, microseconds{1000}));
            if (answer) return answer;
            auto const code = answer.error().code;
            unknown = unknown || code == errc::outcome_unknown;
            bool const worth_it = code == errc::unavailable || code == errc::outcome_unknown;
            if (code == errc::not_joined || code == errc::not_leader) core_.want_tick(now());
            if (worth_it && n < most_attempts && now() < limit) continue;
            if (unknown) return error{errc::outcome_unknown, answer.error().detail};  // an attempt may have done it
            return answer;
        }
    }

    result<reply> perform_any(operation const& request) {
        std::lock_guard const io{io_};
        if (auto r = open_locked(); !r) return r.error();
        auto answer = attempt(request);
        collect();
        return answer;
    }

    template <typename Op>
    result<typename Op::reply> perform(Op request) {
        auto answer = perform_any(operation{std::move(request)});
        if (!answer) return answer.error();
        return std::get<typename Op::reply>(*std::move(answer));
    }

    // The background lane, until it has nothing to ask for. The mutex is free between requests. Where each takes longer
    // than a heartbeat there is always something: then until the next is due, and the caller looks after itself.
    void drive() {
        auto const until = now() + core_.settings().heartbeat_interval;
        for (bool more = true; more; more = more && now() < until) {
            {
                std::lock_guard const io{lane_io_};
                more = release_abandoned();
                collect();  // what is read anew after the server changed begins with its first page
                auto request = core_.next(now());
                if (!request) more = settle_unanswered() || more;
                if (request) {
                    more = true;
                    collect();
                    auto const sent = now();
                    auto const answer = ports_.perform(*request, core_.settings().operation_timeout);
                    core_.done(*request, answer, sent, now());
                }
                collect();
            }
            deliver();
        }
    }

    // After a request of ours that may have given us something to read or to do.
    void after_change() {
        bool member = false;
        {
            std::lock_guard const io{io_};
            core_.group_log_moved();
            member = core_.state() == standing::member;
        }
        if (member) drive();
        deliver();
    }

    void note_own_change(op::outcomes const& r) {
        std::lock_guard const io{io_};
        for (auto const& out : r.items) {
            core_.see(out.token);
            if (out.ok()) {
                core_.own_log_moved();
                return;
            }
        }
    }

    result<void> as_member(op::claim& request) {
        std::lock_guard const io{io_};
        if (auto r = core_.can_act(now()); !r) return r;
        request.incarnation = core_.self().incarnation;
        request.seen = core_.seen();
        return {};
    }

    template <typename T>
    static results<T> all_failed(std::size_t count, error const& why) {
        results<T> answers;
        answers.reserve(count);
        for (std::size_t i = 0; i < count; ++i) answers.push_back(why);
        return answers;
    }

    template <typename Item, typename Use>
    static void each_page(std::span<Item const> all, Use&& use) {
        for (; !all.empty(); all = all.subspan(std::min(all.size(), op::max_batch))) {
            use(all.first(std::min(all.size(), op::max_batch)));
        }
    }

    template <typename Words>
    static void add_outcomes(results<void>& answers, std::size_t count, result<op::outcomes> const& r, Words&& words) {
        for (std::size_t i = 0; i < count; ++i) {
            if (!r) {
                answers.push_back(r.error());
            } else if (r->items[i].ok()) {
                answers.push_back({});
            } else {
                answers.push_back(error{r->items[i].code, words(i)});
            }
        }
    }

    static error at_item(std::ptrdiff_t index, error why) {
        why.detail = fmt::format("item {}: {}", index, why.detail);
        return why;
    }

    static result<void> check_ids(std::span<std::string const> ids) {
        for (auto const& id : ids) {
            if (auto r = check_id("a schedule id", id); !r) return at_item(&id - ids.data(), r.error());
        }
        return check_distinct({ids.begin(), ids.end()});
    }

    static result<void> check_distinct(std::vector<std::string_view> ids) {
        std::set<late<std::string_view, Defects>> seen;
        for (auto id : ids) {
            if (!seen.insert(id).second) return {errc::invalid_argument, in_words(std::string{id}) + " is named twice"};
        }
        return {};
    }

    result<fencing_token> incarnation_of(std::string const& node_id) {
        auto const all = nodes();
        if (!all) return all.error();
        for (auto const& n : *all) {
            if (n.alive && n.node.id == node_id) return n.node.incarnation;
        }
        return {errc::unknown_node, in_words(node_id)};
    }

    result<void> read_holder(fencing_token holder, std::vector<schedule_status>& into) {
        for (std::string after;;) {
            auto page = perform<op::schedules_page>({.holder = holder, .after = after});
            if (!page) return page.error();
            auto const count = page->items.size() + page->strays.size();
            if (!page->items.empty()) after = page->items.back().id;
            for (auto const& id : page->strays) after = std::max(after, id);
            for (auto& s : page->items) into.push_back(std::move(s));
            if (count < op::max_batch) return {};
        }
    }

    // ---------------------------------------------------------------- locks

    result<void> check_locks(op::lock_kind kind, std::vector<std::string> const& names, microseconds ttl) const {
        if (auto r = enter(); !r) return r;
        if (auto r = check_ttl(ttl); !r) return r;
        char const* const what = kind == op::lock_kind::schedule ? "a schedule id" : "the name of a lock";
        for (auto const& name : names) {
            if (auto r = check_id(what, name); !r) return at_item(&name - names.data(), r.error());
        }
        if (names.size() == 1) return {};
        return check_distinct({names.begin(), names.end()});
    }

    result<void> check_ttl(microseconds ttl) const {
        auto const& o = core_.settings();
        if (auto r = check_duration("ttl", ttl, microseconds{1000}, std::chrono::hours{24 * 30}); !r) return r;
        if (anchored(o, instant{}, instant{}, ttl) > instant{}) return {};
        return {errc::invalid_argument,
                fmt::format("ttl is {}: nothing is left of it after safety_margin ({}) and clock_drift", in_words(ttl),
                            in_words(o.safety_margin))};
    }

    result<void> lock_page(op::lock_kind kind, std::vector<std::string> names, microseconds ttl,
                           results<schedule_lock>& locks) {
        std::lock_guard const io{io_};
        if (auto r = core_.can_act(now()); !r) return r;
        operation const request = core_.acquisition(kind, std::move(names), ttl);
        auto const& asked = std::get<op::acquire_locks>(request);
        auto const sent = now();
        auto const answer = attempt(request);
        collect();
        if (!answer) {
            if (answer.error() == errc::outcome_unknown) unanswered_.push_back({request, now() + ttl});
            return answer.error();
        }
        auto const& granted = std::get<op::outcomes>(*answer).items;
        auto const at = now();
        for (std::size_t i = 0; i < granted.size(); ++i) {
            auto const& name = asked.items[i].name;
            if (!granted[i].ok()) {
                locks.push_back(error{granted[i].code, why_not(granted[i], name)});
                continue;
            }
            auto const until = core_.on_acquired(kind, name, granted[i], sent, at);
            if (at >= until || !belief_->alive(asked.incarnation, at)) {  // too late to be of use: given back
                std::lock_guard const lock{queue_mutex_};
                abandoned_.push_back({kind, name, granted[i].token, asked.incarnation});
                locks.push_back(error{errc::lock_lost, in_words(name) + " was granted too late to be of use"});
                continue;
            }
            locks.push_back(schedule_lock{link_, {kind, name, granted[i].token, asked.incarnation}, until});
        }
        return {};
    }

    static std::string why_not(op::outcome const& out, std::string const& name) {
        if (out.code != errc::locked_by_other) return in_words(name);
        return fmt::format("{}, for {} ms at most", in_words(name), out.remaining.count() / 1000 + 1);
    }

    // Locks of both kinds and of this coordinator alone, in requests of one kind; the others are lost ones.
    template <typename Send>
    results<void> in_batches(std::span<schedule_lock> locks, Send&& send) {
        if (auto r = enter(); !r) return all_failed<void>(locks.size(), r.error());
        results<void> answers = all_failed<void>(locks.size(), {errc::lock_lost, {}});
        for (auto kind : {op::lock_kind::schedule, op::lock_kind::name}) {
            std::vector<schedule_lock*> batch;
            std::vector<std::size_t> places;
            auto flush = [&] {
                if (batch.empty()) return;
                auto r = send(batch, kind);
                for (std::size_t i = 0; i < batch.size(); ++i) answers[places[i]] = std::move(r[i]);
                batch.clear();
                places.clear();
            };
            for (std::size_t i = 0; i < locks.size(); ++i) {
                if (!locks[i].is_held_by(*link_) || locks[i].held().kind != kind) continue;
                batch.push_back(&locks[i]);
                places.push_back(i);
                if (batch.size() == op::max_batch) flush();
            }
            flush();
        }
        after_locks();
        return answers;
    }

    results<void> extend_batch(std::span<schedule_lock*> batch, op::lock_kind kind, microseconds ttl) {
        if (auto r = check_ttl(ttl); !r) return all_failed<void>(batch.size(), r.error());
        results<void> answers;
        answers.reserve(batch.size());
        std::lock_guard const io{io_};
        if (auto r = core_.can_act(now()); !r) return all_failed<void>(batch.size(), r.error());
        op::extend_locks request{.incarnation = core_.self().incarnation, .kind = kind, .ttl = ttl};
        request.items.reserve(batch.size());
        for (auto* l : batch) request.items.push_back({l->held().name, l->held().token});
        auto const sent = now();
        auto const answer = attempt(std::move(request));
        collect();
        if (!answer) return all_failed<void>(batch.size(), answer.error());
        auto const& out = std::get<op::outcomes>(*answer).items;
        auto const at = now();
        for (std::size_t i = 0; i < out.size(); ++i) {
            if (out[i].ok()) {
                batch[i]->extended_until(core_.on_extended(kind, batch[i]->held().name, out[i], sent, at));
                answers.push_back({});
                continue;
            }
            answers.push_back(error{out[i].code, in_words(batch[i]->held().name)});
            if (out[i].code != errc::lock_lost) continue;
            core_.on_released(kind, batch[i]->held().name, batch[i]->held().token);
            batch[i]->forget();
        }
        return answers;
    }

    results<void> release_batch(std::span<schedule_lock*> batch, op::lock_kind kind) {
        op::release_locks request{.kind = kind};
        request.items.reserve(batch.size());
        for (auto* l : batch) {
            request.items.push_back({l->held().name, l->held().token});
            l->forget();
        }
        std::lock_guard const io{io_};
        auto const r = release_locked(std::move(request));
        if (!r) return all_failed<void>(batch.size(), r.error());
        results<void> answers(r->items.size());
        for (std::size_t i = 0; i < r->items.size(); ++i) {
            if (!r->items[i].ok()) answers[i] = error{r->items[i].code, in_words(batch[i]->held().name)};
        }
        return answers;
    }

    // Under io_; the handles are invalid already.
    result<op::outcomes> release_locked(op::release_locks released) {
        operation const request{std::move(released)};
        auto const& [kind, locks] = std::get<op::release_locks>(request);
        for (auto const& l : locks) core_.on_releasing(kind, l.name, l.token);
        auto answer = attempt(request);
        collect();
        if (!answer) return answer.error();
        for (auto const& l : locks) core_.on_released(kind, l.name, l.token);
        return std::get<op::outcomes>(*std::move(answer));
    }

    result<instant> extend_lock(target const& held, microseconds ttl) override {
        if (auto r = enter(); !r) return r.error();
        if (auto r = check_ttl(ttl); !r) return r.error();
        auto answer = [&]() -> result<instant> {
            std::lock_guard const io{io_};
            if (held.incarnation != belief_->incarnation()) return {errc::lock_lost, in_words(held.name)};
            if (auto r = core_.can_act(now()); !r) return r.error();
            auto const sent = now();
            auto const reply = attempt(op::extend_locks{
                .incarnation = held.incarnation, .kind = held.kind, .items = {{held.name, held.token}}, .ttl = ttl});
            collect();
            if (!reply) return reply.error();
            auto const& out = std::get<op::outcomes>(*reply).items.front();
            if (out.ok()) return core_.on_extended(held.kind, held.name, out, sent, now());
            if (out.code == errc::lock_lost) core_.on_released(held.kind, held.name, held.token);
            return {out.code, in_words(held.name)};
        }();
        deliver();
        return answer;
    }

    result<void> release_lock(target const& held) override {
        if (in_sink()) {  // a handle that dies in a sink: the lane tells the server
            std::lock_guard const lock{queue_mutex_};
            abandoned_.push_back(held);
            return {};
        }
        auto answer = [&]() -> result<void> {
            std::lock_guard const io{io_};
            auto const r = release_locked({.kind = held.kind, .items = {{held.name, held.token}}});
            if (!r) return r.error();
            auto const& out = r->items.front();
            return out.ok() ? result<void>{} : result<void>{out.code, in_words(held.name)};
        }();
        after_locks();
        return answer;
    }

    // A hand-off may have waited for the lock just released.
    void after_locks() {
        bool waiting = false;
        {
            std::lock_guard const io{io_};
            waiting = core_.state() == standing::member && core_.due() <= now();
        }
        if (waiting) drive();
        deliver();
    }

    // Under io_: one request, for locks whose handles died in a sink, or were granted too late. False: there are none.
    bool release_abandoned() {
        op::release_locks request;
        {
            std::lock_guard const lock{queue_mutex_};
            if (abandoned_.empty()) return false;
            request.kind = abandoned_.front().kind;
            std::erase_if(abandoned_, [&](target const& held) {
                if (held.kind != request.kind || request.items.size() == op::max_batch) return false;
                request.items.push_back({held.name, held.token});
                return true;
            });
        }
        (void)release_locked(std::move(request));
        return true;
    }

    // Under io_: an acquisition that was never answered is asked about once there is contact again, and what it took is
    // given back; else that would stand in this node's own way for its ttl. (A repeat has one effect.) False: nothing
    // to ask.
    bool settle_unanswered() {
        if (unanswered_.empty() || core_.last_failure()) return false;
        auto [request, until] = std::move(unanswered_.back());
        unanswered_.pop_back();
        auto const& asked = std::get<op::acquire_locks>(request);
        if (now() >= until || asked.incarnation != core_.self().incarnation) return true;
        auto const answer = attempt(request);
        if (!answer) {  // another time
            if (answer.error() != errc::not_joined) unanswered_.push_back({std::move(request), until});
            return false;
        }
        op::release_locks taken{.kind = asked.kind};
        auto const& out = std::get<op::outcomes>(*answer).items;
        for (std::size_t i = 0; i < out.size(); ++i) {
            if (out[i].ok()) taken.items.push_back({asked.items[i].name, out[i].token});
        }
        if (!taken.items.empty()) (void)release_locked(std::move(taken));
        return true;
    }

    ports& ports_;
    std::shared_ptr<late<belief, Defects>> belief_;
    two_lane_mutex io_;                       // of core and command connection
    two_lane_mutex::fast_lane lane_io_{io_};  // ... for the background lane, which goes first
    core core_;
    bool opened_ = false;
    std::optional<nap> nap_;  // while run() sleeps
    struct unanswered {
        operation request;
        instant until{};
    };
    std::vector<unanswered> unanswered_;  // acquisitions
    std::shared_ptr<lock_link> link_;
    std::atomic<bool> running_{false};
    atomic_instant due_;

    std::mutex sleep_;                  // held by the thread that waits for what is pushed
    std::atomic<bool> watched_{false};  // a loop polls wake_fd()

    std::atomic<bool> closing_{false};
    std::condition_variable idle_;               // with queue_mutex_: run() has returned
    std::mutex queue_mutex_;                     // of what follows
    std::atomic<std::thread::id> delivering_{};  // the thread that runs the sink
    std::vector<event> queue_;
    std::vector<target> abandoned_;
};

}  // namespace rota::detail
