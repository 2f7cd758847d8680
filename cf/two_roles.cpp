// expect: rota: this policy is an event sink (it is callable) and something else as well
#include <rota/coordinator.hpp>
#include <rota/transport/memory.hpp>

struct both {
    rota::plan make_plan(rota::cluster_view const&) const { return {}; }
    void operator()(rota::event const&) const {}
};

int main() { rota::basic_coordinator node{rota::options{.node_id = "a"}, rota::memory_transport{}, both{}}; }
