# The lifecycle face, over a host in the process or over runners.
app_library(api_lifecycle
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/cluster_fleet.cc ${CMAKE_CURRENT_LIST_DIR}/cluster_proxy.cc
          ${CMAKE_CURRENT_LIST_DIR}/control_client.cc
          ${CMAKE_CURRENT_LIST_DIR}/lifecycle_document.cc ${CMAKE_CURRENT_LIST_DIR}/lifecycle_face.cc
          ${CMAKE_CURRENT_LIST_DIR}/lifecycle_extras.cc
          ${CMAKE_CURRENT_LIST_DIR}/lifecycle_labels.cc ${CMAKE_CURRENT_LIST_DIR}/lifecycle_query.cc
          ${CMAKE_CURRENT_LIST_DIR}/lifecycle_problem.cc
          ${CMAKE_CURRENT_LIST_DIR}/lifecycle_request.cc
          ${CMAKE_CURRENT_LIST_DIR}/sandbox_proxy.cc ${CMAKE_CURRENT_LIST_DIR}/sandbox_server.cc
          ${CMAKE_CURRENT_LIST_DIR}/sandbox_wire.cc
  PUBLIC app::api_auth app::api_http app::base app::execd_face app::sandboxes app::schema
  PRIVATE app::api_errors app::worker CURL::libcurl nlohmann_json::nlohmann_json)
