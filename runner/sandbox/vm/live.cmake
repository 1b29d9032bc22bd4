app_library(vm_live SOURCES live_source.cc PUBLIC app::sandbox app::vm_machine)
