// Precompiled for all tests: what every test needs and is slow to compile. Not a substitute for includes:
// `headers.self_contained` checks rota's.
#pragma once

#include "assert.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <variant>
#include <vector>

#include <fmt/core.h>

#include "../catch.hpp"
#include "instantiated.hpp"
