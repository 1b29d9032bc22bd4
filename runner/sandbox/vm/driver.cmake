app_library(vm_kvm_probe SOURCES kvm_probe.cc PUBLIC app::base)
app_test(vm_kvm_probe_test SOURCES kvm_probe_test.cc LIBS app::vm_kvm_probe LABEL unit)

app_library(vm_sandbox
  SOURCES vm_sandbox.cc fresh_awakening.cc
  PUBLIC app::vm_machine_source app::vm_protocol app::sandbox app::schema app::base)
app_test(vm_sandbox_test
  SOURCES vm_sandbox_test.cc vm_sandbox_hostile_test.cc guest_under_test.cc
  LIBS app::vm_sandbox LABEL unit)

app_library(vm
  SOURCES vm_driver.cc vm_driver_tending.cc proof.cc
  PUBLIC app::vm_sandbox app::vm_machine_source app::vm_machine app::vm_image app::vm_kvm_probe
         app::sandbox app::schema app::base
  PRIVATE app::vm_live app::vm_snapshot app::vm_protocol)
app_test(vm_proof_test SOURCES proof_test.cc LIBS app::vm LABEL unit)
