// expect: rota: the same combinator twice in one strategy, like budgeted<budgeted<S>>: leave one out
#include <rota/coordinator.hpp>
#include <rota/strategy/budgeted.hpp>
#include <rota/strategy/graced.hpp>
#include <rota/strategy/thresholded.hpp>
#include <rota/transport/memory.hpp>

using mine = rota::graced<rota::thresholded<rota::budgeted<rota::graced<>>>>;

int main() { rota::basic_coordinator node{rota::options{.node_id = "a"}, rota::memory_transport{}, mine{}}; }
