// The simulator: whole groups of nodes in one thread on virtual time, running the same algorithm as production, with
// every fault that a lease can meet, reproducible from one number. For tests; production programs do not include it, and
// it needs no hiredis.
#pragma once

#include "rota.hpp"

#include "check_strategy.hpp"
#include "sim/converged.hpp"
#include "sim/exhaustive.hpp"
#include "sim/invariants/all.hpp"
#include "sim/replay.hpp"
#include "sim/sweep.hpp"
#include "sim/timeline.hpp"
#include "sim/world.hpp"
