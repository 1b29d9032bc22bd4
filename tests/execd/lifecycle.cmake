# Hosts of sandboxes, and the API that makes them. What enters a sandbox is not sanitized.
app_test(lifecycle_host_test NO_SANITIZE
  SOURCES lifecycle_host_test.cc ../sandbox/driver_under_test.cc
          ../sandbox/process_driver_under_test.cc
  LIBS app::sandboxes app::sandbox app::store
  LABEL sandbox TIMEOUT 600)
app_test(lifecycle_http_test
  SOURCES lifecycle_http_test.cc lifecycle_many_test.cc
  LIBS test_http_client app::openapi_contract forkbox_process app::base
       nlohmann_json::nlohmann_json
  LABEL sandbox TIMEOUT 600)
app_test(lifecycle_sdk_test
  SOURCES lifecycle_sdk_test.cc LIBS forkbox_process LABEL sandbox TIMEOUT 300)
if(TARGET lifecycle_host_test)
  target_compile_definitions(lifecycle_host_test PRIVATE
    FORKBOX_FORKSERVER="$<TARGET_FILE:forkbox-forkserver>"
    FORKBOX_RUNTIME="${FORKBOX_RUNTIME_DIR}")
  target_compile_definitions(lifecycle_sdk_test PRIVATE
    FORKBOX_NODE="${CMAKE_SOURCE_DIR}/.deps/node/bin/node"
    FORKBOX_SDK="${CMAKE_SOURCE_DIR}/.deps/opensandbox-sdk"
    FORKBOX_SDK_SCRIPT="${CMAKE_CURRENT_SOURCE_DIR}/lifecycle_sdk.mjs")
  foreach(_test lifecycle_host_test lifecycle_http_test lifecycle_sdk_test)
    add_dependencies(${_test} forkbox)
    set_tests_properties(${_test} PROPERTIES RUN_SERIAL TRUE)
  endforeach()
endif()
