// expect: rota: the same combinator twice in one strategy, like budgeted<budgeted<S>>: leave one out
#include <rota/strategy/budgeted.hpp>

int main() { rota::budgeted<rota::budgeted<>> mine{.moves_per_round = 1}; }
