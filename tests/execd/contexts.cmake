# Contexts in real boxes. What enters a sandbox is not sanitized.
app_test(execd_contexts_test NO_SANITIZE
  SOURCES contexts_test.cc contexts_hostile_test.cc python_session_test.cc contexts_under_test.cc
          ../sandbox/leftovers_probe.cc ../sandbox/driver_under_test.cc
          ../sandbox/process_driver_under_test.cc
  LIBS app::execd_contexts app::execd_files app::sandbox
  LABEL sandbox TIMEOUT 600)
if(TARGET execd_contexts_test)
  set_tests_properties(execd_contexts_test PROPERTIES RUN_SERIAL TRUE)
  target_compile_definitions(execd_contexts_test PRIVATE
    FORKBOX_FORKSERVER="$<TARGET_FILE:forkbox-forkserver>"
    FORKBOX_RUNTIME="${FORKBOX_RUNTIME_DIR}")
  add_dependencies(execd_contexts_test
    forkbox-forkserver exec_template agent_template forkbox_python)
  foreach(_part forkbox_node forkbox_node_preload)
    if(TARGET ${_part})
      add_dependencies(execd_contexts_test ${_part})
    endif()
  endforeach()
endif()
