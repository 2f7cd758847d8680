// ROTA_ASSERT states an invariant of rota's own where it must hold. Off unless a program defines it for all of its
// translation units (rota's tests do); never assert(), whose meaning differs per unit and would break the
// one-definition rule in headers. A caller's broken precondition throws std::logic_error instead.
#pragma once

#ifndef ROTA_ASSERT
#define ROTA_ASSERT(condition) static_cast<void>(0)
#endif
