#include "api/auth/key_gate.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/auth/presented_keys.h"

namespace forkbox::api {
namespace {

// A call that was set aside.
struct Waiting {
  http::Call call;
  http::Handler handler;
  std::vector<std::string> keys;
};

// The server answers 500 when a reply goes away unanswered; of a connection that was taken the
// client would only see the end.
void AnswerBroken(http::Call& call) {
  if (call.taken == nullptr) return;
  try {
    call.Answer(500, "text/plain", "internal error\n");
  } catch (...) {  // out of memory: the client learns from the end of the connection
  }
}

void Continue(KeyRing& ring, const std::shared_ptr<Waiting>& waiting) {
  if (waiting->keys.empty()) {
    try {
      waiting->handler(waiting->call);
    } catch (...) {
      AnswerBroken(waiting->call);
    }
    return;
  }
  const std::string key = std::move(waiting->keys.back());
  waiting->keys.pop_back();
  ring.Prepare(key, [&ring, waiting] { Continue(ring, waiting); });
}

}  // namespace

http::Handler BehindKeyGate(KeyRing& ring, http::Handler handler) {
  return [&ring, handler = std::move(handler)](http::Call& call) {
    std::vector<std::string> unknown;
    for (const std::string_view key : PresentedKeys(call.fields)) {
      if (!ring.Knows(key)) unknown.emplace_back(key);
    }
    if (unknown.empty()) return handler(call);
    Continue(ring,
             std::make_shared<Waiting>(Waiting{std::move(call), handler, std::move(unknown)}));
  };
}

}  // namespace forkbox::api
