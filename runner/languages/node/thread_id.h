// ThreadId: makes V8 know the main thread's new id after a fork.
//
// V8 asks the kernel once for each thread and remembers the answer; its recursive mutexes compare
// ids. In the child's pid namespace ids start again at 2: sooner or later a new thread gets the one
// that the main thread had in the template, and the two walk through each other's locks.
#pragma once

#include <sys/types.h>

#include <vector>

#include "base/result.h"

namespace forkbox::javascript {

class ThreadId {
 public:
  // In the template, on the main thread. Finds the remembered ids among the thread-local variables
  // of the executable: each is the one whose change changes what its function returns.
  static Result<ThreadId> Find();

  // In the child, on the same thread.
  void Renew() const;

 private:
  explicit ThreadId(std::vector<pid_t*> remembered) : remembered_(std::move(remembered)) {}

  std::vector<pid_t*> remembered_;
};

}  // namespace forkbox::javascript
