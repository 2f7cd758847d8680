// Everything of rota but the simulator. The Redis transports switch on where hiredis can be included; define
// ROTA_NO_HIREDIS to leave them out.
#pragma once

#include "version.hpp"

#include "error.hpp"
#include "result.hpp"
#include "types.hpp"

#include "attributes.hpp"
#include "cluster_view.hpp"
#include "events.hpp"
#include "operations.hpp"
#include "options.hpp"
#include "policies.hpp"
#include "queries.hpp"

#include "clock/boottime_clock.hpp"
#include "clock/manual_clock.hpp"
#include "sink/callback_sink.hpp"
#include "sink/log_sink.hpp"
#include "sink/null_sink.hpp"
#include "sink/recording_sink.hpp"
#include "sink/sinks.hpp"
#include "strategy/bounded_rendezvous.hpp"
#include "strategy/budgeted.hpp"
#include "strategy/constrained.hpp"
#include "strategy/graced.hpp"
#include "strategy/least_moves.hpp"
#include "strategy/measured.hpp"
#include "strategy/rendezvous.hpp"
#include "strategy/thresholded.hpp"
#include "strategy/weighted_least_moves.hpp"
#include "strategy/zoned.hpp"

#include "async_coordinator.hpp"
#include "async_lock.hpp"
#include "coordinator.hpp"
#include "schedule_lock.hpp"

#include "loop/poll_loop.hpp"

#include "transport/hiredis_async.hpp"
#include "transport/hiredis_sync.hpp"
#include "transport/memory.hpp"

#include "trigger/continuous.hpp"
#include "trigger/every.hpp"
#include "trigger/on_demand.hpp"
#include "worker.hpp"
