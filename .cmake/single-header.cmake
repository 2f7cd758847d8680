# Makes an include folder in the build folder where every header of rota just includes the single header that holds it,
# so that tests that include <rota/any/part.hpp> still compile against single_include and nothing else.

find_package(Python3 REQUIRED COMPONENTS Interpreter)

set(rota_include_dir "${PROJECT_BINARY_DIR}/single-header-include")
set(amalgamate "${PROJECT_SOURCE_DIR}/single_include/amalgamate.py")
execute_process(
  COMMAND "${Python3_EXECUTABLE}" "${amalgamate}" --forwarding-headers "${rota_include_dir}"
  COMMAND_ERROR_IS_FATAL ANY
)

file(GLOB_RECURSE headers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/include/rota/*.hpp")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${amalgamate}")
