# Commands, shells, terminals.
add_subdirectory(pty)
app_library(execd_output SOURCES line_splitter.cc ending.cc output_log.cc pipe_reading.cc
  leftover_pipes.cc PUBLIC app::base)
app_library(execd_commands
  SOURCES commands.cc commands_program.cc process_watch.cc box_identity.cc shells.cc
          shells_session.cc ptys.cc ptys_session.cc
  PUBLIC app::base app::execd_output app::execd_session_wire
         $<TARGET_NAME_IF_EXISTS:app::execd_files>
  PRIVATE app::schema)
app_test(execd_output_test
  SOURCES line_splitter_test.cc ending_test.cc output_log_test.cc leftover_pipes_test.cc
  LIBS app::execd_output LABEL unit)
