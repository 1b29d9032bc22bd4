# Commands, shells and terminals: the same suites in a box that only forks, and in a real one.
function(_execd_commands_test name)
  app_test(${name}_unit_test
    ${ARGN} commands_recorder.cc commands_forking_box.cc
    LIBS app::execd_commands LABEL unit)
  if(TARGET ${name}_unit_test)
    target_compile_definitions(${name}_unit_test PRIVATE FORKBOX_RUNTIME="${FORKBOX_RUNTIME_DIR}")
  endif()
endfunction()

_execd_commands_test(execd_commands SOURCES commands_test.cc)
