// A forkserver for machines and what a test needs to run something in one of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runner/sandbox/forkserver_client.h"
#include "runner/sandbox/vm/agent_protocol.h"
#include "runner/sandbox/vm/machine.h"
#include "runner/sandbox/vm/machine_source.h"

namespace forkbox::sandbox::testing {

// Where the image is that the build made; FORKBOX_TEST_VM_IMAGE names another.
std::string TestImage();

// Its template 0 is the launcher, which is ready then; `more` come after it and are not waited for.
// `binds`: besides the image and our programs.
Result<std::unique_ptr<ForkserverClient>> StartMachineForkserver(
    const std::string& image_folder, std::vector<BindSpec> binds = {},
    std::vector<TemplateSpec> more = {});

schema::Limits CellLimits();
vm::Machine TestMachine();

// The awakening that a machine gets with its job, of now and of the kernel's randomness.
vm::Awakening SomeAwakening();

struct Answer {
  std::string error;  // ours: why there is no end
  vm::End end;
  std::string out;
  std::string err;
};
// Gives a machine its one job, resumes it and hears it out.
Answer RunInMachine(vm::ReadyMachine& machine, const std::string& language, const std::string& code,
                    Deadline deadline);

// QEMU's processes below the forkserver, as the host sees them.
std::vector<pid_t> MachinesOf(pid_t forkserver);

}  // namespace forkbox::sandbox::testing
