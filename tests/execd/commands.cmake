# Commands, shells and terminals, in real boxes.
function(_execd_commands_test name)
  app_test(${name} NO_SANITIZE LABEL sandbox TIMEOUT 600
    SOURCES ${ARGN} commands_recorder.cc commands_box_under_test.cc ../sandbox/driver_under_test.cc
            ../sandbox/process_driver_under_test.cc
    LIBS app::execd_commands app::execd_files app::sandbox)
  if(TARGET ${name})
    add_dependencies(${name} forkbox-forkserver exec_template agent_template bash_session pty_shell)
    target_compile_definitions(${name} PRIVATE
      FORKBOX_FORKSERVER="$<TARGET_FILE:forkbox-forkserver>"
      FORKBOX_RUNTIME="${FORKBOX_RUNTIME_DIR}")
    set_tests_properties(${name} PROPERTIES RUN_SERIAL TRUE)
  endif()
endfunction()

_execd_commands_test(execd_commands_test commands_test.cc commands_hostile_test.cc)
_execd_commands_test(execd_shells_test shells_test.cc)
_execd_commands_test(execd_ptys_test ptys_test.cc ptys_hostile_test.cc)
_execd_commands_test(execd_commands_lying_test commands_lying_test.cc commands_scarce_test.cc)
_execd_commands_test(execd_bash_context_test shells_context_test.cc)
if(TARGET execd_bash_context_test)
  target_link_libraries(execd_bash_context_test PRIVATE app::execd_contexts)
endif()
