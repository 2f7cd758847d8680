// expect: rota: a policy without a default constructor must be passed
#include <rota/coordinator.hpp>
#include <rota/transport/memory.hpp>

struct mine {
    explicit mine(int) {}
    rota::plan make_plan(rota::cluster_view const&) const { return {}; }
};

int main() {
    rota::basic_coordinator<rota::memory_transport, mine> node{rota::options{.node_id = "a"}, rota::memory_transport{}};
}
