// expect: rota: the same combinator twice in one strategy, like budgeted<budgeted<S>>: leave one out
#include <rota/strategy/constrained.hpp>
#include <rota/strategy/zoned.hpp>

int main() { rota::zoned<rota::zoned<>> mine; }
