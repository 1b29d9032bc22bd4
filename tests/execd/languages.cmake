# Interactive sessions of the languages: talked to directly, and as contexts. What enters a sandbox
# is not sanitized.
app_test(language_sessions_test NO_SANITIZE
  SOURCES language_sessions_test.cc session_under_test.cc
          ../sandbox/driver_under_test.cc ../sandbox/process_driver_under_test.cc
  LIBS app::sandbox app::execd_session_wire
  LABEL sandbox TIMEOUT 600)
app_test(language_contexts_test NO_SANITIZE
  SOURCES language_contexts_test.cc contexts_under_test.cc ../sandbox/leftovers_probe.cc
          ../sandbox/driver_under_test.cc ../sandbox/process_driver_under_test.cc
  LIBS app::execd_contexts app::execd_files app::sandbox
  LABEL sandbox TIMEOUT 600)
foreach(_name language_sessions_test language_contexts_test)
  if(TARGET ${_name})
    set_tests_properties(${_name} PROPERTIES RUN_SERIAL TRUE)
    target_compile_definitions(${_name} PRIVATE
      FORKBOX_FORKSERVER="$<TARGET_FILE:forkbox-forkserver>"
      FORKBOX_RUNTIME="${FORKBOX_RUNTIME_DIR}")
    add_dependencies(${_name} forkbox-forkserver exec_template agent_template forkbox_python)
    foreach(_part forkbox_node forkbox_node_preload forkbox_go forkbox_java)
      if(TARGET ${_part})
        add_dependencies(${_name} ${_part})
      endif()
    endforeach()
  endif()
endforeach()
