app_library(vm_kvm_probe SOURCES kvm_probe.cc PUBLIC app::base)
app_test(vm_kvm_probe_test SOURCES kvm_probe_test.cc LIBS app::vm_kvm_probe LABEL unit)
