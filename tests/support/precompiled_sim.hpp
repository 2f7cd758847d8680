// Precompiled for the tests in sim/.
#pragma once

#include "precompiled.hpp"

#include <rota/sim.hpp>

#ifdef __clang__
namespace rota_test {

/// Never called: see precompiled.hpp.
inline bool instantiate_world_once() {
    rota::sim::world w{{.seed = 1}};
    rota::sim::check_all(w);
    w.register_schedules(1);
    w.run_for(std::chrono::seconds{1});
    return w.run_until(rota::sim::converged, std::chrono::seconds{1}).held;
}

}  // namespace rota_test
#endif
