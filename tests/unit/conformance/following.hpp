// Pages, changes and events: what nodes follow the group by. See conformance.hpp.
#pragma once

#include "scene.hpp"

namespace rota::test {

template <typename Store>
std::vector<scenario<Store>> following_scenarios() {
    using on = scene<Store>&;
    return {
        {"a node reads its changes step by step, at most 8 steps at a time",
         [](on s) {
             auto const a = s.join("a");
             for (int i = 0; i < 11; ++i) s.own_new(a, "x" + std::to_string(i));
             auto const first = s.get(op::changes_since{a, 0});
             CHECK_FALSE(first.gap);
             CHECK(first.to == 8);
             CHECK(first.items.size() == 8);
             auto const rest = s.get(op::changes_since{a, first.to});
             CHECK(rest.to == 11);
             REQUIRE(rest.items.size() == 3);
             CHECK(rest.items[0].id == "x8");
             auto const none = s.get(op::changes_since{a, 11});
             CHECK(none == op::changes_reply{false, 11, {}});
             CHECK(s.get(op::changes_since{a, 12}) == op::changes_reply{true, 11, {}});
             CHECK(s.refusal(op::changes_since{5, 0}) == errc::not_joined);
         }},
        {"who is too far behind in the changes gets a gap",
         [](on s) {
             auto const a = s.join("a");
             s.own_new(a, "x");
             auto const before = s.get(op::changes_since{a, 0}).to;
             auto const steps = op::change_log_length + 300;
             for (std::size_t i = 0; i < steps; ++i) s.get(op::trigger{{{"x", a}}});
             auto const gap = s.get(op::changes_since{a, before + 1});
             CHECK(gap == op::changes_reply{true, before + steps, {}});
             auto const near = s.get(op::changes_since{a, before + steps - op::change_log_length});
             CHECK_FALSE(near.gap);
             CHECK(near.items.size() == 8);
         }},
        {"anyone reads the group's events step by step",
         [](on s) {
             auto const a = s.join("a");
             s.add({"x", "y"});
             s.get(op::claim{.incarnation = a, .ids = {"x", "y"}});
             auto const epoch = s.get(op::nodes_page{}).epoch;
             auto const two = s.get(op::events_since{epoch, 0, 2});
             CHECK(two.to == 2);
             CHECK(two.head == 3);
             CHECK(two.items.size() == 3);
             auto const rest = s.get(op::events_since{epoch, 2, 2});
             CHECK(rest.to == 3);
             CHECK(rest.items.size() == 2);
             CHECK(s.get(op::events_since{epoch, 3, 2}) == op::events_reply{false, 3, 3, {}});
             CHECK(s.get(op::events_since{epoch, 1, 0}) == op::events_reply{false, 1, 3, {}});
             CHECK(s.get(op::events_since{epoch, 4, 2}) == op::events_reply{true, 3, 3, {}});
             CHECK(s.get(op::events_since{epoch + 1, 0, 2}) == op::events_reply{true, 3, 3, {}});
         }},
        {"an empty group has no events",
         [](on s) {
             CHECK(s.get(op::events_since{}) == op::events_reply{});
             auto none = s.get(op::nodes_page{});
             CHECK(std::exchange(none.now, 0) != 0);
             CHECK(none == op::nodes_reply{});
             CHECK(s.get(op::schedules_page{}) == op::page_reply{});
             CHECK(s.get(op::lookup{{"x"}}).items.size() == 1);
         }},
        {"who is too far behind in the events gets a gap",
         [](on s) {
             auto const a = s.join("a");
             auto const epoch = s.get(op::nodes_page{}).epoch;
             for (std::size_t i = 0; i < op::event_log_length / 2 + 100; ++i)
                 s.get(op::renounce{a, s.lead(a, "a"), {}});
             auto const gap = s.get(op::events_since{epoch, 1, 5});
             CHECK(gap.gap);
             CHECK(gap.to == s.seq());
             CHECK(gap.items.empty());
             auto const near = s.get(op::events_since{epoch, gap.head - op::event_log_length, 5});
             CHECK_FALSE(near.gap);
             CHECK(near.items.size() == 5);
         }},
        {"schedules are paged in byte order, by holder",
         [](on s) {
             auto const a = s.join("a");
             s.add({"b", "\xff", "a", "ab", "c"});
             s.claim(a, "c");
             s.claim(a, "a");
             auto const ids = [](op::page_reply const& page) {
                 std::vector<std::string> all;
                 for (auto const& item : page.items) all.push_back(item.id);
                 return all;
             };
             auto const mine = s.get(op::schedules_page{.holder = a});
             CHECK(mine.version == 2);
             CHECK(ids(mine) == std::vector<std::string>{"a", "c"});
             auto const free = s.get(op::schedules_page{.limit = 2});
             CHECK(free.version == 0);
             CHECK(ids(free) == std::vector<std::string>{"ab", "b"});
             CHECK(ids(s.get(op::schedules_page{.after = "b", .limit = 2})) == std::vector<std::string>{"\xff"});
             CHECK(ids(s.get(op::schedules_page{.holder = a, .after = "b"})) == std::vector<std::string>{"c"});
             CHECK(s.get(op::schedules_page{.holder = 99}) == op::page_reply{});
             CHECK(s.get(op::schedules_page{.limit = 0}) == op::page_reply{});
             // Those of a dead node too.
             s.get(op::leave{a, "a", {}});
             CHECK(s.get(op::schedules_page{.holder = a}) == mine);
         }},
        {"nodes are paged in the order in which they came",
         [](on s) {
             std::vector<fencing_token> all;
             for (int i = 0; i < 5; ++i) all.push_back(s.join("n" + std::to_string(i), static_cast<std::uint32_t>(i)));
             s.own_new(all[4], "x");
             s.get(op::leave{all[4], "n4", {}});
             s.advance(3s);
             auto const page = s.get(op::nodes_page{.after = all[1], .limit = 2});
             REQUIRE(page.items.size() == 2);
             CHECK(page.items[0] == node_status{.node = {"n2", all[2]}, .alive = true, .remaining = 7s, .capacity = 2});
             auto const last = s.get(op::nodes_page{.after = all[3], .limit = 2});
             REQUIRE(last.items.size() == 1);
             CHECK(last.items[0] ==
                   node_status{.node = {"n4", all[4]}, .load = 1, .capacity = 4, .left = true, .gone_for = 3s});
             CHECK(s.get(op::nodes_page{.after = all[4]}).items.empty());
             CHECK(s.get(op::nodes_page{.after = ~std::uint64_t{0}}).items.empty());
             CHECK(s.get(op::nodes_page{.limit = 0}).items.empty());
             s.advance(8s);
             CHECK(s.get(op::nodes_page{.limit = 1}).items[0].remaining == 0us);
         }},
        {"a late command of an older connection changes nothing but, if it is a brief tick, a deadline",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const x = s.own_new(a, "x");
             auto const token = s.lock(a, "x", x).token;
             auto const term = s.lead(a, "a");
             s.store().raise({1, 3});
             auto const before = s.seq();
             rota::detail::connection_stamp const late{1, 2};
             auto const refused = [&](auto const& request) {
                 auto const answer = s.ask(request, late);
                 return !answer && answer.error() == errc::conflict;
             };
             CHECK(refused(op::join{.node_id = "c", .nonce = 1, .node_ttl = 10s}));
             CHECK(refused(s.heartbeat(a, "a")));
             auto brief = s.heartbeat(b, "b");
             brief.brief = true;
             s.advance(1s);
             CHECK(s.ask(brief, late).has_value());
             CHECK(s.get(op::nodes_page{.after = a}).items.at(0).remaining == microseconds{10s});
             CHECK(refused(op::leave{a, "a", {}}));
             CHECK(refused(op::renounce{a, term, {}}));
             CHECK(refused(op::acquire_locks{.incarnation = a, .items = {{"x", x}}, .ttl = 5s}));
             CHECK(refused(op::acquire_locks{.incarnation = a, .items = {{"x", x}, {"y", 1}}, .ttl = 5s}));
             CHECK(refused(op::extend_locks{.incarnation = a, .items = {{"x", token}}, .ttl = 5s}));
             CHECK(refused(op::release_locks{.items = {{"x", token}}}));
             CHECK(refused(op::register_schedules{{{"y", 1, {}}}}));
             CHECK(refused(op::unregister_schedules{{{"x", a}}, 1}));
             CHECK(refused(op::claim{.incarnation = a, .ids = {"x"}}));
             CHECK(refused(op::reap{a, term, {b}}));
             CHECK(refused(op::adopt{.incarnation = a, .term = term, .items = {{"x", x, a, b}}}));
             CHECK(refused(op::revoke{.incarnation = a, .items = {{"x", x, a, b}}}));
             CHECK(refused(op::acknowledge{.incarnation = a, .items = {{"x", x, b, {}}}}));
             CHECK(refused(op::describe_node{a, 1, {}}));
             CHECK(refused(op::give_order{op::order_kind::drain, "a"}));
             CHECK(refused(op::update_schedules{{{"x", 2, {}, a}}}));
             CHECK(refused(op::mend{.incarnation = a, .term = term, .items = {{"x", {a}}}}));
             // It may read, and the newest connection, or one of another session, may write.
             CHECK(s.ask(op::lookup{{"x"}}, late).has_value());
             CHECK(s.ask(op::changes_since{a, 0}, late).has_value());
             CHECK(s.ask(op::events_since{}, late).has_value());
             CHECK(s.ask(op::schedules_page{}, late).has_value());
             CHECK(s.ask(op::scan_page{}, late).has_value());
             CHECK(s.ask(op::nodes_page{}, late)->seq == before);
             CHECK(s.ask(s.heartbeat(a, "a"), {1, 3}).has_value());
             CHECK(s.ask(s.heartbeat(b, "b"), {2, 1}).has_value());
             CHECK(s.ask(op::release_locks{.items = {{"x", token}}}, {1, 3})->items[0].ok());
         }},
    };
}

}  // namespace rota::test
