// PlatformPatch: gives the forked child's V8 platform worker threads that exist.
//
// Node offers no way to replace its platform, so the child's platform object gets a copy of its
// vtable in which three functions, found by their exported symbols, lead to TaskThreads. Nothing
// private is read or written. Everything is looked up and compared in the template: with a Node
// that is built differently Prepare() says so and the template must not serve.
#pragma once

#include <node.h>

#include "base/result.h"

namespace forkbox::javascript {

class PlatformPatch {
 public:
  // In the template. `platform` must outlive the process's last JavaScript. One per process,
  // since a vtable's functions have no other way to find it.
  static Result<void> Prepare(node::MultiIsolatePlatform& platform);

  // In the child, before anything can post a task.
  static void Apply();
};

}  // namespace forkbox::javascript
