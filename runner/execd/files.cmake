# Files, paths, metrics. What is said on the wire and how paths read is the agent's as well, which
# is never sanitized; so it is built here once more.
app_library(execd_files
  SOURCES files.cc file_upload.cc agent_caller.cc agent_pool.cc agent_link.cc
          agent/agent_wire.cc path_expansion.cc metrics_sampler.cc
  PUBLIC app::sandbox app::schema app::base)
app_test(execd_files_unit_test
  SOURCES path_expansion_test.cc metrics_sampler_test.cc byte_budget_test.cc agent/agent_wire_test.cc
          agent/glob_pattern_test.cc agent/glob_pattern.cc
  LIBS app::execd_files LABEL unit)
