// See instantiated.hpp.
#define ROTA_TEST_INSTANTIATE template
#include "instantiated.hpp"
