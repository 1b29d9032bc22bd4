# Contexts and their sessions' wire.
app_library(execd_session_wire SOURCES session_wire.cc PUBLIC app::base PRIVATE app::schema)
app_test(session_wire_test SOURCES session_wire_test.cc LIBS app::execd_session_wire LABEL unit)
app_library(execd_contexts
  SOURCES contexts.cc contexts_session.cc
  PUBLIC app::base app::sandbox app::execd_files
  PRIVATE app::execd_session_wire app::schema)
