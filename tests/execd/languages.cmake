# Interactive sessions of the languages, talked to directly. What enters a sandbox is not sanitized.
app_test(language_sessions_test NO_SANITIZE
  SOURCES language_sessions_test.cc session_under_test.cc
          ../sandbox/driver_under_test.cc ../sandbox/process_driver_under_test.cc
  LIBS app::sandbox app::execd_session_wire
  LABEL sandbox TIMEOUT 600)
if(TARGET language_sessions_test)
  set_tests_properties(language_sessions_test PROPERTIES RUN_SERIAL TRUE)
  target_compile_definitions(language_sessions_test PRIVATE
    FORKBOX_FORKSERVER="$<TARGET_FILE:forkbox-forkserver>"
    FORKBOX_RUNTIME="${FORKBOX_RUNTIME_DIR}")
  add_dependencies(language_sessions_test forkbox-forkserver exec_template forkbox_python)
  foreach(_part forkbox_node forkbox_node_preload forkbox_go forkbox_java)
    if(TARGET ${_part})
      add_dependencies(language_sessions_test ${_part})
    endif()
  endforeach()
endif()
