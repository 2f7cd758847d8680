// The defect that worlds of this thread suffer from, chosen at run time: one instantiation of the simulator serves for
// all of them.
#pragma once

#include <rota/sim/sweep.hpp>

namespace rota_test {

struct planted {
    static bool has(rota::detail::defect d) { return d == current; }
    static inline thread_local rota::detail::defect current = rota::detail::defect::none;
};
using planted_world = rota::sim::basic_world<planted>;

/// Plants a defect for as long as it lives.
class planting {
public:
    explicit planting(rota::detail::defect d) { planted::current = d; }
    ~planting() { planted::current = rota::detail::defect::none; }
    planting(planting const&) = delete;
    planting& operator=(planting const&) = delete;
};

}  // namespace rota_test
