// Precompiled for all tests: what every test needs and is slow to compile. Not a substitute for includes:
// `headers.self_contained` checks rota's.
#pragma once

#include "assert.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <variant>
#include <vector>

#include <fmt/core.h>

#include "../catch.hpp"

#ifdef __clang__
#include <rota/clock/manual_clock.hpp>
#include <rota/coordinator.hpp>
#include <rota/sink/recording_sink.hpp>
#include <rota/transport/memory.hpp>

namespace rota_test {

/// Never called: what nearly every test uses, for the compiler to instantiate once (see -fpch-instantiate-templates).
inline void instantiate_once(rota::options const& given, rota::memory_store const& store) {
    rota::manual_clock const clock;
    rota::basic_coordinator node{given, rota::memory_transport{store}, clock, rota::recording_sink{}};
    (void)node.join();
    (void)node.tick();
    (void)node.leave();
    (void)node.try_lock("", std::chrono::seconds{1});
    (void)node.register_schedules({{""}});
    (void)node.nodes();
}

}  // namespace rota_test
#endif
