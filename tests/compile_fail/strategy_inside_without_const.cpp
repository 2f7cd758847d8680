// expect: rota: the make_plan of what this combinator is given must be const and give a rota::plan
#include <rota/coordinator.hpp>
#include <rota/strategy/graced.hpp>
#include <rota/strategy/thresholded.hpp>
#include <rota/transport/memory.hpp>

struct mine {
    rota::plan make_plan(rota::cluster_view const&) { return {}; }
};

int main() {
    rota::basic_coordinator node{rota::options{.node_id = "a"}, rota::memory_transport{},
                                 rota::graced<rota::thresholded<mine>>{}};
}
