// How operations travel to Redis and back: encode() makes the call of a script out of an operation, decode() the reply to
// it out of what comes back. Both are format only: what an operation does stands in the scripts (redis_scripts.hpp), how
// bytes get there in redis_connection.hpp.
#pragma once

#if __has_include(<hiredis/hiredis.h>) && !defined(ROTA_NO_HIREDIS)

#include "redis/decode.hpp"
#include "redis/encode.hpp"

#endif
