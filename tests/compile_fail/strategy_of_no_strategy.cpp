// expect: rota: what this combinator is given is no strategy: it lacks `rota::plan make_plan(rota::cluster_view const&) const`
#include <rota/coordinator.hpp>
#include <rota/strategy/budgeted.hpp>
#include <rota/transport/memory.hpp>

struct mine {
    int make_plan(rota::cluster_view const&, int) const { return 0; }
};

int main() {
    rota::basic_coordinator node{rota::options{.node_id = "a"}, rota::memory_transport{}, rota::budgeted<mine>{}};
}
