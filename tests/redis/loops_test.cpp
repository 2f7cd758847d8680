// The adapters of other libraries' event loops do what an event loop must. (Here, since these are linked with libraries.)
#include "../unit/loop_conformance.hpp"

namespace loops_test {

TEST_CASE("every adapter does what an event loop must") {
    for (auto const& [name, make] : rota::test::loop_drivers()) {
        if (name == "poll_loop") continue;  // in unit/
        DYNAMIC_SECTION(name) {
            auto const driver = make();
            rota::test::play_loop(*driver);
        }
    }
}

}  // namespace loops_test
