// hiredis_async plays every scenario of conformance.hpp, on each event loop that there is.
#include <memory>
#include <string>

#include "../unit/conformance.hpp"

#include "../support/async_store.hpp"
#include "../support/describe.hpp"
#include "../support/effort.hpp"

namespace async_conformance_test {

using namespace rota::test;

TEST_CASE("hiredis_async answers as operations.hpp says, on each event loop") {
    static redis_server server;
    auto loops = loop_drivers();
    if (rota_test::sanitized) loops.resize(1);  // loops_test.cpp looks at the loops themselves
    for (auto const& [name, make] : loops) {
        DYNAMIC_SECTION(name) {
            async_store redis{server, make()};
            play_all_scenarios([&]() -> async_store& {
                redis.begin_anew();
                return redis;
            });
        }
    }
}

}  // namespace async_conformance_test
