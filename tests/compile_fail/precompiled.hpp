// What most of the programs here include, read once for each compiler. One that must be compiled by itself says so in a
// line `// alone`.
#include <rota/async_coordinator.hpp>
#include <rota/clock/manual_clock.hpp>
#include <rota/coordinator.hpp>
#include <rota/strategy/budgeted.hpp>
#include <rota/strategy/constrained.hpp>
#include <rota/strategy/graced.hpp>
#include <rota/strategy/measured.hpp>
#include <rota/strategy/thresholded.hpp>
#include <rota/strategy/zoned.hpp>
#include <rota/transport/memory.hpp>
#include <rota/worker.hpp>
