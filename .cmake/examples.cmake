# One program per examples/<name>.cpp, and one per folder examples/<name>/ of all its sources; built as
# <build folder>/examples/<name>. The target run_demo builds examples/demo and runs it in the terminal.

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
  rota_add_program(${name} ${sources_of_${name}})
  if(TARGET ${name})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/examples")
  endif()
endforeach()

if(TARGET demo)
  add_custom_target(run_demo COMMAND demo USES_TERMINAL COMMENT "Three nodes share schedules, one dies")
endif()
