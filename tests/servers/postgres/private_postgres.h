// PrivatePostgres: a real PostgreSQL of the test's own (scripts/private-postgres.sh), on loopback
// and in a directory that goes with it. Starting takes about a second: share one per executable and
// take a NewDatabase() for each test.
//
// One thread, and one that lives as long as this: the server ends when it does. Whatever does not
// do its part ends the test process; the reason is on standard error.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "tests/servers/server_script.h"

namespace forkbox::tests {

class PrivatePostgres {
 public:
  PrivatePostgres();

  enum class Via { kTcp, kUnixSocket };
  // The URL of an empty database that nobody else has.
  std::string NewDatabase(Via via = Via::kTcp);
  // The URL of the one that is there from the start.
  [[nodiscard]] std::string url() const { return Url("forkbox", Via::kTcp); }

  // As a crash: kill -9 of all its processes. Nothing listens afterwards.
  void Kill();
  // In order; open connections are cut.
  void Stop() { script_.Stop(); }
  // After Kill() or Stop(), on the same port and data.
  void Restart() { script_.Start(); }
  // As a machine that hangs: all its processes stay where they are. New connections get as far as
  // the kernel takes them.
  void Freeze() const;
  void Thaw() const;

 private:
  [[nodiscard]] std::string Url(const std::string& database, Via via) const;
  // One for each connection, and its helpers.
  [[nodiscard]] std::vector<pid_t> Children() const;

  ServerScript script_;
  int databases_ = 0;
};

}  // namespace forkbox::tests
