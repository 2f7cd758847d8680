// Locks of schedules and of names. See conformance.hpp.
#pragma once

#include "scene.hpp"

namespace rota::test {

template <typename Store>
std::vector<scenario<Store>> lock_scenarios() {
    using on = scene<Store>&;
    return {
        {"the owner locks its schedule",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const generation = s.own_new(a, "x");
             auto const got = s.lock(a, "x", generation);
             CHECK(got.ok());
             CHECK(got.token > generation);
             CHECK(got.remaining == microseconds{5s});
             CHECK(s.tick(a, "a").fence == got.token);
             CHECK(s.lock(b, "x", generation).code == errc::not_owner);
             CHECK(s.lock(a, "x", generation - 1, 2).code == errc::not_owner);
             CHECK(s.lock(a, "y", generation).code == errc::unknown_schedule);
             CHECK(s.refusal(op::acquire_locks{.incarnation = 5, .items = {{"x", generation}}, .ttl = 5s}) ==
                   errc::not_joined);
             CHECK(s.refusal(op::acquire_locks{.incarnation = 5, .items = {{"x", generation}, {"y", 1}}, .ttl = 5s}) ==
                   errc::not_joined);
         }},
        {"a repeated acquisition returns the token held, another one is told how long",
         [](on s) {
             auto const a = s.join("a");
             auto const generation = s.own_new(a, "x");
             auto const got = s.lock(a, "x", generation, 1);
             s.advance(2s);
             auto const again = s.lock(a, "x", generation, 1);
             CHECK(again.ok());
             CHECK(again.token == got.token);
             CHECK(again.remaining == microseconds{3s});
             auto const other = s.lock(a, "x", generation, 2);
             CHECK(other.code == errc::locked_by_other);
             CHECK(other.token == 0);
             CHECK(other.remaining == microseconds{3s});
         }},
        {"a lock that ran out is free, under a higher token",
         [](on s) {
             auto const a = s.join("a");
             auto const generation = s.own_new(a, "x");
             auto const got = s.lock(a, "x", generation, 1);
             s.advance(5s - 1us);
             CHECK(s.lock(a, "x", generation, 2).code == errc::locked_by_other);
             s.advance(1us);
             auto const next = s.lock(a, "x", generation, 2);
             CHECK(next.ok());
             CHECK(next.token > got.token);
         }},
        {"no new lock on what is being handed over",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const generation = s.own_new(a, "x");
             s.revoke(a, "x", generation, b);
             CHECK(s.lock(a, "x", generation).code == errc::not_owner);
             CHECK(s.get(op::acquire_locks{.incarnation = a, .items = {{"x", generation}, {"y", 1}}, .ttl = 5s})
                       .items[0]
                       .code == errc::not_owner);
         }},
        {"the lock of a reaped node is free, that of a superseded one only after its deadline",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const c = s.join("c");
             auto const term = s.lead(a, "a");
             CHECK(s.lock_name(b, "n", 1, 100s).ok());
             CHECK(s.lock_name(c, "m", 1, 100s).ok());
             auto const newer_c = s.join("c");
             CHECK(s.lock_name(newer_c, "m", 2).code == errc::locked_by_other);
             CHECK(
                 s
                     .get(op::acquire_locks{
                         .incarnation = newer_c, .kind = op::lock_kind::name, .items = {{"m", 0}, {"n", 0}}, .ttl = 5s})
                     .items[0]
                     .remaining == microseconds{100s});
             s.advance(6s);
             s.renew(a, "a", term);
             s.tick(newer_c, "c");
             s.advance(4s);
             CHECK(s.lock_name(newer_c, "m", 3).ok());
             CHECK(s.lock_name(a, "n", 2).code == errc::locked_by_other);
             CHECK(s.get(op::reap{a, term, {b}}).items.size() == 1);
             auto const both = s.get(op::acquire_locks{
                 .incarnation = a, .kind = op::lock_kind::name, .items = {{"n", 0}, {"o", 0}}, .ttl = 5s});
             CHECK(both.items[0].ok());
             CHECK(both.items[1].token == both.items[0].token + 1);
         }},
        {"names do not meet schedule ids",
         [](on s) {
             auto const a = s.join("a");
             auto const generation = s.own_new(a, "x");
             CHECK(s.lock(a, "x", generation, 1).ok());
             CHECK(s.lock_name(a, "x", 2).ok());
             CHECK(s.lock_name(a, "x", 3).code == errc::locked_by_other);
         }},
        {"a batch takes consecutive tokens, each item with its own outcome",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const x = s.own_new(a, "x");
             auto const y = s.own_new(b, "y");
             auto const z = s.own_new(a, "z");
             auto const held = s.own_new(a, "held");
             s.lock(a, "held", held, 9);
             auto const got =
                 s.get(op::acquire_locks{.incarnation = a,
                                         .items = {{"x", x}, {"y", y}, {"none", 1}, {"held", held}, {"z", z}},
                                         .ttl = 7s,
                                         .nonce = 1});
             REQUIRE(got.items.size() == 5);
             CHECK(got.items[0].ok());
             CHECK(got.items[1].code == errc::not_owner);
             CHECK(got.items[2].code == errc::unknown_schedule);
             CHECK(got.items[3].code == errc::locked_by_other);
             CHECK(got.items[4].token == got.items[0].token + 1);
             CHECK(got.items[4].remaining == microseconds{7s});
             CHECK(s.tick(a, "a").fence == got.items[4].token);
             CHECK(s.get(op::acquire_locks{.incarnation = a, .ttl = 7s}).items.empty());
         }},
        {"an extension moves the end, never towards us",
         [](on s) {
             auto const a = s.join("a");
             auto const generation = s.own_new(a, "x");
             auto const token = s.lock(a, "x", generation).token;
             auto const extend = [&](fencing_token node, fencing_token with, microseconds ttl) {
                 return s.one(op::extend_locks{.incarnation = node, .items = {{"x", with}}, .ttl = ttl});
             };
             s.advance(1s);
             CHECK(extend(a, token, 8s) == op::outcome{{}, token, 8s});
             CHECK(extend(a, token, 1s) == op::outcome{{}, token, 8s});
             CHECK(extend(a, token - 1, 8s).code == errc::lock_lost);
             CHECK(extend(s.join("b"), token, 8s).code == errc::lock_lost);
             CHECK(s.one(op::extend_locks{
                             .incarnation = a, .kind = op::lock_kind::name, .items = {{"x", token}}, .ttl = 8s})
                       .code == errc::lock_lost);
             s.advance(8s);
             CHECK(extend(a, token, 8s).code == errc::lock_lost);
             CHECK(s.refusal(op::extend_locks{.incarnation = 5, .items = {{"x", token}}, .ttl = 8s}) ==
                   errc::not_joined);
             CHECK(s.get(op::extend_locks{.incarnation = a, .ttl = 8s}).items.empty());
         }},
        {"a lock is extended while its schedule is handed over, until the deadline of that",
         [](on s) {
             auto const a = s.join("a");
             auto const b = s.join("b");
             auto const generation = s.own_new(a, "x");
             auto const token = s.lock(a, "x", generation, 1, 9s).token;
             s.revoke(a, "x", generation, b, 5s);
             op::extend_locks const more{.incarnation = a, .items = {{"x", token}}, .ttl = 9s};
             s.advance(5s - 1us);
             CHECK(s.one(more).ok());
             s.advance(1us);
             CHECK(s.one(more).code == errc::not_owner);
             // It runs out as it is.
             CHECK(s.one(op::acknowledge{.incarnation = a, .items = {{"x", generation, b, {}}}}).remaining ==
                   microseconds{9s - 1us});
         }},
        {"a lock is released by its token, once",
         [](on s) {
             auto const a = s.join("a");
             auto const generation = s.own_new(a, "x");
             auto const token = s.lock(a, "x", generation).token;
             auto const release = [&](fencing_token with) {
                 return s.one(op::release_locks{.items = {{"x", with}}}).code;
             };
             CHECK(release(token - 1) == errc::lock_lost);
             CHECK(s.one(op::release_locks{.kind = op::lock_kind::name, .items = {{"x", token}}}).code ==
                   errc::lock_lost);
             CHECK(release(token) == errc{});
             CHECK(release(token) == errc::lock_lost);
             auto const next = s.lock(a, "x", generation, 2).token;
             CHECK(release(token) == errc::lock_lost);
             s.advance(5s);
             CHECK(release(next) == errc::lock_lost);
             CHECK(s.get(op::release_locks{}).items.empty());
         }},
        {"a node that has left can still release",
         [](on s) {
             auto const a = s.join("a");
             auto const token = s.lock_name(a, "n").token;
             s.get(op::leave{a, "a", {}});
             CHECK(s.one(op::release_locks{.kind = op::lock_kind::name, .items = {{"n", token}}}).ok());
         }},
        {"a lock outlives the unregistering of its schedule",
         [](on s) {
             auto const a = s.join("a");
             auto const generation = s.own_new(a, "x");
             auto const token = s.lock(a, "x", generation).token;
             CHECK(s.one(op::unregister_schedules{{{"x", a}}, 1}).ok());
             CHECK(s.one(op::extend_locks{.incarnation = a, .items = {{"x", token}}, .ttl = 9s}).ok());
             CHECK(s.lock(a, "x", generation, 2).code == errc::unknown_schedule);
             CHECK(s.one(op::release_locks{.items = {{"x", token}}}).ok());
         }},
    };
}

}  // namespace rota::test
