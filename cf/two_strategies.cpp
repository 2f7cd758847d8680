// expect: rota: two strategies given
#include <rota/coordinator.hpp>
#include <rota/transport/memory.hpp>

struct mine {
    rota::plan make_plan(rota::cluster_view const&) const { return {}; }
};

int main() {
    rota::basic_coordinator node{rota::options{.node_id = "a"}, rota::memory_transport{}, mine{}, rota::least_moves{}};
}
