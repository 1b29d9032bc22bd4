app_library(vm_machine
  SOURCES machine.cc
  PUBLIC app::base
  PRIVATE PkgConfig::LIBCRYPTO)
app_test(vm_machine_test SOURCES machine_test.cc LIBS app::vm_machine LABEL unit)
