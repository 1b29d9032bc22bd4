// CommandCompiler: the compile step of a manifest, run in a sandbox of its own with limits of its
// own. See compiler.h for the contract.
#pragma once

#include <string>
#include <utility>

#include "runner/sandbox/compiler.h"
#include "runner/sandbox/process_driver.h"

namespace forkbox::sandbox {

class CommandCompiler final : public Compiler {
 public:
  // The driver outlives the compiler.
  CommandCompiler(ProcessDriver& driver, std::string language)
      : driver_(driver), language_(std::move(language)) {}

  Compiled Compile(const schema::Source& source, const std::stop_token& cancelled) override;

 private:
  ProcessDriver& driver_;
  const std::string language_;
};

}  // namespace forkbox::sandbox
