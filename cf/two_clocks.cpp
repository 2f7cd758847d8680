// expect: rota: two clocks given
#include <rota/clock/manual_clock.hpp>
#include <rota/coordinator.hpp>
#include <rota/transport/memory.hpp>

int main() {
    rota::basic_coordinator node{rota::options{.node_id = "a"}, rota::manual_clock{}, rota::memory_transport{},
                                 rota::boottime_clock{}};
}
