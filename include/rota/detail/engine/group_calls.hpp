// Looking at the group, and telling it what to do: nodes, orphans, proposals and their application, attributes, orders.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "../../queries.hpp"
#include "driver.hpp"
#include "membership_calls.hpp"

namespace rota::detail {

template <typename Mode, typename Defects>
class group_calls {
    using driver_type = driver<Mode, Defects>;
    using operation = late<rota::operation, Defects>;
    using event = late<rota::event, Defects>;
    using reply = late<rota::reply, Defects>;
    template <typename T>
    using result = late<rota::result<T>, Defects>;

public:
    group_calls(driver_type& d, membership_calls<Mode, Defects>& membership) : driver_{d}, membership_{membership} {}

    // ---------------------------------------------------------------- looking

    flow<result<std::vector<node_status>>> nodes() {
        if (auto r = driver_.enter(); !r) co_return r.error();
        std::vector<node_status> all;
        std::vector<std::string> drained;
        for (fencing_token after = 0;;) {
            op::nodes_page request{.after = after};
            auto page = co_await driver_.perform(std::move(request));
            if (!page) co_return page.error();
            if (after == 0) drained = std::move(page->drained);
            for (auto& n : page->items) {
                after = n.node.incarnation;
                n.draining = find_where(drained, [&](auto const& id) { return id == n.node.id; }) != drained.end();
                all.push_back(std::move(n));
            }
            if (page->items.size() < op::max_batch) co_return all;
        }
    }

    flow<result<std::vector<node_load>>> loads() {
        auto const all = co_await nodes();
        if (!all) co_return all.error();
        std::vector<node_load> found;
        for (auto const& n : *all) {
            if (n.alive) found.push_back({n.node, n.load, n.pending, n.capacity});
        }
        co_return found;
    }

    flow<result<std::vector<schedule_status>>> orphaned() {
        auto const all = co_await nodes();
        if (!all) co_return all.error();
        std::vector<schedule_status> orphans;
        auto const unowned = co_await read_holder(0, orphans);
        if (!unowned) co_return unowned.error();
        for (auto const& n : *all) {
            if (n.alive && n.remaining > microseconds{}) continue;
            auto const left = co_await read_holder(n.node.incarnation, orphans);
            if (!left) co_return left.error();
        }
        co_return orphans;
    }

    flow<result<fencing_token>> incarnation_of(std::string const& node_id) {
        auto const all = co_await nodes();
        if (!all) co_return all.error();
        for (auto const& n : *all) {
            if (n.alive && n.node.id == node_id) co_return n.node.incarnation;
        }
        co_return error{errc::unknown_node, in_words(node_id)};
    }

    // ---------------------------------------------------------------- plans

    flow<result<proposal>> propose() {
        auto const as_it_is = [](group_picture<Defects>&) { return result<void>{}; };
        co_return co_await propose_for(as_it_is, false);
    }

    flow<result<proposal>> propose_if_lost(std::string node_id) {
        auto const without = [&node_id](group_picture<Defects>& picture) -> result<void> {
            fencing_token lost = 0;
            picture.each_node([&](fencing_token incarnation, auto const& n) {
                if (n.alive && n.id == node_id) lost = incarnation;
            });
            if (lost == 0) return {errc::unknown_node, in_words(node_id)};
            picture.take_out(lost, false, 0);
            return {};
        };
        co_return co_await propose_for(without, true);
    }

    flow<result<proposal>> propose_if_joined(std::uint32_t count, node_attributes attributes) {
        if (auto r = check_labels(attributes.zone, attributes.labels); !r) co_return r.error();
        if (count > most_imagined) {
            co_return error{errc::invalid_argument, fmt::format("{} nodes, at most {} may be", count, most_imagined)};
        }
        auto const with = [&attributes, count](group_picture<Defects>& picture) -> result<void> {
            for (std::uint32_t i = 1; i <= count; ++i) {
                picture.put_node((fencing_token{1} << 53) + i, fmt::format("new-{}", i),
                                 attributes.capacity.value_or(unlimited), to_traits(attributes));
            }
            return {};
        };
        co_return co_await propose_for(with, true);
    }

    flow<result<void>> apply(proposal const& p) {
        if (auto r = driver_.enter(); !r) co_return r;
        if (p.hypothetical) {
            co_return error{errc::invalid_argument, "the proposal is for a group that is not as it assumes"};
        }
        fencing_token self = 0, term = 0;
        {
            auto const turn = driver_.mode.user_turn();
            if (auto can = driver_.core.can_act(driver_.now()); !can) co_return can;
            if (!driver_.belief->leads(driver_.now())) {
                co_return error{errc::not_leader, "only the leader applies a plan"};
            }
            if (p.epoch != driver_.core.epoch()) {
                co_return error{errc::conflict, "the group has lost data since the plan was made"};
            }
            self = driver_.core.self().incarnation;
            term = driver_.belief->term();
            if (p.maintenance && p.voluntary > 0) {  // (if it was ordered since, the group has changed)
                co_return error{errc::conflict, "the group is under maintenance: nothing is moved"};
            }
        }
        op::adopt placing{.incarnation = self, .term = term};
        op::revoke moving{
            .incarnation = self, .term = term, .handoff_deadline = driver_.core.settings().handoff_deadline};
        for (auto const& m : p.moves) {
            if (m.from.incarnation == 0) {
                placing.items.push_back({m.schedule, m.generation, m.owner, m.to.incarnation, m.reason});
            } else {
                moving.items.push_back({m.schedule, m.generation, m.owner, m.to.incarnation, m.reason, false});
            }
        }
        auto as_of = p.as_of;  // asked of the first request alone: from then on the group changes by our own doing
        std::size_t refused = 0;
        auto r = co_await apply_in_pages(std::move(placing), as_of, refused);
        if (r) r = co_await apply_in_pages(std::move(moving), as_of, refused);
        co_await driver_.after_change();
        if (r && refused > 0) {
            co_return error{errc::conflict, fmt::format("{} of {} steps no longer applied", refused, p.moves.size())};
        }
        co_return r;
    }

    // ---------------------------------------------------------------- attributes and orders

    flow<result<void>> set_attributes(node_attributes attributes) {
        auto may = driver_.enter();
        if (may) may = check_labels(attributes.zone, attributes.labels);
        if (!may) co_return may;
        if (attributes.capacity == unlimited) {
            co_return error{errc::invalid_argument, "the capacity is too large (leave it out for no limit)"};
        }
        {
            auto const turn = driver_.mode.user_turn();
            driver_.core.description().set(std::move(attributes));
        }
        co_return co_await told_to_group();
    }

    node_attributes attributes() {
        auto const turn = driver_.mode.user_turn();
        return driver_.core.description().attributes();
    }

    flow<result<void>> report_load(double load) {
        if (auto r = driver_.enter(); !r) co_return r;
        if (!is_finite(load) || load < 0) {
            co_return error{errc::invalid_argument,
                            fmt::format("the load is {}, must be finite and not negative", load)};
        }
        {
            auto const turn = driver_.mode.user_turn();
            driver_.core.description().measured(load, driver_.now());
        }
        co_return co_await told_to_group();
    }

    flow<result<void>> give_order(op::order_kind kind, std::string node_id) {
        auto may = driver_.enter();
        bool const of_node = kind == op::order_kind::drain || kind == op::order_kind::undrain;
        if (may && of_node) may = check_id("the node id", node_id);
        if (!may) co_return may;
        op::give_order request{.kind = kind, .node_id = node_id};
        auto const r = co_await driver_.perform(std::move(request));
        if (!r) co_return r.error() == errc::unknown_node ? error{errc::unknown_node, in_words(node_id)} : r.error();
        co_await driver_.after_change();
        co_return result<void>{};
    }

private:
    static constexpr std::uint32_t most_imagined = 10'000;

    flow<result<void>> read_holder(fencing_token holder, std::vector<schedule_status>& into) {
        for (std::string after;;) {
            op::schedules_page request{.holder = holder, .after = after};
            auto page = co_await driver_.perform(std::move(request));
            if (!page) co_return page.error();
            auto const count = page->items.size() + page->strays.size();
            if (!page->items.empty()) after = page->items.back().id;
            for (auto const& id : page->strays) after = std::max(after, id);
            for (auto& s : page->items) into.push_back(std::move(s));
            if (count < op::max_batch) co_return result<void>{};
        }
    }

    // What this node says of itself goes out with the lane, at once if it is a member.
    flow<result<void>> told_to_group() {
        bool member = false;
        {
            auto const turn = driver_.mode.user_turn();
            driver_.collect();
            member = driver_.core.state() == standing::member;
        }
        if (!member) co_return result<void>{};  // with the next join
        co_await driver_.drive();
        auto r = membership_.outcome_of_tick();
        driver_.deliver();
        auto const turn = driver_.mode.user_turn();
        if (r && !driver_.core.description().is_told()) {
            co_return error{errc::unavailable, "not told yet: it goes out with the next contact"};
        }
        co_return r;
    }

    // Reads the group as it is, makes of it what is to be assumed, and asks the strategy.
    template <typename Assume>
    flow<result<proposal>> propose_for(Assume const& assume, bool hypothetical) {
        if (auto r = driver_.enter(); !r) co_return r.error();
        group_feed<Defects> feed;
        op::nodes_page first{.limit = 1};
        auto const start = co_await driver_.perform(std::move(first));
        if (!start) co_return start.error();
        feed.start(start->epoch);
        auto const began = driver_.now();
        auto const server_time = [this, began, then = start->now] {
            return then + static_cast<fencing_token>((driver_.now() - began).count());
        };
        for (auto request = feed.next(); request; request = feed.next()) {
            auto const asked = *request;
            auto const answer = co_await driver_.perform_any(*std::move(request));
            if (!answer) co_return answer.error();
            auto const at = server_time();
            if (auto* page = std::get_if<op::nodes_reply>(&*answer)) feed.on(*page, at);
            if (auto* page = std::get_if<op::page_reply>(&*answer)) {
                feed.on(std::get<op::schedules_page>(asked), *page, at);
            }
            if (auto* page = std::get_if<op::events_reply>(&*answer)) feed.on(*page, 0, at, [](event const&) {});
        }
        if (auto r = assume(feed.picture()); !r) co_return r.error();
        co_return ask_strategy(feed, server_time(), hypothetical);
    }

    result<proposal> ask_strategy(group_feed<Defects>& feed, fencing_token server_time, bool hypothetical) {
        plan p;
        auto& picture = feed.picture();
        auto const turn = driver_.mode.user_turn();  // it is asked by one thread at a time
        auto const view = picture.view(server_time);
        auto fault = driver_.policies.strategy()(view, p, [this] { return driver_.now(); }, microseconds::max());
        if (fault.empty()) return proposal_of(p, picture, view, feed, hypothetical);
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
    flow<result<void>> apply_in_pages(Op all, std::uint64_t& as_of, std::size_t& refused) {
        auto const items = std::exchange(all.items, {});
        using item = typename decltype(all.items)::value_type;
        std::span<item const> const everything{items};
        for (std::size_t n = 0; !page_of(everything, n).empty(); ++n) {
            auto const page = page_of(everything, n);
            auto request = all;
            request.items = {page.begin(), page.end()};
            request.as_of = std::exchange(as_of, 0);
            if constexpr (std::is_same_v<Op, op::adopt>) request.seen = seen();
            auto const r = co_await driver_.perform(std::move(request));
            if (!r) co_return r.error();
            for (auto const& out : r->items) refused += out.ok() ? 0 : 1;
            driver_.note_own_change(*r);
        }
        co_return result<void>{};
    }

    fencing_token seen() {
        auto const turn = driver_.mode.user_turn();
        return driver_.core.seen();
    }

    driver_type& driver_;
    membership_calls<Mode, Defects>& membership_;
};

}  // namespace rota::detail
