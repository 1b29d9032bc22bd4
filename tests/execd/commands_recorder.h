// A sink that keeps what it was told, and the lines of it that tests compare.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "runner/execd/event.h"

namespace forkbox::execd::testing {

// Thread-safe.
class Recorder : public EventSink {
 public:
  // Called before an event is kept, may block; false: nobody listens any more.
  std::function<bool(const Event&)> before = nullptr;

  bool Put(const Event& event) override;

  // One line each, pings left out: "init", "out a", "err b", "complete",
  // "error CommandExecError 3 [exit status 3]".
  [[nodiscard]] std::vector<std::string> Story() const;
  [[nodiscard]] std::vector<Event> events() const;
  [[nodiscard]] std::string id() const;  // of the kInit; "" before
  // Waits until an event of that type and text was told. False: it was not in a minute.
  bool WaitFor(Event::Type type, const std::string& text);
  std::string WaitForId();
  [[nodiscard]] std::size_t Count(Event::Type type) const;
  // The texts of the kind one after the other, each with a line's end; "\n" alone is itself.
  [[nodiscard]] std::string Text(Event::Type type) const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Event> events_;
};

}  // namespace forkbox::execd::testing
