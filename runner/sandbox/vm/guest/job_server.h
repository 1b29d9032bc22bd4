// JobServer: answers one frame of the host with the frames that it is owed.
//
// One thread.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include "runner/sandbox/driver.h"
#include "runner/sandbox/vm/agent_protocol.h"

namespace forkbox::sandbox::vm {

class JobServer {
 public:
  using Send = std::function<void(std::string_view frame)>;
  using AwakeMachine = std::function<Result<void>(const Awakening&)>;
  using Draw = std::function<Drawn()>;

  // `driver` outlives it. `awake`, `draw`: Awake() and DrawFromProcessor(), but where the machine
  // is none of ours (tests).
  JobServer(Driver& driver, AwakeMachine awake, Draw draw)
      : driver_(driver), awake_(std::move(awake)), draw_(std::move(draw)) {}

  // Awakes the machine, then runs or describes; what describes it is drawn before. The last frame
  // sent is kEnd, kLanguages or kFailed.
  void Serve(const Frame& frame, const Send& send);

  // Takes down what the last job ran in. A machine that ends with its job saves itself the trouble.
  void Clear() { sandbox_.reset(); }

 private:
  void Run(const Job& job, const Send& send);

  Driver& driver_;
  const AwakeMachine awake_;
  const Draw draw_;
  std::unique_ptr<Sandbox> sandbox_;
};

}  // namespace forkbox::sandbox::vm
