# `forkbox execd` as a process, over HTTP.
app_test(execd_face_process_test NO_SANITIZE
  SOURCES face_server.cc face_http_test.cc face_commands_test.cc face_files_test.cc
          face_code_test.cc face_crowd_test.cc face_proxy_test.cc face_pty_test.cc
  LIBS app::openapi_contract forkbox_process app::http_trial nlohmann_json::nlohmann_json
  LABEL sandbox TIMEOUT 600)
if(TARGET execd_face_process_test)
  add_dependencies(execd_face_process_test forkbox)
  set_tests_properties(execd_face_process_test PROPERTIES RUN_SERIAL TRUE)
endif()
