// The simulator's invariants: each is silent about a group in good order, and names what breaks it. What breaks it is
// made by hand (a belief or the server's state is changed behind everybody's back, or an invariant is told of what did
// not happen), or by a strategy or handler that is wrong.
#include <algorithm>
#include <variant>

#include <rota/detail/redis/encode.hpp>
#include <rota/detail/redis_scripts.hpp>
#include <rota/sim.hpp>

#include "../catch.hpp"
#include "../support/command_words.hpp"
#include "../support/planted.hpp"

using namespace std::chrono_literals;
using namespace rota;
using rota::detail::defect;
using rota_test::contains;
using rota_test::planted_world;
using rota_test::planting;
using sim::broken_invariant;

namespace {

// A group that has come to rest, and an invariant that is told things by hand.
template <typename Invariant>
struct watched {
    sim::world w;
    Invariant it;

    explicit watched(sim::world_settings s = {.seed = 5, .nodes = 3, .work = sim::no_work}) : w{std::move(s)} {
        it.belongs_to(w);
        w.register_schedules(6);
        REQUIRE(w.run_until(sim::converged, 30s));
    }

    sim::process& leader() { return *w.process_at(w.leader().place()); }
    sim::process& follower() { return *w.process_at(w.follower().place()); }
    rota::detail::belief& belief(sim::process& p) { return const_cast<rota::detail::belief&>(p.belief()); }
    sim::run& begin_run(sim::process& p, sim::run r) {
        auto& runs = const_cast<std::vector<sim::run>&>(p.runs());
        runs.reserve(8);
        r.at = sim::run::stage::working;
        r.holds = true;
        r.incarnation = p.belief().incarnation();
        if (r.until == instant{}) r.until = p.now() + 1s;
        r.began = w.now();
        return runs.emplace_back(std::move(r));
    }

    // The server does it, and the invariant is told or not.
    sim::redis_model& server() { return const_cast<sim::redis_model&>(w.servers()); }
    result<reply> happens(operation const& request, bool told = true) {
        auto answer = server().perform(server().primary(), request, {}, w.now());
        if (told) says(request, answer);
        return answer;
    }
    // The invariant is told that the server did it.
    void says(operation const& request, result<reply> const& answer, std::uint32_t process = 0) {
        it.performed({request, answer, server().primary(), process, w.server_time()});
    }
    fencing_token ghost() {
        auto const answer = happens(op::join{.node_id = "ghost", .nonce = 7, .node_ttl = 100s}, false);
        return std::get<op::joined>(*answer).incarnation;
    }
};

// What the invariant says of it; empty: nothing.
template <typename Call>
std::string complaint(Call&& call) {
    try {
        call();
    } catch (broken_invariant const& e) {
        CHECK_THAT(e.what(), contains(e.invariant + " broken at "));
        CHECK_THAT(e.what(), contains("seed "));
        return e.invariant + ": " + e.words;
    }
    return {};
}

result<reply> granted(fencing_token token, microseconds remaining = 5s) {
    return reply{op::outcomes{{{.token = token, .remaining = remaining}}}};
}
result<reply> refused(errc code, microseconds remaining = {}) {
    return reply{op::outcomes{{{.code = code, .remaining = remaining}}}};
}
constexpr auto a_schedule = op::lock_kind::schedule;

op::acquire_locks acquire(std::string name, microseconds ttl = 5s, std::uint64_t nonce = 1) {
    return {.incarnation = 1, .kind = a_schedule, .items = {{std::move(name)}}, .ttl = ttl, .nonce = nonce};
}
op::extend_locks extend(std::string name, fencing_token token) {
    return {.incarnation = 1, .kind = a_schedule, .items = {{std::move(name), token}}, .ttl = 5s};
}
op::release_locks release(std::string name, fencing_token token) {
    return {.kind = a_schedule, .items = {{std::move(name), token}}};
}

}  // namespace

// -------------------------------------------------------------------- leadership

TEST_CASE("one_leader: two believe that they lead") {
    watched<sim::one_leader> t;
    CHECK(complaint([&] { t.it.acted(t.leader()); }).empty());
    auto& other = t.follower();
    t.belief(other).lead(4711, other.now() + 1s);
    CHECK_THAT(complaint([&] { t.it.acted(other); }),
               contains("one_leader: " + other.node_id()) && contains("(term 4711)") && contains(t.leader().node_id()));
}

TEST_CASE("belief_ends_in_time: a belief outlasts what the server granted, less the margin") {
    watched<sim::belief_ends_in_time> t;
    auto& p = t.leader();
    CHECK(complaint([&] { t.it.acted(p); }).empty());
    SECTION("the lease") {
        t.belief(p).lead(p.belief().term(), p.now() + 3s);
        CHECK_THAT(complaint([&] { t.it.acted(p); }), contains("belief_ends_in_time") && contains("the lease"));
    }
    SECTION("being alive") {
        t.belief(p).extend_life(p.now() + 3s);
        CHECK_THAT(complaint([&] { t.it.acted(p); }), contains("its life"));
    }
    SECTION("a term that the server does not have") {
        t.belief(p).lead(p.belief().term() - 1, p.now() + 1s);
        CHECK_THAT(complaint([&] { t.it.acted(p); }), contains("is not the one stored"));
    }
    SECTION("a lock") {
        auto request = acquire("schedule-0000", 1s);
        auto const s = *t.w.store().schedule("schedule-0000");
        request.incarnation = s.owner;
        request.items.front().generation = s.generation;
        auto const token = std::get<op::outcomes>(*t.happens(request, false)).items.front().token;
        for (auto* owner : t.w.living()) {
            if (owner->belief().incarnation() != s.owner) continue;
            sim::run r{.name = "schedule-0000", .kind = a_schedule, .token = token};
            r.until = owner->now() + 900ms;
            auto& held = t.begin_run(*owner, r);
            CHECK(complaint([&] { t.it.lock_taken(*owner, held); }).empty());
            held.until += 100ms;
            CHECK_THAT(complaint([&] { t.it.lock_taken(*owner, held); }), contains("the lock of schedule-0000"));
        }
    }
}

TEST_CASE("leadership_alternates: gained twice, lost without having been gained, kept to oneself") {
    watched<sim::leadership_alternates> t;
    auto& p = t.follower();
    auto const self = node_ref{p.node_id(), p.belief().incarnation()};
    t.it.told(p, node_joined{self, 1});
    auto gain = [&] { t.it.told(p, leadership_changed{self, 5, {}}); };
    auto lose = [&] { t.it.told(p, leadership_changed{{}, 0, self}); };
    CHECK(complaint([&] { gain(), lose(), gain(); }).empty());
    CHECK_THAT(complaint(gain), contains("leadership_alternates") && contains("twice"));
    lose();
    CHECK_THAT(complaint(lose), contains("had not told of"));
    t.belief(p).lead(4711, p.now() + 1s);
    CHECK_THAT(complaint([&] { t.it.acted(p); }), contains("leads and has not told"));
    gain();
    CHECK_THAT(complaint([&] { t.it.process_ended(p, "left"); }), contains("leads no more"));
}

// -------------------------------------------------------------------- plans

TEST_CASE("plans_under_current_term: a plan of an old term is applied") {
    watched<sim::plans_under_current_term> t;
    auto const l = t.w.store().leader();
    op::adopt plan{.incarnation = l.incarnation, .term = l.term};
    CHECK(complaint([&] { t.says(plan, granted(1)); }).empty());
    plan.term -= 1;
    CHECK(complaint([&] { t.says(plan, errc::not_leader); }).empty());
    CHECK_THAT(complaint([&] { t.says(plan, granted(1)); }), contains("plans_under_current_term"));
}

namespace {

// Gives each orphan to two nodes.
struct two_for_one {
    plan make_plan(cluster_view const& view) const {
        auto p = plan{};
        for (auto s : view.orphans) {
            p.moves.push_back({.schedule = s, .to = 0});
            p.moves.push_back({.schedule = s, .to = static_cast<std::uint32_t>(view.nodes.size() - 1)});
        }
        return p;
    }
};

// Moves all that the fullest node has to the next one.
struct restless {
    plan make_plan(cluster_view const& view) const {
        plan p;
        least_moves{}.make_plan(view, p);
        if (p.forced > 0) return p;
        p.clear();
        std::uint32_t fullest = 0;
        for (std::uint32_t n = 0; n < view.nodes.size(); ++n) {
            if (view.nodes[n].load > view.nodes[fullest].load) fullest = n;
        }
        auto const next = static_cast<std::uint32_t>((fullest + 1) % view.nodes.size());
        for (auto s : view.nodes[fullest].schedules) {
            if (next != fullest && !view.schedules[s].moving) p.moves.push_back({s, fullest, next});
        }
        return p;
    }
};

// Gives everything to the first node, moves nothing; or does nothing at all.
struct one_sided {
    bool idle = false;
    plan make_plan(cluster_view const& view) const {
        plan p;
        for (auto s : view.orphans) {
            if (!idle) p.moves.push_back({.schedule = s, .to = 0});
        }
        return p;
    }
};

template <typename Invariant, typename Strategy>
std::string complaint_of_run(Strategy strategy, sim::world_settings s = {.seed = 3, .work = sim::no_work}) {
    return complaint([&] {
        sim::world w{std::move(s)};
        w.use_strategy(strategy);
        w.check<Invariant>();
        w.register_schedules(10);
        w.run_for(60s);
    });
}

}  // namespace

TEST_CASE("plans_are_sound: a strategy gives one schedule to two nodes") {
    CHECK_THAT(complaint_of_run<sim::plans_are_sound>(two_for_one{}),
               contains("plans_are_sound: the strategy of node-") && contains("moves \"schedule-0000\" twice"));
    CHECK(complaint_of_run<sim::plans_are_sound>(least_moves{}).empty());
}

TEST_CASE("moves_bounded: a strategy moves without end") {
    CHECK_THAT(complaint_of_run<sim::moves_bounded>(restless{}), contains("moves_bounded: "));
    CHECK(complaint_of_run<sim::moves_bounded>(least_moves{}).empty());
    CHECK(complaint_of_run<sim::moves_bounded>(one_sided{}).empty());
}

TEST_CASE("moves_bounded: its optimum is that of least_moves, computed from the definition") {
    sim::choices c{42};
    for (int round = 0; round < 3000; ++round) {
        sim::load_picture p;
        std::vector<cluster_view::node> nodes;
        auto const count = 1 + c.choose(5);
        for (std::uint64_t i = 0; i < count; ++i) {
            auto const load = static_cast<std::uint32_t>(c.choose(12));
            auto const capacity = c.one_in(2) ? unlimited : static_cast<std::uint32_t>(c.choose(12));
            nodes.push_back({.id = {}, .load = load, .capacity = capacity});
            p.nodes.push_back({load, capacity});
        }
        std::vector<std::uint32_t> const orphans(c.choose(15));
        p.unowned = static_cast<std::int64_t>(orphans.size());
        cluster_view const view{.nodes = nodes, .schedules = {}, .orphans = orphans};
        REQUIRE(p.least_moves() == least_moves_bound(view));
    }
}

TEST_CASE("even_in_time: loads stay uneven") {
    CHECK_THAT(complaint_of_run<sim::even_in_time>(one_sided{}),
               contains("even_in_time: ") && contains("the loads are"));
    CHECK(complaint_of_run<sim::even_in_time>(least_moves{}).empty());
}

// -------------------------------------------------------------------- ownership

TEST_CASE("one_owner: a node believes to own what the server says is another's") {
    watched<sim::one_owner> t;
    auto& p = t.follower();
    CHECK(complaint([&] { t.it.acted(p); }).empty());
    auto const foreign = t.leader().belief().table().begin()->first;
    t.belief(p).change_table([&](auto& table) { table[foreign] = {4711, 1}; });
    CHECK_THAT(complaint([&] { t.it.acted(p); }),
               contains("one_owner: " + p.node_id()) && contains("believes to own " + foreign + " under 4711"));
}

TEST_CASE("ownership_disjoint: two believe to own the same, at once or because one was asleep") {
    watched<sim::ownership_disjoint> t;
    auto& p = t.follower();
    auto const shared = t.leader().belief().table().begin()->first;
    CHECK(complaint([&] { t.it.acted(p); }).empty());
    t.belief(p).change_table([&](auto& table) { table[shared] = {4711, 1}; });
    SECTION("at once") {
        CHECK_THAT(complaint([&] { t.it.acted(p); }), contains("ownership_disjoint: ") &&
                                                          contains(t.leader().node_id()) &&
                                                          contains("believe to own " + shared));
    }
    SECTION("not while it is suspended; but when it comes back") {
        auto const self = p.belief().incarnation();
        t.belief(p).become(self, p.now());
        CHECK(complaint([&] { t.it.acted(p); }).empty());
        t.belief(p).become(self, p.now() + 1s);
        CHECK_FALSE(complaint([&] { t.it.acted(p); }).empty());
    }
}

TEST_CASE("generation_rises: an owner changes under a lower generation") {
    watched<sim::generation_rises> t;
    auto const owner = t.ghost();
    t.happens(op::register_schedules{.items = {{.id = "s"}}});
    t.happens(op::claim{.incarnation = owner, .ids = {"s"}});
    // Behind everybody's back: a server that knows nothing, with a clock of yesterday.
    t.server().lose_data();
    t.server().server(0).clock_offset -= 86'400'000'000;
    auto const another = t.ghost();
    t.happens(op::register_schedules{.items = {{.id = "s"}}});
    CHECK_THAT(complaint([&] { t.happens(op::claim{.incarnation = another, .ids = {"s"}}); }),
               contains("generation_rises: s went from "));
}

TEST_CASE("stale_generations_refused: a plan, an acknowledgement, a lock of yesterday takes effect") {
    watched<sim::stale_generations_refused> t;
    auto const owner = t.ghost();
    t.happens(op::register_schedules{.items = {{.id = "s"}}});
    auto const claimed = t.happens(op::claim{.incarnation = owner, .ids = {"s"}});
    auto const generation = std::get<op::outcomes>(*claimed).items.front().token;
    auto lock = acquire("s");
    lock.items.front().generation = generation;
    op::acknowledge ack{.incarnation = owner, .items = {{"s", generation, 5}}};
    op::revoke revoke{.incarnation = owner, .items = {{"s", generation, owner, 5}}};
    CHECK(complaint([&] { t.says(lock, granted(9)), t.says(ack, granted(9)), t.says(revoke, granted(9)); }).empty());
    lock.items.front().generation = ack.items.front().generation = revoke.items.front().generation = generation - 1;
    CHECK(complaint([&] { t.says(lock, refused(errc::not_owner)); }).empty());
    CHECK_THAT(complaint([&] { t.says(lock, granted(9)); }), contains("stale_generations_refused: s was locked"));
    CHECK_THAT(complaint([&] { t.says(ack, granted(9)); }), contains("handed over"));
    CHECK_THAT(complaint([&] { t.says(revoke, granted(9)); }), contains("revoked"));
}

TEST_CASE("only_expired_orphaned: a live node is reaped, or loses a schedule to a plan") {
    watched<sim::only_expired_orphaned> t;
    auto const victim = t.follower().belief().incarnation();
    op::reap const reap{.nodes = {victim}};
    op::adopt const adopt{.items = {{.id = "schedule-0000", .from = victim, .to = 1}}};
    t.says(op::tick{.incarnation = victim, .node_ttl = 3s}, reply{op::ticked{}});
    CHECK_THAT(complaint([&] { t.says(reap, granted(victim)); }),
               contains("only_expired_orphaned: ") && contains("was reaped 3s before"));
    CHECK_THAT(complaint([&] { t.says(adopt, granted(9)); }), contains("may believe in it for another 3s"));
    t.says(op::leave{.incarnation = victim}, reply{op::done{}});
    CHECK(complaint([&] { t.says(adopt, granted(9)); }).empty());
}

TEST_CASE("nothing_lost: what is registered is gone, or what nobody registered is there") {
    watched<sim::nothing_lost> t{{.seed = 5, .nodes = 1, .work = sim::no_work}};
    for (auto const& [id, s] : t.w.store().schedules()) {
        op::register_schedules r;
        r.items.push_back({.id = id});
        (void)complaint([&] { t.says(r, granted(0)); });  // not all of them are told yet
    }
    CHECK(complaint([&] { t.it.looks(); }).empty());
    SECTION("gone") {
        t.happens(op::unregister_schedules{.items = {{"schedule-0003", t.w.store().schedule("schedule-0003")->owner}}},
                  false);
        CHECK_THAT(complaint([&] { t.it.looks(); }), contains("nothing_lost: schedule-0003 is registered, and"));
    }
    SECTION("there") {
        t.happens(op::register_schedules{.items = {{.id = "surprise"}}}, false);
        CHECK_THAT(complaint([&] { t.it.looks(); }), contains("has surprise, which nobody registered"));
    }
}

TEST_CASE("restart_inherits_nothing: a new incarnation owns something") {
    watched<sim::restart_inherits_nothing> t;
    op::join const join{};
    CHECK(complaint([&] { t.says(join, reply{op::joined{.incarnation = t.ghost()}}); }).empty());
    watched<sim::restart_inherits_nothing> u;
    auto const rich = u.follower().belief().incarnation();
    CHECK_THAT(complaint([&] { u.says(join, reply{op::joined{.incarnation = rich}}); }),
               contains("restart_inherits_nothing") && contains("owns 2 schedules"));
    CHECK_THAT(complaint([&] { u.it.told(u.follower(), node_joined{}); }), contains("believes to own something"));
}

TEST_CASE("fenced_do_nothing: a node begins a run that counts for nothing any more, and the server lets it") {
    watched<sim::fenced_do_nothing> t;
    auto& p = t.follower();
    auto& r = t.begin_run(p, {.name = "schedule-0000", .kind = a_schedule, .token = 9});
    CHECK(complaint([&] { t.it.run_began(p, r); }).empty());
    t.belief(p).become(p.belief().incarnation(), p.now());
    CHECK_THAT(complaint([&] { t.it.run_began(p, r); }), contains("fenced_do_nothing: ") && contains("suspended"));
    auto lock = acquire("schedule-0000");
    lock.incarnation = p.belief().incarnation();
    CHECK(complaint([&] { t.says(lock, granted(9)); }).empty());
    lock.incarnation = 4711;
    CHECK(complaint([&] { t.says(lock, errc::not_joined); }).empty());
    CHECK_THAT(complaint([&] { t.says(lock, granted(9)); }), contains("4711 locked something, and is no member"));
}

// -------------------------------------------------------------------- locks and runs

TEST_CASE("locks_exclusive: two handles of a lock are valid at a time") {
    watched<sim::locks_exclusive> t;
    auto& a = t.leader();
    auto& b = t.follower();
    auto& mine = t.begin_run(a, {.name = "s", .token = 7});
    CHECK(complaint([&] { t.it.lock_taken(a, mine); }).empty());
    auto& theirs = t.begin_run(b, {.name = "s", .token = 8});
    CHECK_THAT(complaint([&] { t.it.lock_taken(b, theirs); }),
               contains("locks_exclusive: " + b.node_id()) && contains("(token 8)") && contains("hold s"));
    CHECK_FALSE(complaint([&] { t.it.told(b, node_resumed{}); }).empty());
    mine.until = a.now();
    CHECK(complaint([&] { t.it.lock_taken(b, theirs); }).empty());
}

TEST_CASE("tokens_rise: a lock is granted under an old token, and the highest falls") {
    watched<sim::tokens_rise> t;
    CHECK(complaint([&] {
              t.says(acquire("s", 5s, 1), granted(100));
              t.says(acquire("s", 5s, 1), granted(100));  // a repeat
              t.says(acquire("s", 5s, 2), granted(101));
              t.says(acquire("other", 5s, 3), granted(99));
          }).empty());
    CHECK_THAT(complaint([&] { t.says(acquire("s", 5s, 4), granted(101)); }),
               contains("tokens_rise: s was granted under 101, and before under 101"));
    t.server().lose_data();
    CHECK_THAT(complaint([&] { t.says(op::nodes_page{}, reply{op::nodes_reply{}}); }), contains("highest token fell"));
}

TEST_CASE("strangers_change_nothing: extension and release by who does not hold the lock") {
    watched<sim::strangers_change_nothing> t;
    auto const s = *t.w.store().schedule("schedule-0000");
    auto lock = acquire("schedule-0000");
    lock.incarnation = s.owner;
    lock.items.front().generation = s.generation;
    auto const token = std::get<op::outcomes>(*t.happens(lock)).items.front().token;
    auto more = extend("schedule-0000", token);
    more.incarnation = s.owner;
    CHECK(complaint([&] { t.happens(more), t.happens(release("schedule-0000", token - 1)); }).empty());
    CHECK_THAT(complaint([&] { t.says(extend("schedule-0000", token - 1), granted(token)); }),
               contains("strangers_change_nothing: ") && contains("was extended under " + std::to_string(token - 1)));
    CHECK_THAT(complaint([&] { t.says(release("schedule-0000", 3), granted(0)); }), contains("was released under 3"));
    t.happens(release("schedule-0000", token), false);
    CHECK_THAT(complaint([&] { t.says(release("schedule-0000", 3), refused(errc::lock_lost)); }),
               contains("changed it"));
}

TEST_CASE("no_extend_after_release: what was released is extended") {
    watched<sim::no_extend_after_release> t;
    CHECK(complaint([&] {
              t.says(extend("s", 7), granted(7));
              t.says(release("s", 7), granted(0));
              t.says(extend("s", 7), refused(errc::lock_lost));
              t.says(extend("s", 8), granted(8));
          }).empty());
    CHECK_THAT(complaint([&] { t.says(extend("s", 7), granted(7)); }),
               contains("no_extend_after_release: s was extended under 7"));
}

TEST_CASE("unanswered_acquire_harmless: a grant that nobody heard of is acted on") {
    watched<sim::unanswered_acquire_harmless> t;
    auto& p = t.leader();
    auto& r = t.begin_run(p, {.name = "s", .kind = a_schedule, .token = 7});
    CHECK_THAT(complaint([&] { t.it.lock_taken(p, r); }), contains("which was not granted"));
    t.says(acquire("s"), granted(7), p.number());
    SECTION("extended, without a handle") {
        CHECK_THAT(complaint([&] { t.says(extend("s", 7), granted(7)); }),
                   contains("unanswered_acquire_harmless: s is extended under 7, of which nobody has a handle"));
    }
    SECTION("handed out to another") {
        CHECK_THAT(complaint([&] { t.it.lock_taken(t.follower(), r); }), contains("which was granted to process"));
    }
    SECTION("answered: all is well") {
        CHECK(complaint([&] { t.it.lock_taken(p, r), t.says(extend("s", 7), granted(7)); }).empty());
    }
}

TEST_CASE("locks_end_by_ttl: a lock keeps others out for longer than it was asked for") {
    watched<sim::locks_end_by_ttl> t;
    t.says(acquire("s", 5s), granted(7));
    t.w.run_for(3s);
    CHECK(complaint([&] { t.says(acquire("s", 5s, 2), refused(errc::locked_by_other, 2s)); }).empty());
    CHECK_THAT(complaint([&] { t.says(acquire("s", 5s, 2), refused(errc::locked_by_other, 2001ms)); }),
               contains("locks_end_by_ttl: s is said to be locked for another 2.001s"));
    t.says(extend("s", 7), granted(7));
    CHECK(complaint([&] { t.says(acquire("s", 5s, 2), refused(errc::locked_by_other, 5s)); }).empty());
}

TEST_CASE("no_double_run: a run begins beside another, or without a right to") {
    watched<sim::no_double_run> t;
    auto& a = t.leader();
    auto& b = t.follower();
    auto& r = t.begin_run(a, {.name = "s", .kind = op::lock_kind::name, .token = 7});
    CHECK(complaint([&] { t.it.run_began(a, r); }).empty());
    SECTION("beside one that still has a right to it") {
        auto& second = t.begin_run(b, {.name = "s", .kind = op::lock_kind::name, .token = 8});
        CHECK_THAT(complaint([&] { t.it.run_began(b, second); }),
                   contains("no_double_run: " + b.node_id()) && contains("is at it under 7"));
        r.until = a.now();  // asked to stop, and not quite done
        CHECK(complaint([&] { t.it.run_began(b, second); }).empty());
        second.token = 6;
        CHECK_FALSE(complaint([&] { t.it.run_began(b, second); }).empty());
    }
    SECTION("without a valid handle") {
        r.until = a.now();
        CHECK_THAT(complaint([&] { t.it.run_began(a, r); }), contains("not valid"));
    }
    SECTION("of what another owns") {
        auto const foreign = b.belief().table().begin()->first;
        auto& wrong = t.begin_run(a, {.name = foreign, .kind = a_schedule, .token = 9, .generation = 1});
        CHECK_THAT(complaint([&] { t.it.run_began(a, wrong); }), contains("under generation 1; it is "));
    }
}

TEST_CASE("effects_safe: the same token for two runs; those of servers that were told apart do not count") {
    watched<sim::effects_safe> t;
    auto& r = t.begin_run(t.leader(), {.name = "s", .token = 7});
    r.epoch = 1;
    t.it.run_began(t.leader(), r);
    CHECK(complaint([&] { t.it.run_worked(t.leader(), r); }).empty());
    auto& other = t.begin_run(t.follower(), {.name = "s", .token = 7});
    other.epoch = 1;
    CHECK_THAT(complaint([&] { t.it.run_began(t.follower(), other); }),
               contains("effects_safe: token 7 of s is that of two runs"));
    other.epoch = 2;  // data was lost, and that is known
    CHECK(complaint([&] { t.it.run_began(t.follower(), other); }).empty());
    other.token = 6;  // rejected
    other.epoch = 1;
    CHECK(complaint([&] { t.it.run_began(t.follower(), other); }).empty());
}

TEST_CASE("handlers_stop: a handler ignores that it is asked to stop") {
    auto with = [](auto handler) {
        return complaint([&] {
            sim::world w{{.seed = 9, .nodes = 2}};
            w.check<sim::handlers_stop, sim::no_double_run>();
            w.use_handler(handler);
            w.register_schedules(4);
            REQUIRE(w.run_until(sim::converged, 30s));
            w.run_for(3s);
            w.link(0).cut(8s);
            w.run_for(30s);
        });
    };
    CHECK(with([](sim::job const& j) { return j.stop_requested() || j.elapsed() >= 10s ? 0us : 100ms; }).empty());
    CHECK_THAT(with([](sim::job const& j) { return j.elapsed() >= 10s ? 0us : 100ms; }),
               contains("handlers_stop: the handler of node-0#") && contains("after it was asked to stop"));
    // One long step, as most careless handlers are: nobody can ask it to stop.
    CHECK_THAT(with([](sim::job const& j) { return j.elapsed() == 0s ? 20s : 0s; }),
               contains("handlers_stop: the handler of node-0#") && contains("after it was asked to stop"));
    // Steps of a quarter of the ttl are short enough, whatever befalls the node.
    CHECK(with([](sim::job const& j) { return j.stop_requested() || j.elapsed() >= 10s ? 0us : 1250ms; }).empty());
}

TEST_CASE("handlers_stop: no false alarm of handlers that look in time, whatever goes wrong") {
    sim::setup const heedful{.name = "heedful", .prepare = [](sim::world& w) {
                                 sim::check_all(w);
                                 auto const step = w.settings().work.lock_ttl / 4;
                                 w.use_handler([step](sim::job const& j) {
                                     return j.stop_requested() || j.elapsed() >= 6 * step ? 0us : step;
                                 });
                             }};
    std::uint64_t stopped = 0;
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        auto d = sim::draw_scenario(seed, {.faults_for = 1min, .kinds = sim::every_kind});
        if (d.world.work.period == 0us) continue;
        d.world.work.most = 6 * d.world.work.lock_ttl;  // how long a sweep waits for a group to come to rest
        INFO("seed " << seed);
        sim::tally seen;
        CHECK_NOTHROW(sim::run_scenario(d, false, heedful, &seen));
        stopped += seen.turns.count(sim::sight::lock_expired_while_held);
    }
    CHECK(stopped > 0);
}

TEST_CASE("check_sound is check_all but for what balance takes") {
    auto broken_by = [](auto strategy, auto preset) {
        return complaint([&] {
            sim::world w{{.seed = 3, .work = sim::no_work}};
            preset(w);
            w.use_strategy(strategy);
            w.register_schedules(10);
            w.run_for(60s);
        });
    };
    auto const sound = [](sim::world& w) { sim::check_sound(w); };
    auto const all = [](sim::world& w) { sim::check_all(w); };
    CHECK(broken_by(one_sided{}, sound).empty());
    CHECK(broken_by(restless{}, sound).find("moves_bounded") == std::string::npos);  // it asks too much: no_storm
    CHECK_THAT(broken_by(one_sided{}, all), contains("even_in_time: "));
    CHECK_THAT(broken_by(restless{}, all), contains("moves_bounded: "));
    CHECK_THAT(broken_by(two_for_one{}, sound), contains("plans_are_sound: "));
}

// -------------------------------------------------------------------- events

TEST_CASE("own_events_fold_to_state: a gain told twice, a loss of what was not had, a belief that was not told of") {
    watched<sim::own_events_fold_to_state> t;
    auto& p = t.follower();
    node_ref const self{p.node_id(), p.belief().incarnation()};
    ownership_changed const gained{"s", {}, self, 5, change_reason::placed};
    ownership_changed const lost{"s", self, {}, 0, change_reason::rebalanced};
    CHECK(complaint([&] { t.it.told(p, gained), t.it.told(p, lost), t.it.told(p, gained); }).empty());
    CHECK_THAT(complaint([&] { t.it.told(p, gained); }), contains("own_events_fold_to_state") && contains("twice"));
    t.it.told(p, lost);
    CHECK_THAT(complaint([&] { t.it.told(p, lost); }), contains("which it had not told to own"));
    CHECK_THAT(complaint([&] { t.it.looks(); }), contains("and has not told"));
}

TEST_CASE("group_events_fold_to_state: out of order, twice, a gap that is not told, something missing") {
    watched<sim::group_events_fold_to_state> t{
        {.seed = 5, .options = {.event_scope = event_scope::group}, .work = sim::no_work}};
    auto& p = t.follower();
    t.it.acted(p);
    CHECK(complaint([&] { t.it.looks(); }).empty());
    auto owned = [&](std::string id, fencing_token generation, change_reason why = change_reason::placed) {
        return complaint([&] { t.it.told(p, ownership_changed{id, {}, {"x", 4711}, generation, why}); });
    };
    auto const now = static_cast<fencing_token>(t.w.server_time());
    CHECK(owned("schedule-0000", now + 1).empty());
    CHECK_THAT(owned("schedule-0001", now + 1),
               contains("group_events_fold_to_state") && contains("after it has told"));
    CHECK_THAT(owned("schedule-0001", now + 2, change_reason::resynced), contains("and of no gap"));
    t.it.told(p, events_gap{});
    CHECK(owned("schedule-0001", now + 2, change_reason::resynced).empty());
    CHECK_THAT(complaint([&] { t.it.told(p, schedule_changed{"schedule-0002", true}); }), contains("tells twice"));
    CHECK_THAT(complaint([&] { t.it.looks(); }), contains("has told that schedule-0000 is of 4711"));
}

TEST_CASE("pictures_are_true: a picture that lacks what happened while it was taken") {
    // Schedules come and go while the leader reads its pages.
    auto run = [](auto&& w) {
        return complaint([&] {
            w.template check<sim::pictures_are_true>();
            w.register_schedules(20);
            w.run_for(10s);
            for (int i = 0; i < 20; ++i) {
                w.node(0).renounce();
                w.run_for(std::chrono::microseconds{300 * i});
                w.node(1).transfer(static_cast<std::uint32_t>(i));
                w.node(2).transfer(static_cast<std::uint32_t>(i + 7) % 20);
                w.run_for(7s);
            }
        });
    };
    sim::world_settings const s{
        .seed = 2, .nodes = 3, .work = sim::no_work, .network = {.least_delay = 2ms, .most_delay = 20ms}};
    CHECK(run(sim::world{s}).empty());
    planting const planted{defect::snapshot_alone};
    std::string found;
    for (std::uint64_t seed = 1; seed <= 20 && found.empty(); ++seed) {
        auto t = s;
        t.seed = seed;
        found = run(planted_world{t});
    }
    CHECK_THAT(found, contains("pictures_are_true: "));
}

TEST_CASE("pictures_are_true: what nodes and schedules say of themselves belongs to it") {
    auto const kind = GENERATE(sim::fault_kind::attributes, sim::fault_kind::update_one);
    auto run = [&](defect d) {
        planting const planted{d};
        return complaint([&] {
            planted_world w{{.seed = 2, .nodes = 3, .work = sim::no_work}};
            w.check<sim::pictures_are_true>();
            w.register_schedules(6);
            w.run_for(10s);
            w.begin_fault({.kind = kind, .node = 1, .lasting = 20s, .amount = 4});
            w.run_for(10s);
        });
    };
    CHECK(run(defect::none).empty());
    CHECK_THAT(run(kind == sim::fault_kind::attributes ? defect::attributes_untold : defect::rules_ignored),
               contains("pictures_are_true: "));
}

// -------------------------------------------------------------------- hand-offs

namespace {

// Two members that are no processes, of which one owns two schedules, "a" and "b".
template <typename Invariant>
struct handing_over : watched<Invariant> {
    fencing_token owner = this->ghost();
    fencing_token other =
        std::get<op::joined>(*this->happens(op::join{.node_id = "other", .nonce = 8, .node_ttl = 100s}, false))
            .incarnation;
    fencing_token a = 0, b = 0;

    handing_over() {
        this->happens(op::register_schedules{.items = {{.id = "a"}, {.id = "b"}}});
        auto const claimed = this->happens(op::claim{.incarnation = owner, .ids = {"a", "b"}});
        a = std::get<op::outcomes>(*claimed).items[0].token;
        b = std::get<op::outcomes>(*claimed).items[1].token;
    }
    void revoke_a() {
        this->happens(op::revoke{.incarnation = owner,
                                 .items = {{"a", a, owner, other, change_reason::rebalanced, true}},
                                 .handoff_deadline = 10s});
    }
};

}  // namespace

TEST_CASE("runs_finish: a run is not extended, is extended for ever, or its schedule is given away under it") {
    handing_over<sim::runs_finish> t;
    auto lock = acquire("a", 30s);
    lock.incarnation = t.owner;
    lock.items.front().generation = t.a;
    auto const token = std::get<op::outcomes>(*t.happens(lock)).items.front().token;
    auto more = extend("a", token);
    more.incarnation = t.owner;
    op::acknowledge const ack{.incarnation = t.owner, .items = {{"a", t.a, t.other}}};
    t.revoke_a();
    CHECK(complaint([&] { t.happens(more), t.happens(ack); }).empty());
    CHECK_THAT(complaint([&] { t.says(more, refused(errc::not_owner)); }),
               contains("runs_finish: the run of a under") && contains("was not extended"));
    CHECK_THAT(complaint([&] { t.says(ack, granted(4711)); }), contains("a was handed over while"));
    t.w.run_for(11s);
    CHECK(complaint([&] { t.happens(more); }).empty());
    CHECK_THAT(complaint([&] { t.says(more, granted(token)); }), contains("after its hand-off's deadline"));
    t.w.run_for(30s);
    CHECK(complaint([&] { t.happens(ack); }).empty());
}

TEST_CASE("swaps_hand_over_one: the other one does not go, the asked one does not stay, or they differ") {
    handing_over<sim::swaps_hand_over_one> t;
    t.revoke_a();
    op::acknowledge const swap{.incarnation = t.owner, .items = {{"b", t.b, t.other, "a"}}};
    CHECK_THAT(complaint([&] { t.says(swap, granted(4711)); }),
               contains("swaps_hand_over_one: b was to go to") && contains("and did not"));
    result<reply> answer = errc::timed_out;
    CHECK(complaint([&] { answer = t.happens(swap); }).empty());
    t.happens(op::update_schedules{.items = {{"a", 3, {}, t.owner}}});
    CHECK_THAT(complaint([&] { t.says(swap, answer); }), contains("which is not like it"));
    t.happens(op::unregister_schedules{.items = {{"a", t.owner}}});
    CHECK_THAT(complaint([&] { t.says(swap, answer); }), contains("does not stay"));
}

// -------------------------------------------------------------------- what plans heed

TEST_CASE("whole_pictures_move: a leader moves while it still reads") {
    auto run = [](defect d) {
        planting const planted{d};
        return complaint([&] {
            planted_world w{{.seed = 6, .nodes = 4, .options = {.rebalance_threshold = 0}, .work = sim::no_work}};
            w.check<sim::whole_pictures_move>();
            w.register_schedules(40);
            w.run_for(10s);
            w.node(0).begin_maintenance();  // so that load is still uneven when the next one takes over
            w.node(1).crash(5s);
            w.node(2).crash(5s);
            w.run_for(15s);
            w.node(0).end_maintenance();
            w.leader().leave();
            w.run_for(10s);
        });
    };
    CHECK(run(defect::none).empty());
    CHECK_THAT(run(defect::half_read_moves), contains("whole_pictures_move: ") && contains("had not read"));
}

TEST_CASE("maintenance_kept: a leader moves all the same") {
    auto run = [](defect d) {
        planting const planted{d};
        return complaint([&] {
            planted_world w{{.seed = 6, .nodes = 3, .work = sim::no_work}};
            w.check<sim::maintenance_kept, sim::even_in_time>();
            w.register_schedules(20);
            w.run_for(10s);
            w.node(0).begin_maintenance(60s);
            w.node(1).crash(5s);
            w.run_for(50s);
            CHECK(w.node(1).owned().empty());  // orphans were placed, nothing was moved
            w.run_for(60s);
            CHECK_FALSE(w.node(1).owned().empty());
        });
    };
    CHECK(run(defect::none).empty());
    CHECK_THAT(run(defect::maintenance_ignored), contains("maintenance_kept: "));
}

TEST_CASE("drained_end_empty: a node that is drained keeps what it has, or is given something") {
    auto run = [](defect d) {
        planting const planted{d};
        return complaint([&] {
            planted_world w{{.seed = 6, .nodes = 3, .work = {.period = 1s, .most = 3s}}};
            w.check<sim::drained_end_empty, sim::moves_bounded, sim::owned_in_time, sim::runs_finish>();
            w.register_schedules(20);
            w.run_for(10s);
            w.node(1).drain();
            w.run_for(60s);
            CHECK(w.node(1).is_member());
            CHECK(w.node(1).owned().empty());
            w.node(2).crash();
            w.run_for(30s);
            CHECK(w.node(1).owned().empty());
            w.node(1).undrain();
            w.run_for(30s);
            CHECK(w.node(1).owned().size() == 10);
        });
    };
    CHECK(run(defect::none).empty());
    CHECK_THAT(run(defect::drain_ignored), contains("drained_end_empty: "));
}

TEST_CASE("rules_kept: a strategy that is said to heed rules, and does not") {
    auto run = [](auto strategy) {
        return complaint([&] {
            sim::world w{{.seed = 6, .nodes = 3, .work = sim::no_work}};
            w.use_strategy(strategy, {.evens_out = false, .moves_least = false, .heeds_rules = true});
            w.check<sim::rules_kept>();
            w.run_for(10s);
            w.register_schedules({{.id = "s", .rules = {.required = {"gold"}}}});
            w.run_for(10s);
        });
    };
    CHECK_THAT(run(one_sided{}), contains("rules_kept: s (r=gold) was given to node-"));
    CHECK(run(one_sided{.idle = true}).empty());
    CHECK_THROWS_AS(complaint_of_run<sim::rules_kept>(one_sided{}), std::logic_error);
}

TEST_CASE("plans_fit_their_state: a plan for another state takes effect") {
    watched<sim::plans_fit_their_state> t;
    t.says(op::tick{}, reply{op::ticked{}});
    op::adopt plan{.items = {{.id = "schedule-0000"}}, .as_of = t.w.store().seq()};
    CHECK(complaint([&] { t.says(plan, granted(1)); }).empty());
    plan.as_of -= 1;
    CHECK(complaint([&] { t.says(plan, errc::conflict); }).empty());
    CHECK_THAT(complaint([&] { t.says(plan, granted(1)); }), contains("plans_fit_their_state: "));
}

// -------------------------------------------------------------------- damage

TEST_CASE("records_agree: an index lists what is not its own, or a counter is wrong") {
    watched<sim::records_agree> t;
    CHECK(complaint([&] { t.it.looks(); }).empty());
    using damage = rota::detail::store_damage;
    auto const owner = t.follower().belief().incarnation();
    auto const id = t.follower().belief().table().begin()->first;
    SECTION("an index") { t.server().inflict({.what = damage::kind::unlist, .id = id, .node = owner}, t.w.now()); }
    SECTION("a counter") { t.server().inflict({.what = damage::kind::set_load, .node = owner, .count = 7}, t.w.now()); }
    SECTION("a record") { t.server().inflict({.what = damage::kind::change_owner, .id = id, .node = 7}, t.w.now()); }
    t.happens(op::register_schedules{.items = {{.id = "s"}}});
    CHECK_THAT(complaint([&] { t.it.looks(); }), contains("records_agree: "));
}

TEST_CASE("damage_mended: every kind of damage is mended in time, and nothing is lost by that") {
    auto run = [](defect d, std::int64_t way) {
        planting const planted{d};
        return complaint([&] {
            planted_world w{{.seed = 6, .nodes = 3, .options = {.audit_interval = 3s}, .work = sim::no_work}};
            sim::check_all(w);
            w.register_schedules(6);
            w.run_for(10s);
            w.begin_fault({.kind = sim::fault_kind::damage, .node = 1, .amount = way * sim::per_way});
            CHECK_FALSE(w.promises_hold());
            w.run_for(60s);
            CHECK(w.promises_hold());
            CHECK(w.seen().count(sim::sight::damage_mended) == 1);
            CHECK(w.run_until(sim::converged, 1s));
            CHECK(w.store().schedule_count() == 6);
        });
    };
    for (std::int64_t way = 0; way < sim::ways_to_damage; ++way) {
        INFO("way " << way);
        if (way == 5) continue;  // of node 1's own it would be none
        CHECK(run(defect::none, way).empty());
    }
    CHECK_THAT(run(defect::repair_forgets, 0), contains("damage_mended: schedule-0000 was damaged, and mending"));
}

// -------------------------------------------------------------------- in time

namespace {

// A member that is no process of the world: it joins, ticks, leads if it can, and does nothing.
template <typename Watched>
void haunt(Watched& t, fencing_token ghost, std::chrono::seconds time) {
    for (auto i = time * 2; i > 0s; i -= 1s) {
        t.happens(op::tick{.incarnation = ghost,
                           .node_id = "ghost",
                           .epoch = t.w.store().epoch(),
                           .term = t.w.store().leader().incarnation == ghost ? t.w.store().leader().term : 0,
                           .candidate = true,
                           .node_ttl = 3s,
                           .leader_lease = 3s},
                  false);
        t.w.run_for(500ms);
        t.it.looks();
    }
}

}  // namespace

TEST_CASE("leader_in_time: nobody leads although nothing is wrong") {
    watched<sim::leader_in_time> t;
    t.it.begin();
    t.w.run_for(20s);
    CHECK(complaint([&] { t.it.looks(); }).empty());
    auto const ghost = t.ghost();
    auto const l = t.w.store().leader();
    t.happens(op::renounce{.incarnation = l.incarnation, .term = l.term}, false);
    // The ghost leads before anybody has looked: that is enough to complain of.
    CHECK_THAT(complaint([&] { haunt(t, ghost, 20s); }),
               contains("leader_in_time: ") && (contains("nobody leads") || contains("was replaced")));
}

TEST_CASE("leader_in_time: the leader changes although nothing is wrong") {
    watched<sim::leader_in_time> t;
    t.it.begin();
    t.w.run_for(20s);
    t.it.looks();
    auto const l = t.w.store().leader();
    t.happens(op::renounce{.incarnation = l.incarnation, .term = l.term}, false);
    t.w.run_for(5s);
    CHECK_THAT(complaint([&] { t.it.looks(); }), contains("was replaced"));
}

TEST_CASE("owned_in_time: what a member owns that is nobody of the living") {
    watched<sim::owned_in_time> t;
    t.it.begin();
    t.w.run_for(20s);
    CHECK(complaint([&] { t.it.looks(); }).empty());
    auto const ghost = t.ghost();
    t.happens(op::register_schedules{.items = {{.id = "s"}}}, false);
    t.happens(op::claim{.incarnation = ghost, .ids = {"s"}}, false);
    CHECK_THAT(complaint([&] { haunt(t, ghost, 20s); }), contains("owned_in_time: ") && contains("s is nobody's"));
}

TEST_CASE("leave_without_gap: what a node that left had is nobody's") {
    auto run = [](bool idle) {
        one_sided strategy;
        return complaint([&] {
            sim::world w{{.seed = 4, .nodes = 3, .work = sim::no_work}};
            w.use_strategy(std::ref(strategy));
            w.check<sim::leave_without_gap>();
            w.register_schedules(6);
            w.run_for(20s);
            strategy.idle = idle;
            for (std::uint32_t i = 0; i < w.size(); ++i) {
                if (!w.node(i).owned().empty()) {
                    w.node(i).leave();
                    break;
                }
            }
            w.run_for(5s);
        });
    };
    CHECK(run(false).empty());
    CHECK_THAT(run(true), contains("leave_without_gap: ") && contains("had no owner for"));
}

TEST_CASE("no_storm: a node that asks without pause") {
    watched<sim::no_storm> t;
    auto ask = [&](int times) {
        return complaint([&] {
            for (int i = 0; i < times; ++i) t.says(op::tick{}, reply{op::ticked{}});
        });
    };
    CHECK(ask(100).empty());
    CHECK_THAT(ask(1000), contains("no_storm: process 0 made"));
    t.it.looks();
    CHECK(ask(100).empty());
}

// -------------------------------------------------------------------- all of them

TEST_CASE("all invariants are silent about a sound group, whatever befalls it") {
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        INFO("seed " << seed);
        CHECK(complaint([&] { sim::run_scenario(sim::draw_scenario(seed, {.kinds = sim::every_kind})); }).empty());
    }
}

// -------------------------------------------------------------------- groups

// A simulation has one group: the store that it runs on is the state of one. That groups with one server do not meet
// rests on their keys alone, so it is those that are looked at.
TEST_CASE("groups never touch each other: every key of every operation begins with the group's own tag") {
    std::vector<operation> const all{
        op::join{.node_id = "n"},
        op::tick{.incarnation = 7, .node_id = "n"},
        op::leave{.incarnation = 7, .node_id = "n", .successors = {8, 9}},
        op::renounce{.incarnation = 7, .term = 3, .successors = {8}},
        op::acquire_locks{.incarnation = 7, .kind = a_schedule, .items = {{"a"}, {"b"}}},
        op::acquire_locks{.incarnation = 7, .kind = op::lock_kind::name, .items = {{"a"}}},
        op::extend_locks{.incarnation = 7, .kind = a_schedule, .items = {{"a", 5}}},
        op::release_locks{.kind = a_schedule, .items = {{"a", 5}}},
        op::register_schedules{.items = {{.id = "a"}}},
        op::lookup{.ids = {"a"}},
        op::unregister_schedules{.items = {{"a", 7}}},
        op::claim{.incarnation = 7, .ids = {"a"}},
        op::reap{.incarnation = 7, .term = 3, .nodes = {8}},
        op::adopt{.incarnation = 7, .term = 3, .items = {{.id = "a", .from = 8, .to = 7}}},
        op::revoke{.incarnation = 7, .term = 3, .items = {{.id = "a", .from = 7, .to = 8}}},
        op::acknowledge{.incarnation = 7, .items = {{.id = "a", .to = 8}}},
        op::changes_since{.incarnation = 7},
        op::events_since{},
        op::schedules_page{.holder = 7},
        op::nodes_page{},
        op::describe_node{.incarnation = 7},
        op::give_order{.kind = op::order_kind::drain, .node_id = "n"},
        op::update_schedules{.items = {{.id = "a", .owner = 7}}},
        op::scan_page{},
        op::mend{.incarnation = 7, .term = 3, .items = {{"a", {7, 8}}}, .recount = {9}},
        op::trigger{.items = {{.id = "a", .owner = 7}}},
        op::acknowledge{.incarnation = 7, .items = {{.id = "a", .to = 8}, {.id = "b", .to = 9}}},
        op::acknowledge{.incarnation = 7, .items = {{.id = "a", .to = 8, .unasked = true}}},
    };
    std::vector<bool> covered(std::variant_size_v<operation>);
    for (auto const& request : all) {
        covered[request.index()] = true;
        // One prefix begins with the other, and both with what an id may hold.
        auto keys_of = [&](std::string const& prefix) {
            rota::detail::redis_command command;
            rota::detail::encode(request, prefix, 1, 2, command);
            return rota::test::texts_of(command.keys);
        };
        auto const mine = keys_of("app:");
        auto const theirs = keys_of("app:2:");
        REQUIRE_FALSE(mine.empty());
        for (auto const& key : mine) CHECK(key.rfind("{app:}", 0) == 0);
        for (auto const& key : theirs) {
            CHECK(key.rfind("{app:2:}", 0) == 0);
            CHECK(std::find(mine.begin(), mine.end(), key) == mine.end());
        }
    }
    CHECK(std::find(covered.begin(), covered.end(), false) == covered.end());
    // No prefix can hold the brace that ends the tag: so no tag is the beginning of another.
    CHECK_FALSE(validate({.node_id = "n", .key_prefix = "app:}x"}));
}

TEST_CASE("groups never touch each other: scripts make up keys of what they were given alone") {
    for (std::size_t i = 0; i < rota::detail::script_count; ++i) {
        auto const id = static_cast<rota::detail::script_id>(i);
        if (id == rota::detail::script_id::probe) continue;
        auto const text = rota::detail::script_text(id);
        INFO(rota::detail::script_name(id));
        // A key that is written out would be the second argument of a call.
        auto at = text.find("call('");
        while (at != std::string::npos) {
            auto const comma = text.find_first_of(",)", at);
            auto const argument = text.find_first_not_of(" ", comma + 1);
            bool const has_arguments = text[comma] == ',' && text.compare(at, 11, "call('TIME'") != 0;
            if (has_arguments) {
                INFO(text.substr(at, 60));
                CHECK((text[argument] != '\'' && text[argument] != '"'));
            }
            at = text.find("call('", at + 1);
        }
        CHECK(text.find('{' + std::string{"rota"}) == std::string::npos);
    }
}
