// What the server grants: nothing to commands of connections that are no more, nothing beyond a node's capacity.
#pragma once

#include <map>
#include <utility>
#include <variant>

#include "../world.hpp"

namespace rota::sim {

/// Once a session has been heard by a newer connection, no command that comes by an older one has an effect. (But for a
/// brief tick, which extends a deadline: see op::tick.)
class dead_connections_do_nothing final : public invariant {
public:
    std::string_view name() const override { return "dead_connections_do_nothing"; }
    void performed(step const& s) override {
        if (s.from.session == 0) return;
        auto& newest = newest_[{s.server, s.from.session}];
        if (s.from.number >= newest) {
            newest = s.from.number;
        } else if (s.answer && !may_come_late(s.request) && group().promises_hold()) {
            fail(fmt::format("a command of process {} by connection {} took effect; connection {} had been used",
                             s.process, s.from.number, newest));
        }
    }
    // A server that has lost data has lost which connections there were, too.
    void fault_began(fault const& f) override {
        if (!within_promises(f.kind)) newest_.clear();
    }

private:
    static bool may_come_late(operation const& o) {
        auto const* const tick = std::get_if<op::tick>(&o);
        return (tick && tick->brief) || std::holds_alternative<op::lookup>(o) ||
               std::holds_alternative<op::changes_since>(o) || std::holds_alternative<op::events_since>(o) ||
               std::holds_alternative<op::schedules_page>(o) || std::holds_alternative<op::nodes_page>(o) ||
               std::holds_alternative<op::scan_page>(o);
    }
    std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> newest_;
};

/// What is given to a node, or set out for it, is never more than it may have. (It may come to hold more, by being allowed
/// less.)
class capacity_kept final : public invariant {
public:
    std::string_view name() const override { return "capacity_kept"; }
    void performed(step const& s) override {
        auto& seq = seq_[s.server];
        auto const store_seq = group().servers().server(s.server).store->seq();
        if (!s.answer || std::exchange(seq, store_seq) == store_seq) return;  // a repeat of what was done before
        auto const* r = std::get_if<op::outcomes>(&*s.answer);
        auto each = [&](auto const& items) {
            for (std::size_t i = 0; i < items.size(); ++i) {
                if (r->items[i].ok()) look_at(s, items[i].to);
            }
        };
        if (auto* q = std::get_if<op::adopt>(&s.request)) each(q->items);
        if (auto* q = std::get_if<op::revoke>(&s.request)) each(q->items);
        if (auto* q = std::get_if<op::acknowledge>(&s.request)) each(q->items);
        if (auto* q = std::get_if<op::claim>(&s.request); q && r->items.front().ok()) look_at(s, q->incarnation);
    }

private:
    void look_at(step const& s, fencing_token incarnation) {
        auto const& store = *group().servers().server(s.server).store;
        auto const n = store.node(incarnation);
        if (!n || n->load + n->pending <= n->capacity || !store.disagreement().empty()) return;
        fail(fmt::format("{} owns {} schedules and expects {}; it may have {}", incarnation, n->load, n->pending,
                         n->capacity));
    }
    std::map<std::uint32_t, std::uint64_t> seq_;
};

}  // namespace rota::sim
