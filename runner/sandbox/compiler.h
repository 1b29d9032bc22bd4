// Compiler: turns a source into the program that is run instead of it.
//
// Thread-safe. What it makes is as untrusted as what it was made of: it goes nowhere but into
// sandboxes.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>

#include "schema/execution.h"

namespace forkbox::sandbox {

struct Compiled {
  // kExited: `program` can be run. Else how the compiler ended: kCompileFailed (the source is
  // wrong, `output` says where), a limit of the compiler's own, kCancelled, or kSandboxFailed.
  schema::Reason reason = schema::Reason::kExited;
  std::string output;      // what the compiler said, bounded, valid UTF-8; also when it succeeded
  schema::Source program;  // stdin, arguments and environment are the source's, not of interest
  std::string message;     // for kSandboxFailed: what failed, for the log
  bool repeatable = true;  // false where another try may end otherwise: a limit met under load
  std::chrono::microseconds time{0};
};

class Compiler {
 public:
  virtual ~Compiler() = default;

  // Returns soon after `cancelled` asks it to. Never throws.
  virtual Compiled Compile(const schema::Source& source, const std::stop_token& cancelled) = 0;
};

}  // namespace forkbox::sandbox
