# One program per examples/<name>.cpp, and one per folder examples/<name>/ of all its sources; built as
# <build folder>/examples/<name>. One called <loop>_node is of that event loop, and left out where it is not found. The
# target run_demo builds examples/demo and runs it in the terminal.

file(GLOB example_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/examples/*.cpp")
file(GLOB example_folder_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/examples/*/*.cpp")

foreach(source IN LISTS example_sources example_folder_sources)
  cmake_path(GET source PARENT_PATH folder)
  if(folder STREQUAL "${PROJECT_SOURCE_DIR}/examples")
    cmake_path(GET source STEM name)
  else()
    cmake_path(GET folder FILENAME name)
  endif()
  list(APPEND example_names ${name})
  list(APPEND sources_of_${name} "${source}")
endforeach()
list(REMOVE_DUPLICATES example_names)

foreach(name IN LISTS example_names)
  string(REGEX MATCH "^(libuv|libevent|asio)_node$" adapted ${name})
  set(loop ${CMAKE_MATCH_1})
  if(adapted AND NOT TARGET rota_${loop})
    message(STATUS "rota: no ${loop}, so no ${name}")
    continue()
  endif()
  rota_add_program(${name} ${sources_of_${name}})
  if(adapted AND TARGET ${name})
    target_link_libraries(${name} PRIVATE rota_${loop})
  endif()
  if(TARGET ${name})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/examples")
  endif()
endforeach()

if(TARGET demo)
  add_custom_target(run_demo COMMAND demo USES_TERMINAL COMMENT "Three nodes share schedules, one dies")
endif()
