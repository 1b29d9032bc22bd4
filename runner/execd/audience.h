// Audience: a sink for as long as it listens; what is put afterwards goes nowhere.
//
// One thread at a time.
#pragma once

#include <string>
#include <utility>

#include "runner/execd/event.h"

namespace forkbox::execd {

class Audience {
 public:
  explicit Audience(EventSink& sink) : sink_(sink) {}
  void Put(const Event& event) { listening_ = listening_ && sink_.Put(event); }
  void Put(Event::Type type, std::string text) {
    if (!listening_) return;
    Event event;
    event.type = type;
    event.text = std::move(text);
    Put(event);
  }
  [[nodiscard]] bool listening() const { return listening_; }

 private:
  EventSink& sink_;
  bool listening_ = true;
};

}  // namespace forkbox::execd
