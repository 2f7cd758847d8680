// What every store must answer to every operation, as scenarios: the words of operations.hpp, one by one. Run on the
// reference store by memory_conformance_test.cpp, and on Redis by tests/redis/redis_conformance_test.cpp; after each
// scenario the state is searched for contradictions.
//
// A store under test has raise(stamp), perform(operation, stamp), advance(duration), lose_everything(), inflict(damage)
// and contradictions(); see tests/support/reference_store.hpp.
#pragma once

#include "conformance/following.hpp"
#include "conformance/gifts.hpp"
#include "conformance/locks.hpp"
#include "conformance/membership.hpp"
#include "conformance/mending.hpp"
#include "conformance/placements.hpp"
#include "conformance/schedules.hpp"

namespace rota::test {

/// Plays every scenario, each on a store that `fresh()` gives, emptied.
template <typename Fresh>
void play_all_scenarios(Fresh&& fresh) {
    using store = std::remove_reference_t<decltype(fresh())>;
    for (auto const& part : {membership_scenarios<store>(), lock_scenarios<store>(), schedule_scenarios<store>(),
                             placement_scenarios<store>(), gift_scenarios<store>(), following_scenarios<store>(),
                             mending_scenarios<store>()}) {
        for (auto const& each : part) {
            DYNAMIC_SECTION(each.name) {
                store& under_test = fresh();
                scene<store> s{under_test};
                each.play(s);
                CHECK(under_test.contradictions() == std::vector<std::string>{});
            }
        }
    }
}

}  // namespace rota::test
