// Who leads: at most one believes it, no belief outlasts what the server granted, and gain and loss are told in turn.
#pragma once

#include <map>
#include <string>

#include "../world.hpp"

namespace rota::sim {

/// At most one node's is_leader() is true at any moment.
class one_leader final : public invariant {
public:
    std::string_view name() const override { return "one_leader"; }
    void acted(process const& p) override {
        if (!p.believes_it_leads() || !group().promises_hold()) return;
        for (auto const* other : group().living()) {
            if (other == &p || !other->believes_it_leads()) continue;
            fail(fmt::format("{}#{} (term {}) and {}#{} (term {}) believe that they lead", p.node_id(), p.number(),
                             p.belief().term(), other->node_id(), other->number(), other->belief().term()));
        }
    }
};

/// Belief in the lease and in being alive ends, with the margin to spare, before the server's grant does.
class belief_ends_in_time final : public invariant {
public:
    std::string_view name() const override { return "belief_ends_in_time"; }
    void acted(process const& p) override {
        if (!group().promises_hold()) return;
        auto const& b = p.belief();
        auto const margin = group().settings().options.safety_margin;
        if (p.believes_it_leads()) {
            auto const l = group().store().leader();
            auto const until = p.clock().when(b.leads_until() + margin);
            if (l.incarnation != b.incarnation() || l.term != b.term()) {
                fail(fmt::format("{}#{} believes in term {}, which is not the one stored ({} of {})", p.node_id(),
                                 p.number(), b.term(), l.term, l.incarnation));
            }
            check(p, "the lease", until, l.deadline);
        }
        if (p.believes_it_lives()) {
            auto const n = group().store().node(b.incarnation());
            if (!n)
                fail(fmt::format("{}#{} believes that it lives; the server has forgotten it", p.node_id(), p.number()));
            check(p, "its life", p.clock().when(b.alive_until() + margin), n->deadline);
        }
    }
    void lock_taken(process const& p, run const& r) override {
        if (!group().promises_hold() || !p.is_valid(r)) return;
        auto const l = group().store().lock(r.kind, r.name);
        if (!l || l->token != r.token) {
            fail(fmt::format("{}#{} holds {} under {}, which the server does not have", p.node_id(), p.number(), r.name,
                             r.token));
        }
        auto const margin = group().settings().options.safety_margin;
        check(p, "the lock of " + r.name, p.clock().when(r.until + margin), l->deadline);
    }

private:
    void check(process const& p, std::string const& what, moment until, std::int64_t deadline) {
        // A microsecond is lost in rounding to the node's clock and back.
        auto const granted = group().true_time_of(deadline);
        if (until <= granted + microseconds{2}) return;
        fail(fmt::format("{}#{} believes in {} (and a margin) until {}, the server until {}", p.node_id(), p.number(),
                         what, in_words(until), in_words(granted)));
    }
};

/// A node tells of its own leadership gained and lost in turn, and of lost at last when it goes.
class leadership_alternates final : public invariant {
public:
    std::string_view name() const override { return "leadership_alternates"; }
    void told(process const& p, event const& e) override {
        if (std::holds_alternative<node_joined>(e))
            incarnation_[p.number()] = std::get<node_joined>(e).node.incarnation;
        auto const* change = std::get_if<leadership_changed>(&e);
        if (!change) return;
        auto const self = incarnation_[p.number()];
        auto& leads = leads_[p.number()];
        bool const gained = self != 0 && change->leader.incarnation == self;
        bool const lost = self != 0 && change->previous.incarnation == self;
        if (gained && leads) fail(fmt::format("{}#{} tells that it leads, twice", p.node_id(), p.number()));
        if (gained && lost) fail(fmt::format("{}#{} tells that it succeeded itself", p.node_id(), p.number()));
        if (lost && !leads) {
            fail(fmt::format("{}#{} tells that it lost a leadership that it had not told of", p.node_id(), p.number()));
        }
        ++changes_[p.number()];
        if (gained) leads = true;
        if (lost) leads = false;
    }
    void acted(process const& p) override {
        auto& last = last_[p.number()];
        bool const leads = p.believes_it_leads();
        if (leads && !leads_[p.number()]) {
            fail(fmt::format("{}#{} leads and has not told", p.node_id(), p.number()));
        }
        if (leads && last.until < p.now() && last.changes == changes_[p.number()] && last.led) {
            fail(fmt::format("{}#{} did not lead for a while, and has not told", p.node_id(), p.number()));
        }
        last = {leads, std::min(p.belief().leads_until(), p.belief().alive_until()), changes_[p.number()]};
    }

private:
    struct last_seen {
        bool led = false;
        instant until{};
        std::uint64_t changes = 0;
    };
    std::map<std::uint32_t, fencing_token> incarnation_;
    std::map<std::uint32_t, bool> leads_;
    std::map<std::uint32_t, last_seen> last_;
    std::map<std::uint32_t, std::uint64_t> changes_;
};

/// Plans take effect only under the term that is stored as the present one.
class plans_under_current_term final : public invariant {
public:
    std::string_view name() const override { return "plans_under_current_term"; }
    void performed(step const& s) override {
        if (!s.answer) return;
        if (auto* r = std::get_if<op::adopt>(&s.request)) check(s, r->incarnation, r->term);
        if (auto* r = std::get_if<op::reap>(&s.request)) check(s, r->incarnation, r->term);
        if (auto* r = std::get_if<op::revoke>(&s.request); r && r->term != 0) check(s, r->incarnation, r->term);
    }

private:
    void check(step const& s, fencing_token incarnation, fencing_token term) {
        auto const l = group().redis().server(s.server).store->leader();
        if (l.incarnation == incarnation && l.term == term) return;
        fail(fmt::format("a plan of {} under term {} was applied; the present one is {} of {}", incarnation, term,
                         l.term, l.incarnation));
    }
};

}  // namespace rota::sim
