// The reference store with a stepped clock, behind the small interface that conformance tests drive stores by:
// raise, perform, now, advance, lose_everything, state, contradictions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <rota/detail/store.hpp>

#include "group_state.hpp"

namespace rota::test {

/// When the stepped clocks of conformance tests begin: late enough for tokens to have 16 digits, as they will have.
inline constexpr std::int64_t stepped_start = 1'800'000'000'000'000;

class reference_store {
public:
    void raise(rota::detail::connection_stamp from) { store_.raise(from); }
    result<reply> perform(operation const& request, rota::detail::connection_stamp from) {
        return store_.perform(request, from, now_);
    }

    [[nodiscard]] std::int64_t now() const { return now_; }
    void advance(microseconds by) { now_ += by.count(); }
    void lose_everything() { store_ = {}; }
    void inflict(store_damage const& damage) { store_.inflict(damage); }

    [[nodiscard]] group_state state() const { return state_of(store_, now_); }
    [[nodiscard]] std::vector<std::string> contradictions() const { return find_contradictions(state()); }

private:
    rota::detail::basic_store<> store_;
    std::int64_t now_ = stepped_start;
};

}  // namespace rota::test
