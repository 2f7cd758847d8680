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
        auto const margin = p.machine().settings().safety_margin;
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
        auto const margin = p.machine().settings().safety_margin;
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
        auto& t = tellers_[p.number()];
        if (auto const* joined = std::get_if<node_joined>(&e)) t.incarnation = joined->node.incarnation;
        auto const* change = std::get_if<leadership_changed>(&e);
        if (!change) return;
        bool const gained = t.incarnation != 0 && change->leader.incarnation == t.incarnation;
        bool const lost = t.incarnation != 0 && change->previous.incarnation == t.incarnation;
        if (gained && t.leads) fail(fmt::format("{}#{} tells that it leads, twice", p.node_id(), p.number()));
        if (gained && lost) fail(fmt::format("{}#{} tells that it succeeded itself", p.node_id(), p.number()));
        if (lost && !t.leads) {
            fail(fmt::format("{}#{} tells that it lost a leadership that it had not told of", p.node_id(), p.number()));
        }
        ++t.changes;
        if (gained) t.leads = true;
        if (lost) t.leads = false;
    }
    void acted(process const& p) override {
        auto& t = tellers_[p.number()];
        bool const leads = p.believes_it_leads();
        if (leads && !t.leads) fail(fmt::format("{}#{} leads and has not told", p.node_id(), p.number()));
        if (leads && t.last.until < p.now() && t.last.changes == t.changes && t.last.led) {
            fail(fmt::format("{}#{} did not lead for a while, and has not told", p.node_id(), p.number()));
        }
        t.last = {leads, std::min(p.belief().leads_until(), p.belief().alive_until()), t.changes};
    }
    void process_ended(process const& p, std::string_view how) override {
        // A crash tells nothing; whoever leaves in order does.
        if (how == "left" && tellers_[p.number()].leads) {
            fail(fmt::format("{}#{} left, and has not told that it leads no more", p.node_id(), p.number()));
        }
        tellers_.erase(p.number());
    }

private:
    struct last_seen {
        bool led = false;
        instant until{};
        std::uint64_t changes = 0;
    };
    struct teller {
        fencing_token incarnation = 0;
        bool leads = false;
        last_seen last{};
        std::uint64_t changes = 0;
    };
    std::map<std::uint32_t, teller> tellers_;
};

}  // namespace rota::sim
