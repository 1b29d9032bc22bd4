# The execd face.
app_library(execd_face
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/execd_body.cc ${CMAKE_CURRENT_LIST_DIR}/execd_call.cc
          ${CMAKE_CURRENT_LIST_DIR}/execd_code.cc ${CMAKE_CURRENT_LIST_DIR}/execd_commands.cc
          ${CMAKE_CURRENT_LIST_DIR}/execd_directories.cc ${CMAKE_CURRENT_LIST_DIR}/execd_download.cc
          ${CMAKE_CURRENT_LIST_DIR}/execd_error.cc ${CMAKE_CURRENT_LIST_DIR}/execd_face.cc
          ${CMAKE_CURRENT_LIST_DIR}/execd_file_info.cc ${CMAKE_CURRENT_LIST_DIR}/execd_files.cc
          ${CMAKE_CURRENT_LIST_DIR}/execd_lines.cc ${CMAKE_CURRENT_LIST_DIR}/execd_metrics.cc
          ${CMAKE_CURRENT_LIST_DIR}/execd_paths.cc ${CMAKE_CURRENT_LIST_DIR}/execd_proxy.cc
          ${CMAKE_CURRENT_LIST_DIR}/execd_pty.cc ${CMAKE_CURRENT_LIST_DIR}/execd_pty_client.cc
          ${CMAKE_CURRENT_LIST_DIR}/execd_range.cc ${CMAKE_CURRENT_LIST_DIR}/execd_sessions.cc
          ${CMAKE_CURRENT_LIST_DIR}/execd_stream.cc ${CMAKE_CURRENT_LIST_DIR}/execd_threads.cc
          ${CMAKE_CURRENT_LIST_DIR}/execd_upload.cc
  PUBLIC app::base app::api_http nlohmann_json::nlohmann_json app::execd_contexts
         app::execd_commands $<TARGET_NAME_IF_EXISTS:app::execd_files>
  PRIVATE app::schema PkgConfig::LIBCRYPTO)
app_test(execd_face_test
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/execd_body_test.cc ${CMAKE_CURRENT_LIST_DIR}/execd_range_test.cc
          ${CMAKE_CURRENT_LIST_DIR}/execd_stream_test.cc ${CMAKE_CURRENT_LIST_DIR}/execd_threads_test.cc
  LIBS app::execd_face LABEL unit)
