// Sender: makes one POST and says what came of it.
//
// Thread-safe.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace forkbox::webhook {

struct Request {
  std::string url;                   // one that CheckWebhookUrl() let pass
  std::vector<std::string> headers;  // "name: value"
  std::string body;
};

struct Answer {
  enum class End {
    kAnswered,    // with `status`
    kFailed,      // no answer, or none that is HTTP, in time
    kRefused,     // not sent, by our own decision or fault: for where it would have gone
    kImpossible,  // not sent, and it never will be
    kAborted,     // by Abort(): whether the receiver got it is unknown
  };
  End end = End::kFailed;
  int status = 0;
  std::string retry_after{};  // that header as it came, or ""
  std::string error{};        // why there is no answer, in our words: for the owner of the webhook
};

class Sender {
 public:
  using Done = std::function<void(Answer)>;

  virtual ~Sender() = default;

  // Returns at once. `done` is called exactly once, from a thread that it must not block or from
  // within this call, and before the sender is destroyed.
  virtual void Send(Request request, Done done) = 0;

  // Ends whatever is in flight at once, and what is sent from now on, as kAborted.
  virtual void Abort() = 0;
};

}  // namespace forkbox::webhook
