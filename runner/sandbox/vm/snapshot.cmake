app_library(vm_machine_source
  SOURCES machine_source.cc qmp.cc
  PUBLIC app::sandbox app::schema app::base)
app_library(vm_snapshot
  SOURCES snapshot_source.cc snapshot.cc launch/launch_qemu.cc
  PUBLIC app::vm_machine_source app::vm_machine app::vm_launch app::vm_protocol)
app_test(vm_qmp_test SOURCES qmp_test.cc LIBS app::vm_machine_source LABEL unit)
