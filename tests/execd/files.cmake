# Files in real boxes, and against agents that are no agents.
function(_files_test name)
  app_test(${name} NO_SANITIZE LABEL sandbox TIMEOUT 600 ${ARGN})
  if(TARGET ${name})
    add_dependencies(${name} forkbox-forkserver exec_template agent_template)
    target_compile_definitions(${name} PRIVATE
      FORKBOX_FORKSERVER="$<TARGET_FILE:forkbox-forkserver>"
      FORKBOX_RUNTIME="${FORKBOX_RUNTIME_DIR}")
    set_tests_properties(${name} PROPERTIES RUN_SERIAL TRUE)
  endif()
endfunction()

set(_box_under_test ../sandbox/box_under_test.cc ../sandbox/driver_under_test.cc
    ../sandbox/process_driver_under_test.cc)
_files_test(files_test
  SOURCES files_operations_test.cc files_uploads_test.cc files_hostile_test.cc
          files_side_by_side_test.cc ${_box_under_test}
  LIBS app::execd_files app::sandbox)
app_test(files_peers_test
  SOURCES files_peers_test.cc files_descriptors_test.cc files_limits_test.cc
  LIBS app::execd_files app::file_agent LABEL unit)
app_test(box_identity_test
  SOURCES box_identity_test.cc ${CMAKE_SOURCE_DIR}/runner/execd/box_identity.cc
  LIBS app::execd_files app::file_agent LABEL unit)
