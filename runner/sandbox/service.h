// Service: a program in a sandbox that is talked to for as long as its owner keeps it.
//
// No deadline and no limit on processor time are watched here, only the cell's own limits (memory,
// processes, disk) hold: its owner gives each exchange its time, and destroys the service when it
// has had enough of it. What comes out of it is as untrusted as any program's output.
//
// Belongs to one thread at a time.
#pragma once

namespace forkbox::sandbox {

class Service {
 public:
  // Kills whatever still runs inside.
  virtual ~Service() = default;

  // Its standard input and output, non-blocking. Its end shows as end of file on the output.
  [[nodiscard]] virtual int input() const = 0;
  [[nodiscard]] virtual int output() const = 0;
};

}  // namespace forkbox::sandbox
