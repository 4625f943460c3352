# The installed Python package has the target evenbits::headers, for extensions that take the function table from the
# capsule evenbits._core._api. An installed static library (cmake -DEVENBITS_PYTHON=OFF) has evenbits::evenbits as well.
include("${CMAKE_CURRENT_LIST_DIR}/evenbitsTargets.cmake" OPTIONAL)

if(NOT TARGET evenbits::headers)
  get_filename_component(evenbits_INCLUDE_DIR "${CMAKE_CURRENT_LIST_DIR}/../include" ABSOLUTE)
  add_library(evenbits::headers INTERFACE IMPORTED)
  set_target_properties(evenbits::headers PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${evenbits_INCLUDE_DIR}")
endif()
