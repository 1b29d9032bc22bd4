app_library(vm_protocol SOURCES agent_protocol.cc PUBLIC app::languages app::schema app::base)
app_test(agent_protocol_test SOURCES agent_protocol_test.cc LIBS app::vm_protocol LABEL unit)
