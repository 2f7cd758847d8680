// The sink of those who want no events: takes each and drops it. The default; takes no space.
#pragma once

#include "../events.hpp"

namespace rota {

struct null_sink {
    constexpr void operator()(event const&) const noexcept {}
};

}  // namespace rota
